"""Which scenario may start when: a bounded number at a time, and on a server that is known to become ready."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import msgspec
from msgspec.structs import replace

from .model import Server


class Slots:
    """A bounded number of scenarios at a time, or one alone."""

    def __init__(self, number: int) -> None:
        self._number = number
        self._free = asyncio.Semaphore(number)
        self._gathering = asyncio.Lock()

    @asynccontextmanager
    async def one(self) -> AsyncIterator[None]:
        async with self._gathering:
            await self._free.acquire()
        try:
            yield
        finally:
            self._free.release()

    @asynccontextmanager
    async def all(self) -> AsyncIterator[None]:
        """Nothing else starts meanwhile, and what runs is waited for."""
        held = 0
        try:
            async with self._gathering:
                while held < self._number:
                    await self._free.acquire()
                    held += 1
            yield
        finally:
            for _ in range(held):
                self._free.release()


class Gates:
    """Whether a server becomes ready is found out once, by the first scenario that runs on it. The others wait for
    that; where it does not, they are not run, so that the cause is told once and costs its time once."""

    def __init__(self) -> None:
        self._found: dict[bytes, asyncio.Future[str]] = {}  # the code that failed by it; empty: ready

    async def blocked_by(self, server: Server, code: str) -> str:
        """The code that tells why nothing can be judged on this server, if it is another one; else empty."""
        known = self._found.get(_table(server))
        if known is None:
            self._found[_table(server)] = asyncio.get_running_loop().create_future()
            return ""
        found = await asyncio.shield(known)
        return "" if found == code else found

    def tell(self, server: Server, code: str = "") -> None:
        """It is ready; or that scenario failed because it is not. The first word counts."""
        known = self._found.get(_table(server))
        if known is not None and not known.done():
            known.set_result(code)


def _table(server: Server) -> bytes:
    """What all cases of a server have in common, and what its readiness may depend on."""
    return msgspec.msgpack.encode(replace(server, workers=1, loop="auto", grace=0.0))
