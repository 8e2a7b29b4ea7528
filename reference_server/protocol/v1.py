"""The V1 protocol (https://kserve.github.io/website/docs/concepts/architecture/data-plane/v1-protocol)."""

from __future__ import annotations

from typing import Any

import numpy as np
from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, Response
from pydantic import BaseModel

from reference_server.models import Card, Repository, TensorSpec, check_inputs
from reference_server.protocol import tensors
from reference_server.protocol.errors import ProtocolError, parse

ANY_INPUT = TensorSpec("instances", "FP64", (-1,))


class PredictRequest(BaseModel):
    """`inputs` is another name for `instances`."""

    instances: list[Any] | None = None
    inputs: list[Any] | None = None


def routes(repository: Repository) -> APIRouter:
    router = APIRouter(tags=["V1"])

    @router.get("/")
    async def alive() -> dict[str, str]:
        return {"status": "alive"}

    @router.get("/v1/models")
    async def models() -> dict[str, list[str]]:
        return {"models": repository.names}

    @router.get("/v1/models/{model}")
    async def status(model: str) -> Response:
        repository.card(model)
        ready = repository.ready(model)
        return JSONResponse({"name": model, "ready": ready}, 200 if ready else 503)

    @router.post("/v1/models/{model}:predict")
    async def predict(model: str, request: Request) -> dict[str, list[Any]]:
        card = repository.card(model)
        body = await parse(request, PredictRequest)
        instances = body.instances if body.instances is not None else body.inputs
        if instances is None:
            raise ProtocolError(400, "expected a list under 'instances' or 'inputs', found neither")
        array = _tensor(card, instances)
        name = card.inputs[0].name if card.inputs else ANY_INPUT.name
        check_inputs(card, {name: (tensors.datatype_of(array), array.shape)})
        outputs = await repository.predict(model, {name: array}, {})
        return {"predictions": _nested(next(iter(outputs.values())))}

    return router


def _tensor(card: Card, instances: list[Any]) -> np.ndarray[Any, np.dtype[Any]]:
    """Instances of the datatype that the model takes, or of the one that they look like."""
    try:
        plain = np.array(instances)
    except (ValueError, OverflowError):
        raise ProtocolError(400, "instances are not rectangular") from None
    looks_like = {"b": "BOOL", "i": "INT64", "u": "UINT64", "f": "FP64", "U": "BYTES"}
    datatype = card.inputs[0].datatype if card.inputs else looks_like.get(plain.dtype.kind)
    if datatype is None:
        raise ProtocolError(400, "instances must be numbers, booleans or strings, in lists or alone")
    return tensors.decode("instances", datatype, plain.shape, instances)


def _nested(array: np.ndarray[Any, np.dtype[Any]]) -> list[Any]:
    flat = np.empty(array.size, dtype=object)
    flat[:] = tensors.encode(array)
    nested: list[Any] = flat.reshape(array.shape).tolist()
    return nested
