"""Routes that keep the server busy in a known way, for whoever wants to see it stop under load."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from concurrent.futures import Executor
from typing import Annotated, Final

from fastapi import APIRouter, Query
from fastapi.responses import StreamingResponse

from reference_server.lifecycle import Lifecycle
from reference_server.protocol.events import event
from reference_server.protocol.events import stream as events

TICK_SECONDS: Final = 0.1

Seconds = Annotated[float, Query(ge=0, le=86400, allow_inf_nan=False)]


def routes(lifecycle: Lifecycle, executor: Executor) -> APIRouter:
    router = APIRouter(include_in_schema=False)

    @router.get("/slow")
    async def slow(seconds: Seconds = 1.0) -> dict[str, float]:
        """Waits without a thread."""
        await asyncio.sleep(seconds)
        return {"slept": seconds}

    @router.get("/blocking")
    async def blocking(seconds: Seconds = 1.0) -> dict[str, float]:
        """Waits in a thread of the bounded executor, which nothing can interrupt."""
        await asyncio.get_running_loop().run_in_executor(executor, time.sleep, seconds)
        return {"blocked": seconds}

    @router.get("/stream")
    async def stream(seconds: Seconds = 1.0) -> StreamingResponse:
        """Server-sent events for so long; a stop that leaves less time ends them at once, with a last event."""
        return events(ticks(lifecycle, seconds))

    @router.get("/endless")
    async def endless() -> StreamingResponse:
        """Server-sent events until a stop or until the client leaves."""
        return events(ticks(lifecycle, float("inf")))

    return router


async def ticks(lifecycle: Lifecycle, seconds: float) -> AsyncIterator[bytes]:
    """One event each tick. The last one says why it is the last: `complete` or `stopping`."""
    loop = asyncio.get_running_loop()
    end = loop.time() + seconds
    number = 0
    while (remaining := end - loop.time()) > 0:
        if lifecycle.stopping and remaining > lifecycle.seconds_left():
            yield event({"reason": "stopping"}, "end")
            return
        yield event({"number": number}, "tick")
        number += 1
        await asyncio.sleep(min(TICK_SECONDS, remaining))
    yield event({"reason": "complete"}, "end")
