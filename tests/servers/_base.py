"""An HTTP server that stops as a server should. The servers beside this file each spoil one piece of it,
which they mark as their `fault`.

On SIGTERM, SIGINT, SIGQUIT (Windows: CTRL_C, CTRL_BREAK) it closes its listener and its idle connections,
lets requests in flight finish for `--drain` seconds, ends streams that would last longer with their last
chunk, cuts the rest, prints `stopped pid=N` and exits 0. With `--workers N` a leader hands one listening
socket to N such processes and tells them through pipes to stop.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import select
import signal
import socket
import sys
import threading
from collections.abc import Callable, Coroutine, Iterable, Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

from _http import LAST_CHUNK, Request, chunk, head, parse

if TYPE_CHECKING:
    from multiprocessing.context import SpawnProcess

TICK = 0.1  # seconds between two events of a stream
LINGER = 0.1  # seconds a connection without a request yet gets at the stop to send it


class fault:
    """Marks what is wrong with a bad server: a method, or the value of an attribute.

    With FAULT=off in the environment the good server's own stands in its place, or what it is `instead_of`: the same
    program, with nothing else changed. Its worker processes inherit that.
    """

    def __init__(self, bad: Any, *, instead_of: Any = None) -> None:
        self.bad = bad
        self.good = instead_of

    def __set_name__(self, owner: type[Server], name: str) -> None:
        if os.environ.get("FAULT") != "off":
            setattr(owner, name, self.bad)
        elif self.good is not None:
            setattr(owner, name, self.good)
        else:
            delattr(owner, name)


class Settings(NamedTuple):
    port: int
    workers: int
    drain: float
    loop: str


class Client:
    """One connection. It is idle until the first byte of a request arrives, and again after each response."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.requests = 0
        self.idle = True
        self.streaming = False
        self.uploading = False
        self.task: asyncio.Task[None]
        self.writer: asyncio.StreamWriter | None = None


