"""The V1 protocol (https://kserve.github.io/website/docs/concepts/architecture/data-plane/v1-protocol)."""

from __future__ import annotations

from typing import Any, Final

import msgspec
import numpy as np
from fastapi import Request
from fastapi.responses import Response
from starlette.exceptions import HTTPException

from reference_server.limits import Limits
from reference_server.models import Card, Tensor, Tensors
from reference_server.models.repository import Repository
from reference_server.protocol import inputs, messages, tensors
from reference_server.protocol.body import parse, read_body
from reference_server.protocol.errors import ProtocolError
from reference_server.protocol.openapi import WORK, Operation
from reference_server.protocol.reply import reply, reply_arrays
from reference_server.protocol.routes import Name, Routes

ANY_INPUT: Final = "instances"

_REQUEST: Final = msgspec.json.Decoder(messages.Instances)


def install(routes: Routes, repository: Repository, limits: Limits) -> None:
    async def alive(request: Request) -> Response:
        return reply(messages.Alive("alive"))

    async def models(request: Request) -> Response:
        return reply(messages.ModelNames(repository.names))

    async def status(request: Request, model: Name) -> Response:
        if model.endswith((":predict", ":explain")):
            raise HTTPException(405, headers={"allow": "POST"})
        ready = repository.ready(model)
        return reply(messages.ModelReady(model, ready), 200 if ready else 503)

    async def predict(request: Request, model: Name) -> Response:
        arrays = await _instances(routes, request, model, repository, limits)
        outputs, _ = await repository.predict(model, arrays, {})
        name, array = next(iter(outputs.items()))
        return await routes.beside(array.nbytes, lambda: reply_arrays({"predictions": _rows(name, array)}))

    async def explain(request: Request, model: Name) -> Response:
        arrays = await _instances(routes, request, model, repository, limits)
        explained = await repository.explain(model, arrays, {})
        return await routes.beside(sum(array.nbytes for array in explained.values()), _explained, explained)

    answer = messages.ModelReady
    routes.add_work(
        "/v1/models/{model}:predict",
        predict,
        Operation("V1", "Predictions", messages.PredictResponse, messages.PredictRequest, WORK),
    )
    routes.add_work(
        "/v1/models/{model}:explain",
        explain,
        Operation("V1", "Explanations", messages.ExplainResponse, messages.PredictRequest, WORK),
    )
    routes.add("GET", "/", alive, Operation("V1", "Alive", messages.Alive))
    routes.add("GET", "/v1/models", models, Operation("V1", "Names of models", messages.ModelNames))
    routes.add("GET", "/v1/models/{model}", status, Operation("V1", "Model ready", answer, errors=(404,), also=(503,)))


async def _instances(routes: Routes, request: Request, model: str, repository: Repository, limits: Limits) -> Tensors:
    card = repository.card(model)
    body = await read_body(request, limits)
    return await routes.beside(len(body), _decoded, model, card, body, limits)


def _decoded(model: str, card: Card, text: bytes | bytearray, limits: Limits) -> Tensors:
    body = parse(_REQUEST, text)
    given = [rows for rows in (body.instances, body.inputs) if isinstance(rows, msgspec.Raw)]
    if len(given) != 1:
        what = "both" if given else "neither"
        raise ProtocolError(400, f"expected a list under 'instances' or 'inputs', found {what}")
    array = _tensor(card, given[0], limits)
    name = card.inputs[0].name if card.inputs else ANY_INPUT
    inputs.check(model, card, [(name, tensors.datatype_of(array), array.shape)])
    return {name: array}


def _explained(explained: Tensors) -> Response:
    outputs = {name: tensors.encode(name, np.atleast_1d(array), rows=True) for name, array in explained.items()}
    predictions = outputs.pop("predictions")
    rows = [dict(zip(outputs, row, strict=True)) for row in zip(*outputs.values(), strict=True)]
    return reply_arrays({"predictions": predictions, "explanations": rows})


def _tensor(card: Card, given: msgspec.Raw, limits: Limits) -> Tensor:
    """Instances of the datatype that the model takes, or of the one that they look like."""
    datatype = card.inputs[0].datatype if card.inputs else None
    return tensors.decode_nested("instances", datatype, given, limits.tensor_elements)


def _rows(name: str, array: Any) -> Any:
    return tensors.encode(name, np.atleast_1d(array))
