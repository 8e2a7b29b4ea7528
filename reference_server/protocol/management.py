"""Loading and unloading of models while the server runs.

https://github.com/triton-inference-server/server/blob/main/docs/protocol/extension_model_repository.md
"""

from __future__ import annotations

from typing import Final

import msgspec
from fastapi import Request
from fastapi.responses import Response

from reference_server.changes import Changes
from reference_server.graceful import Lifecycle
from reference_server.limits import Limits
from reference_server.models.repository import Repository
from reference_server.protocol import messages
from reference_server.protocol.body import parse, read_body
from reference_server.protocol.errors import ProtocolError
from reference_server.protocol.openapi import Operation
from reference_server.protocol.reply import reply
from reference_server.protocol.routes import Name, Routes

ERRORS: Final = (400, 403, 404, 409, 413, 415, 500, 503)

_INDEX: Final = msgspec.json.Decoder(messages.IndexRequest)
_LOAD: Final = msgspec.json.Decoder(messages.LoadRequest)


def install(
    routes: Routes,
    repository: Repository,
    lifecycle: Lifecycle,
    limits: Limits,
    changes: Changes | None,
    *,
    allowed: bool,
) -> None:
    async def index(request: Request) -> Response:
        only_ready = parse(_INDEX, await read_body(request, limits) or b"{}").ready
        return reply(
            [
                messages.IndexEntry(entry.name, version, entry.state, entry.reason)
                for entry in repository.index()
                for version in entry.versions
                if entry.state == "READY" or not only_ready
            ]
        )

    async def load(request: Request, model: Name) -> Response:
        await change(request, "load", model)
        return reply(messages.Loaded(model, True))

    async def unload(request: Request, model: Name) -> Response:
        """Answers when the last request of the model is done and the model unloaded, in every worker."""
        await change(request, "unload", model)
        return reply(messages.Unloaded(model, True))

    async def change(request: Request, verb: str, model: str) -> None:
        if not allowed:
            raise ProtocolError(403, "models are not loaded and unloaded by clients here; --model-control allows it")
        repository.find(model)
        parse(_LOAD, await read_body(request, limits) or b"{}")
        if lifecycle.stopping:
            raise ProtocolError(503, "the server is stopping: models are unloaded soon, and none is loaded")
        status, error = await (changes.ask if changes else repository.change)(verb, model)
        if status != 200:
            raise ProtocolError(status, error)

    entries = list[messages.IndexEntry]
    listing = Operation("repository", "Models and their states", entries, messages.IndexRequest, (400, 413, 415, 503))
    routes.add_work("/v2/repository/index", index, listing._replace(needs_body=False))
    for name, endpoint, answer in (("load", load, messages.Loaded), ("unload", unload, messages.Unloaded)):
        operation = Operation("repository", f"{name.capitalize()} a model", answer, messages.LoadRequest, ERRORS)
        routes.add_work(f"/v2/repository/models/{{model}}/{name}", endpoint, operation._replace(needs_body=False))
