"""Triton's HTTP client against a server: `python triton_http.py HOST:PORT`."""

from __future__ import annotations

import importlib.metadata
import sys
from typing import Any

import numpy as np
import tritonclient.http as triton
from checks import check, expect, raises, run
from tritonclient.utils import InferenceServerException, np_to_triton_dtype

client = triton.InferenceServerClient(sys.argv[1], concurrency=4, network_timeout=30)

ARRAYS = {
    "BOOL": np.array([[True, False], [False, True]]),
    **{f"INT{bits}": np.array([[-(2 ** (bits - 1)), 2 ** (bits - 1) - 1]], f"int{bits}") for bits in (8, 16, 32, 64)},
    **{f"UINT{bits}": np.array([[0, 2**bits - 1]], f"uint{bits}") for bits in (8, 16, 32, 64)},
    "FP16": np.array([[0.5, -65504, 6e-08]], "float16"),
    "FP32": np.array([[1 / 3, -3.4e38, 1e-45]], "float32"),
    "FP64": np.array([[1 / 3, -1.7e308, 5e-324]], "float64"),
    "BYTES": np.array([["", "schön"], ["a" * 300, "\t"]], dtype=object),
}


def given(name: str, array: np.ndarray, binary: bool) -> triton.InferInput:
    tensor = triton.InferInput(name, array.shape, np_to_triton_dtype(array.dtype))
    return tensor.set_data_from_numpy(array, binary_data=binary)


def text(array: np.ndarray) -> np.ndarray:
    """BYTES come back as bytes."""
    if array.dtype != object:
        return array
    decoded = [item.decode() if isinstance(item, bytes) else item for item in array.ravel()]
    return np.array(decoded, dtype=object).reshape(array.shape)


def round_trip(datatype: str, binary_in: bool, binary_out: bool) -> None:
    array = ARRAYS[datatype]
    wanted = [triton.InferRequestedOutput("x", binary_data=binary_out)]
    answer = client.infer("identity", [given("x", array, binary_in)], outputs=wanted, request_id="seven")
    output = answer.get_output("x")
    expect((datatype, list(array.shape)), (output["datatype"], output["shape"]))
    expect(binary_out, "binary_data_size" in output.get("parameters", {}), "binary output")
    expect("seven", answer.get_response()["id"], "id")
    back = answer.as_numpy("x")
    if text(back).tolist() != array.tolist() or back.dtype != array.dtype:
        raise AssertionError(f"expected {array!r}, found {back!r}")


def for_each_datatype(binary_in: bool, binary_out: bool, *, without: tuple[str, ...] = ()) -> None:
    def each() -> None:
        for datatype in [name for name in ARRAYS if name not in without]:
            try:
                round_trip(datatype, binary_in, binary_out)
            except Exception as error:
                raise AssertionError(f"{datatype}: {error}") from error

    kinds = {False: "JSON", True: "binary"}
    each.__name__ = f"all datatypes, {kinds[binary_in]} to {kinds[binary_out]}"
    check(each)


# This client itself refuses to write FP16 as JSON.
for_each_datatype(False, False, without=("FP16",))
for_each_datatype(True, True)
for_each_datatype(False, True, without=("FP16",))
for_each_datatype(True, False, without=("FP16",))


@check
def health() -> None:
    expect((True, True), (client.is_server_live(), client.is_server_ready()))


@check
def readiness_of_models() -> None:
    expect((True, True), (client.is_model_ready("iris"), client.is_model_ready("iris", "1")))
    expect(False, client.is_model_ready("nobody"))


@check
def server_metadata() -> None:
    found = client.get_server_metadata()
    expect("reference_server", found["name"], "name")
    expect(
        {"model_repository", "binary_tensor_data"}, {"model_repository", "binary_tensor_data"} & {*found["extensions"]}
    )


@check
def model_metadata() -> None:
    found = client.get_model_metadata("iris", "1")
    expect(("iris", ["1"]), (found["name"], found["versions"]))
    expect(("FP64", [-1, 4]), (found["inputs"][0]["datatype"], found["inputs"][0]["shape"]))


