"""The OpenAPI document: FastAPI's, with the bodies that messages.py describes."""

from __future__ import annotations

from typing import Any, Final, NamedTuple

import msgspec
from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from fastapi.responses import JSONResponse

from reference_server.protocol import messages

REF: Final = "#/components/schemas/{name}"
BINARY: Final = "application/octet-stream"
ERRORS: Final = {
    400: "the request is wrong",
    403: "the server was not started with --model-control",
    404: "no such model or version",
    409: "the model is being loaded or unloaded",
    413: "the body or a tensor is too large",
    415: "the body is encoded or of a type that this server does not read",
    500: "the model failed",
    503: "not ready, stopping, or busy with as many requests as it may",
}
WORK: Final = (400, 404, 413, 415, 500, 503)


class Operation(NamedTuple):
    """What the document says of a route. `answer` and `body` are types of messages.py; `also` are further statuses
    with the same answer, `media` further or other media types of it.
    """

    tag: str
    summary: str
    answer: Any
    body: Any = None
    errors: tuple[int, ...] = ()
    also: tuple[int, ...] = ()
    media: tuple[str, ...] = ("application/json",)
    needs_body: bool = True

    def document(self) -> dict[str, Any]:
        schema = {"schema": _reference(self.answer)}
        answer = {"description": "Done", "content": {media: schema if media != BINARY else {} for media in self.media}}
        failure = {"application/json": {"schema": _reference(messages.Error)}}
        responses = {str(status): {"description": ERRORS[status], "content": failure} for status in self.errors}
        responses |= {str(status): {**answer, "description": "Not ready"} for status in self.also}
        document: dict[str, Any] = {"responses": {"200": answer, **responses}}
        if self.body is not None:
            content = {"application/json": {"schema": _reference(self.body)}}
            document["requestBody"] = {"required": self.needs_body, "content": content}
        return document


def _reference(kind: Any) -> dict[str, Any]:
    (schema,), _ = msgspec.json.schema_components([kind], ref_template=REF)
    return schema


def install(app: FastAPI) -> None:
    @app.get("/openapi.json", include_in_schema=False)
    async def openapi() -> JSONResponse:
        document = get_openapi(title=app.title, version=app.version, routes=app.routes)
        _, components = msgspec.json.schema_components(messages.ALL, ref_template=REF)
        document["components"] = {"schemas": components}
        for item in document["paths"].values():
            for operation in item.values():
                operation["responses"].pop("422", None)  # FastAPI's own; every wrong request is a 400 here
        return JSONResponse(document)
