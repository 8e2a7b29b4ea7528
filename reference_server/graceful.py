"""Serves a FastAPI, Starlette or other ASGI application under uvicorn, and stops it well. One file, to be copied.

    python graceful.py app:app --port 8080 --drain-seconds 10 --ready /healthz
    sys.exit(graceful.run(app, port=8080, ready="/healthz"))    # instead of uvicorn.run(app, port=8080)

    starting ──► ready ──► draining ──► stopped
        └──────────────────────▲

A stop request may come from any thread at any moment, also before the server is ready. From then on `ready` answers
503; after `readiness_delay_seconds` the listener closes and WebSockets are closed with 1012; requests in flight have
`drain_seconds` more. Just before that limit event streams are ended; what is left at the limit is cut: a 503 if its
response has not begun, else a closed connection. Then the application's lifespan ends. A watchdog thread ends the
process `WATCHDOG_SECONDS` after the limit, whatever the event loop or another thread is doing.

Exit codes, the same on every platform:

    0   stopped gracefully: every request begun was answered in full
    2   a setting is wrong
    3   could not start (port taken, the application's startup failed)
    75  cut short, with requests or connections left: at the limit, or by a second stop request that forces
    130 Ctrl+C where no signals are handled

POSIX: SIGTERM, SIGINT and SIGQUIT stop the server. Windows: CTRL_C (SIGINT) and CTRL_BREAK (SIGBREAK) do; nothing
else can be delivered to a Windows process from outside.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import ctypes
import enum
import functools
import importlib
import inspect
import json
import logging
import math
import os
import select
import signal
import socket
import struct
import sys
import threading
import time
from collections.abc import Awaitable, Callable, Iterable, Iterator, MutableMapping
from concurrent.futures import Future
from email.utils import formatdate
from typing import Any, Final, Literal, NamedTuple

EXIT_OK: Final = 0
EXIT_BAD_SETTING: Final = 2
EXIT_START_FAILED: Final = 3
EXIT_CUT: Final = 75
EXIT_INTERRUPTED: Final = 130

# How long after the limit the process may still exist; cutting requests and ending the lifespan takes a part of it:
# twice CUT_SECONDS at most.
WATCHDOG_SECONDS: Final = 0.8
CUT_SECONDS: Final = 0.25
# So long before the limit (or at half of a short one) event streams are ended.
STREAM_SECONDS: Final = 0.3
# A terminal's Ctrl+C reaches the whole foreground group, and wrappers (npm, uv run, docker -it) pass it on once more
# to a child that has it already. Requests that close together are one request.
SAME_REQUEST_SECONDS: Final = 0.25
# A client that keeps its connection may have sent its next request just before it could know of the stop. Idle
# connections are kept this long at the end of a drain, so that such a request is answered rather than cut.
LINGER_SECONDS: Final = 0.1
# A loop that has seen a request's bytes needs so many rounds until the request exists: a Proactor's most.
LOOP_ROUNDS: Final = 3
# For how long nothing is accepted once the process has no descriptor left for one more connection.
PAUSE_SECONDS: Final = 1.0
# A client that was half way in when no more were admitted has so long to say the last word of TCP's handshake.
HANDSHAKE_SECONDS: Final = 0.01

# The signals that can stop a server here, those that do by default, and what does duty for names from elsewhere.
if sys.platform == "win32":
    # signal.SIGTERM exists on Windows but nothing outside the process can deliver it: TerminateProcess is not a
    # signal. https://docs.python.org/3/library/signal.html#signal.signal
    FAMILY = "windows"
    STOP_SIGNALS: tuple[str, ...] = ("SIGINT", "SIGBREAK")
    DEFAULT_SIGNALS: tuple[str, ...] = ("SIGINT", "SIGBREAK")
    USED_INSTEAD = "SIGBREAK"
else:
    FAMILY = "posix"
    STOP_SIGNALS: tuple[str, ...] = ("SIGTERM", "SIGINT", "SIGQUIT", "SIGHUP", "SIGUSR1", "SIGUSR2")
    DEFAULT_SIGNALS: tuple[str, ...] = ("SIGTERM", "SIGINT", "SIGQUIT")
    USED_INSTEAD = "SIGTERM"
# Names that mean a stop on some platform. One of these that is lacking here gets a warning; any other is an error.
KNOWN = frozenset({"SIGTERM", "SIGINT", "SIGQUIT", "SIGHUP", "SIGUSR1", "SIGUSR2", "SIGBREAK"})

logger = logging.getLogger("graceful" if __name__ == "__main__" else __name__)

Application = Callable[[Any, Any, Any], Awaitable[None]]
Message = MutableMapping[str, Any]
# A bound socket, or whom to ask for it once the application has started.
Listener = socket.socket | Callable[[], "Future[socket.socket]"]


# --- When to stop: the lifecycle ------------------------------------------------------------------------------------


class State(enum.Enum):
    STARTING = "starting"
    READY = "ready"
    DRAINING = "draining"
    STOPPED = "stopped"


class Policy(NamedTuple):
    """How a stop is carried out. `auto` lets a second interrupt force and ignores a second terminate."""

    drain_seconds: float = 10.0
    readiness_delay_seconds: float = 0.0
    second_signal: Literal["auto", "force", "ignore"] = "auto"


class Lifecycle:
    """Owner of the state. All methods may be called from every thread, none from a signal handler: they take a lock.

    Nothing is logged under that lock: a log that nobody reads blocks, and the watchdog needs the lock.
    """

    def __init__(self, policy: Policy | None = None, *, watchdog_seconds: float | None = None) -> None:
        """`watchdog_seconds` after the limit a watchdog ends the process; None is for an embedded server."""
        self.policy = policy or Policy()
        self.state = State.STARTING
        self.forced = False
        self.exit_code = EXIT_CUT  # until `mark_stopped` or `close` has said better
        self.in_flight: int | None = 0  # kept by whoever counts the requests; None where nobody does
        self._last_resorts: list[Callable[[], None]] = []
        self._changed = threading.Condition()
        self._limit = math.inf
        self._requested = self._unready_until = 0.0
        self._patient = False
        self._listeners: list[Callable[[], object]] = []
        if watchdog_seconds is not None:  # begun now, since at the end there may be no thread left to begin
            threading.Thread(target=self._watchdog, args=(watchdog_seconds,), name="watchdog", daemon=True).start()

    @property
    def stopping(self) -> bool:
        return self.state in (State.DRAINING, State.STOPPED)

    def seconds_left(self) -> float:
        """Seconds until requests are cut: infinite while no stop with a limit is requested, never negative."""
        return max(0.0, self._limit - time.monotonic())

    def listen(self, listener: Callable[[], object]) -> None:
        """Calls `listener` (which must not block) on a stop request, also a past one, and when the limit moves.

        A RuntimeError of it, as of an event loop that is closed, keeps no other listener from hearing of the stop.
        """
        with self._changed:
            self._listeners.append(listener)
            if self.stopping:
                self._tell(listener)

    def at_last_resort(self, callback: Callable[[], None]) -> None:
        """Has the watchdog call this before it ends the process, whether or not it raises."""
        self._last_resorts.append(callback)

    def wait(self, state: State, timeout: float | None = None) -> State:
        """Waits while the state is `state`, at most for so many seconds; returns the state then."""
        with self._changed:
            self._changed.wait_for(lambda: self.state is not state, timeout)
            return self.state

    def mark_ready(self) -> None:
        """The process serves and its stop signals are handled: logs the ready mark, unless a stop came first."""
        with self._changed:
            if self.state is not State.STARTING:
                return
            self.state = State.READY
            self._changed.notify_all()
        logger.info("ready pid=%d", os.getpid())

    def request_stop(self, reason: str, *, interrupt: bool = False) -> None:
        """Starts the drain, or counts as a further request. `interrupt` tells a Ctrl+C from a polite request."""
        with self._changed:
            now = time.monotonic()
            first = not self.stopping or self._patient
            if self.state is State.STOPPED or (not first and now - self._requested < SAME_REQUEST_SECONDS):
                return
            if first:
                self._drain(now, patient=False)
        choice = self.policy.second_signal
        if first:
            logger.info("stop requested by %s; requests in flight have %g s", reason, self.policy.drain_seconds)
        elif choice == "force" or (choice == "auto" and interrupt):
            self.force(f"second stop request ({reason})")
        else:
            logger.info("further stop request (%s) ignored: already draining", reason)

    def request_drain(self, reason: str) -> None:
        """A stop without a limit, which a stop request that follows sets. While stopping it does nothing."""
        with self._changed:
            before = self.state
            if first := not self.stopping:
                self._drain(time.monotonic(), patient=True)
        if first:
            logger.info("drain requested by %s; requests in flight have no limit", reason)
        else:
            logger.info("drain request (%s) ignored: already %s", reason, before.value)

    def _drain(self, now: float, *, patient: bool) -> None:
        if not self.stopping:
            self.state = State.DRAINING
            self._unready_until = now + self.policy.readiness_delay_seconds
        self._patient = patient
        self._requested = now
        self._limit = math.inf if patient else max(now, self._unready_until) + self.policy.drain_seconds
        self._tell(*self._listeners)

    def force(self, reason: str) -> None:
        """Moves the limit to now. A stop that was not requested yet is requested by it."""
        with self._changed:
            if self.state is State.STOPPED or self.forced:
                return
            now = time.monotonic()
            if not self.stopping:
                self._drain(now, patient=False)
            self.forced, self._patient, self._limit = True, False, now
            self._tell(*self._listeners)
        logger.warning("%s: requests in flight are cut now", reason)

    def _tell(self, *listeners: Callable[[], object]) -> None:
        for listener in listeners:
            with contextlib.suppress(RuntimeError):
                listener()
        self._changed.notify_all()

    def mark_stopped(self, exit_code: int) -> None:
        """The server is done; logs the mark, `stopped` only if nothing was cut. Later requests do nothing."""
        self.close(exit_code)
        if exit_code in (EXIT_OK, EXIT_START_FAILED):
            logger.info("%s pid=%d", "failed to start" if exit_code else "stopped", os.getpid())
        else:
            logger.warning("cut short pid=%d: exit code %d", os.getpid(), exit_code)

    def close(self, exit_code: int) -> None:
        """As `mark_stopped`, without a mark: for a process that has served nothing itself, and after a Ctrl+C."""
        with self._changed:
            self.state, self.exit_code = State.STOPPED, exit_code
            if self._patient:  # from here on the watchdog has something to watch
                self._limit = time.monotonic()
            self._changed.notify_all()

    def _watchdog(self, margin: float) -> None:
        """Runs to the end of the process: a thread that was left behind may hold up even the interpreter's exit."""
        with self._changed:
            while (left := self._limit + margin - time.monotonic()) > 0:
                self._changed.wait(left if left < math.inf else None)  # wait(inf) raises OverflowError
        for callback in self._last_resorts:
            with contextlib.suppress(Exception):
                callback()
        name = logger.name.partition(".")[0]
        leave(self.exit_code, f"{name}: WARNING: still busy after the drain limit, leaving pid={os.getpid()}")


