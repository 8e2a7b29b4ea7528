"""When a server is ready: by its readiness path, an accepted connection, or a line of its output."""

from __future__ import annotations

import asyncio

from ..model import Ready
from ..output import Log, count
from ..supervisor.client import Supervisor
from . import probes

PROBE_PAUSE = 0.02  # seconds between readiness probes
HELD_BACK_PAUSE = 0.2  # seconds between looks at output that is not forwarded any more


class Heard:
    """A server's output so far, as lines on its clock."""

    def __init__(self, supervisor: Supervisor) -> None:
        self.log = Log()
        self.origin = 0.0  # of the server's clock, in seconds of perf_counter
        self._supervisor, self._fed = supervisor, 0
        self._came = asyncio.Event()
        supervisor.on_output = self.read

    def read(self) -> None:
        pieces = self._supervisor.output
        for at, data in pieces[self._fed :]:
            self.log.feed(at - self.origin, data)
        self._fed = len(pieces)
        self._came.set()

    async def finish(self) -> None:
        """Also what the supervisor held back; once, at the end."""
        await self._supervisor.fetch_rest()
        self.read()
        self.log.finish()

    async def until(self, mark: str, number: int) -> None:
        """Until that many lines have the mark."""
        while count(mark, self.log.lines) < number:
            self._came.clear()
            await self._came.wait()

    async def has(self, mark: str) -> bool:
        """Whether it was said, also by a server that has said so much that it is forwarded no more."""
        if count(mark, self.log.lines):
            return True
        if not self._supervisor.holds_back:
            return False
        await asyncio.sleep(HELD_BACK_PAUSE)
        log = Log()
        for at, piece in await self._supervisor.held_back():
            log.feed(at, piece)
        return count(mark, log.lines) > 0


class Readiness:
    """Asks until the server is ready. `detail` says what was found last."""

    def __init__(self, ready: Ready, port: int, heard: Heard) -> None:
        self._ready, self._port, self._heard = ready, port, heard
        self.detail = ""

    async def reached(self) -> None:
        while not await self._ask():  # noqa: ASYNC110 - a readiness probe asks again; nothing tells
            await asyncio.sleep(PROBE_PAUSE)

    async def _ask(self) -> bool:
        if self._ready.http is not None:
            good, self.detail = await probes.http(self._port, self._ready.http)
        elif self._ready.log is not None:
            good, self.detail = await self._heard.has(self._ready.log), f"no line like {self._ready.log!r}"
        else:
            good, self.detail = await probes.tcp(self._port)
        return good
