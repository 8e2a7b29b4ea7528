"""The JSON bodies of all three protocols: what is read, what is written, and what the OpenAPI document says of them."""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType

from reference_server.protocol.tensors import DTYPES, MAX_DIMENSIONS

Name = Annotated[str, Meta(min_length=1)]
Length = Annotated[int, Meta(ge=0, le=2**53)]
Datatype = Annotated[str, Meta(extra_json_schema={"enum": list(DTYPES)})]
Shape = Annotated[list[Length], Meta(extra_json_schema={"maxItems": MAX_DIMENSIONS})]
Data = Annotated[msgspec.Raw, Meta(extra_json_schema={"type": "array"}, description="Flat, or nested as `shape` says")]
Rows = Annotated[msgspec.Raw, Meta(extra_json_schema={"type": "array"})]
Parameters = dict[str, Any]

# What a request's parameters say to the server, not to the model; tritonclient always sends some of them.
# https://github.com/triton-inference-server/server/blob/main/docs/protocol/extension_parameters.md
PROTOCOL: Final = frozenset(
    {"binary_data_output", "sequence_id", "sequence_start", "sequence_end", "priority", "timeout"}
)


def for_model(parameters: Parameters) -> Parameters:
    return {name: value for name, value in parameters.items() if name not in PROTOCOL} if parameters else parameters


class Error(Struct):
    error: str


# --- V1 -------------------------------------------------------------------------------------------------------------


class Alive(Struct):
    status: Literal["alive"]


class ModelNames(Struct):
    models: list[str]


class Instances(Struct):
    """`inputs` is another name for `instances`; one of them."""

    instances: Rows | UnsetType = UNSET
    inputs: Rows | UnsetType = UNSET


_ONE_NAME: Final = {"oneOf": [{"required": ["instances"]}, {"required": ["inputs"]}]}
PredictRequest = Annotated[Instances, Meta(extra_json_schema=_ONE_NAME)]


class PredictResponse(Struct):
    predictions: list[Any]


class ExplainResponse(Struct):
    """An explanation is an object with what the model tells of that instance."""

    predictions: list[Any]
    explanations: list[dict[str, Any]]


# --- V2 -------------------------------------------------------------------------------------------------------------


class Live(Struct):
    live: bool


class Ready(Struct):
    ready: bool


class ModelReady(Struct):
    name: str
    ready: bool


class ServerMetadata(Struct):
    name: str
    version: str
    extensions: list[str]


class TensorMetadata(Struct):
    """-1 in the shape stands for any length."""

    name: str
    datatype: Datatype
    shape: list[int]


class ModelMetadata(Struct):
    name: str
    versions: list[str]
    platform: str
    inputs: list[TensorMetadata]
    outputs: list[TensorMetadata]


class InputTensor(Struct, forbid_unknown_fields=True):
    """Without `data`, its parameter `binary_data_size` says how many bytes after the JSON are its own."""

    name: Name
    shape: Shape
    datatype: Datatype
    parameters: Parameters = {}
    data: Data | UnsetType = UNSET


class RequestedOutput(Struct, forbid_unknown_fields=True):
    """The parameter `binary_data` asks for binary data instead of JSON."""

    name: Name
    parameters: Parameters = {}


class InferRequest(Struct, forbid_unknown_fields=True):
    """The parameter `binary_data_output` asks for binary data in all outputs that do not say otherwise. KServe's
    client repeats the model's name here; the one in the path counts.
    """

    inputs: Annotated[list[InputTensor], Meta(min_length=1)]
    outputs: list[RequestedOutput] | None = None
    parameters: Parameters = {}
    id: str | None = None
    model_name: str | None = None


class OutputTensor(Struct):
    name: str
    shape: list[int]
    datatype: Datatype
    parameters: Parameters | UnsetType = UNSET
    data: list[Any] | UnsetType = UNSET


class InferResponse(Struct):
    model_name: str
    model_version: str
    outputs: list[OutputTensor]
    id: str | UnsetType = UNSET
    parameters: Parameters | UnsetType = UNSET


# --- Extensions -----------------------------------------------------------------------------------------------------


class IndexRequest(Struct):
    """`ready` asks for the models that are ready only."""

    ready: bool = False


class IndexEntry(Struct):
    name: str
    version: str
    state: Literal["UNAVAILABLE", "LOADING", "READY", "UNLOADING"]
    reason: str


class LoadRequest(Struct):
    """Parameters are for servers that can load something else than what they were started with."""

    parameters: Parameters = {}


class Loaded(Struct):
    name: str
    load: bool


class Unloaded(Struct):
    name: str
    unload: bool


class GenerateRequest(Struct, forbid_unknown_fields=True):
    text_input: str
    parameters: Parameters = {}
    id: str | None = None


class GenerateResponse(Struct):
    """`finish_reason` is `stopping` where the server's stop left no time for the rest."""

    model_name: str
    model_version: str
    text_output: str
    finish_reason: Literal["complete", "stopping"] | UnsetType = UNSET
    id: str | UnsetType = UNSET


class Event(Struct):
    """The data is JSON: a GenerateResponse, in the last event with a `finish_reason`; or an Error that came midway."""

    data: str
    event: Literal["message", "end", "error"] = "message"


ALL: Final = (
    *(Error, Alive, ModelNames, Instances, PredictResponse, ExplainResponse),
    *(Live, Ready, ModelReady, ServerMetadata, ModelMetadata, InferRequest, InferResponse),
    *(IndexRequest, IndexEntry, LoadRequest, Loaded, Unloaded, GenerateRequest, GenerateResponse, Event),
)