def leave(exit_code: int, message: str = "") -> None:
    """Ends the process within 0.2 s: no `finally`, no joining of threads: a blocked one would never end."""

    def last_words() -> None:  # around logging: its lock may be held by a loop that writes into a full pipe
        if message:
            os.write(2, f"{message}\n".encode())
        sys.stderr.flush()
        sys.stdout.flush()

    speaker = threading.Thread(target=last_words, daemon=True)
    with contextlib.suppress(RuntimeError):  # no thread can be started
        speaker.start()
        speaker.join(0.2)
    os._exit(exit_code)


# --- Who asks for it: stop signals ----------------------------------------------------------------------------------


class Choice(NamedTuple):
    """Signals to handle here, and the names asked for that this platform lacks."""

    names: tuple[str, ...]
    lacking: tuple[str, ...] = ()

    def warning(self) -> str:
        return f"{', '.join(self.lacking)}: not delivered on this platform; {USED_INSTEAD} is used instead"


def choose(text: str) -> Choice:
    """Reads `SIGTERM,SIGINT` or `none`. ValueError names what this platform has."""
    asked = [name.strip().upper() for name in text.split(",") if name.strip()]
    if asked == ["NONE"]:
        return Choice(())
    unknown = [name for name in asked if name not in KNOWN]
    if unknown or not asked:
        what = f"unknown signal {', '.join(unknown)}" if unknown else "no signal named"
        raise ValueError(f"{what}; this platform has {', '.join(STOP_SIGNALS)}, or none")
    here = [name if name in STOP_SIGNALS else USED_INSTEAD for name in asked]
    return Choice(tuple(dict.fromkeys(here)), tuple(name for name in asked if name not in STOP_SIGNALS))


