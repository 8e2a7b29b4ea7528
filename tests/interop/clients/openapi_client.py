"""The client generated from the protocol's own OpenAPI, against a server: `python openapi_client.py HOST:PORT`.

Its records (pydantic) are the schemas of open_inference_rest.yaml: an answer that they do not fit is refused.
"""

from __future__ import annotations

import importlib.metadata
import sys
from typing import Any

from checks import check, expect, raises, run
from open_inference.openapi.client import OpenInferenceClient
from open_inference.openapi.core.api_error import ApiError
from open_inference.openapi.errors import BadRequestError, NotFoundError
from open_inference.openapi.types import (
    InferenceErrorResponse,
    InferenceRequest,
    MetadataModelErrorResponse,
    RequestInput,
    RequestOutput,
)

client = OpenInferenceClient(base_url=f"http://{sys.argv[1]}", timeout=30)


def request(name: str, shape: list[int], datatype: str, data: list[Any], **more: Any) -> InferenceRequest:
    tensor = RequestInput(name=name, shape=shape, datatype=datatype, data=data)
    return InferenceRequest(inputs=[tensor], **more)


@check
def health() -> None:
    client.check_server_liveness()
    client.check_server_readiness()
    client.check_model_readiness("iris")
    client.check_model_version_readiness("iris", "1")


@check
def metadata() -> None:
    expect("reference_server", client.read_server_metadata().name)
    for found in (client.read_model_metadata("iris"), client.read_model_version_metadata("iris", "1")):
        assert found.inputs is not None
        expect(("iris", "flowers", [-1, 4]), (found.name, found.inputs[0].name, found.inputs[0].shape))


@check
def inference() -> None:
    flowers = request(
        "flowers", [1, 4], "FP64", [[5.1, 3.5, 1.4, 0.2]], id="seven", outputs=[RequestOutput(name="class")]
    )
    for answer in (
        client.model_infer("iris", request=flowers),
        client.model_version_infer("iris", "1", request=flowers),
    ):
        expect(("seven", "class", [0]), (answer.id, answer.outputs[0].name, answer.outputs[0].data.__root__))


@check
def inference_of_every_kind_of_data() -> None:
    # Its record of data turns integers into 1.0, which JSON does not tell from 1, and booleans, too: without BOOL.
    for datatype, data in (("INT32", [1, -2]), ("FP32", [0.5, 2.0]), ("BYTES", ["a", "schön"])):
        answer = client.model_infer("identity", request=request("x", [2], datatype, data))
        expect((datatype, data), (answer.outputs[0].datatype, answer.outputs[0].data.__root__))


@check
def errors_fit_the_schema() -> None:
    wrong = request("x", [1], "FP32", [1.0])
    cases = [
        (400, BadRequestError, InferenceErrorResponse, lambda: client.model_infer("iris", request=wrong)),
        (404, NotFoundError, MetadataModelErrorResponse, lambda: client.check_model_readiness("nobody")),
        # The schema knows no 404 here, and the client has no class of its own for it.
        (404, ApiError, MetadataModelErrorResponse, lambda: client.read_model_metadata("nobody")),
        (404, ApiError, InferenceErrorResponse, lambda: client.model_infer("nobody", request=wrong)),
    ]
    for status, kind, schema, function in cases:
        error = raises(kind, function)
        assert isinstance(error, ApiError)
        expect((status, dict), (error.status_code, type(error.body)))
        expect({"error"}, set(schema.parse_obj(error.body).dict()), "keys")


if __name__ == "__main__":
    sys.exit(run(f"open-inference-openapi {importlib.metadata.version('open-inference-openapi')}"))
