"""ASGI middleware that knows the requests in flight. It goes outermost, around any ASGI application."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from reference_server.lifecycle import Lifecycle

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Application = Callable[[Any, Any, Any], Awaitable[None]]

CLOSE = (b"connection", b"close")
CUT_BODY = json.dumps({"error": "the server stopped before this request was done"}).encode()


class InFlight:
    """A request is in flight from its complete headers to the last byte of its response given to the engine.

    While the server drains, every response that begins says `Connection: close`: a client that keeps its connection
    learns that way to go elsewhere, instead of losing its next request to a closing connection.
    """

    def __init__(self, app: Application, lifecycle: Lifecycle) -> None:
        self._app = app
        self._lifecycle = lifecycle
        self._tasks: set[asyncio.Task[Any]] = set()
        self._cutting = False
        self._begun = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()

    def __len__(self) -> int:
        return len(self._tasks)

    async def idle(self) -> None:
        """Waits until no request is in flight."""
        await self._idle.wait()

    async def another(self, seconds: float) -> bool:
        """Waits up to `seconds` for a new request to begin."""
        self._begun.clear()
        try:
            async with asyncio.timeout(seconds):
                await self._begun.wait()
        except TimeoutError:
            return False
        return True

    def cut(self) -> int:
        """Ends all requests: one whose response has not begun gets a 503, another a connection closed in the middle,
        which the client sees as an error. Returns how many there were.
        """
        self._cutting = True
        for task in self._tasks:
            task.cancel()
        return len(self._tasks)

    async def __call__(self, scope: Any, receive: Receive, send: Send) -> None:
        task = asyncio.current_task()
        if scope["type"] != "http" or task is None:
            await self._app(scope, receive, send)
            return
        answered = False

        async def reply(message: Message) -> None:
            nonlocal answered
            if message["type"] == "http.response.start":
                answered = True
                headers = list(message.get("headers", ()))
                if self._lifecycle.stopping and CLOSE not in headers:
                    message["headers"] = [*headers, CLOSE]
            await send(message)

        self._tasks.add(task)
        self._lifecycle.in_flight = len(self._tasks)
        self._idle.clear()
        self._begun.set()
        try:
            await self._app(scope, receive, reply)
        except asyncio.CancelledError:
            if not self._cutting:
                raise
            if not answered:
                await _refuse(send)
        finally:
            self._tasks.discard(task)
            self._lifecycle.in_flight = len(self._tasks)
            if not self._tasks:
                self._idle.set()


async def _refuse(send: Send) -> None:
    length = str(len(CUT_BODY)).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", length), CLOSE]
    await send({"type": "http.response.start", "status": 503, "headers": headers})
    await send({"type": "http.response.body", "body": CUT_BODY})
