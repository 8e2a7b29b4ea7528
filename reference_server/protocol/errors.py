"""Every failure is an HTTP error with the body {"error": "…"}: never FastAPI's {"detail": …}, never a traceback."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

LONGEST: Final = 500  # of a message: it may repeat what the client sent


class ProtocolError(Exception):
    """A request that cannot be served: an HTTP status and one sentence for the client."""

    def __init__(self, status: int, message: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(message if len(message) <= LONGEST else f"{message[:LONGEST]}…")
        self.status = status
        self.headers = headers


def _answer(status: int, message: str, headers: Mapping[str, str] | None = None) -> JSONResponse:
    return JSONResponse({"error": message}, status, headers)


def install(app: FastAPI) -> None:
    @app.exception_handler(ProtocolError)
    async def protocol_error(_: Request, error: ProtocolError) -> Response:
        return _answer(error.status, str(error), error.headers)

    @app.exception_handler(HTTPException)
    async def http_error(_: Request, error: HTTPException) -> Response:
        return _answer(error.status_code, str(error.detail), error.headers)

    @app.exception_handler(RequestValidationError)
    async def invalid(_: Request, error: RequestValidationError) -> Response:
        first = error.errors()[0]
        return _answer(400, f"{'.'.join(str(part) for part in first['loc'])}: {first['msg']}")

    @app.exception_handler(ClientDisconnect)
    async def gone(_: Request, __: ClientDisconnect) -> Response:
        """The client left while it was sending; nobody reads this."""
        return _answer(400, "the request ended before its body was complete")

    @app.exception_handler(Exception)
    async def unexpected(request: Request, error: Exception) -> Response:
        """The log has the traceback, and which model it was."""
        error.add_note(f"while answering {request.method} {request.url.path}")
        return _answer(500, "internal error")