class Server:
    # Each platform knows some of these.
    handled: tuple[str, ...] = ("SIGINT", "SIGTERM", "SIGQUIT", "SIGBREAK")
    ignored: tuple[str, ...] = ()

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.stop_asked = asyncio.Event()
        self.deadline: float | None = None  # of the drain, on the loop's clock
        self.clients: set[Client] = set()
        self.workers: list[tuple[SpawnProcess, Any]] = []  # with the leader's end of its pipe
        self.workers_up = 0
        self.loop: asyncio.AbstractEventLoop
        self.listener: socket.socket
        self.doorbell: tuple[socket.socket, socket.socket]
        self.accepting_ended: asyncio.Event

    # The life of a serving process

    async def serve(self, listener: socket.socket, leader: Any = None) -> int:
        """`leader` is the pipe a worker hears from; without one this is the only process."""
        self.loop = asyncio.get_running_loop()
        self.listener = listener
        if leader is None:
            self.install_handlers()
        else:
            threading.Thread(target=self.obey, args=(leader,), daemon=True).start()
        self.start_accepting()
        say("started")
        self.after_start()
        await self.stop_asked.wait()
        await self.drain()
        if leader is None:
            self.remove_handlers()
        return 0

    async def drain(self) -> None:
        self.deadline = self.loop.time() + self.settings.drain
        await self.stop_accepting()
        self.close_listener()
        self.close_idle()
        await self.wait_for_requests()
        await self.cut_requests()
        await self.clean_up()

    def after_start(self) -> None:
        """For a server that does something beside serving."""

    async def clean_up(self) -> None:
        """For a server that does something behind its drain."""

    def say_stopped(self) -> None:
        say("stopped")

    # Stop requests

    def stop(self) -> None:
        self.stop_asked.set()

    def install_handlers(self) -> None:
        for number in known(self.ignored):
            signal.signal(number, signal.SIG_IGN)
        for number in known(self.handled):
            if sys.platform == "win32":  # no loop there has add_signal_handler
                signal.signal(number, lambda *_: self.loop.call_soon_threadsafe(self.stop))
            else:
                self.loop.add_signal_handler(number, self.stop)
        self.wake_on_signals()

    def wake_on_signals(self) -> None:
        """A Python handler waits until the main thread runs Python; no signal ends a select() on Windows.

        The Proactor loop sets a wake-up descriptor for that; the Selector loop does on POSIX only. A descriptor
        that cannot take another byte holds one, or another thread is writing one: no reason for a warning.
        """
        if sys.platform == "win32" and isinstance(self.loop, asyncio.SelectorEventLoop):
            heard, rung = self.doorbell = socket.socketpair()
            heard.setblocking(False)
            rung.setblocking(False)
            self.loop.add_reader(heard, heard.recv, 64)
            signal.set_wakeup_fd(rung.fileno(), warn_on_full_buffer=False)
        elif sys.platform == "win32":
            signal.set_wakeup_fd(signal.set_wakeup_fd(-1), warn_on_full_buffer=False)

    def remove_handlers(self) -> None:
        """Closing a loop restores the default action: a second request would kill what has drained well."""
        if sys.platform != "win32":
            for number in known(self.handled):
                self.loop.remove_signal_handler(number)
                signal.signal(number, signal.SIG_IGN)
        elif isinstance(self.loop, asyncio.SelectorEventLoop):
            signal.set_wakeup_fd(-1)

    # The listener

    def start_accepting(self) -> None:
        if sys.platform == "win32" and isinstance(self.loop, asyncio.ProactorEventLoop):
            # A socket belongs to one completion port for ever: workers' loops cannot share a listener.
            self.doorbell = socket.socketpair()
            self.accepting_ended = asyncio.Event()
            threading.Thread(target=self.accept_in_thread, daemon=True).start()
        else:
            self.loop.add_reader(self.listener, self.accept)

    def accept(self) -> None:
        for sock in waiting(self.listener):
            self.welcome(sock)

    def accept_in_thread(self) -> None:
        rung = False
        while not rung:
            rung = self.doorbell[0] in select.select([self.listener, self.doorbell[0]], [], [])[0]
            for sock in waiting(self.listener):
                self.loop.call_soon_threadsafe(self.welcome, sock)
        self.loop.call_soon_threadsafe(self.accepting_ended.set)

    async def stop_accepting(self) -> None:
        """Takes what waits in the backlog: closing the listener would reset it."""
        if sys.platform == "win32" and isinstance(self.loop, asyncio.ProactorEventLoop):
            self.doorbell[1].send(b"!")
            await self.accepting_ended.wait()
        else:
            self.loop.remove_reader(self.listener)
            self.accept()

    def close_listener(self) -> None:
        self.listener.close()

    # Connections

    def welcome(self, sock: socket.socket) -> None:
        client = Client(sock)
        client.task = self.loop.create_task(self.converse(client))
        self.clients.add(client)
        client.task.add_done_callback(lambda _: self.clients.discard(client))

    async def converse(self, client: Client) -> None:
        reader, writer = await asyncio.open_connection(sock=client.sock)
        client.writer = writer
        try:
            while await self.one_request(client, reader, writer) and self.keeps():
                client.idle = True
            writer.close()
            await writer.wait_closed()
        except (OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            pass  # the client left, or sent what is no HTTP
        finally:
            writer.transport.abort()

    def keeps(self) -> bool:
        """Whether a connection is kept behind an answer."""
        return self.deadline is None

    async def one_request(self, client: Client, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """Whether the connection stays open for another one."""
        first = await reader.read(1)
        if not first:
            return False
        client.idle = False
        client.requests += 1
        try:
            request = parse(first + await reader.readuntil(b"\r\n\r\n"))
            client.uploading = True
            body = await reader.readexactly(int(request.headers.get("content-length", "0")))
            client.uploading = False
        except ValueError:
            return await self.reply(writer, 400)
        if "transfer-encoding" in request.headers:
            return await self.reply(writer, 411)
        await self.answer(client, request, body, writer)
        return request.keep_alive

    async def answer(self, client: Client, request: Request, body: bytes, writer: asyncio.StreamWriter) -> None:
        match request.method, request.path:
            case "GET", "/health":
                await self.reply(writer, 200 if self.deadline is None else 503, request.keep_alive)
            case "GET", "/slow":
                await asyncio.sleep(request.seconds)
                await self.reply(writer, 200, request.keep_alive)
            case "GET", "/stream":
                client.streaming = True
                await self.stream(writer, request)
                client.streaming = False
            case "POST", "/predict":
                await self.reply(writer, 200, request.keep_alive, body)
            case _:
                await self.reply(writer, 404, request.keep_alive)

    async def reply(
        self, writer: asyncio.StreamWriter, status: int, keep_alive: bool = False, body: bytes = b""
    ) -> bool:
        body = body or b'{"status": %d}' % status
        keep_alive = keep_alive and self.keeps()
        writer.write(head(status, keep_alive, "application/json", f"Content-Length: {len(body)}") + body)
        await writer.drain()
        return keep_alive

    async def stream(self, writer: asyncio.StreamWriter, request: Request) -> None:
        keep_alive = request.keep_alive and self.keeps()
        writer.write(head(200, keep_alive, "text/event-stream", "Transfer-Encoding: chunked"))
        start = self.loop.time()
        end = start + request.seconds
        while (left := end - self.loop.time()) > 0 and not self.ends_early(end):
            writer.write(chunk(f"data: {self.loop.time() - start:.3f}\n\n".encode()))
            await writer.drain()
            await asyncio.sleep(min(TICK, left))
        writer.write(LAST_CHUNK)
        await writer.drain()

    def ends_early(self, end: float) -> bool:
        return self.deadline is not None and end > self.deadline

    # What a drain does with them

    def close_idle(self) -> None:
        for client in self.clients:
            if client.idle and client.requests:
                client.task.cancel()
        self.loop.call_later(LINGER, self.close_unused)

    def close_unused(self) -> None:
        for client in self.clients:
            if client.idle and not client.requests:
                client.task.cancel()

    async def wait_for_requests(self) -> None:
        assert self.deadline is not None
        await ended(self.clients, self.deadline - self.loop.time())

    async def cut_requests(self) -> None:
        await cut(self.clients)

    # Workers

    async def lead(self, listener: socket.socket) -> int:
        import multiprocessing  # slow to import, and only a leader needs it

        self.loop = asyncio.get_running_loop()
        self.listener = listener
        self.install_handlers()
        spawn = multiprocessing.get_context("spawn")
        deaths: list[asyncio.Future[Any]] = []
        try:
            for _ in range(self.settings.workers):
                theirs, ours = spawn.Pipe()
                process = spawn.Process(target=work, args=(type(self), self.settings, listener, theirs))
                process.start()
                theirs.close()
                self.workers.append((process, ours))
                deaths.append(self.loop.create_future())
                threading.Thread(target=self.watch, args=(process, ours, deaths[-1]), daemon=True).start()
            asked = self.loop.create_task(self.stop_asked.wait())
            await asyncio.wait([asked, *deaths], return_when=asyncio.FIRST_COMPLETED)
            self.close_listener()
            self.stop_workers()
            await asyncio.wait(deaths, timeout=self.settings.drain + 5)
        finally:
            for process, _ in self.workers:
                process.kill()
        self.remove_handlers()
        return int(any(not death.done() or death.result() for death in deaths))

    def watch(self, process: SpawnProcess, pipe: Any, death: asyncio.Future[Any]) -> None:
        """One thread of the leader for each worker."""
        with contextlib.suppress(EOFError, OSError):  # it died before it was up
            pipe.recv_bytes()
            self.loop.call_soon_threadsafe(self.worker_is_up)
        process.join()
        self.loop.call_soon_threadsafe(death.set_result, process.exitcode)

    def worker_is_up(self) -> None:
        """None serves before all are up: on Windows a stop request would end one that has not ignored it yet."""
        self.workers_up += 1
        if self.workers_up == self.settings.workers:
            self.tell_workers(b"serve")

    def stop_workers(self) -> None:
        self.tell_workers(b"stop")

    def tell_workers(self, order: bytes) -> None:
        for _, pipe in self.workers:
            with contextlib.suppress(OSError):  # that worker has died
                pipe.send_bytes(order)

    def obey(self, leader: Any) -> None:
        """A worker's second thread."""
        try:
            leader.recv_bytes()
        except (EOFError, OSError):
            self.leader_died()
        self.loop.call_soon_threadsafe(self.stop)

    def leader_died(self) -> None:
        os._exit(1)


def work(kind: type[Server], settings: Settings, listener: socket.socket, leader: Any) -> None:
    """A worker process. A console sends its requests to it too, but it listens to its leader only."""
    for number in known(kind.handled + kind.ignored):
        signal.signal(number, signal.SIG_IGN)
    try:
        leader.send_bytes(b"up")
        if leader.recv_bytes() == b"stop":
            return
    except (EOFError, OSError):  # the leader died
        sys.exit(1)
    server = kind(settings)
    code = run(server.serve(listener, leader), settings)
    server.say_stopped()
    sys.exit(code)


def main(kind: type[Server]) -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--drain", type=float, default=2.0)
    parser.add_argument("--loop", choices=["auto", "proactor", "selector"], default="auto")
    settings = Settings(**vars(parser.parse_args()))
    server = kind(settings)
    listener = listen(settings.port)
    if settings.workers > 1:
        sys.exit(run(server.lead(listener), settings))
    code = run(server.serve(listener), settings)
    server.say_stopped()
    sys.exit(code)


def listen(port: int) -> socket.socket:
    listener = socket.socket()
    if sys.platform != "win32":  # there the option would let two servers share the port
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind(("127.0.0.1", port))
    listener.listen(128)
    listener.setblocking(False)
    return listener


def run(life: Coroutine[Any, Any, int], settings: Settings) -> int:
    with asyncio.Runner(loop_factory=loop_factory(settings.loop)) as runner:
        return runner.run(life)


def loop_factory(name: str) -> Callable[[], asyncio.AbstractEventLoop]:
    if sys.platform == "win32" and name != "selector":
        return asyncio.ProactorEventLoop
    return asyncio.SelectorEventLoop


def known(names: Iterable[str]) -> list[signal.Signals]:
    return [signal.Signals[name] for name in names if name in signal.Signals.__members__]


def say(word: str) -> None:
    sys.stdout.write(f"{word} pid={os.getpid()}\n")  # one write: the lines of several processes do not mix
    sys.stdout.flush()


def waiting(listener: socket.socket) -> Iterator[socket.socket]:
    """Accepts the connections that wait in the backlog."""
    while True:
        try:
            sock, _ = listener.accept()
        except OSError:  # none waits, another worker was faster, or the client left
            return
        sock.setblocking(False)
        yield sock


async def ended(clients: Iterable[Client], seconds: float | None = None) -> None:
    if tasks := [client.task for client in clients]:
        await asyncio.wait(tasks, timeout=seconds)


async def cut(clients: Iterable[Client]) -> None:
    clients = list(clients)
    for client in clients:
        client.task.cancel()
    await ended(clients)
