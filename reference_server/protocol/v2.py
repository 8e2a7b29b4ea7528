"""The V2 protocol, also called Open Inference Protocol (https://github.com/kserve/open-inference-protocol)."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, Response
from pydantic import BaseModel, ConfigDict, Field

import reference_server
from reference_server.lifecycle import Lifecycle, State
from reference_server.models import Card, Repository, Tensors, TensorSpec, check_inputs
from reference_server.protocol import tensors
from reference_server.protocol.errors import ProtocolError, parse


class InputTensor(BaseModel):
    name: str
    shape: list[Annotated[int, Field(ge=0)]]
    datatype: str
    data: list[Any]
    parameters: dict[str, Any] = {}


class RequestedOutput(BaseModel):
    name: str
    parameters: dict[str, Any] = {}


class InferRequest(BaseModel):
    model_config = ConfigDict(extra="forbid")

    id: str | None = None
    parameters: dict[str, Any] = {}
    inputs: Annotated[list[InputTensor], Field(min_length=1)]
    outputs: list[RequestedOutput] | None = None


def routes(repository: Repository, lifecycle: Lifecycle) -> APIRouter:
    router = APIRouter(tags=["V2"])
    _health(router, repository, lifecycle)
    _models(router, repository)
    return router


def _health(router: APIRouter, repository: Repository, lifecycle: Lifecycle) -> None:
    @router.get("/v2/health/live")
    async def live() -> dict[str, bool]:
        """True as long as anything answers at all, also while draining: a restart would not help."""
        return {"live": True}

    @router.get("/v2/health/ready")
    async def ready() -> Response:
        """503 from the moment that a stop is requested, while connections are still served."""
        is_ready = lifecycle.state is State.READY and repository.all_ready
        return JSONResponse({"ready": is_ready}, 200 if is_ready else 503)

    @router.get("/v2")
    @router.get("/v2/", include_in_schema=False)
    async def server() -> dict[str, Any]:
        return {"name": "reference_server", "version": reference_server.__version__, "extensions": []}


def _models(router: APIRouter, repository: Repository) -> None:
    @router.get("/v2/models/{model}")
    @router.get("/v2/models/{model}/versions/{version}")
    async def metadata(model: str, version: str | None = None) -> dict[str, Any]:
        card = repository.card(model, version)
        return {
            "name": card.name,
            "versions": list(card.versions),
            "platform": card.platform,
            "inputs": [_described(spec) for spec in card.inputs],
            "outputs": [_described(spec) for spec in card.outputs],
        }

    @router.get("/v2/models/{model}/ready")
    @router.get("/v2/models/{model}/versions/{version}/ready")
    async def model_ready(model: str, version: str | None = None) -> Response:
        repository.card(model, version)
        is_ready = repository.ready(model)
        return JSONResponse({"name": model, "ready": is_ready}, 200 if is_ready else 503)

    @router.post("/v2/models/{model}/infer")
    @router.post("/v2/models/{model}/versions/{version}/infer")
    async def infer(model: str, request: Request, version: str | None = None) -> Response:
        card = repository.card(model, version)
        body = await parse(request, InferRequest)
        inputs = _inputs(card, body)
        outputs = await repository.predict(model, inputs, body.parameters)
        answer: dict[str, Any] = {"model_name": card.name, "model_version": version or card.versions[-1]}
        if body.id is not None:
            answer["id"] = body.id
        answer["outputs"] = [_output(name, array) for name, array in _requested(outputs, body.outputs)]
        return JSONResponse(answer)


def _described(spec: TensorSpec) -> dict[str, Any]:
    return {"name": spec.name, "datatype": spec.datatype, "shape": list(spec.shape)}


def _inputs(card: Card, body: InferRequest) -> Tensors:
    names = [tensor.name for tensor in body.inputs]
    if len(set(names)) != len(names):
        raise ProtocolError(400, f"inputs have the same name twice: {names}")
    check_inputs(card, {tensor.name: (tensor.datatype, tuple(tensor.shape)) for tensor in body.inputs})
    return {
        tensor.name: tensors.decode(tensor.name, tensor.datatype, tuple(tensor.shape), tensor.data)
        for tensor in body.inputs
    }


def _requested(outputs: Tensors, requested: list[RequestedOutput] | None) -> list[tuple[str, Any]]:
    names = list(outputs) if requested is None else [output.name for output in requested]
    unknown = [name for name in names if name not in outputs]
    if unknown:
        raise ProtocolError(400, f"outputs {unknown} requested, but the model gives {list(outputs)}")
    return [(name, outputs[name]) for name in names]


def _output(name: str, array: Any) -> dict[str, Any]:
    return {
        "name": name,
        "datatype": tensors.datatype_of(array),
        "shape": list(array.shape),
        "data": tensors.encode(array),
    }
