"""Every failure is an HTTP error with the body {"error": "…"}: never FastAPI's {"detail": …}, never a traceback."""

from __future__ import annotations

from typing import TypeVar

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from pydantic import BaseModel, ValidationError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

Body = TypeVar("Body", bound=BaseModel)


class ProtocolError(Exception):
    """A request that cannot be served: an HTTP status and one sentence for the client."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


async def parse(request: Request, model: type[Body]) -> Body:
    """Reads the body as JSON whatever its Content-Type is: tritonclient sends none."""
    try:
        return model.model_validate_json(await request.body())
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        raise ProtocolError(400, _sentence(first["loc"], first["msg"])) from None


def _sentence(location: tuple[int | str, ...], message: str) -> str:
    where = ".".join(str(part) for part in location)
    return f"{where}: {message}" if where else message


def _answer(status: int, message: str, headers: dict[str, str] | None = None) -> JSONResponse:
    return JSONResponse({"error": message}, status, headers)


def install(app: FastAPI) -> None:
    @app.exception_handler(ProtocolError)
    async def protocol_error(_: Request, error: ProtocolError) -> Response:
        return _answer(error.status, str(error))

    @app.exception_handler(HTTPException)
    async def http_error(_: Request, error: HTTPException) -> Response:
        return _answer(error.status_code, str(error.detail), dict(error.headers) if error.headers else None)

    @app.exception_handler(RequestValidationError)
    async def invalid(_: Request, error: RequestValidationError) -> Response:
        first = error.errors()[0]
        return _answer(400, _sentence(tuple(first["loc"]), str(first["msg"])))

    @app.exception_handler(ClientDisconnect)
    async def gone(_: Request, __: ClientDisconnect) -> Response:
        """The client left while it was sending; nobody reads this."""
        return _answer(400, "the request ended before its body was complete")

    @app.exception_handler(Exception)
    async def unexpected(_: Request, __: Exception) -> Response:
        """The log has the traceback."""
        return _answer(500, "internal error")
