"""Uvicorn as HTTP engine, and nothing more: when to start, how to drain and when to leave is decided here and in the
lifecycle.

Connections come from acceptor.py. Of uvicorn these methods are replaced: `capture_signals` (it would take the
signals), `main_loop` (it polls `should_exit` ten times a second) and `shutdown` (it logs a traceback for every
request it cancels, and waits a tenth of a second for nothing).
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import socket
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future
from typing import Any, Final

import uvicorn

from reference_server import processes
from reference_server.acceptor import Acceptor
from reference_server.http import protocol_class
from reference_server.inflight import Application, InFlight
from reference_server.lifecycle import (
    DEFAULT_SIGNALS,
    EXIT_CUT,
    EXIT_INTERRUPTED,
    EXIT_OK,
    EXIT_START_FAILED,
    Lifecycle,
    State,
)
from reference_server.limits import Limits
from reference_server.signals import SignalWatch

# A client that keeps its connection may have sent its next request just before it could know of the stop. Idle
# connections are kept this long at the end of a drain, so that such a request is answered rather than cut.
LINGER_SECONDS: Final = 0.1
# A loop that has seen a request's bytes needs so many rounds until the request exists: a Proactor's most. Closing its
# connection before that would lose it.
LOOP_ROUNDS: Final = 3
# After a cut: for the 503 responses to get out, and for the models to unload. Together less than
# lifecycle.WATCHDOG_SECONDS.
CUT_SECONDS: Final = 0.25

# A bound socket, or whom to ask for it once the application is loaded.
Listener = socket.socket | Callable[[], Future[socket.socket]]
LoopFactory = Callable[[], asyncio.AbstractEventLoop]

logger = logging.getLogger("reference_server")


def loop_factory(name: str) -> LoopFactory:
    """`proactor`, `selector`, or `auto` for the platform's own default. ValueError where there is no such loop."""
    # On POSIX asyncio has no such attribute at all.
    proactor: LoopFactory | None = getattr(asyncio, "ProactorEventLoop", None)
    if name == "proactor" and proactor is None:
        raise ValueError("the proactor loop exists on Windows only; use auto or selector")
    return asyncio.SelectorEventLoop if name == "selector" or proactor is None else proactor


class StartError(Exception):
    """The application's startup failed; uvicorn has logged why."""


class Connections(set[Any]):
    """Uvicorn's set of open connections, which tells when the last one is gone."""

    def __init__(self) -> None:
        super().__init__()
        self.none_left = asyncio.Event()

    def discard(self, connection: Any) -> None:
        super().discard(connection)
        if not self:
            self.none_left.set()

    async def gone(self) -> None:
        while self:
            self.none_left.clear()
            await self.none_left.wait()


