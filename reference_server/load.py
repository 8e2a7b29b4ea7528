"""Routes that keep the server busy in a known way, for whoever wants to see it stop under load."""

from __future__ import annotations

import asyncio
import json
import math
import time
from collections.abc import AsyncIterator
from concurrent.futures import Executor
from typing import Annotated, Final

from fastapi import APIRouter, Query
from fastapi.responses import StreamingResponse

from reference_server.lifecycle import Lifecycle

TICK_SECONDS: Final = 0.1
# A stream has its connection for itself: when it ends while the server drains, nobody waits for an idle connection.
STREAM_HEADERS: Final = {"cache-control": "no-store", "connection": "close"}

Seconds = Annotated[float, Query(ge=0, le=86400, allow_inf_nan=False)]


def routes(lifecycle: Lifecycle, executor: Executor) -> APIRouter:
    router = APIRouter(tags=["load"])

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
        return _events(ticks(lifecycle, seconds))

    @router.get("/endless")
    async def endless() -> StreamingResponse:
        """Server-sent events until a stop or until the client leaves."""
        return _events(ticks(lifecycle, math.inf))

    return router


def _events(source: AsyncIterator[str]) -> StreamingResponse:
    return StreamingResponse(source, media_type="text/event-stream", headers=STREAM_HEADERS)


async def ticks(lifecycle: Lifecycle, seconds: float) -> AsyncIterator[str]:
    """One event each tick. The last one says why it is the last: `complete` or `stopping`."""
    loop = asyncio.get_running_loop()
    end = loop.time() + seconds
    number = 0
    while (remaining := end - loop.time()) > 0:
        if lifecycle.stopping and (end == math.inf or remaining > lifecycle.seconds_left()):
            yield _event("end", {"reason": "stopping"})
            return
        yield _event("tick", {"number": number})
        number += 1
        await asyncio.sleep(min(TICK_SECONDS, remaining))
    yield _event("end", {"reason": "complete"})


def _event(kind: str, data: dict[str, object]) -> str:
    return f"event: {kind}\ndata: {json.dumps(data)}\n\n"
