"""V2 tensors in JSON, to NumPy arrays and back."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from reference_server.protocol.errors import ProtocolError

DTYPES: Final[Mapping[str, np.dtype[Any]]] = {
    "BOOL": np.dtype(np.bool_),
    **{f"{sign}INT{bits}": np.dtype(f"{sign.lower()}int{bits}") for sign in ("", "U") for bits in (8, 16, 32, 64)},
    **{f"FP{bits}": np.dtype(f"float{bits}") for bits in (16, 32, 64)},
    "BYTES": np.dtype(object),
}
DATATYPES: Final[Mapping[np.dtype[Any], str]] = {dtype: name for name, dtype in DTYPES.items()}

# Kinds of the array that NumPy makes of plain JSON values, by what they may become. "O": integers beyond 64 bits.
_FROM_KINDS: Final = {"b": "b", "i": "iu", "u": "iu", "f": "iuf"}


def decode(name: str, datatype: str, shape: tuple[int, ...], data: list[Any]) -> NDArray[Any]:
    """Data nested as the shape says, or flat in row-major order. ProtocolError 400 says what was expected and found."""
    if datatype not in DTYPES:
        raise _wrong(name, f"unknown datatype {datatype!r}; known are {', '.join(DTYPES)}")
    if any(length < 0 for length in shape):
        raise _wrong(name, f"shape {list(shape)} has a negative length")
    try:
        plain = np.array(data, dtype=object if datatype == "BYTES" else None)
        if datatype == "UINT64" and plain.dtype.kind == "f":
            plain = _large_integers(np.array(data, dtype=object), plain)
    except (ValueError, OverflowError):
        raise _wrong(name, "data is not rectangular") from None
    if plain.shape != shape and not (plain.ndim == 1 and plain.size == math.prod(shape)):
        wanted = f"shape {list(shape)}, nested or flat ({math.prod(shape)} elements)"
        raise _wrong(name, f"expected {wanted}, found {list(plain.shape)} ({plain.size} elements)")
    return _convert(name, datatype, plain).reshape(shape)


def _convert(name: str, datatype: str, plain: NDArray[Any]) -> NDArray[Any]:
    dtype = DTYPES[datatype]
    if datatype == "BYTES":
        return _to_bytes(name, plain)
    if plain.size == 0:
        return plain.astype(dtype)
    if plain.dtype.kind not in _FROM_KINDS[dtype.kind]:
        raise _wrong(name, f"data does not fit datatype {datatype}: found {_kind(plain)}")
    if dtype.kind in "iu":
        limits = np.iinfo(dtype)
        if int(plain.min()) < limits.min or int(plain.max()) > limits.max:
            raise _wrong(name, f"data out of the range of {datatype}: {limits.min} to {limits.max}")
    with np.errstate(over="ignore"):
        array = plain.astype(dtype)
    if dtype.kind == "f" and not np.isfinite(array).all():
        raise _wrong(name, f"data out of the range of {datatype}")
    return array


def _large_integers(exact: NDArray[Any], plain: NDArray[Any]) -> NDArray[Any]:
    """NumPy makes floats of integers that lie on both sides of 2**63."""
    fits = all(type(item) is int and 0 <= item < 2**64 for item in exact.ravel())
    return exact.astype(np.uint64) if fits else plain


def _to_bytes(name: str, plain: NDArray[Any]) -> NDArray[Any]:
    flat = plain.ravel()
    if not all(isinstance(item, str) for item in flat):
        raise _wrong(name, "BYTES in JSON are strings")
    array = np.empty(flat.size, dtype=object)
    array[:] = [item.encode("utf-8", "surrogatepass") for item in flat]
    return array.reshape(plain.shape)


def _kind(plain: NDArray[Any]) -> str:
    kinds = {"b": "booleans", "i": "integers", "u": "integers", "f": "floating-point numbers", "U": "strings"}
    return kinds.get(plain.dtype.kind, "values that are no numbers, or too large ones")


def _wrong(name: str, what: str) -> ProtocolError:
    return ProtocolError(400, f"tensor {name!r}: {what}")


def datatype_of(array: NDArray[Any]) -> str:
    """The V2 datatype of an array that a model gave back; a TypeError is the model's mistake."""
    if array.dtype not in DATATYPES:
        raise TypeError(f"no V2 datatype for {array.dtype}; a model's outputs are of {', '.join(DTYPES)}")
    return DATATYPES[array.dtype]


def encode(array: NDArray[Any]) -> list[Any]:
    """Flat, in row-major order. ProtocolError where JSON has no way to write the values."""
    if array.dtype == object:
        try:
            return [bytes(item).decode() for item in array.ravel()]
        except UnicodeDecodeError:
            raise ProtocolError(400, "an output is not UTF-8, so it cannot be sent as JSON") from None
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        raise ProtocolError(400, "an output is not finite, so it cannot be sent as JSON")
    values: list[Any] = array.ravel().tolist()
    return values
