"""KServe's REST client, V1 and V2, against a server: `python kserve_rest.py HOST:PORT`."""

from __future__ import annotations

import asyncio
import importlib.metadata
import sys
from collections.abc import Coroutine
from typing import Any

import httpx
import numpy as np
from checks import check, expect, raises, run
from kserve import InferInput, InferRequest
from kserve.inference_client import InferenceRESTClient, RESTConfig
from kserve.protocol.infer_type import RequestedOutput

URL = f"http://{sys.argv[1]}"
FLOWERS = [[5.1, 3.5, 1.4, 0.2], [6.7, 3.1, 5.6, 2.4]]


def ask(protocol: str, method: str, *arguments: Any, **how: Any) -> Any:
    async def once() -> Any:
        async with InferenceRESTClient(RESTConfig(protocol=protocol, timeout=30)) as client:
            call: Coroutine[Any, Any, Any] = getattr(client, method)(URL, *arguments, **how)
            return await call

    return asyncio.run(once())


def status(error: BaseException) -> int:
    assert isinstance(error, httpx.HTTPStatusError)
    return error.response.status_code


@check
def v1_health() -> None:
    expect((True, True), (ask("v1", "is_server_live"), ask("v1", "is_model_ready", "iris")))


@check
def v1_predict() -> None:
    expect({"predictions": [0, 2]}, ask("v1", "infer", {"instances": FLOWERS}, "iris"))
    expect({"predictions": [[1, 2]]}, ask("v1", "infer", {"inputs": [[1, 2]]}, "identity"))


@check
def v1_explain() -> None:
    found = ask("v1", "explain", "iris", {"instances": FLOWERS})
    expect(2, len(found["explanations"]), "explanations")


@check
def v1_errors_carry_the_sentence_of_the_server() -> None:
    cases = [
        (404, "not found", lambda: ask("v1", "infer", {"instances": FLOWERS}, "nobody")),
        (400, "instances", lambda: ask("v1", "infer", {"nothing": 1}, "iris")),
        (404, "not found", lambda: ask("v1", "is_model_ready", "nobody")),
        (404, "not found", lambda: ask("v1", "explain", "nobody", {"instances": FLOWERS})),
    ]
    for code, words, function in cases:
        error = raises(httpx.HTTPStatusError, function)
        expect((code, True), (status(error), words in str(error)), str(error))


@check
def v2_health() -> None:
    found = [ask("v2", method) for method in ("is_server_live", "is_server_ready")]
    expect([True, True], found)
    expect([True, False], [ask("v2", "is_model_ready", name) for name in ("iris", "nobody")])


def request(array: np.ndarray, binary: bool, name: str, datatype: str, model: str) -> InferRequest:
    tensor = InferInput(name, list(array.shape), datatype)
    tensor.set_data_from_numpy(array, binary_data=binary)
    return InferRequest(model_name=model, infer_inputs=[tensor], request_id="seven")


@check
def v2_infer_with_a_dictionary() -> None:
    tensor = {"name": "flowers", "shape": [2, 4], "datatype": "FP64", "data": FLOWERS}
    answer = ask("v2", "infer", {"inputs": [tensor]}, "iris")
    expect([0, 2], answer.get_output_by_name("class").as_numpy().tolist())


@check
def v2_infer_json_and_binary() -> None:
    cases = [
        ("FP32", np.array([[0.25, -3.5]], "float32")),
        ("FP16", np.array([[0.25, -3.5]], "float16")),
        ("INT64", np.array([[-(2**63), 2**63 - 1]], "int64")),
        ("UINT8", np.array([[0, 255]], "uint8")),
        ("BOOL", np.array([[True, False]])),
        ("BYTES", np.array([[b"a", "schön".encode()]], dtype=object)),
    ]
    for datatype, array in cases:
        for binary in (False, True):
            if datatype == "FP16" and not binary:
                continue  # this client itself refuses to write FP16 as JSON
            answer = ask("v2", "infer", request(array, binary, "x", datatype, "identity"), "identity")
            expect("seven", answer.id, "id")
            found = answer.get_output_by_name("x").as_numpy()
            values = [item.encode() if isinstance(item, str) else item for item in found.ravel().tolist()]
            expect((datatype, array.ravel().tolist()), (datatype, values), f"binary={binary}")


@check
def v2_binary_output() -> None:
    array = np.array([[0.25, -3.5]], "float32")
    wanted = request(array, True, "x", "FP32", "identity")
    wanted.request_outputs = [RequestedOutput("x", {"binary_data": True})]
    expect(array.tolist(), ask("v2", "infer", wanted, "identity").get_output_by_name("x").as_numpy().tolist())


@check
def v2_errors_carry_the_sentence_of_the_server() -> None:
    wrong = {"inputs": [{"name": "flowers", "shape": [1, 3], "datatype": "FP64", "data": [1, 2, 3]}]}
    for code, words, model in ((404, "not found", "nobody"), (400, "expected FP64 [-1, 4]", "iris")):
        error = raises(httpx.HTTPStatusError, lambda model=model: ask("v2", "infer", wrong, model))
        expect((code, True), (status(error), words in str(error)), str(error))


if __name__ == "__main__":
    sys.exit(run(f"kserve {importlib.metadata.version('kserve')}"))
