"""What clients that people use send, beyond what the protocol asks for; tests/interop runs the clients themselves."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

pytest.importorskip("fastapi", reason="needs the extra `reference`")

from tests.test_reference_protocol import INFER, Client, ready_lifecycle, tensor


@pytest.fixture
def client() -> Iterator[Client]:
    with Client(ready_lifecycle()) as client:
        yield client


def test_kserve_repeats_the_name_of_the_model(client: Client) -> None:
    answer = client.post(INFER, {"model_name": "identity", "inputs": [tensor("FP32", [0.5])]})
    assert answer.status_code == 200, answer.text


def test_what_triton_always_sends_is_no_parameter_of_a_model(client: Client) -> None:
    own = {"sequence_id": 7, "sequence_start": True, "sequence_end": False, "priority": 1, "timeout": 5}
    body = {"inputs": [tensor("BYTES", ["The captain"], name="text_input")], "parameters": own}
    assert client.post("/v2/models/ngram/infer", body).status_code == 200
    binary = client.post("/v2/models/ngram/infer", {**body, "parameters": {"binary_data_output": True}})
    assert binary.headers["content-type"] == "application/octet-stream", binary.text
    generated = client.post("/v2/models/ngram/generate", {"text_input": "The", "parameters": own})
    assert generated.status_code == 200, generated.text
    wrong = client.post("/v2/models/ngram/infer", {**body, "parameters": {"top_p": 1}})
    assert (wrong.status_code, "['top_p'] unknown" in wrong.text) == (400, True)


@pytest.mark.parametrize("data", [b"[1.0, -2]", b"[[1.0, -2e0]]"])
def test_a_whole_number_may_be_written_with_a_point(client: Client, data: bytes) -> None:
    """As open-inference-openapi does with every number."""
    shape = b"[2]" if data.startswith(b"[1") else b"[1,2]"
    body = b'{"inputs":[{"name":"x","datatype":"INT32","shape":%s,"data":%s}]}' % (shape, data)
    answer = client.post(INFER, body)
    assert answer.json()["outputs"][0]["data"] == [1, -2]


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (["1.5"], "Expected `int"),
        ([1.0, 1.5], "got `float`"),
        ([300.0], "<= 127"),
        ([1e300], "<= 127"),
        (json.loads("[1.0, " + "[" * 500 + "]" * 500 + "]"), "got `array`"),
    ],
)
def test_other_numbers_may_not(client: Client, data: list[object], expected: str) -> None:
    answer = client.post(INFER, {"inputs": [tensor("INT8", data)]})
    assert (answer.status_code, expected in answer.json()["error"]) == (400, True), answer.text
