"""The V2 protocol, also called Open Inference Protocol (https://github.com/kserve/open-inference-protocol)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import msgspec
from fastapi import Request
from fastapi.responses import Response

import reference_server
from reference_server.graceful import Lifecycle, State
from reference_server.limits import Limits
from reference_server.models import Answer, Card, Tensor, Tensors, TensorSpec
from reference_server.models.repository import Repository
from reference_server.protocol import binary, inputs, messages, tensors
from reference_server.protocol.body import parse, read_body
from reference_server.protocol.errors import ProtocolError
from reference_server.protocol.messages import InferRequest
from reference_server.protocol.openapi import BINARY, WORK, Operation
from reference_server.protocol.reply import JSON, encode_arrays, reply
from reference_server.protocol.routes import Act, Routes

EXTENSIONS: Final = ["binary_tensor_data", "generate", "model_repository", "parameters"]

_REQUEST: Final = msgspec.json.Decoder(messages.InferRequest)


def install(routes: Routes, repository: Repository, lifecycle: Lifecycle, limits: Limits) -> None:
    infer = Operation("V2", "Inference", messages.InferResponse, messages.InferRequest, WORK, media=(JSON, BINARY))
    routes.add_model("POST", "/infer", _infer(routes, repository, limits), infer)
    _install_health(routes, repository, lifecycle)
    _install_models(routes, repository)


def _install_health(routes: Routes, repository: Repository, lifecycle: Lifecycle) -> None:
    async def live(request: Request) -> Response:
        """True as long as anything answers at all, also while draining: a restart would not help."""
        return reply(messages.Live(True))

    async def ready(request: Request) -> Response:
        """503 from the moment that a stop is requested, while connections are still served."""
        is_ready = lifecycle.state is State.READY and repository.all_ready
        return reply(messages.Ready(is_ready), 200 if is_ready else 503)

    async def server(request: Request) -> Response:
        return reply(messages.ServerMetadata("reference_server", reference_server.__version__, EXTENSIONS))

    routes.add("GET", "/v2/health/live", live, Operation("V2", "Server live", messages.Live))
    routes.add("GET", "/v2/health/ready", ready, Operation("V2", "Server ready", messages.Ready, also=(503,)))
    for path in ("/v2", "/v2/"):
        routes.add("GET", path, server, Operation("V2", "Server metadata", messages.ServerMetadata))


def _install_models(routes: Routes, repository: Repository) -> None:
    async def metadata(request: Request, model: str, version: str | None) -> Response:
        card = repository.card(model, version)
        described = [[_described(spec) for spec in specs] for specs in (card.inputs, card.outputs)]
        return reply(messages.ModelMetadata(model, list(card.versions), card.platform, *described))

    async def ready(request: Request, model: str, version: str | None) -> Response:
        repository.card(model, version)
        is_ready = repository.ready(model)
        return reply(messages.ModelReady(model, is_ready), 200 if is_ready else 503)

    routes.add_model("GET", "", metadata, Operation("V2", "Model metadata", messages.ModelMetadata, errors=(404,)))
    routes.add_model(
        "GET", "/ready", ready, Operation("V2", "Model ready", messages.ModelReady, errors=(404,), also=(503,))
    )


def _described(spec: TensorSpec) -> messages.TensorMetadata:
    return messages.TensorMetadata(spec.name, spec.datatype, list(spec.shape))


def _infer(routes: Routes, repository: Repository, limits: Limits) -> Act:
    def decode(model: str, card: Card, body: bytes | bytearray, header: str | None) -> tuple[InferRequest, Tensors]:
        text, data = binary.split(body, header)
        asked = parse(_REQUEST, text)
        return asked, _inputs(model, card, asked, data, limits)

    async def infer(request: Request, model: str, version: str | None) -> Response:
        card = repository.card(model, version)
        body = await read_body(request, limits)
        asked, given = await routes.beside(len(body), decode, model, card, body, request.headers.get(binary.HEADER))
        answer = await repository.predict(model, given, messages.for_model(asked.parameters))
        head: dict[str, Any] = {"model_name": model, "model_version": version or card.versions[-1]}
        size = sum(array.nbytes for array in answer.outputs.values())
        return await routes.beside(size, _respond, head, asked, answer)

    return infer


def _inputs(model: str, card: Card, asked: messages.InferRequest, data: memoryview, limits: Limits) -> Tensors:
    if len({tensor.name for tensor in asked.inputs}) != len(asked.inputs):
        raise ProtocolError(400, f"inputs have the same name twice: {[tensor.name for tensor in asked.inputs]}")
    inputs.check(model, card, ((tensor.name, tensor.datatype, tuple(tensor.shape)) for tensor in asked.inputs))
    for tensor in asked.inputs:
        tensors.check(tensor.name, tensor.datatype, tuple(tensor.shape))
    position = 0
    given: dict[str, Tensor] = {}
    for tensor in asked.inputs:
        size = binary.size_of(tensor.name, tensor.parameters)
        if (size is None) == isinstance(tensor.data, msgspec.UnsetType):
            what = "neither" if size is None else "both"
            raise tensors.wrong(tensor.name, f"expected `data` or the parameter binary_data_size, found {what}")
        about = tensor.name, tensor.datatype, tuple(tensor.shape)
        if isinstance(tensor.data, msgspec.Raw):
            given[tensor.name] = tensors.decode(*about, tensor.data, limits.tensor_elements)
        else:
            end = position + (size or 0)
            if end > len(data):
                raise tensors.wrong(tensor.name, f"expected {size} bytes after the JSON, found {len(data) - position}")
            given[tensor.name] = binary.decode(*about, data[position:end], limits.tensor_elements)
            position = end
    if position != len(data):
        raise ProtocolError(400, f"{len(data) - position} bytes after the last tensor's data")
    return given


def _respond(head: dict[str, Any], asked: messages.InferRequest, answer: Answer) -> Response:
    if asked.id is not None:
        head["id"] = asked.id
    if answer.parameters:
        head["parameters"] = answer.parameters
    parts: list[bytes | memoryview] = []
    head["outputs"] = [
        _binary(name, array, parts.append) if in_binary else _plain(name, array)
        for name, array, in_binary in _requested(answer.outputs, asked)
    ]
    text = encode_arrays(head)
    if not parts:
        return Response(text, media_type=JSON)
    length = {binary.HEADER: str(len(text))}
    return Response(b"".join([text, *parts]), headers=length, media_type=BINARY)


def _requested(outputs: Tensors, asked: messages.InferRequest) -> list[tuple[str, Tensor, bool]]:
    """Name, tensor, and whether it goes out as binary data."""
    default = _flag(asked.parameters, "binary_data_output", False)
    if asked.outputs is None:
        return [(name, array, default) for name, array in outputs.items()]
    unknown = [output.name for output in asked.outputs if output.name not in outputs]
    if unknown:
        raise ProtocolError(400, f"outputs {unknown} requested, but the model gives {list(outputs)}")
    parameters = {key for output in asked.outputs for key in output.parameters}
    unable = sorted(parameters & {"classification", "shared_memory_region"})
    if unable:
        raise ProtocolError(400, f"output parameters {unable} are not supported")
    return [(one.name, outputs[one.name], _flag(one.parameters, "binary_data", default)) for one in asked.outputs]


def _flag(parameters: dict[str, Any], name: str, default: bool) -> bool:
    value = parameters.get(name, default)
    if not isinstance(value, bool):
        raise ProtocolError(400, f"parameter {name!r}: expected true or false, found {value!r:.60}")
    return value


def _plain(name: str, array: Tensor) -> dict[str, Any]:
    data = tensors.encode(name, array.reshape(-1))
    return {"name": name, "datatype": tensors.datatype_of(array), "shape": array.shape, "data": data}


def _binary(name: str, array: Tensor, add: Callable[[bytes | memoryview], None]) -> dict[str, Any]:
    data = binary.encode(array)
    add(data)
    parameters = {"binary_data_size": len(data)}
    return {"name": name, "datatype": tensors.datatype_of(array), "shape": array.shape, "parameters": parameters}