@check
def requested_outputs_of_a_model() -> None:
    flowers = np.array([[5.1, 3.5, 1.4, 0.2], [6.7, 3.1, 5.6, 2.4]])
    every = client.infer("iris", [given("flowers", flowers, True)])
    expect([0, 2], every.as_numpy("class").tolist())
    expect((2, 3), every.as_numpy("probabilities").shape)
    one = client.infer("iris", [given("flowers", flowers, False)], outputs=[triton.InferRequestedOutput("class")])
    expect([0, 2], one.as_numpy("class").tolist())
    expect(None, one.as_numpy("probabilities"), "output that was not asked for")


@check
def large_binary_tensor() -> None:
    array = np.arange(1_000_000, dtype=np.float32).reshape(1000, 1000)
    back = client.infer("identity", [given("x", array, True)]).as_numpy("x")
    expect(True, bool((back == array).all()), "equal")


@check
def empty_tensors_and_two_inputs() -> None:
    inputs = [given("a", np.empty((0, 3), "float32"), True), given("b", np.array([1, 2], "int64"), True)]
    answer = client.infer("identity", inputs)
    expect(((0, 3), [1, 2]), (answer.as_numpy("a").shape, answer.as_numpy("b").tolist()))


@check
def four_requests_at_once() -> None:
    inputs = [given("x", np.array([float(number)]), True) for number in range(4)]
    pending = [client.async_infer("identity", [tensor]) for tensor in inputs]
    expect([0, 1, 2, 3], [one.get_result().as_numpy("x")[0] for one in pending])


@check
def its_default_call_and_compression() -> None:
    """What it always sends are no parameters of a model that checks its own."""
    texts = given("text_input", np.array(["The captain"], dtype=object), True)
    answer = client.infer("ngram", [texts], sequence_id=7, sequence_start=True, priority=1, timeout=5)
    expect((1,), answer.as_numpy("text_output").shape)
    for how in ("gzip", "deflate"):
        sent = given("x", np.ones((2, 3)), True)
        answer = client.infer("identity", [sent], request_compression_algorithm=how)
        expect((2, 3), answer.as_numpy("x").shape, how)


def index() -> dict[str, dict[str, Any]]:
    return {entry["name"]: entry for entry in client.get_model_repository_index()}


@check
def repository_unload_and_load() -> None:
    expect("READY", index()["iris"]["state"], "state")
    client.unload_model("iris")
    try:
        expect("UNAVAILABLE", index()["iris"]["state"], "state")
        expect(False, client.is_model_ready("iris"), "ready")
        error = raises(
            InferenceServerException, lambda: client.infer("iris", [given("flowers", np.ones((1, 4)), True)])
        )
        expect(True, "iris" in str(error), f"the sentence names the model: {error}")
    finally:
        client.load_model("iris")
    expect(("READY", True), (index()["iris"]["state"], client.is_model_ready("iris")))


def sentence(error: BaseException) -> str:
    """The server's own, without a wrapping of the client's."""
    assert isinstance(error, InferenceServerException)
    return f"{error.status()}: {error.message()}"


@check
def errors_carry_the_sentence_of_the_server() -> None:
    one = given("x", np.ones((1, 4)), True)
    cases = [
        ("not found", "404", lambda: client.infer("nobody", [one])),
        ("not found", "404", lambda: client.get_model_metadata("nobody")),
        ("no version '9'", "404", lambda: client.get_model_metadata("iris", "9")),
        ("takes inputs ['flowers']", "400", lambda: client.infer("iris", [one])),
        ("expected FP64 [-1, 4]", "400", lambda: client.infer("iris", [given("flowers", np.ones((1, 3)), True)])),
        (
            "expected FP64 [-1, 4]",
            "400",
            lambda: client.infer("iris", [given("flowers", np.ones((1, 4), "f4"), False)]),
        ),
        ("nobody", "4", lambda: client.load_model("nobody")),
        ("nobody", "4", lambda: client.unload_model("nobody")),
    ]
    for words, status, function in cases:
        found = sentence(raises(InferenceServerException, function))
        if words not in found or not found.startswith(status):
            raise AssertionError(f"expected {status} and {words!r}, found {found!r}")


if __name__ == "__main__":
    sys.exit(run(f"tritonclient {importlib.metadata.version('tritonclient')}"))