class SignalWatch:
    """Holds the stop signals of the process from `with` on; a signal that comes before `deliver` is kept for it.

    Python's C-level handler writes the signal's number to a socket at once (`signal.set_wakeup_fd`), and a thread reads
    it there. `loop.add_signal_handler` raises NotImplementedError on every Windows loop, and notices nothing while the
    loop is blocked; a handler of `signal.signal` runs in the main thread only, between two bytecodes, and no signal
    wakes a Windows Selector loop (https://github.com/python/cpython/issues/101166).

    In a thread that is not the main one Python allows no handlers: `deliver` says so, and nothing else happens.
    """

    def __init__(self, names: Iterable[str]) -> None:
        self._names = tuple(names)
        self._reader, self._writer = socket.socketpair()
        self._writer.setblocking(False)  # set_wakeup_fd demands it
        self._before: dict[int, Any] = {}
        self._relaying = self._delivering = self._silenced = False
        self._possible = threading.current_thread() is threading.main_thread()

    def __enter__(self) -> SignalWatch:
        if self._possible and self._names:
            for name in self._names:
                self._take(signal.Signals[name])
            self._arm()
        return self

    def __exit__(self, *_: object) -> None:
        """What was there before is restored, unless `silence` was called."""
        if self._before:
            signal.set_wakeup_fd(-1)
        for number in list(self._before):
            self._give_back(number)
        self._writer.close()  # the reading thread sees the end and leaves
        if not self._delivering:
            self._reader.close()

    def _take(self, number: signal.Signals) -> None:
        self._before[number] = signal.signal(number, self._handle)

    def _give_back(self, number: int) -> None:
        before = self._before.pop(number)
        if not self._silenced:  # None: installed by C code, which Python cannot install again
            signal.signal(number, signal.SIG_DFL if before is None else before)

    def _arm(self) -> None:
        signal.set_wakeup_fd(self._writer.fileno(), warn_on_full_buffer=False)

    def _handle(self, number: int, frame: object) -> None:
        """Nothing is left to do for the main thread, except while something else has the wakeup descriptor."""
        if self._relaying:
            with contextlib.suppress(BlockingIOError):
                self._writer.send(bytes([number]))

    @contextlib.contextmanager
    def relaying(self) -> Iterator[None]:
        """For code that takes the wakeup descriptor away, as a Proactor loop does when it is made.

        https://github.com/python/cpython/blob/3.14/Lib/asyncio/proactor_events.py (BaseProactorEventLoop.__init__)
        """
        self._relaying = True
        try:
            yield
        finally:
            if self._before:
                self._arm()
            self._relaying = False

    def deliver(self, lifecycle: Lifecycle, *, instead: object = None) -> None:
        """Requests a stop from now on, also for earlier signals. `instead` is what else can stop the server."""
        if self._names and not self._possible:
            besides = f"; {instead} can stop the server" if instead else ""
            logger.warning("not in the main thread: %s cannot be handled here%s", ", ".join(self._names), besides)
        self._delivering = True
        threading.Thread(target=self._read, args=(lifecycle,), name="stop-signals", daemon=True).start()

    def _read(self, lifecycle: Lifecycle) -> None:
        with self._reader:
            while numbers := self._reader.recv(64):
                for number in numbers:  # also of signals that others have a handler for
                    if number in self._before:
                        name = signal.Signals(number).name
                        lifecycle.request_stop(name, interrupt=name == "SIGINT")

    def silence(self) -> None:
        """The server is done: a late signal must not turn its exit code into a death by signal.

        When the interpreter ends it gives handled signals back to their default action, but leaves ignored ones alone
        (https://github.com/python/cpython/blob/3.14/Modules/signalmodule.c, _PySignal_Fini).
        """
        for number in self._before:
            signal.signal(number, signal.SIG_IGN)
        self._silenced = True


