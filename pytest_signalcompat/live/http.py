"""The HTTP requests that a scenario makes to one server, and what became of each."""

from __future__ import annotations

import asyncio

import h11

from ..model import Exchange, Post, Record, Role
from . import probes
from .ports import HOST
from .waiting import first
from .wire import Clock, Connection, Running

LAST_BYTES = 0.2  # seconds for what ended with the server to be read


class Body(Record):
    """What a POST sends, as it is."""

    data: bytes
    content_type: str = "application/octet-stream"


def body_of(post: Post | Body | None) -> Body | None:
    return Body(data=post.body.encode(), content_type=post.content_type) if isinstance(post, Post) else post


class Requests:
    """Lifetime: that of one server. `close` leaves no connection open."""

    def __init__(self, port: int, clock: Clock) -> None:
        self._port, self._clock = port, clock
        self._running: list[Running] = []
        self._idle: list[asyncio.Task[None]] = []

    def begin(
        self, role: Role, path: str, post: Post | Body | None = None, hold: bool = False, keep: bool = False
    ) -> Running:
        """Starts a request on a connection of its own. With `hold` half of the body waits for `release`; with `keep` it
        stays open behind the answer until the server closes it, as a load balancer's does."""
        running = Running(role, "POST" if post else "GET", path, self._clock)
        running.task = asyncio.create_task(self._exchange(running, body_of(post), hold, keep))
        self._running.append(running)
        return running

    async def keep_idle(self, role: Role, path: str) -> Exchange:
        """One request on a connection that then stays open and idle until the server closes it."""
        running = Running(role, "GET", path, self._clock)
        self._running.append(running)
        connection = Connection(HOST, self._port)
        try:
            await connection.connect()
            running.note(connected=self._clock())
            await connection.send_head("GET", path, 0)
            await connection.end_request()
            running.note(sent=self._clock())
            async with asyncio.timeout(probes.ANSWER_LIMIT):
                await connection.receive(running)
        except TimeoutError:
            running.note(detail=f"no answer within {probes.ANSWER_LIMIT:g} s")
        except OSError as problem:
            running.note(end="reset", detail=f"{type(problem).__name__}: {problem}")
        if connection.open:
            self._idle.append(asyncio.create_task(self._hold(running, connection)))
        return running.fact

    async def close(self) -> None:
        """Gives what ended with the server a moment to be read, then closes the rest."""
        tasks = self._tasks
        if tasks:
            await asyncio.wait(tasks, timeout=LAST_BYTES)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    @property
    def mistake(self) -> BaseException | None:
        """What went wrong inside a request: that is never the server's doing."""
        ended = (task for task in self._tasks if task.done() and not task.cancelled())
        return next((problem for task in ended if (problem := task.exception()) is not None), None)

    @property
    def _tasks(self) -> list[asyncio.Task[None]]:
        return [running.task for running in self._running if running.task is not None] + self._idle

    @property
    def facts(self) -> tuple[Exchange, ...]:
        return tuple(running.fact for running in self._running)

    async def _hold(self, running: Running, connection: Connection) -> None:
        async with connection:
            await connection.closed_by_peer()
            running.note(closed=self._clock())

    async def _exchange(self, running: Running, sends: Body | None, hold: bool, keep: bool) -> None:
        body = sends.data if sends else b""
        half = len(body) // 2 if hold else len(body)
        async with Connection(HOST, self._port) as connection:
            try:
                await connection.connect()
                running.note(connected=self._clock())
                request = running.fact
                content_type = sends.content_type if sends else None
                await connection.send_head(request.method, request.path, len(body), content_type)
                if half:
                    await connection.send_body(body[:half])
                running.note(sent=self._clock())
                running.sent.set()
                await self._converse(running, connection, body[half:], hold)
                if keep and running.fact.keep_alive:
                    await connection.closed_by_peer()
                    running.note(closed=self._clock())
            except TimeoutError as problem:
                running.note(end="open", detail=f"{type(problem).__name__}: {problem}")
            except OSError as problem:
                end = "refused" if running.fact.connected is None else "reset"
                running.note(end=end, ended=self._clock(), detail=f"{type(problem).__name__}: {problem}")

    async def _converse(self, running: Running, connection: Connection, rest: bytes, hold: bool) -> None:
        """Reads from now on: a server may answer or hang up before it has the whole body."""
        reading = asyncio.create_task(connection.receive(running))
        try:
            if hold:
                await first(running.release.wait(), asyncio.wait((reading,)))
            try:
                if rest and not reading.done():
                    await connection.send_body(rest)
                if not reading.done():
                    await connection.end_request()
            except (OSError, h11.LocalProtocolError) as problem:
                running.note(detail=f"sending the rest: {type(problem).__name__}: {problem}")
            await reading
        finally:
            reading.cancel()
