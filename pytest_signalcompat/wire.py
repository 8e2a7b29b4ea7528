"""HTTP/1.1 on one connection, with every step stamped. h11 decides what the bytes mean; this file moves them.

Scenarios need what an ordinary client hides: a body held back, a connection left idle, the difference between a
refused, a reset, a silently closed and a truncated exchange, and when each step happened.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from dataclasses import dataclass, field

import h11

CONNECT_LIMIT = 5.0  # seconds; Windows repeats a refused SYN for about two before it says so
READ_SIZE = 65536


@dataclass
class Steps:
    """When each step of an exchange happened (perf_counter seconds), and what came of it."""

    begun: float
    connected: float | None = None
    sent: float | None = None
    answered: float | None = None
    ended: float | None = None
    end: str = "open"
    status: int | None = None
    body: bytearray = field(default_factory=bytearray)
    received: int = 0
    keep_alive: bool = False
    framed: bool = True
    detail: str = ""


class Connection:
    """One TCP connection to a server on this machine. Use as an async context manager."""

    def __init__(self, host: str, port: int) -> None:
        self.host, self.port = host, port
        self._http = h11.Connection(h11.CLIENT)
        self._reader: asyncio.StreamReader
        self._writer: asyncio.StreamWriter | None = None

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

    async def receive(self, steps: Steps, on_progress: asyncio.Event | None = None) -> None:
        """Reads one response to its end and fills `steps`. Never raises for what a server does."""
        try:
            while steps.end == "open":
                event = await self._next_event()
                if isinstance(event, h11.Response):
                    steps.answered, steps.status = time.perf_counter(), event.status_code
                    steps.framed = _framed(event)
                elif isinstance(event, h11.Data):
                    steps.received += len(event.data)
                    if len(steps.body) < READ_SIZE:
                        steps.body += event.data
                    if on_progress is not None:
                        on_progress.set()
                elif isinstance(event, h11.EndOfMessage):
                    steps.end = "complete"
                    steps.keep_alive = self._http.our_state is h11.DONE and self._http.their_state is h11.DONE
                    if steps.keep_alive:
                        self._http.start_next_cycle()
                elif isinstance(event, h11.ConnectionClosed):
                    steps.end, steps.detail = "closed", "connection closed without a response"
        except (OSError, h11.RemoteProtocolError) as problem:
            before = "reset" if isinstance(problem, OSError) else "closed"
            steps.end = before if steps.answered is None else "truncated"
            steps.detail = f"{type(problem).__name__}: {problem}"
        steps.ended = time.perf_counter()

    async def _next_event(self) -> object:
        while (event := self._http.next_event()) is h11.NEED_DATA:
            self._http.receive_data(await self._reader.read(READ_SIZE))
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