# --- What it must wait for: requests and connections ----------------------------------------------------------------

CLOSE: Final = (b"connection", b"close")


class InFlight:
    """ASGI middleware, outermost: a request is in flight from its head to the last byte given to uvicorn.

    While the server drains, every response that begins says `Connection: close`: a client that keeps its connection
    learns that way to go elsewhere, instead of losing its next request to a closing connection.
    """

    def __init__(self, app: Application, lifecycle: Lifecycle, ready: str = "") -> None:
        self._app = app
        self._lifecycle = lifecycle
        self._ready = ready
        self._tasks: set[asyncio.Task[Any]] = set()
        self._streams: set[asyncio.Task[Any]] = set()  # event streams that have begun
        self._cutting = False
        self._begun = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()

    async def idle(self) -> None:
        await self._idle.wait()

    async def another(self, seconds: float) -> bool:
        """Waits up to `seconds` for a new request to begin."""
        self._begun.clear()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                return await self._begun.wait()
        return False

    def end_streams(self) -> None:
        """A client of an event stream asks again when it ends; one that is cut in the middle of it is an error."""
        for task in self._streams:
            task.cancel()

    def cut(self) -> int:
        """Ends all requests; returns how many there were."""
        self._cutting = True
        for task in self._tasks:
            task.cancel()
        return len(self._tasks)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        task = asyncio.current_task()
        stopping = self._lifecycle.stopping
        if scope["type"] == "lifespan" or task is None:
            await self._app(scope, receive, send)
        elif stopping and scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1012})
        elif stopping and self._ready and scope["path"] == self._ready:
            await _refuse(send, "stopping")
        else:
            await self._serve(task, scope, receive, send)

    async def _serve(self, task: asyncio.Task[Any], scope: Any, receive: Any, send: Any) -> None:
        answered = False

        async def reply(message: Message) -> None:
            nonlocal answered
            if message["type"] == "http.response.start":
                answered = True
                headers = list(message.get("headers", ()))
                if self._lifecycle.stopping and CLOSE not in headers:
                    message["headers"] = [*headers, CLOSE]
                if any(name.lower() == b"content-type" and b"event-stream" in value for name, value in headers):
                    self._streams.add(task)
            await send(message)

        self._tasks.add(task)
        self._lifecycle.in_flight = len(self._tasks)
        self._idle.clear()
        self._begun.set()
        try:
            await self._app(scope, receive, reply)
        except asyncio.CancelledError:
            if self._cutting:
                if not answered and scope["type"] == "http":
                    await _refuse(send, "the server stopped before this request was done")
            elif task in self._streams and self._lifecycle.stopping:
                await send({"type": "http.response.body"})
            else:
                raise
        finally:
            self._tasks.discard(task)
            self._streams.discard(task)
            self._lifecycle.in_flight = len(self._tasks)
            if not self._tasks:
                self._idle.set()


