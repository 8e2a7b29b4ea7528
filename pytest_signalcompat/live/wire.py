"""HTTP/1.1 on one connection, with every step stamped. h11 decides what the bytes mean; this file moves them.

Scenarios need what an ordinary client hides: a body held back, a connection left idle, the difference between a
refused, a reset, a silently closed and a truncated exchange, and when each step happened.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from time import perf_counter
from typing import Any

import h11
from msgspec.structs import replace

from ..model import Exchange, Role
from .waiting import first

CONNECT_LIMIT = 5.0  # seconds; Windows repeats a refused SYN for about two before it says so
READ_SIZE = 65536

Clock = Callable[[], float]


class Running:
    """An exchange that is under way: `fact` is what is known of it so far, on the clock of its server."""

    def __init__(self, role: Role, method: str, path: str, clock: Clock = perf_counter) -> None:
        self.clock = clock
        self.fact = Exchange(role=role, method=method, path=path, begun=clock())
        self.body = bytearray()  # no more than READ_SIZE of it
        self.sent, self.progress, self.release = asyncio.Event(), asyncio.Event(), asyncio.Event()
        self.task: asyncio.Task[None] | None = None  # what moves it, where that is not its caller

    def note(self, **changes: Any) -> None:
        """Adds what has become known."""
        self.fact = replace(self.fact, **changes)

    async def under_way(self, limit: float = 5.0) -> None:
        """Until the request is sent as far as it will be, or has ended, or the limit (seconds) is reached."""
        await first(self.sent.wait(), self._end(), limit=limit)

    async def streaming(self, limit: float = 5.0) -> None:
        """Until the first piece of the response's body has come, or it has ended."""
        await first(self.progress.wait(), self._end(), limit=limit)

    async def finished(self, limit: float) -> None:
        """Until the exchange has ended, or the limit (seconds) is reached."""
        await first(self._end(), limit=limit)

    async def _end(self) -> None:
        """Raises what went wrong inside the request, which is never the server's doing."""
        if self.task is not None:
            await asyncio.wait((self.task,))
            if not self.task.cancelled():
                self.task.result()


class Connection:
    """One TCP connection to a server on this machine. Use as an async context manager."""

    def __init__(self, host: str, port: int) -> None:
        self.host, self.port = host, port
        self._http = h11.Connection(h11.CLIENT)
        self._reader: asyncio.StreamReader
        self._writer: asyncio.StreamWriter | None = None
        self._ended = False  # whether the server has closed its side

    async def __aenter__(self) -> Connection:
        return self

    async def __aexit__(self, *_: object) -> None:
        self.close()

    @property
    def open(self) -> bool:
        return self._writer is not None

    async def connect(self) -> None:
        """Raises OSError (ConnectionRefusedError, TimeoutError)."""
        async with asyncio.timeout(CONNECT_LIMIT):
            self._reader, self._writer = await asyncio.open_connection(self.host, self.port)
        ours = self._writer.get_extra_info("sockname")
        if ours[1] == self.port:  # TCP simultaneous open: this connected to itself, nobody listens
            self.close()
            raise ConnectionRefusedError(f"port {self.port} is free: the connection met itself")

    def close(self) -> None:
        if self._writer is not None:
            with contextlib.suppress(Exception):
                self._writer.transport.abort()
            self._writer = None

    async def send_head(self, method: str, path: str, length: int, content_type: str | None = None) -> None:
        headers = [("Host", f"{self.host}:{self.port}"), ("Accept", "*/*"), ("User-Agent", "pytest-signalcompat")]
        if length or method == "POST":
            headers += [("Content-Length", str(length)), ("Content-Type", content_type or "application/octet-stream")]
        await self._send(h11.Request(method=method, target=path, headers=headers))

    async def send_body(self, data: bytes) -> None:
        await self._send(h11.Data(data=data))

    async def end_request(self) -> None:
        await self._send(h11.EndOfMessage())

    async def _send(self, event: h11.Event) -> None:
        assert self._writer is not None
        data = self._http.send(event)
        if data:
            self._writer.write(data)
            await self._writer.drain()

    async def receive(self, running: Running) -> None:
        """Reads one response to its end and notes what it was. Never raises for what a server does."""
        try:
            while running.fact.end == "open":
                self._take(await self._next_event(), running)
        except OSError as problem:
            end = "reset" if running.fact.answered is None else "truncated"
            running.note(end=end, detail=f"{type(problem).__name__}: {problem}")
        except h11.RemoteProtocolError as problem:
            before = "closed" if self._ended else "not-understood"
            end = "truncated" if self._ended and running.fact.answered is not None else before
            running.note(end=end, detail=str(problem))
        running.note(ended=running.clock())

    def _take(self, event: object, running: Running) -> None:
        match event:
            case h11.Response():
                running.note(answered=running.clock(), status=event.status_code, framed=_framed(event))
            case h11.Data():
                running.note(received=running.fact.received + len(event.data))
                if len(running.body) < READ_SIZE:
                    running.body += event.data
                running.progress.set()
            case h11.EndOfMessage():
                keep_alive = self._http.our_state is h11.DONE and self._http.their_state is h11.DONE
                running.note(end="complete", keep_alive=keep_alive)
                if keep_alive:
                    self._http.start_next_cycle()
            case h11.ConnectionClosed():
                running.note(end="closed", detail="connection closed without a response")

    async def _next_event(self) -> object:
        while (event := self._http.next_event()) is h11.NEED_DATA:
            data = await self._reader.read(READ_SIZE)
            self._ended = not data
            self._http.receive_data(data)
        return event

    async def closed_by_peer(self) -> None:
        """Until the server closes or resets the idle connection."""
        with contextlib.suppress(OSError):
            while await self._reader.read(READ_SIZE):
                pass


def _framed(response: h11.Response) -> bool:
    """Whether the response says where it ends, by other means than closing the connection (RFC 9112, section 6.3)."""
    names = {name for name, _ in response.headers}
    return response.status_code in (204, 304) or bool(names & {b"content-length", b"transfer-encoding"})
