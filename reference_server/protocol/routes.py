"""How requests get to their functions: without FastAPI's dependencies, which would cost more than a small inference."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from concurrent.futures import Executor
from types import TracebackType
from typing import Annotated, Any, NamedTuple, TypeVar

from fastapi import FastAPI, Path, Request
from fastapi.responses import Response
from fastapi.routing import APIRoute

from reference_server.protocol import large
from reference_server.protocol.errors import ProtocolError
from reference_server.protocol.openapi import Operation

Name = Annotated[str, Path(description="of a model", examples=["identity", "iris", "ngram"])]
Version = Annotated[str, Path(description="of the model", examples=["1"])]
T = TypeVar("T")
Act = Callable[[Request, str, str | None], Awaitable[Response]]


class DirectRoute(APIRoute):
    """Calls its endpoint with the request and the path's parameters. FastAPI reads the signature for its document."""

    def __init__(self, path: str, endpoint: Callable[..., Any], **how: Any) -> None:
        super().__init__(path, endpoint, **how)
        self.app = self._call

    async def _call(self, scope: Any, receive: Any, send: Any) -> None:
        response = await self.endpoint(Request(scope, receive, send), **scope["path_params"])
        await response(scope, receive, send)


class Gate:
    """Admits so many requests at a time and refuses more: a queue would only hide the overload from the client."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._admitted = 0

    def __enter__(self) -> None:
        if self._admitted >= self._limit:
            what = f"this server works on {self._limit} requests already, its limit; try again"
            raise ProtocolError(503, what, {"retry-after": "1"})
        self._admitted += 1

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._admitted -= 1


class Routes(NamedTuple):
    """Adds routes to an application. Those that have a body to read or a model to run go through one gate."""

    app: FastAPI
    gate: Gate
    executor: Executor | None = None

    async def beside(self, size: int, function: Callable[..., T], *arguments: Any) -> T:
        """What takes long with so many bytes is done beside the event loop."""
        if size <= large.PIECE_BYTES:
            return function(*arguments)
        return await asyncio.get_running_loop().run_in_executor(self.executor, function, *arguments)

    def add(self, method: str, path: str, endpoint: Callable[..., Any], operation: Operation) -> None:
        self._add(DirectRoute, method, path, endpoint, operation)

    def add_work(self, path: str, endpoint: Callable[..., Any], operation: Operation) -> None:
        gate = self.gate

        class GatedRoute(DirectRoute):
            async def handle(self, scope: Any, receive: Any, send: Any) -> None:
                with gate:  # to the last byte of the response
                    await super().handle(scope, receive, send)

        self._add(GatedRoute, "POST", path, endpoint, operation)

    def add_model(self, method: str, suffix: str, act: Act, operation: Operation) -> None:
        """A route of a model, and the same of a version of it. POST is work."""

        async def of_model(request: Request, model: Name) -> Response:
            return await act(request, model, None)

        async def of_version(request: Request, model: Name, version: Version) -> Response:
            return await act(request, model, version)

        for path, endpoint in (("", of_model), ("/versions/{version}", of_version)):
            where = f"/v2/models/{{model}}{path}{suffix}"
            if method == "POST":
                self.add_work(where, endpoint, operation)
            else:
                self.add(method, where, endpoint, operation)

    def _add(
        self, kind: type[APIRoute], method: str, path: str, endpoint: Callable[..., Any], operation: Operation
    ) -> None:
        self.app.router.add_api_route(
            path,
            endpoint,
            methods=[method],
            route_class_override=kind,
            response_class=Response,
            response_model=None,
            name=operation.summary,
            summary=operation.summary,
            tags=[operation.tag],
            openapi_extra=operation.document(),
        )
