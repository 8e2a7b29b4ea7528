"""Text generation, whole and streamed.

https://github.com/kserve/open-inference-protocol/blob/main/specification/protocol/generate_rest.yaml
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncGenerator, AsyncIterator
from typing import Any, Final, Literal

import msgspec
from fastapi import Request
from fastapi.responses import Response

from reference_server.graceful import Lifecycle
from reference_server.limits import Limits
from reference_server.models.repository import Repository
from reference_server.protocol import events, messages
from reference_server.protocol.body import parse, read_body
from reference_server.protocol.errors import ProtocolError
from reference_server.protocol.openapi import WORK, Operation
from reference_server.protocol.reply import reply
from reference_server.protocol.routes import Routes

# So long before the drain limit a generation ends by itself: time for its last event, and for the models to unload.
MARGIN_SECONDS: Final = 0.5

_REQUEST: Final = msgspec.json.Decoder(messages.GenerateRequest)

logger = logging.getLogger("reference_server")


Pieces = AsyncGenerator[str, None]


class Stopping(Exception):
    """The server's stop leaves no time for more."""


def install(routes: Routes, repository: Repository, lifecycle: Lifecycle, stop: asyncio.Event, limits: Limits) -> None:
    """`stop` is set when a stop has been requested."""

    async def begin(request: Request, model: str, version: str | None) -> tuple[dict[str, Any], Pieces]:
        card = repository.card(model, version)
        asked = parse(_REQUEST, await read_body(request, limits))
        head = {"model_name": model, "model_version": version or card.versions[-1]}
        if asked.id is not None:
            head["id"] = asked.id
        pieces = repository.generate(model, asked.text_input, messages.for_model(asked.parameters))
        return head, until_stop(pieces, lifecycle, stop)

    async def generate(request: Request, model: str, version: str | None) -> Response:
        head, pieces = await begin(request, model, version)
        text: list[str] = []
        reason: Literal["complete", "stopping"] = "complete"
        try:
            async for piece in pieces:
                text.append(piece)
        except Stopping:
            reason = "stopping"
        return reply(messages.GenerateResponse(**head, text_output="".join(text), finish_reason=reason))

    async def generate_stream(request: Request, model: str, version: str | None) -> Response:
        source = _events(*await begin(request, model, version))
        first = await anext(source)  # what is wrong with the request shows before the response begins
        return events.stream(_resumed(first, source))

    whole = Operation("generate", "Text generation", messages.GenerateResponse, messages.GenerateRequest, WORK)
    streamed = whole._replace(summary="Text generation, streamed", answer=messages.Event, media=(events.MEDIA,))
    routes.add_model("POST", "/generate", generate, whole)
    routes.add_model("POST", "/generate_stream", generate_stream, streamed)


async def _events(head: dict[str, Any], pieces: Pieces) -> AsyncGenerator[bytes, None]:
    """One event for each piece of text. The last one says why it is the last: `complete` or `stopping`."""
    begun = False
    reason = "complete"
    try:
        async for piece in pieces:
            yield events.event({**head, "text_output": piece})
            begun = True
    except Stopping:
        reason = "stopping"
    except Exception as error:
        if not begun:
            raise
        if not isinstance(error, ProtocolError):
            logger.exception("a generation failed")
        message = str(error) if isinstance(error, ProtocolError) else "internal error"
        yield events.event({"error": message}, "error")
        return
    finally:
        await pieces.aclose()
    yield events.event({**head, "text_output": "", "finish_reason": reason}, "end")


async def _resumed(first: bytes, rest: AsyncGenerator[bytes, None]) -> AsyncIterator[bytes]:
    async with contextlib.aclosing(rest):
        yield first
        async for event in rest:
            yield event


async def until_stop(pieces: Pieces, lifecycle: Lifecycle, stop: asyncio.Event) -> Pieces:
    """The pieces; once a stop has been requested only those that come in the time it leaves, and then Stopping."""
    stopped = asyncio.ensure_future(stop.wait())
    step: asyncio.Task[str] | None = None
    try:
        while True:
            step = asyncio.create_task(_next(pieces))
            await asyncio.wait({step, stopped}, return_when=asyncio.FIRST_COMPLETED)
            left = lifecycle.seconds_left() - MARGIN_SECONDS if stop.is_set() else None
            if left is not None and left > 0 and not step.done():
                await asyncio.wait({step}, timeout=left)
            if not step.done() or (left is not None and left <= 0):
                raise Stopping
            try:
                yield step.result()
            except StopAsyncIteration:
                return
    finally:
        stopped.cancel()
        if step is not None and not step.done():
            step.cancel()
            await asyncio.wait({step})
        await pieces.aclose()


async def _next(pieces: Pieces) -> str:
    return await anext(pieces)