class Engine(uvicorn.Server):
    """Serves `app` on a bound socket until the lifecycle is asked to stop. Made inside the running loop."""

    def __init__(self, app: Application, lifecycle: Lifecycle, limits: Limits) -> None:
        self.limits = limits
        self.in_flight = InFlight(app, lifecycle)
        config = uvicorn.Config(
            self.in_flight,
            interface="asgi3",
            ws="none",
            log_config=None,
            access_log=False,
            server_header=False,
            h11_max_incomplete_event_size=limits.head_bytes,
        )
        super().__init__(config)
        self.lifecycle = lifecycle
        self.connections = Connections()
        self.server_state.connections = self.connections
        self._listener: Listener
        self._acceptor: Acceptor | None = None
        self._adopting: set[asyncio.Task[None]] = set()
        self._stop = asyncio.Event()
        self._limit_moved = asyncio.Event()
        self._exit_code = EXIT_OK

    async def run_until_stopped(self, listener: Listener) -> int:
        """Returns the exit code. Never raises on a stop; a failed start is logged and is an exit code, too."""
        loop = asyncio.get_running_loop()
        self.lifecycle.listen(lambda: loop.call_soon_threadsafe(self._notice))
        self._listener = listener
        serving = asyncio.create_task(self.serve(sockets=[]))
        await _first(serving, self._stop)
        if not self.started and not serving.done():
            # Still in the application's startup. Uvicorn and Starlette would log the cancellation with a traceback.
            _mute_uvicorn()
            serving.cancel()
        # Not `await serving`: a Ctrl+C, which cancels this task, would look like the end of that one.
        await asyncio.wait({serving})
        try:
            if not serving.cancelled():
                serving.result()
        except (StartError, OSError) as error:
            logger.error("cannot serve: %s", error)
            self._exit_code = EXIT_START_FAILED
        if not self.started and not self.lifecycle.stopping:
            self._exit_code = EXIT_START_FAILED  # uvicorn < 0.35 returns where later ones raise
        return self._exit_code

    def _notice(self) -> None:
        self._stop.set()
        self._limit_moved.set()

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        try:
            await super().startup(sockets=[])
        except SystemExit:
            # Uvicorn's way to say it. Leaving a task, a SystemExit would tear down the loop.
            raise StartError("the application's startup failed") from None
        if self.started:
            await self.on_tick(0)
            if (sock := await self._bound()) is not None:
                self._acceptor = Acceptor(sock, self._adopt, self.config.backlog)

    async def _bound(self) -> socket.socket | None:
        """None if a stop came first."""
        if isinstance(self._listener, socket.socket):
            return self._listener
        coming = asyncio.wrap_future(self._listener())
        await _first(coming, self._stop)
        if coming.done():
            return coming.result()
        coming.cancel()
        return None

    def _adopt(self, connection: socket.socket) -> None:
        """Serves a connection from now on."""

        async def connect() -> None:
            with contextlib.suppress(OSError):  # gone before it was served
                await asyncio.get_running_loop().connect_accepted_socket(self._new_protocol, connection)

        task = asyncio.create_task(connect())
        self._adopting.add(task)
        task.add_done_callback(self._adopting.discard)

    def _new_protocol(self) -> asyncio.Protocol:
        implementation: Any = self.config.http_protocol_class
        make = protocol_class(implementation, self.limits)
        protocol: asyncio.Protocol = make(
            config=self.config, server_state=self.server_state, app_state=self.lifespan.state
        )
        return protocol

    async def main_loop(self) -> None:
        clock = asyncio.create_task(self._tick())
        self.lifecycle.mark_ready()
        await self._stop.wait()
        clock.cancel()

    async def _tick(self) -> None:
        """Uvicorn's `on_tick` keeps the Date header; at counts divisible by ten."""
        while True:
            await asyncio.sleep(1)
            await self.on_tick(0)
            now = asyncio.get_running_loop().time()
            for connection in list(self.connections):
                connection.expire(now)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """The drain: at most the lifecycle's limit, then at most 0.8 s more."""
        drain = asyncio.create_task(self._drain())
        while not drain.done() and (left := self.lifecycle.seconds_left()) > 0:
            self._limit_moved.clear()
            await _first(drain, self._limit_moved, left if left < math.inf else None)
        if drain.done():
            await drain
            return
        drain.cancel()
        await self._cut()

    async def _drain(self) -> None:
        await asyncio.sleep(self.lifecycle.policy.readiness_delay_seconds)
        await self._close_listener()
        await asyncio.gather(*self._adopting)
        await self.in_flight.idle()
        while self.connections and await self.in_flight.another(LINGER_SECONDS):
            await self.in_flight.idle()
        for _ in range(LOOP_ROUNDS):
            await asyncio.sleep(0)
        self._close_connections()
        await self.connections.gone()  # a slow reader's response is done when it has left this process
        await self.lifespan.shutdown()

    async def _cut(self) -> None:
        _mute_uvicorn()
        self._exit_code = EXIT_CUT
        await self._close_listener()
        connections = len(self.connections) + len(self._adopting)
        requests = self.in_flight.cut()
        if connections or requests:
            logger.warning("requests cut: %d, connections closed: %d", requests, connections)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(CUT_SECONDS):
                await self.in_flight.idle()
                self._close_connections()
                await self.connections.gone()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(CUT_SECONDS):
                await self.lifespan.shutdown()
                if not (connections or requests):
                    self._exit_code = EXIT_OK  # nobody was there who could have asked for something

    async def _close_listener(self) -> None:
        if self._acceptor is not None:
            await self._acceptor.close()
            await asyncio.sleep(0)  # for what its thread has handed over last

    def _close_connections(self) -> None:
        for connection in list(self.connections):
            connection.shutdown()


async def _first(future: asyncio.Future[Any], event: asyncio.Event, timeout: float | None = None) -> None:
    """Waits for the first of the two, at most so many seconds. `future` goes on."""
    other = asyncio.create_task(event.wait())
    both: list[asyncio.Future[Any]] = [future, other]
    await asyncio.wait(both, timeout=timeout, return_when=asyncio.FIRST_COMPLETED)
    other.cancel()


def _mute_uvicorn() -> None:
    logging.getLogger("uvicorn.error").setLevel(logging.CRITICAL + 1)


def serve(
    make_app: Callable[[], Application],
    lifecycle: Lifecycle,
    listener: Listener,
    *,
    loop: str = "auto",
    watch: SignalWatch | None = None,
    limits: Limits | None = None,
) -> int:
    """Serves until a stop, in any thread; returns the exit code, with the mark logged. KeyboardInterrupt ends it at
    once, without a mark.
    """

    async def main() -> int:
        try:
            code = await Engine(make_app(), lifecycle, limits or Limits()).run_until_stopped(listener)
        except asyncio.CancelledError:  # Ctrl+C, where nobody handles signals
            _mute_uvicorn()
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
    app: Application,
    lifecycle: Lifecycle,
    *,
    host: str = "127.0.0.1",
    port: int = 8080,
    signals: Iterable[str] = DEFAULT_SIGNALS,
    loop: str = "auto",
) -> int:
    """A server of your own: serves any ASGI application until a stop signal and a drain; returns the exit code."""
    try:
        sock = processes.bind(host, port)
    except OSError as error:
        logger.error("cannot listen on %s port %d: %s", host, port, error)
        return EXIT_START_FAILED
    with SignalWatch(signals) as watch:
        watch.deliver(lifecycle)
        code = serve(lambda: app, lifecycle, sock, loop=loop, watch=watch)
        watch.silence()
    return code
