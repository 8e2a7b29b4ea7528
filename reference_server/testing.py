"""What keeps the server busy in a known way, for whoever tests how it stops: only with `--test-routes`."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import AsyncIterator
from concurrent.futures import Executor
from typing import Annotated, Any, Final

import numpy as np
from fastapi import APIRouter, Query
from fastapi.responses import StreamingResponse
from fastapi.routing import APIRoute

from reference_server.graceful import Lifecycle
from reference_server.models import Answer, Card, Parameters, Tensors, TensorSpec
from reference_server.models.repository import in_thread
from reference_server.protocol.events import event
from reference_server.protocol.events import stream as events
from reference_server.protocol.routes import Gate

TICK_SECONDS: Final = 0.1
# Longer than any grace period of a test.
LONGEST_SECONDS: Final = 600.0

Seconds = Annotated[float, Query(ge=0, le=LONGEST_SECONDS, allow_inf_nan=False)]


def routes(lifecycle: Lifecycle, executor: Executor, gate: Gate) -> APIRouter:
    class GatedRoute(APIRoute):
        async def handle(self, scope: Any, receive: Any, send: Any) -> None:
            with gate:
                await super().handle(scope, receive, send)

    router = APIRouter(include_in_schema=False, route_class=GatedRoute)

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
        return events(ticks(lifecycle, math.inf))

    return router


async def ticks(lifecycle: Lifecycle, seconds: float) -> AsyncIterator[bytes]:
    """One event each tick. The last one says why it is the last: `complete` or `stopping`."""
    loop = asyncio.get_running_loop()
    end = loop.time() + seconds
    number = 0
    while (remaining := end - loop.time()) > 0:
        if lifecycle.stopping and (end == math.inf or remaining > lifecycle.seconds_left()):
            yield event({"reason": "stopping"}, "end")
            return
        yield event({"number": number}, "tick")
        number += 1
        await asyncio.sleep(min(TICK_SECONDS, remaining))
    yield event({"reason": "complete"}, "end")


class Sleeper:
    """Sleeps the sum of its input, in seconds, or the parameter `seconds`; the output is the input.

    Without a thread, or with the parameter `blocking` in one of the bounded executor, which nothing can interrupt.
    """

    card = Card(
        inputs=(TensorSpec("seconds", "FP64", (-1,)),),
        outputs=(TensorSpec("slept", "FP64", (-1,)),),
    )

    def load(self) -> None: ...

    async def predict(self, inputs: Tensors, parameters: Parameters) -> Answer:
        blocking = parameters.get("blocking", False)
        if not isinstance(blocking, bool):
            raise ValueError(f"parameter 'blocking': expected true or false, found {blocking!r}")
        seconds = _seconds(inputs, parameters)
        if blocking:
            await in_thread(time.sleep, seconds)
        else:
            await asyncio.sleep(seconds)
        return Answer({"slept": inputs["seconds"]}, {"seconds": seconds, "blocking": blocking})

    def unload(self) -> None: ...


def _seconds(inputs: Tensors, parameters: Parameters) -> float:
    if np.any(inputs["seconds"] < 0):
        raise ValueError("seconds must not be negative")
    with np.errstate(over="ignore"):
        seconds = parameters.get("seconds", float(inputs["seconds"].sum()))
    number = isinstance(seconds, int | float) and not isinstance(seconds, bool)
    if not number or not 0 <= seconds <= LONGEST_SECONDS:
        raise ValueError(f"seconds: expected a number from 0 to {LONGEST_SECONDS:g}, found {seconds!r:.60}")
    return float(seconds)