async def _refuse(send: Any, reason: str) -> None:
    body = json.dumps({"error": reason}).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode()), CLOSE]
    await send({"type": "http.response.start", "status": 503, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def bind(host: str, port: int) -> socket.socket:
    """A socket bound but not listening: nobody can connect before it is served. OSError if the port is taken.

    POSIX: SO_REUSEADDR, since connections of a server before may still be in TIME_WAIT. Windows: SO_EXCLUSIVEADDRUSE,
    since there SO_REUSEADDR would let two servers listen on one port
    (https://learn.microsoft.com/windows/win32/winsock/using-so-reuseaddr-and-so-exclusiveaddruse).
    """
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    family, kind, protocol, _, address = found[0]
    sock = socket.socket(family, kind, protocol)
    try:
        if sys.platform == "win32":
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_EXCLUSIVEADDRUSE, 1)
        else:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind(address)
    except OSError:
        sock.close()
        raise
    return sock


def admit_no_more(sock: socket.socket) -> bool:
    """No connection that begins after this gets into the listening socket's queue, where `close` would reset it.

    Linux alone has a way: a classic BPF program of four instructions (<linux/filter.h>) that keeps nothing of a packet
    with SYN among its TCP flags. So the client is not answered, and is refused when it asks again.
    """
    if sys.platform == "linux":
        instructions = (0x30, 0, 0, 13, 0x45, 0, 1, 2, 0x06, 0, 0, 0, 0x06, 0, 0, 2**32 - 1)
        program = ctypes.create_string_buffer(struct.pack("=" + "HBBI" * 4, *instructions))
        with contextlib.suppress(OSError):  # a container may forbid it, or the socket is closed
            sock.setsockopt(socket.SOL_SOCKET, 26, struct.pack("HP", 4, ctypes.addressof(program)))  # SO_ATTACH_FILTER
            return True
    return False


class Acceptor:
    """Listens on `sock`, which other processes may share, and calls `adopt` in the running loop for each connection.

    Where the loop can watch a socket it does; else (a Proactor loop) a thread watches it. asyncio's own servers drop
    connections that were accepted a moment before their `close`, and a Proactor loop binds a listening socket to a
    completion port of its own, of which the kernel knows one for all processes that share it
    (https://learn.microsoft.com/windows/win32/fileio/createiocompletionport, remarks).
    """

    def __init__(self, sock: socket.socket, adopt: Callable[[socket.socket], None], backlog: int) -> None:
        self._sock = sock
        self._adopt = adopt
        self._loop = asyncio.get_running_loop()
        self._thread: threading.Thread | None = None
        sock.setblocking(False)
        sock.listen(backlog)
        try:
            self._loop.add_reader(sock, self._accept)
        except NotImplementedError:
            self._waker, self._wakened = socket.socketpair()
            self._thread = threading.Thread(target=self._watch, name="accept", daemon=True)
            self._thread.start()

    async def close(self) -> None:
        """Adopts what the kernel has accepted already; from then on it refuses. A second call does nothing."""
        if admit_no_more(self._sock):
            await asyncio.sleep(HANDSHAKE_SECONDS)
        if self._sock.fileno() == -1:
            return
        if self._thread is None:
            self._loop.remove_reader(self._sock)
        else:
            self._waker.close()
            self._thread.join()
            self._wakened.close()
        self._take_all(self._adopt)
        self._sock.close()
        await asyncio.sleep(0)  # for what the thread has handed over last

    def _take_all(self, adopt: Callable[[socket.socket], None]) -> bool:
        """Takes the connections that the kernel has established already; False if it could not take one more."""
        while True:
            try:
                connection, _ = self._sock.accept()
            except BlockingIOError:
                return True  # none, or another worker was faster
            except ConnectionError:
                continue  # that client is gone again; there may be others
            except OSError as error:  # no descriptor is left
                logger.warning("connections wait that cannot be accepted: %s", error)
                return False
            connection.setblocking(False)
            adopt(connection)

    def _adopt_from_thread(self, connection: socket.socket) -> None:
        self._loop.call_soon_threadsafe(self._adopt, connection)

    def _accept(self) -> None:
        if not self._take_all(self._adopt):
            self._loop.remove_reader(self._sock)
            self._loop.call_later(PAUSE_SECONDS, self._resume)

    def _resume(self) -> None:
        if self._sock.fileno() != -1:
            self._loop.add_reader(self._sock, self._accept)

    def _watch(self) -> None:
        while True:
            ready, _, _ = select.select([self._sock, self._wakened], [], [])
            if self._wakened in ready:
                return
            if not self._take_all(self._adopt_from_thread):
                select.select([self._wakened], [], [], PAUSE_SECONDS)


# --- Serving it: uvicorn, and what of it is no public interface ------------------------------------------------------

# Everything that is used of uvicorn beyond its documented settings. Connections are counted here and not by uvicorn:
# asyncio itself calls `connection_lost`, so that a drain cannot wait for one that uvicorn counts in another way.
PRIVATE: Final = {
    "config:Config": ("load", "lifespan_class", "http_protocol_class", "ws_protocol_class", "encoded_headers"),
    "server:ServerState": ("connections", "default_headers"),
    "lifespan.on:LifespanOn": ("startup", "shutdown", "should_exit", "state"),
    "protocols.http.h11_impl:H11Protocol": (
        "connection_made",
        "connection_lost",
        "handle_websocket_upgrade",
        "shutdown",
    ),
}
OLDEST: Final = (0, 29)


class Unsuitable(Exception):
    """There is no uvicorn here that this can use."""


@functools.cache
def check_uvicorn() -> None:
    """Imports it, which takes time, and looks at what is used of it. Raises Unsuitable."""
    try:
        import uvicorn
        from uvicorn.protocols.http.h11_impl import H11Protocol

        config = uvicorn.Config(_nothing, log_config=None, ws="none")
        config.load()
        made: dict[str, Any] = {"config:Config": config, "protocols.http.h11_impl:H11Protocol": H11Protocol}
        for path, names in PRIVATE.items():
            module, _, kind = path.partition(":")
            thing = made.get(path) or getattr(importlib.import_module(f"uvicorn.{module}"), kind)
            thing = thing(config) if path.startswith("lifespan") else thing() if path.startswith("server") else thing
            lacking = [name for name in names if not hasattr(thing, name)]
            if lacking:
                raise Unsuitable(f"uvicorn {uvicorn.__version__} has no {kind}.{lacking[0]}, which graceful.py needs")
        wanted = {"config", "server_state", "app_state"}
        if wanted - set(inspect.signature(H11Protocol).parameters):
            raise Unsuitable(f"uvicorn {uvicorn.__version__}: H11Protocol does not take {', '.join(sorted(wanted))}")
        if tuple(map(int, uvicorn.__version__.split(".")[:2])) < OLDEST:
            raise Unsuitable(f"uvicorn {uvicorn.__version__} is too old; expected 0.29 or later")
    except (ImportError, AttributeError, TypeError) as error:
        raise Unsuitable(f"graceful.py cannot use the uvicorn that is installed: {error}") from error


async def _nothing(scope: Any, receive: Any, send: Any) -> None: ...


def mute_uvicorn() -> None:
    """It logs a traceback for every task that is cancelled."""
    logging.getLogger("uvicorn.error").setLevel(logging.CRITICAL + 1)


class Engine:
    """Serves `app` until the lifecycle is asked to stop. Made inside the running loop.

    `wrap` makes of uvicorn's HTTP protocol class another one; `settings` are uvicorn's.
    """

    def __init__(
        self,
        app: Application,
        lifecycle: Lifecycle,
        *,
        ready: str = "",
        wrap: Callable[[Any], Any] = lambda implementation: implementation,
        **settings: Any,
    ) -> None:
        import uvicorn
        import uvicorn.server

        check_uvicorn()
        self.lifecycle = lifecycle
        self.in_flight = InFlight(app, lifecycle, ready)
        defaults = {"log_config": None, "access_log": False, "server_header": False}
        self.config = uvicorn.Config(self.in_flight, interface="asgi3", **{**defaults, **settings})
        self.config.load()
        self.lifespan = self.config.lifespan_class(self.config)
        self.state = uvicorn.server.ServerState()
        self.connections: set[Any] = set()
        self._none_left = asyncio.Event()
        self._http = self._counted(wrap(self.config.http_protocol_class))
        if self.config.ws_protocol_class is not None:
            self._websocket: Any = self._counted(self.config.ws_protocol_class)
            self.config.ws_protocol_class = self._websocket
        else:
            self._websocket = ()
        self._acceptor: Acceptor | None = None
        self._adopting: set[asyncio.Task[None]] = set()
        self._stop = asyncio.Event()
        self._limit_moved = asyncio.Event()
        self._exit_code = EXIT_OK

    def _counted(self, implementation: Any) -> Any:
        connections, none_left = self.connections, self._none_left

        class Counted(implementation):  # type: ignore[misc]
            def connection_made(self, transport: Any) -> None:
                connections.add(self)
                super().connection_made(transport)

            def connection_lost(self, error: Exception | None) -> None:
                super().connection_lost(error)
                self.gone()

            def gone(self) -> None:
                connections.discard(self)
                if not connections:
                    none_left.set()

            def handle_websocket_upgrade(self, *event: Any) -> None:
                super().handle_websocket_upgrade(*event)  # from here on the transport has another protocol
                self.gone()

        return Counted

    async def run(self, listener: Listener) -> int:
        """Returns the exit code. Never raises on a stop; a failed start is logged and is an exit code, too."""
        loop = asyncio.get_running_loop()
        self.lifecycle.listen(lambda: loop.call_soon_threadsafe(self._notice))
        starting = asyncio.create_task(self.lifespan.startup())
        await _first(starting, self._stop)
        if not starting.done():
            mute_uvicorn()
            starting.cancel()
            return EXIT_OK
        if self.lifespan.should_exit:
            logger.error("cannot serve: the application's startup failed")
            return EXIT_START_FAILED
        clock = asyncio.create_task(self._tick())
        try:
            if (sock := await self._bound(listener)) is not None:
                self._acceptor = Acceptor(sock, self._adopt, self.config.backlog)
            self.lifecycle.mark_ready()
            await self._stop.wait()
        except OSError as error:
            logger.error("cannot serve: %s", error)
            await self.lifespan.shutdown()
            return EXIT_START_FAILED
        finally:
            clock.cancel()
        await self._shut_down()
        return self._exit_code

    def _notice(self) -> None:
        self._stop.set()
        self._limit_moved.set()

    async def _bound(self, listener: Listener) -> socket.socket | None:
        """None if a stop came first."""
        if isinstance(listener, socket.socket):
            return listener
        coming = asyncio.wrap_future(listener())
        await _first(coming, self._stop)
        if coming.done():
            return coming.result()
        coming.cancel()
        return None

    def _adopt(self, connection: socket.socket) -> None:
        """Serves a connection from now on."""

        async def connect() -> None:
            with contextlib.suppress(OSError):  # gone before it was served
                await asyncio.get_running_loop().connect_accepted_socket(self._protocol, connection)

        task = asyncio.create_task(connect())
        self._adopting.add(task)
        task.add_done_callback(self._adopting.discard)

    def _protocol(self) -> Any:
        return self._http(config=self.config, server_state=self.state, app_state=self.lifespan.state)

    async def _tick(self) -> None:
        """Once a second: the Date header, and whatever else `tick` has to do."""
        while True:
            date = [(b"date", formatdate(usegmt=True).encode())] if self.config.date_header else []
            self.state.default_headers = date + self.config.encoded_headers
            self.tick()
            await asyncio.sleep(1)

    def tick(self) -> None: ...

    async def _shut_down(self) -> None:
        """The drain: at most the lifecycle's limit, then at most 0.8 s more."""
        drain = asyncio.create_task(self._drain())
        warning = min(STREAM_SECONDS, self.lifecycle.policy.drain_seconds / 2)
        while not drain.done() and (left := self.lifecycle.seconds_left()) > 0:
            self._limit_moved.clear()
            if left <= warning:
                self.in_flight.end_streams()
            until = left - warning if left > warning else left
            await _first(drain, self._limit_moved, until if until < math.inf else None)
        if drain.done():
            await drain
            return
        drain.cancel()
        await self._cut()

    async def _drain(self) -> None:
        await asyncio.sleep(self.lifecycle.policy.readiness_delay_seconds)
        await self._close_listener()
        await asyncio.gather(*self._adopting)
        for connection in list(self.connections):
            if isinstance(connection, self._websocket):
                connection.shutdown()  # with 1012
        await self.in_flight.idle()
        while self.connections and await self.in_flight.another(LINGER_SECONDS):
            await self.in_flight.idle()
        for _ in range(LOOP_ROUNDS):
            await asyncio.sleep(0)
        await self._close_connections()  # a slow reader's response is done when it has left this process
        await self.lifespan.shutdown()

    async def _cut(self) -> None:
        mute_uvicorn()
        self._exit_code = EXIT_CUT
        await self._close_listener()
        connections = len(self.connections) + len(self._adopting)
        requests = self.in_flight.cut()
        if connections or requests:
            logger.warning("requests cut: %d, connections closed: %d", requests, connections)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(CUT_SECONDS):
                await self.in_flight.idle()
                await self._close_connections()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(CUT_SECONDS):
                await self.lifespan.shutdown()
                if not (connections or requests):
                    self._exit_code = EXIT_OK  # nobody was there who could have asked for something

    async def _close_listener(self) -> None:
        if self._acceptor is not None:
            await self._acceptor.close()

    async def _close_connections(self) -> None:
        for connection in list(self.connections):
            connection.shutdown()
        while self.connections:
            self._none_left.clear()
            await self._none_left.wait()


async def _first(future: asyncio.Future[Any], event: asyncio.Event, timeout: float | None = None) -> None:
    """Waits for the first of the two, at most so many seconds. `future` goes on."""
    other = asyncio.create_task(event.wait())
    both: list[asyncio.Future[Any]] = [future, other]
    await asyncio.wait(both, timeout=timeout, return_when=asyncio.FIRST_COMPLETED)
    other.cancel()


def loop_factory(name: str) -> Callable[[], asyncio.AbstractEventLoop]:
    """`proactor`, `selector`, or `auto` for the platform's own default. ValueError where there is no such loop."""
    proactor: Any = getattr(asyncio, "ProactorEventLoop", None)  # POSIX has no such attribute at all
    if name == "proactor" and proactor is None:
        raise ValueError("the proactor loop exists on Windows only; use auto or selector")
    return asyncio.SelectorEventLoop if name == "selector" or proactor is None else proactor


def serve(
    make: Callable[[], Engine],
    lifecycle: Lifecycle,
    listener: Listener,
    *,
    loop: str = "auto",
    watch: SignalWatch | None,
) -> int:
    """Serves until a stop, in any thread; returns the exit code, with the mark logged. KeyboardInterrupt ends it at
    once, without a mark.
    """

    async def main() -> int:
        try:
            code = await make().run(listener)
        except asyncio.CancelledError:  # Ctrl+C, where nobody handles signals
            mute_uvicorn()
            lifecycle.close(EXIT_INTERRUPTED)
            raise
        lifecycle.mark_stopped(code)
        return code

    if lifecycle.state is not State.STARTING:
        lifecycle.mark_stopped(EXIT_OK)
        return EXIT_OK
    with asyncio.Runner(loop_factory=loop_factory(loop)) as runner:
        with watch.relaying() if watch else contextlib.nullcontext():
            runner.get_loop()
        return runner.run(main())


def run(
    app: Application | str,
    lifecycle: Lifecycle | None = None,
    *,
    host: str = "127.0.0.1",
    port: int = 8080,
    ready: str = "",
    signals: Iterable[str] = DEFAULT_SIGNALS,
    loop: str = "auto",
    **settings: Any,
) -> int:
    """Serves an application, or `module:attribute`, until a stop signal and a drain; returns the exit code.

    `ready` is the path that answers 503 from then on; `settings` are uvicorn's. A process that has more to do than
    to serve gives a lifecycle without a watchdog.
    """
    own = lifecycle or Lifecycle(watchdog_seconds=WATCHDOG_SECONDS)
    with SignalWatch(signals) as watch:
        watch.deliver(own)
        try:
            check_uvicorn()
            served = _imported(app) if isinstance(app, str) else app
            sock = bind(host, port)
        except Exception as error:
            known = isinstance(error, OSError | Unsuitable)
            logger.error("cannot serve on %s port %d: %s", host, port, error, exc_info=not known)
            return EXIT_START_FAILED
        code = serve(lambda: Engine(served, own, ready=ready, **settings), own, sock, loop=loop, watch=watch)
        watch.silence()
    return code


def _imported(name: str) -> Application:
    module, _, attribute = name.partition(":")
    sys.path.insert(0, "")
    app: Application = getattr(importlib.import_module(module), attribute or "app")
    return app


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="graceful.py", description="Serves an ASGI application, and stops it well.")
    parser.add_argument("app", help="module:attribute")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8080)
    parser.add_argument("--ready", default="", help="path that answers 503 from a stop on")
    parser.add_argument("--drain-seconds", type=float, default=10.0)
    parser.add_argument("--readiness-delay-seconds", type=float, default=0.0)
    parser.add_argument("--second-signal", choices=("auto", "force", "ignore"), default="auto")
    parser.add_argument("--signals", type=choose, default=Choice(DEFAULT_SIGNALS), help="SIGTERM,SIGINT or none")
    parser.add_argument("--loop", choices=("auto", "proactor", "selector"), default="auto")
    asked = parser.parse_args(arguments)
    logging.basicConfig(format="%(name)s: %(levelname)s: %(message)s")
    logger.setLevel(logging.INFO)
    if asked.signals.lacking:
        logger.warning("%s", asked.signals.warning())
    policy = Policy(asked.drain_seconds, asked.readiness_delay_seconds, asked.second_signal)
    lifecycle = Lifecycle(policy, watchdog_seconds=WATCHDOG_SECONDS)
    how = {"host": asked.host, "port": asked.port, "ready": asked.ready, "loop": asked.loop}
    code = run(asked.app, lifecycle, signals=asked.signals.names, **how)
    if code == EXIT_CUT:
        leave(code)  # a thread may still be busy, and the interpreter would wait for it
    return code


if __name__ == "__main__":
    sys.exit(main())
