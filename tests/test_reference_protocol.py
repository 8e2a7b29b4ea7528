"""What the reference server answers, over its ASGI interface and over both HTTP engines that uvicorn may take."""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import json
import re
import socket
import struct
import subprocess
import sys
import threading
import time
import zlib
from collections.abc import AsyncIterator, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("fastapi", reason="needs the extra `reference`")

import httpx
import numpy as np

from reference_server.app import create_app
from reference_server.graceful import EXIT_OK, EXIT_START_FAILED, Lifecycle, Policy
from reference_server.limits import Limits
from reference_server.models import repository
from reference_server.settings import BadSettings, load

ROOT = Path(__file__).parent.parent
INFER = "/v2/models/identity/infer"
IRIS = "/v2/models/iris/infer"
SLEEPER = "/v2/models/sleeper/infer"
GENERATE = "/v2/models/ngram/generate"


class Client:
    """The application without a server: its lifespan, and requests straight to its ASGI interface."""

    def __init__(self, lifecycle: Lifecycle, **how: Any) -> None:
        self._app = create_app(lifecycle, **{"test_routes": True, "model_control": True, **how})
        self._runner = asyncio.Runner()
        self._lifespan = self._app.router.lifespan_context(self._app)

    def __enter__(self) -> Client:
        self.run(self._lifespan.__aenter__())
        return self

    def __exit__(self, *_: object) -> None:
        self.run(self._lifespan.__aexit__(None, None, None))
        self._runner.close()

    def run(self, what: Any) -> Any:
        return self._runner.run(what)

    async def ask(self, method: str, path: str, **how: Any) -> httpx.Response:
        transport = httpx.ASGITransport(self._app, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://server") as client:
            return await client.request(method, path, **how)

    def request(self, method: str, path: str, **how: Any) -> httpx.Response:
        answer: httpx.Response = self.run(self.ask(method, path, **how))
        return answer

    def get(self, path: str) -> httpx.Response:
        return self.request("GET", path)

    def post(self, path: str, body: object, **headers: str) -> httpx.Response:
        # No Content-Type, as tritonclient sends it.
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return self.request("POST", path, content=content, headers=named)


def ready_lifecycle(policy: Policy | None = None) -> Lifecycle:
    lifecycle = Lifecycle(policy)
    lifecycle.mark_ready()
    return lifecycle


@pytest.fixture(scope="module")
def client() -> Iterator[Client]:
    with Client(ready_lifecycle()) as client:
        yield client


def tensor(datatype: str, data: list[Any], shape: list[int] | None = None, name: str = "x") -> dict[str, Any]:
    return {"name": name, "datatype": datatype, "shape": [len(data)] if shape is None else shape, "data": data}


FLOWERS = [[5.1, 3.5, 1.4, 0.2], [5.0, 2.0, 3.5, 1.0], [6.7, 3.1, 5.6, 2.4]]


# --- V1 -------------------------------------------------------------------------------------------------------------


def test_v1(client: Client) -> None:
    assert client.get("/").json() == {"status": "alive"}
    assert client.get("/v1/models").json() == {"models": ["identity", "iris", "ngram", "sleeper"]}
    assert client.get("/v1/models/iris").json() == {"name": "iris", "ready": True}
    assert client.post("/v1/models/iris:predict", {"instances": FLOWERS}).json() == {"predictions": [0, 1, 2]}


@pytest.mark.parametrize(
    "instances",
    [[[1, 2], [3, 4]], [1.5], [1, 2.5], ["a", "b"], [[True], [False]], [], [[]], [2**64 - 1, 0], [-(2**63)]],
)
def test_v1_instances_keep_their_type(client: Client, instances: list[Any]) -> None:
    answer = client.post("/v1/models/identity:predict", {"inputs": instances})
    assert answer.json() == {"predictions": instances}
    assert repr(answer.json()["predictions"]) == repr(instances if instances != [1, 2.5] else [1.0, 2.5])


def test_v1_explain_is_exact(client: Client) -> None:
    answer = client.post("/v1/models/iris:explain", {"instances": FLOWERS}).json()
    assert answer["predictions"] == [0, 1, 2]
    for explanation in answer["explanations"]:
        total = explanation["mean_score"] + sum(explanation["contributions"])
        assert explanation["score"] == pytest.approx(total)
    # Petals tell a setosa: both are smaller than the mean's, and small petals speak for it.
    assert max(answer["explanations"][0]["contributions"]) == answer["explanations"][0]["contributions"][2]


# --- V2 -------------------------------------------------------------------------------------------------------------


def test_v2_metadata(client: Client) -> None:
    assert client.get("/v2/health/live").json() == {"live": True}
    assert client.get("/v2/health/ready").json() == {"ready": True}
    assert client.get("/v2").json() == client.get("/v2/").json()
    assert client.get("/v2").json()["name"] == "reference_server"
    assert "binary_tensor_data" in client.get("/v2").json()["extensions"]
    card = client.get("/v2/models/sleeper/versions/1").json()
    assert card["inputs"] == [{"name": "seconds", "datatype": "FP64", "shape": [-1]}]
    for path in ("/v2/models/sleeper/ready", "/v2/models/sleeper/versions/1/ready"):
        assert client.get(path).json() == {"name": "sleeper", "ready": True}


@pytest.mark.parametrize(
    ("datatype", "data"),
    [("BOOL", [True, False]), ("BYTES", ["", "schön"]), ("FP16", [0.5, -2.0]), ("FP32", [0.5, 3]), ("FP64", [1e300, 0])]
    + [(f"INT{bits}", [-(2 ** (bits - 1)), 2 ** (bits - 1) - 1]) for bits in (8, 16, 32, 64)]
    + [(f"UINT{bits}", [0, 2**bits - 1]) for bits in (8, 16, 32, 64)],
)
def test_every_datatype_flat_nested_and_binary(client: Client, datatype: str, data: list[Any]) -> None:
    for given, shape in ((data, [2]), (data, [1, 2]), ([data], [1, 2]), ([[item] for item in data], [2, 1]), ([], [0])):
        body = {"id": "seven", "inputs": [tensor(datatype, given, shape)]}
        answer = client.post(INFER, body)
        assert answer.status_code == 200, answer.text
        flat = data if given else []
        expected = {"name": "x", "datatype": datatype, "shape": shape, "data": flat}
        assert answer.json() == {"model_name": "identity", "model_version": "1", "id": "seven", "outputs": [expected]}
        binary = client.post(INFER, {**body, "parameters": {"binary_data_output": True}})
        head, raw = split(binary)
        (output,) = head["outputs"]
        assert (output["shape"], output["parameters"]) == (shape, {"binary_data_size": len(raw)})
        assert post_binary(client, [(output, raw)]).json()["outputs"] == [expected]


def split(answer: httpx.Response) -> tuple[dict[str, Any], bytes]:
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "application/octet-stream"
    border = int(answer.headers["inference-header-content-length"])
    return json.loads(answer.content[:border]), answer.content[border:]


def post_binary(client: Client, inputs: list[tuple[dict[str, Any], bytes]], **more: Any) -> httpx.Response:
    head = json.dumps({"inputs": [about for about, _ in inputs], **more}).encode()
    body = head + b"".join(raw for _, raw in inputs)
    return client.post(INFER, body, inference_header_content_length=str(len(head)))


def raw_tensor(name: str, datatype: str, shape: list[int], size: int) -> dict[str, Any]:
    return {"name": name, "datatype": datatype, "shape": shape, "parameters": {"binary_data_size": size}}


def test_binary_beside_json(client: Client) -> None:
    floats = np.array([[1.5, -2.5], [np.nan, np.inf]], "<f4")
    texts = b"".join(struct.pack("<I", len(text)) + text for text in (b"\xff\x00", b""))
    inputs = [
        (raw_tensor("floats", "FP32", [2, 2], 16), floats.tobytes()),
        (tensor("INT8", [1, 2], name="json"), b""),
        (raw_tensor("texts", "BYTES", [2], len(texts)), texts),
    ]
    outputs = [{"name": name, "parameters": {"binary_data": name != "json"}} for name in ("texts", "json", "floats")]
    head, raw = split(post_binary(client, inputs, outputs=outputs))
    assert [output["name"] for output in head["outputs"]] == ["texts", "json", "floats"]
    assert head["outputs"][1]["data"] == [1, 2]
    assert raw == texts + floats.tobytes()


BINARY_FAILURES: list[tuple[dict[str, Any], bytes, str]] = [
    (raw_tensor("x", "FP32", [2], 8), b"1234567", "expected 8 bytes after the JSON, found 7"),
    (raw_tensor("x", "FP32", [2], 8), b"123456789", "1 bytes after the last tensor's data"),
    (raw_tensor("x", "FP32", [2], 4), b"1234", "expected 8 bytes for shape [2] of FP32, found 4"),
    (raw_tensor("x", "FP32", [1], -4), b"", "binary_data_size: expected a number of bytes, found -4"),
    (raw_tensor("x", "BOOL", [1], 1), b"\2", "a byte 0 or 1"),
    (raw_tensor("x", "BYTES", [1], 4), b"\2\0\0\0", "element 0 of BYTES ends after the data"),
    (raw_tensor("x", "BYTES", [1], 3), b"\0\0\0", "found 3 bytes"),
    (raw_tensor("x", "BYTES", [1], 5), b"\0\0\0\0!", "1 bytes after the 1 elements of BYTES"),
    (raw_tensor("x", "BYTES", [10**7], 4), b"\0\0\0\0", "expected 10000000 elements of BYTES, found 4 bytes"),
    ({**raw_tensor("x", "INT8", [1], 1), "data": [1]}, b"1", "found both"),
    ({"name": "x", "datatype": "INT8", "shape": [1]}, b"", "found neither"),
]


@pytest.mark.parametrize(("about", "raw", "part"), BINARY_FAILURES)
def test_binary_failures(client: Client, about: dict[str, Any], raw: bytes, part: str) -> None:
    answer = post_binary(client, [(about, raw)])
    assert answer.status_code == 400
    assert part in answer.json()["error"]


def test_an_empty_tensor_of_a_huge_shape(client: Client) -> None:
    assert post_binary(client, [(raw_tensor("x", "FP32", [0, 2**53, 2**53], 0), b"")]).status_code == 413
    assert post_binary(client, [(raw_tensor("x", "FP32", [0, 2**20], 0), b"")]).status_code == 200


def test_compressed_bodies() -> None:
    body = json.dumps({"inputs": [tensor("INT8", [1] * 3)]}).encode()
    with Client(ready_lifecycle(), limits=Limits(body_bytes=1000)) as client:
        for encoding, compressed in (("gzip", gzip.compress(body)), ("deflate", zlib.compress(body))):
            answer = client.post(INFER, compressed, content_encoding=encoding)
            assert (answer.status_code, answer.json()["outputs"][0]["data"]) == (200, [1, 1, 1])
            for wrong in (compressed[:-1], compressed + b"x"):
                assert client.post(INFER, wrong, content_encoding=encoding).status_code == 400
        bomb = gzip.compress(b" " * 10_000_000)[:1000]
        assert client.post(INFER, bomb, content_encoding="gzip").status_code == 413


def test_what_json_cannot_carry(client: Client) -> None:
    for datatype, raw in (("FP64", struct.pack("<d", float("nan"))), ("BYTES", b"\1\0\0\0\xff")):
        answer = post_binary(client, [(raw_tensor("x", datatype, [1], len(raw)), raw)])
        assert answer.status_code == 400
        assert "JSON cannot carry it, binary data can" in answer.json()["error"]


def test_v2_requested_outputs(client: Client) -> None:
    flowers = tensor("FP64", [5.1, 3.5, 1.4, 0.2], [1, 4], "flowers")
    answer = client.post(IRIS, {"inputs": [flowers], "outputs": [{"name": "class"}]})
    assert answer.json()["outputs"] == [{"name": "class", "datatype": "INT64", "shape": [1], "data": [0]}]
    assert "id" not in answer.json()


def test_v2_parameters_go_both_ways(client: Client) -> None:
    for blocking in (True, False):
        body = {"inputs": [tensor("FP64", [60], name="seconds")], "parameters": {"seconds": 0, "blocking": blocking}}
        answer = client.post(SLEEPER, body).json()
        assert answer["parameters"] == {"seconds": 0, "blocking": blocking}


# --- Generation -----------------------------------------------------------------------------------------------------


def events(text: str) -> list[tuple[str, dict[str, Any]]]:
    """Kind and data of each event."""
    parts = [dict(line.split(": ", 1) for line in event.splitlines()) for event in text.split("\n\n")[:-1]]
    return [(part.get("event", "message"), json.loads(part["data"])) for part in parts]


def test_generate_whole_and_streamed(client: Client) -> None:
    body = {"text_input": "The captain", "parameters": {"max_tokens": 12, "seed": 7}, "id": "g"}
    whole = client.post(GENERATE, body).json()
    assert whole["model_name"] == "ngram"
    assert (whole["id"], whole["finish_reason"]) == ("g", "complete")
    streamed = client.post(f"{GENERATE}_stream", body)
    assert streamed.headers["content-type"].startswith("text/event-stream")
    *pieces, (kind, last) = events(streamed.text)
    assert len(pieces) == 12
    assert "".join(data["text_output"] for _, data in pieces) == whole["text_output"]
    assert (kind, last["text_output"], last["finish_reason"]) == ("end", "", "complete")
    inputs = [tensor("BYTES", ["The captain"], name="text_input")]
    inferred = client.post("/v2/models/ngram/infer", {"inputs": inputs, "parameters": body["parameters"]})
    assert inferred.json()["outputs"][0]["data"] == [whole["text_output"]]


def test_a_generation_that_fails_midway_says_so_in_the_stream(caplog: pytest.LogCaptureFixture) -> None:
    class Fails(Slow):
        async def generate(self, text: str, parameters: Any) -> AsyncIterator[str]:
            yield "one"
            raise ValueError("too purple") if text else ZeroDivisionError

    model = Fails()
    model.may_unload.set()
    with Client(ready_lifecycle(), models={"fails": model}) as client:
        answers = [client.post("/v2/models/fails/generate_stream", {"text_input": text}) for text in ("x", "")]
    for answer, message in zip(answers, ("model 'fails': too purple", "internal error"), strict=True):
        assert answer.status_code == 200
        assert [kind for kind, _ in events(answer.text)] == ["message", "error"]
        assert events(answer.text)[-1][1] == {"error": message}
    assert "ZeroDivisionError" in caplog.text


def test_generate_parameters(client: Client) -> None:
    def text(**parameters: object) -> str:
        answer: str = client.post(GENERATE, {"text_input": "x", "parameters": parameters}).json()["text_output"]
        return answer

    assert text(temperature=0, seed=1) == text(temperature=0, seed=2)
    assert len({text(seed=seed) for seed in range(5)}) > 1
    assert "." not in text(stop=["."], max_tokens=200)


@pytest.mark.parametrize("path", [GENERATE, f"{GENERATE}_stream"])
def test_generation_ends_with_the_drain(path: str) -> None:
    """The limit leaves half a second; the next word would come in an hour."""
    lifecycle = ready_lifecycle(Policy(drain_seconds=0.6))
    with Client(lifecycle) as client:

        async def stop_meanwhile() -> httpx.Response:
            body = {"text_input": "x", "parameters": {"seconds": 3600}}
            asking = asyncio.create_task(client.ask("POST", path, json=body))
            await asyncio.sleep(0.1)
            lifecycle.request_stop("the test")
            return await asking

        answer = client.run(stop_meanwhile())
    last = events(answer.text)[-1][1] if "stream" in path else answer.json()
    assert (last["text_output"], last["finish_reason"]) == ("", "stopping")


# --- Failures -------------------------------------------------------------------------------------------------------


DEEP = b"[" * 100_000
FAILURES: list[tuple[int, str, str, object, str]] = [
    (404, "GET", "/nothing", None, "Not Found"),
    (404, "GET", "/v1/models/", None, "Not Found"),
    (405, "GET", INFER, None, "Method Not Allowed"),
    (405, "GET", "/v1/models/iris:predict", None, "Method Not Allowed"),
    (405, "DELETE", "/v2/models/iris", None, "Method Not Allowed"),
    (404, "GET", "/v1/models/nobody", None, "model 'nobody' not found; this server has identity, iris, ngram, sleeper"),
    (404, "POST", "/v1/models/nobody:predict", {"instances": [1]}, "not found"),
    (404, "GET", "/v2/models/iris/versions/9", None, "no version '9', only 1"),
    (404, "POST", "/v2/models/nobody/infer", {"inputs": []}, "not found"),
    (404, "POST", "/v2/repository/models/nobody/load", b"", "not found"),
    (400, "GET", "/slow?seconds=-1", None, "query.seconds"),
    (400, "GET", "/slow?seconds=nan", None, "query.seconds"),
    (400, "POST", INFER, b"{", "truncated"),
    (400, "POST", INFER, b"", "truncated"),
    (400, "POST", INFER, b"\xff", "JSON"),
    (400, "POST", INFER, b'{"id":"\xff"}', "not UTF-8"),
    (400, "POST", INFER, DEEP, "Expected `object`, got `array`"),
    (400, "POST", INFER, b'{"parameters":{"x":' + DEEP, "nested too deeply"),
    (400, "POST", INFER, b'{"inputs":[{"name":"x","shape":[1],"datatype":"FP32","data":' + DEEP, "nested too deeply"),
    (400, "POST", INFER, b'{"inputs":[{"name":"x","shape":[1],"datatype":"FP32","data":[NaN]}]}', "malformed"),
    (400, "POST", INFER, b'{"inputs":[{"name":"x","shape":[1],"datatype":"FP64","data":[1e999]}]}', "out of range"),
    (
        400,
        "POST",
        INFER,
        b'{"inputs":[{"name":"x","shape":[1],"datatype":"INT8","data":[%s]}]}' % (b"9" * 9999),
        "out of",
    ),
    (400, "POST", INFER, {"inputs": []}, "$.inputs"),
    (400, "POST", INFER, {"inputs": [{"name": "x"}]}, "missing required field `shape` - at `$.inputs[0]`"),
    (400, "POST", INFER, {"input": []}, "unknown field `input`"),
    (400, "POST", INFER, {"inputs": [tensor("FP8", [1])]}, "unknown datatype 'FP8'; known are BOOL"),
    (400, "POST", INFER, {"inputs": [tensor("FP32", [1], [-1])]}, ">= 0 - at `$.inputs[0].shape[0]`"),
    (400, "POST", INFER, {"inputs": [tensor("FP32", [1], [1] * 40)]}, "at most 32 dimensions, found 40"),
    (
        400,
        "POST",
        INFER,
        {"inputs": [tensor("FP32", [1, 2, 3], [2, 2])]},
        "expected 4 elements for shape [2, 2], found 3",
    ),
    (400, "POST", INFER, {"inputs": [tensor("FP32", [[1, 2]], [2, 1])]}, "expected data of shape [2, 1], found [1, 2]"),
    (400, "POST", INFER, {"inputs": [tensor("FP32", [[1], [1, 2]], [3])]}, "flat (3 elements), found 2 levels"),
    (400, "POST", INFER, {"inputs": [tensor("FP32", [[1], [1, 2]], [2, 1])]}, "not rectangular"),
    (400, "POST", INFER, {"inputs": [tensor("BYTES", [["a"], ["b", "c"]], [2, 1])]}, "not rectangular"),
    (
        400,
        "POST",
        INFER,
        {"inputs": [tensor("FP32", [1, "1"])]},
        "data of FP32: Expected `float`, got `str` - at `$[1]`",
    ),
    (400, "POST", INFER, {"inputs": [tensor("FP32", [None])]}, "Expected `float`, got `null`"),
    (400, "POST", INFER, {"inputs": [{**tensor("FP32", []), "data": 1, "shape": []}]}, "found 0 levels"),
    (400, "POST", INFER, {"inputs": [tensor("INT8", [300])]}, "Expected `int` <= 127 - at `$[0]`"),
    (
        400,
        "POST",
        INFER,
        {"inputs": [tensor("UINT64", [2**64])]},
        "out of the range of UINT64: 0 to 18446744073709551615",
    ),
    (400, "POST", INFER, {"inputs": [tensor("UINT64", [-1])]}, "Expected `int` >= 0 - at `$[0]`"),
    (400, "POST", INFER, {"inputs": [tensor("INT64", [2**63])]}, "out of the range of INT64"),
    (400, "POST", INFER, {"inputs": [tensor("INT32", [1.5])]}, "Expected `int`, got `float`"),
    (400, "POST", INFER, {"inputs": [tensor("BOOL", [1])]}, "Expected `bool`, got `int`"),
    (400, "POST", INFER, {"inputs": [tensor("FP16", [1e6])]}, "out of the range of FP16"),
    (400, "POST", INFER, {"inputs": [tensor("FP32", [1e39])]}, "out of the range of FP32"),
    (400, "POST", INFER, {"inputs": [tensor("BYTES", [1])]}, "Expected `str`, got `int`"),
    (400, "POST", INFER, {"inputs": [tensor("FP32", [1]), tensor("FP32", [1])]}, "same name twice"),
    (400, "POST", INFER, {"inputs": [tensor("FP32", [1])], "outputs": [{"name": "y"}]}, "outputs ['y'] requested"),
    (
        *(400, "POST", INFER),
        {"inputs": [tensor("FP32", [1])], "outputs": [{"name": "x", "parameters": {"classification": 2}}]},
        "['classification'] are not supported",
    ),
    (400, "POST", INFER, {"inputs": [tensor("FP32", [1], name="n" * 9999)] * 2}, "…"),
    (400, "POST", IRIS, {"inputs": [tensor("FP64", [1])]}, "takes inputs ['flowers'], found ['x']"),
    (
        400,
        "POST",
        IRIS,
        {"inputs": [tensor("FP64", [1], [1, 1], "flowers")]},
        "expected FP64 [-1, 4], found FP64 [1, 1]",
    ),
    (400, "POST", IRIS, {"inputs": [tensor("FP64", [1e308] * 4, [1, 4], "flowers")]}, "not finite"),
    (400, "POST", SLEEPER, {"inputs": [tensor("FP64", [-1], name="seconds")]}, "not be negative"),
    (400, "POST", SLEEPER, {"inputs": [tensor("FP64", [1e308] * 2, name="seconds")]}, "from 0 to 600, found inf"),
    (400, "POST", "/v1/models/iris:predict", {}, "under 'instances' or 'inputs', found neither"),
    (400, "POST", "/v1/models/iris:predict", {"instances": [], "inputs": []}, "found both"),
    (400, "POST", "/v1/models/iris:predict", {"instances": 5}, "expected numbers, booleans or strings, in lists"),
    (400, "POST", "/v1/models/iris:predict", {"instances": [[1], [1, 2]]}, "not rectangular"),
    (400, "POST", "/v1/models/iris:predict", {"instances": [[1, 2]]}, "expected FP64 [-1, 4], found FP64 [1, 2]"),
    (400, "POST", "/v1/models/identity:predict", {"instances": [{"a": 1}]}, "expected numbers, booleans or strings"),
    (400, "POST", "/v1/models/identity:predict", {"instances": [1, True]}, "Expected `float`, got `bool`"),
    (400, "POST", "/v1/models/identity:predict", b'{"instances":' + DEEP, "nested too deeply"),
    (404, "POST", "/v1/models/identity:explain", {"instances": [1]}, "model 'identity' does not explain"),
    (404, "POST", "/v2/models/iris/generate", {"text_input": "x"}, "does not generate text"),
    (400, "POST", GENERATE, {"text_input": 1}, "Expected `str`, got `int` - at `$.text_input`"),
    (400, "POST", GENERATE, {"text_input": "", "parameters": {"max_tokens": 0}}, "an integer from 1 to 4096, found 0"),
    (400, "POST", f"{GENERATE}_stream", {"text_input": "", "parameters": {"top_p": 1}}, "['top_p'] unknown"),
    (400, "POST", "/v2/repository/index", {"ready": 1}, "Expected `bool`, got `int` - at `$.ready`"),
    (413, "POST", INFER, {"inputs": [tensor("FP32", [], [0, 2**53, 2**53])]}, f"has {2**106} elements; the limit"),
    (413, "POST", INFER, {"inputs": [tensor("FP32", [1], [2**52, 2])]}, "has 9007199254740992 elements; the limit"),
]


@pytest.mark.parametrize(("status", "method", "path", "body", "part"), FAILURES)
def test_failures_are_one_sentence(
    client: Client, status: int, method: str, path: str, body: object, part: str
) -> None:
    answer = client.request(method, path) if body is None else client.post(path, body)
    assert answer.status_code == status
    assert list(answer.json()) == ["error"]
    assert part in answer.json()["error"]
    assert len(answer.json()["error"]) < 600


@pytest.mark.parametrize(
    ("status", "headers", "part"),
    [
        (415, {"content-encoding": "br"}, "Content-Encoding 'br' is not supported; expected one of identity, gzip"),
        (400, {"content-encoding": "gzip"}, "the body is not what Content-Encoding says: "),
        (415, {"content-type": "text/plain"}, "Content-Type 'text/plain' is not supported; send application/json"),
        (400, {"content-length": "ten"}, "Content-Length: expected a number, found 'ten'"),
        (
            400,
            {"inference-header-content-length": "-1"},
            "expected a number up to 2, the length of the body; found '-1'",
        ),
        (400, {"inference-header-content-length": "3"}, "found '3'"),
        (413, {"content-length": "9" * 20}, "more than"),
    ],
)
def test_wrong_headers(client: Client, status: int, headers: dict[str, str], part: str) -> None:
    answer = client.request("POST", INFER, content=b"{}", headers=headers)
    assert answer.status_code == status
    assert part in answer.json()["error"]


def test_a_model_that_fails_is_no_traceback_for_the_client() -> None:
    class Broken:
        def __init__(self, result: object) -> None:
            self.result = result

        def load(self) -> None: ...

        def predict(self, inputs: Any, parameters: Any) -> Any:
            if isinstance(self.result, Exception):
                raise self.result
            return self.result

        def unload(self) -> None: ...

    models = {
        "raises": Broken(ZeroDivisionError("secret")),
        "refuses": Broken(ValueError("too purple")),
        "odd": Broken({"y": np.array(["2020-01-01"], dtype="datetime64[D]")}),
        "list": Broken({"y": [1, 2]}),
    }
    with Client(ready_lifecycle(), models=models) as client:
        body = {"inputs": [tensor("FP32", [1])]}
        answers = {name: client.post(f"/v2/models/{name}/infer", body) for name in models}
    assert [answer.status_code for answer in answers.values()] == [500, 400, 500, 200]
    assert answers["raises"].json() == answers["odd"].json() == {"error": "internal error"}
    assert answers["refuses"].json() == {"error": "model 'refuses': too purple"}
    assert answers["list"].json()["outputs"][0]["data"] == [1, 2]


@pytest.mark.parametrize("error", [SystemExit(3), asyncio.CancelledError(), KeyboardInterrupt()])
@pytest.mark.parametrize("how", ["async", "def"])
def test_whatever_a_model_raises_is_an_error_like_others(
    error: BaseException, how: str, caplog: pytest.LogCaptureFixture
) -> None:
    class Raises:
        def load(self) -> None: ...

        def predict(self, inputs: Any, parameters: Any) -> Any:
            raise error

        def unload(self) -> None: ...

    class RaisesInLoop(Raises):
        async def predict(self, inputs: Any, parameters: Any) -> Any:
            raise error

    with Client(ready_lifecycle(), models={"bad": RaisesInLoop() if how == "async" else Raises()}) as client:
        answer = client.post("/v2/models/bad/infer", {"inputs": [tensor("FP32", [1])]})
        assert (answer.status_code, answer.json()) == (500, {"error": "internal error"})
        assert client.post(INFER, {"inputs": [tensor("FP32", [1])]}).status_code == 200


@pytest.mark.timeout(60)
def test_the_log_of_a_failure_names_the_model(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    class Odd:
        def load(self) -> None: ...

        def predict(self, inputs: Any, parameters: Any) -> Any:
            return {"y": np.array(["2020-01-01"], dtype="datetime64[D]")} if "odd" in parameters else 1 / 0

        def unload(self) -> None: ...

    body = json.dumps({"inputs": [tensor("FP32", [1])]}).encode()
    odd = json.dumps({"inputs": [tensor("FP32", [1])], "parameters": {"odd": 1}}).encode()
    with served("httptools", monkeypatch, models={"broken": Odd()}) as address:
        for text in (body, odd):
            caplog.clear()
            head = f"POST /v2/models/broken/infer HTTP/1.1\r\nHost: x\r\nContent-Length: {len(text)}\r\n\r\n"
            assert exchange(address, head.encode() + text)[0] == 500
            while "ASGI application" not in caplog.text:  # the answer comes first
                time.sleep(0.01)
            assert "while answering POST /v2/models/broken/infer" in caplog.text


# --- Limits ---------------------------------------------------------------------------------------------------------


async def chunks(number: int, taken: list[int]) -> AsyncIterator[bytes]:
    for index in range(number):
        taken.append(index)
        yield b" " * 100


@pytest.mark.parametrize(("number", "status", "read"), [(9, 400, 9), (11, 413, 11), (1000, 413, 11)])
def test_a_chunked_body_is_read_to_the_limit_and_no_further(number: int, status: int, read: int) -> None:
    taken: list[int] = []
    with Client(ready_lifecycle(), limits=Limits(body_bytes=1000)) as client:
        answer = client.request("POST", INFER, content=chunks(number, taken))
    assert answer.status_code == status
    assert len(taken) == read


def test_limit_of_elements() -> None:
    with Client(ready_lifecycle(), limits=Limits(tensor_elements=3)) as client:
        for path, body in (
            (INFER, {"inputs": [tensor("INT8", [1] * 4)]}),
            ("/v1/models/identity:predict", {"instances": [1] * 4}),
        ):
            answer = client.post(path, body)
            assert (answer.status_code, "4 elements; the limit of this server is 3" in answer.text) == (413, True)
        assert post_binary(client, [(raw_tensor("x", "INT8", [4], 4), b"1234")]).status_code == 413
        assert client.post(INFER, {"inputs": [tensor("INT8", [1] * 3)]}).status_code == 200


def test_limit_of_requests() -> None:
    with Client(ready_lifecycle(), limits=Limits(requests=2)) as client:

        async def three() -> list[httpx.Response]:
            body = {"inputs": [tensor("FP64", [0.3], name="seconds")]}
            work = [client.ask("POST", SLEEPER, json=body) for _ in range(3)]
            return await asyncio.gather(*work, client.ask("GET", "/v2/health/ready"))

        *worked, health = client.run(three())
        assert sorted(answer.status_code for answer in worked) == [200, 200, 503]
        refused = max(worked, key=lambda answer: answer.status_code)
        assert refused.headers["retry-after"] == "1"
        assert "works on 2 requests already" in refused.json()["error"]
        assert health.status_code == 200
        assert client.post(INFER, {"inputs": [tensor("INT8", [1])]}).status_code == 200, "the places are free again"


LARGE = 150_000  # elements: more than one piece in every way they are written


@pytest.mark.parametrize("shape", [[LARGE], [1, LARGE], [LARGE, 1], [LARGE // 10, 2, 5], [3, LARGE // 3]])
@pytest.mark.parametrize("datatype", ["FP64", "INT16", "BOOL", "BYTES"])
def test_large_tensors_are_the_same_in_pieces(client: Client, datatype: str, shape: list[int]) -> None:
    numbers = np.arange(LARGE) % 1000
    array: Any = {"BOOL": numbers % 3 == 0, "FP64": numbers / 7, "INT16": numbers}.get(datatype)
    if datatype == "BYTES":
        array = np.array([f'"{number}],\\' for number in numbers], dtype=object)
    nested, flat = array.reshape(shape).tolist(), array.tolist()
    for given in (nested, flat):
        answer = client.post(INFER, {"inputs": [tensor(datatype, given, shape)]})
        assert answer.status_code == 200, answer.text
        assert answer.json()["outputs"] == [tensor(datatype, flat, shape)]
    if datatype != "INT16":  # what V1 says is INT64
        assert client.post("/v1/models/identity:predict", {"instances": nested}).json() == {"predictions": nested}


@pytest.mark.parametrize(
    ("data", "shape", "part"),
    [
        ([1] * 200_000 + ["1"], [200_001], "got `str` - at `element 200000`"),
        ([[1, 2]] * 100_000 + [[1]], [100_001, 2], "not rectangular"),
        ([[1, 2]] * 100_000 + [[1, 2, 3], [1]], [100_002, 2], "not rectangular"),
        ([[1, 2]] * 100_000, [2, 100_000], "expected data of shape [2, 100000], found [100000, 2]"),
        ([1] * 200_000 + [[1]], [200_001], "not rectangular"),
        ([1] * 200_000, [200_001], "expected 200001 elements for shape [200001], found 200000"),
        ([[]] * 200_000, [200_000, 1], "malformed"),
    ],
)
def test_failures_of_large_tensors(client: Client, data: list[Any], shape: list[int], part: str) -> None:
    answer = client.post(INFER, {"inputs": [tensor("FP32", data, shape)]})
    assert (answer.status_code, part in answer.json()["error"]) == (400, True), answer.text


def test_a_large_body_keeps_nobody_waiting(client: Client) -> None:
    """It takes as long as before, but not the event loop's time."""
    body = json.dumps({"inputs": [tensor("FP32", [0.12345678] * 1_000_000)]}).encode()

    async def meanwhile() -> tuple[float, float]:
        loop = asyncio.get_running_loop()
        begun = loop.time()
        asking = asyncio.create_task(client.ask("POST", INFER, content=body))
        longest = 0.0
        while not asking.done():
            before = loop.time()
            await asyncio.sleep(0)
            longest = max(longest, loop.time() - before)
        assert asking.result().status_code == 200
        return longest, loop.time() - begun

    longest, whole = client.run(meanwhile())
    assert longest < whole / 3


# --- Repository and readiness ---------------------------------------------------------------------------------------


class Slow:
    """Its unload waits for the test."""

    def __init__(self) -> None:
        self.may_unload = threading.Event()
        self.fails = False

    def load(self) -> None:
        if self.fails:
            raise RuntimeError("no weights")

    async def predict(self, inputs: Any, parameters: Any) -> Any:
        await asyncio.sleep(0.2)
        return inputs

    def unload(self) -> None:
        assert self.may_unload.wait(10)


def test_unload_waits_for_requests_and_load_brings_back() -> None:
    model = Slow()
    with Client(ready_lifecycle(), models={"slow": model}) as client:
        body = {"inputs": [tensor("INT8", [1])]}

        async def unload_meanwhile() -> tuple[list[int], httpx.Response]:
            running = asyncio.create_task(client.ask("POST", "/v2/models/slow/infer", json=body))
            await asyncio.sleep(0.05)
            unloading = asyncio.create_task(client.ask("POST", "/v2/repository/models/slow/unload"))
            await asyncio.sleep(0.05)
            refused = await client.ask("POST", "/v2/models/slow/infer", json=body)
            twice = await client.ask("POST", "/v2/repository/models/slow/load")
            health = await client.ask("GET", "/v2/health/ready")
            assert not running.done()
            model.may_unload.set()
            answers = await running, await unloading, refused, twice, health
            return [answer.status_code for answer in answers], twice

        statuses, twice = client.run(unload_meanwhile())
        assert statuses == [200, 200, 503, 409, 200], "a model that unloads takes no readiness away"
        assert twice.json() == {"error": "model 'slow' is unloading; ask again when that is done"}
        index = client.post("/v2/repository/index", {"ready": False}).json()
        assert {"name": "slow", "version": "1", "state": "UNAVAILABLE", "reason": "unloaded"} in index
        assert "slow" not in str(client.post("/v2/repository/index", {"ready": True}).json())
        for gone in (client.get("/v2/models/slow/ready"), client.post("/v2/models/slow/infer", body)):
            assert (gone.status_code, "/v2/repository/models/slow/load brings it back" in gone.text) == (404, True)
        assert "slow" not in client.get("/v1/models").json()["models"]
        assert client.get("/v2/health/ready").status_code == 200, "nobody waits for a model unloaded on request"

        model.fails = True
        failed = client.post("/v2/repository/models/slow/load", b"")
        assert (failed.status_code, "failed to load: RuntimeError: no weights" in failed.text) == (503, True)
        assert client.get("/v2/health/ready").status_code == 503
        model.fails = False
        assert client.post("/v2/repository/models/slow/load", b"").json() == {"name": "slow", "load": True}
        assert client.post("/v2/models/slow/infer", body).status_code == 200


def test_what_tests_need_and_what_changes_models_must_be_asked_for() -> None:
    with Client(ready_lifecycle(), test_routes=False, model_control=False) as client:
        for path in ("/slow", "/blocking", "/stream", "/endless", "/v1/models/sleeper"):
            assert client.get(path).status_code == 404, path
        for what in ("load", "unload"):
            answer = client.post(f"/v2/repository/models/iris/{what}", b"")
            assert (answer.status_code, "--model-control allows it" in answer.json()["error"]) == (403, True)
        assert client.post("/v2/repository/index", b"").status_code == 200
        assert client.get("/v2/models/iris/ready").status_code == 200


@pytest.mark.parametrize("path", ["/slow?seconds=601", "/blocking?seconds=601", "/stream?seconds=601"])
def test_routes_for_tests_have_a_bound(client: Client, path: str) -> None:
    assert client.get(path).status_code == 400


def test_routes_for_tests_pass_the_gate() -> None:
    with Client(ready_lifecycle(), limits=Limits(requests=1)) as client:

        async def two() -> list[int]:
            asked = [client.ask("GET", "/slow?seconds=0.2"), client.ask("GET", "/blocking?seconds=0.2")]
            return sorted(answer.status_code for answer in await asyncio.gather(*asked))

        assert client.run(two()) == [200, 503]


def test_an_unload_is_not_waited_for_without_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(repository, "UNLOAD_SECONDS", 0.1)
    model = Slow()
    with Client(ready_lifecycle(), models={"slow": model}) as client:

        async def while_busy() -> list[int]:
            running = asyncio.create_task(client.ask("POST", "/v2/models/slow/infer", json=body))
            await asyncio.sleep(0.05)
            unloading = await client.ask("POST", "/v2/repository/models/slow/unload")
            return [unloading.status_code, (await running).status_code]

        body = {"inputs": [tensor("INT8", [1])]}
        assert client.run(while_busy()) == [503, 200]
        assert client.post("/v2/models/slow/infer", body).status_code == 200, "it stays loaded"
        stuck = client.post("/v2/repository/models/slow/unload", b"")
        assert (stuck.status_code, "still unloading after 0.1 s" in stuck.text) == (503, True)
        assert client.get("/v2/health/ready").status_code == 200
        model.may_unload.set()


def test_readiness_follows_the_lifecycle() -> None:
    lifecycle = Lifecycle()
    with Client(lifecycle) as client:
        readiness: list[tuple[int, bool]] = []

        def ask() -> None:
            answer = client.get("/v2/health/ready")
            readiness.append((answer.status_code, answer.json()["ready"]))

        ask()
        lifecycle.mark_ready()
        ask()
        lifecycle.request_stop("the test")
        ask()
        assert client.get("/v2/health/live").json() == {"live": True}
        assert client.get("/v2/models/iris/ready").status_code == 200, "models serve to the end of the drain"
        assert client.post("/v2/repository/models/iris/unload", b"").status_code == 503
    assert readiness == [(503, False), (200, True), (503, False)]


# --- Metrics and the OpenAPI document -------------------------------------------------------------------------------


def test_metrics() -> None:
    with Client(ready_lifecycle()) as client:
        client.post(INFER, {"inputs": [tensor("INT8", [1])]})
        client.post("/v2/models/a-name-of-the-client/infer", {})
        client.get("/nothing")
        answer = client.get("/metrics")
    assert answer.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    lines = answer.text.splitlines()
    assert "a-name-of-the-client" not in answer.text
    assert answer.text.count("# TYPE ") == answer.text.count("# HELP ") == 5
    samples = [line for line in lines if not line.startswith("#")]
    assert all(line.startswith("reference_server_") for line in samples)
    counts = [line.partition("{")[2] for line in samples if "requests_total" in line]
    assert 'model="identity",route="/v2/models/{model}/infer",status="200"} 1.0' in counts
    assert 'model="",route="/v2/models/{model}/infer",status="404"} 1.0' in counts
    assert 'model="",route="",status="404"} 1.0' in counts
    assert any('state="ready"} 1' in line for line in samples)
    assert any(line.startswith("reference_server_requests_in_flight") and line.endswith(" 1.0") for line in samples)
    assert any("request_seconds_count" in line for line in samples)


def test_every_operation_is_documented(client: Client) -> None:
    document = client.get("/openapi.json").json()
    text = json.dumps(document)
    assert "422" not in text
    assert "HTTPValidationError" not in text
    for reference in re.findall(r'"#/components/schemas/(\w+)"', text):
        assert reference in document["components"]["schemas"]
    assert {"/v2/models/{model}/infer", "/v1/models/{model}:explain", "/metrics"} <= set(document["paths"])


# --- Through a socket, with both of uvicorn's HTTP implementations --------------------------------------------------


@contextlib.contextmanager
def served(http: str, monkeypatch: pytest.MonkeyPatch, **how: Any) -> Iterator[tuple[str, int]]:
    """The address of a server in a thread."""
    pytest.importorskip(http)
    import uvicorn

    from reference_server import graceful
    from reference_server import http as engine

    configure = uvicorn.Config
    monkeypatch.setattr(uvicorn, "Config", lambda app, **settings: configure(app, **settings, http=http))
    lifecycle = Lifecycle()
    sock = graceful.bind("127.0.0.1", 0)
    address: tuple[str, int] = sock.getsockname()
    codes: list[int] = []
    ready = threading.Event()

    def serve() -> None:
        codes.append(engine.serve(lambda: create_app(lifecycle, **how), lifecycle, sock, limits=how.get("limits")))
        ready.set()

    monkeypatch.setattr(lifecycle, "mark_ready", lambda: (Lifecycle.mark_ready(lifecycle), ready.set()))
    thread = threading.Thread(target=serve)
    thread.start()
    try:
        assert ready.wait(30)
        yield address
    finally:
        lifecycle.request_stop("the test")
        thread.join(30)
    assert codes == [EXIT_OK]


def exchange(address: tuple[str, int], request: bytes) -> tuple[int, dict[str, str], Any]:
    """Status, headers and JSON of the first answer to these bytes."""
    with socket.create_connection(address, timeout=20) as connection:
        connection.sendall(request)
        answer = b""
        while b"\r\n\r\n" not in answer:
            answer += connection.recv(65536) or pytest.fail(f"closed after {answer!r}")
        head, _, body = answer.partition(b"\r\n\r\n")
        first, *lines = head.decode().splitlines()
        headers = {name.lower(): value for name, value in (line.split(": ", 1) for line in lines)}
        while len(body) < int(headers["content-length"]):
            body += connection.recv(65536) or pytest.fail(f"closed after {answer!r}")
        return int(first.split()[1]), headers, json.loads(body)


def http_request(*headers: str, body: bytes = b"") -> bytes:
    return "\r\n".join([f"POST {INFER} HTTP/1.1", "Host: x", *headers, "", ""]).encode() + body


@pytest.mark.timeout(60)
@pytest.mark.parametrize("http", ["h11", "httptools"])
def test_what_http_itself_refuses_is_an_error_like_others(http: str, monkeypatch: pytest.MonkeyPatch) -> None:
    chunk = b"%x\r\n%s\r\n" % (60_000, b" " * 60_000)
    with served(http, monkeypatch, limits=Limits(body_bytes=100_000)) as address:
        for request, expected in (
            (http_request("Content-Length: ten", body=b"{}"), 400),
            (http_request("Content-Length: -1", body=b"{}"), 400),
            (http_request("Content-Length: 2", "Content-Length: 3", body=b"{}"), 400),
            (http_request("Transfer-Encoding: chunked", body=b"zz\r\n"), 400),
            (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", 400),
            (b"GET / HTTP/1.1\r\nHost: x\r\nbad header\r\n\r\n", 400),
            (http_request("Content-Length: 100001"), 413),
            (http_request("Transfer-Encoding: chunked", body=chunk * 2), 413),
            (http_request("Content-Length: 2", body=b"{}"), 400),
        ):
            status, headers, body = exchange(address, request)
            assert (status, headers["content-type"], list(body)) == (expected, "application/json", ["error"]), request


@pytest.mark.timeout(60)
@pytest.mark.parametrize("http", ["h11", "httptools"])
def test_what_is_beside_a_body_is_limited_before_it_is_parsed(http: str, monkeypatch: pytest.MonkeyPatch) -> None:
    chunked = http_request("Transfer-Encoding: chunked")
    long = b"x" * 100_000
    with served(http, monkeypatch, limits=Limits(head_bytes=10_000)) as address:
        for request in (
            b"GET / HTTP/1.1\r\nHost: x\r\nX: " + long,
            b"GET / HTTP/1.1\r\nHost: x\r\n" + b"X: y\r\n" * 20_000,
            b"GET /" + long,
            chunked + b"2;x=" + long,
            chunked + b"2\r\n{}\r\n0\r\nX: " + long,
        ):
            status, headers, body = exchange(address, request)
            assert (status, headers["connection"], list(body)) == (431, "close", ["error"]), request[:50]
        body = json.dumps({"inputs": [tensor("INT8", [1] * 30_000)]}).encode()
        assert exchange(address, http_request(f"Content-Length: {len(body)}", body=body))[0] == 200
        pieces = b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in (body[:50_000], body[50_000:]))
        assert exchange(address, chunked + pieces + b"0\r\n\r\n")[0] == 200
        with socket.create_connection(address, timeout=20) as kept:
            for _ in range(100):  # the head of each counts for itself
                kept.sendall(b"GET /v1/models HTTP/1.1\r\nHost: x\r\nX: " + long[:200] + b"\r\n\r\n")
                answer = b""
                while not answer.endswith(b"]}"):
                    answer += kept.recv(65536) or pytest.fail(f"closed after {answer!r}")
                assert answer.startswith(b"HTTP/1.1 200 OK")


@pytest.mark.timeout(60)
@pytest.mark.parametrize("http", ["h11", "httptools"])
def test_half_sent_requests_end(http: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """They would fill the gate."""
    with served(http, monkeypatch, limits=Limits(requests=2, head_seconds=0.2, body_seconds=0.4)) as address:
        with contextlib.ExitStack() as stack:
            held = [stack.enter_context(socket.create_connection(address, timeout=20)) for _ in range(2)]
            for connection in held:
                connection.sendall(http_request("Content-Length: 9", body=b"{"))
            for request, part in ((b"GET / HT", "head"), (http_request("Content-Length: 9", body=b"{"), "body")):
                status, headers, answer = exchange(address, request)
                if status == 503:  # the gate is full yet
                    continue
                assert (status, headers["connection"]) == (408, "close")
                assert f"the request's {part} was not complete within" in answer["error"]
            for connection in held:
                assert connection.recv(65536).startswith(b"HTTP/1.1 408 Request Timeout")
                assert connection.recv(65536) == b""
            silent = stack.enter_context(socket.create_connection(address, timeout=20))
            assert silent.recv(100) == b""
        assert exchange(address, http_request("Content-Length: 2", body=b"{}"))[0] == 400, "the gate is open again"


# --- Models from elsewhere, and limits, through settings ------------------------------------------------------------


MODULE = """
from reference_server.models import Answer

class Doubler:
    def load(self): pass
    def predict(self, inputs, parameters): return {name: array * 2 for name, array in inputs.items()}
    def unload(self): pass

class Heavy(Doubler):
    def load(self): raise OSError("no weights")

class Half:
    def load(self): pass

class OneArgument(Half):
    def predict(self, inputs): return inputs
    def unload(self): pass

def function(): pass
"""


def start(tmp_path: Path, *options: str) -> subprocess.Popen[str]:
    (tmp_path / "zoo.py").write_text(MODULE)
    code = f"import sys; sys.path[:0] = {[str(ROOT), str(tmp_path)]!r}; from reference_server.__main__ import main"
    command = [sys.executable, "-c", f"{code}; sys.exit(main(sys.argv[1:]))", "--port", "0", *options]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


@pytest.mark.timeout(60)
@pytest.mark.parametrize(
    ("wanted", "part"),
    [
        ("zoo:Nobody", "--model m=zoo:Nobody: expected a class, found nothing of that name in zoo"),
        ("zoo:function", "expected a class, found function"),
        ("zoo:Half", "expected a class with load, predict, unload; it lacks predict, unload"),
        ("zoo:OneArgument", "--model m=zoo:OneArgument: expected predict(inputs, parameters), found predict(inputs)"),
        ("zoo.nobody:X", "cannot import zoo.nobody: ModuleNotFoundError"),
        ("zoo:Heavy", "model 'm' failed to load: OSError: no weights"),
    ],
)
def test_a_model_that_cannot_be_had_fails_the_start(tmp_path: Path, wanted: str, part: str) -> None:
    with start(tmp_path, "--model", f"m={wanted}") as process:
        output, _ = process.communicate(timeout=50)
    assert process.returncode == EXIT_START_FAILED
    assert part in output
    assert "failed to start pid=" in output


def test_settings_of_models_and_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = load(["--model", "a=b:C", "--model", "d=e.f:G", "--max-body-bytes", "5", "--max-requests", "7"])
    assert settings.model == ["a=b:C", "d=e.f:G"]
    assert settings.limits == Limits(5, Limits().tensor_elements, 7)
    monkeypatch.setenv("REFERENCE_SERVER_MODEL", '["x=y:Z"]')
    assert load([]).model == ["x=y:Z"]
    for wrong, part in (("a.b:C", "expected name=package.module:Class, found 'a.b:C'"), ("a/b=c:D", "expected name=")):
        with pytest.raises(BadSettings, match=re.escape(part)):
            load(["--model", wrong])
    with pytest.raises(BadSettings, match="expected each name once, found a, a"):
        load(["--model", "a=b:C", "--model", "a=d:E"])


def test_a_model_from_elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from reference_server.named import find, read

    (tmp_path / "zoo_of_test.py").write_text(MODULE)
    monkeypatch.syspath_prepend(tmp_path)
    models: Mapping[str, Any] = find([read("double=zoo_of_test:Doubler")])
    with Client(ready_lifecycle(), models=models) as client:
        assert client.post("/v1/models/double:predict", {"instances": [1, 2]}).json() == {"predictions": [2, 4]}
        assert client.get("/v2/models/double").json()["inputs"] == []
