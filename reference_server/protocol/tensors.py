"""V2 tensors in JSON, to NumPy arrays and back. Binary ones are in binary.py."""

from __future__ import annotations

import functools
import math
import re
from collections.abc import Mapping
from typing import Annotated, Any, Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from reference_server.protocol import large
from reference_server.protocol.errors import ProtocolError

DTYPES: Final[Mapping[str, np.dtype[Any]]] = {
    "BOOL": np.dtype(np.bool_),
    **{f"{sign}INT{bits}": np.dtype(f"{sign.lower()}int{bits}") for sign in ("", "U") for bits in (8, 16, 32, 64)},
    **{f"FP{bits}": np.dtype(f"float{bits}") for bits in (16, 32, 64)},
    "BYTES": np.dtype(object),
}
DATATYPES: Final[Mapping[np.dtype[Any], str]] = {dtype: name for name, dtype in DTYPES.items()}

MAX_DIMENSIONS: Final = 32  # NumPy's limit before 2.0

_OPENING: Final = re.compile(rb"([\s\[]*)(.?)", re.DOTALL)
# What an element's first character says of its datatype, the narrowest first.
_LOOKS_LIKE: Final[Mapping[bytes, tuple[str, ...]]] = {
    b'"': ("BYTES",),
    **dict.fromkeys((b"t", b"f"), ("BOOL",)),
    **dict.fromkeys((b"-", *(b"%d" % digit for digit in range(10))), ("INT64", "UINT64", "FP64")),
    b"]": ("FP64",),
}


def check(name: str, datatype: str, shape: tuple[int, ...]) -> None:
    """ProtocolError unless there can be such a tensor."""
    if datatype not in DTYPES:
        raise wrong(name, f"unknown datatype {datatype!r}; known are {', '.join(DTYPES)}")
    if len(shape) > MAX_DIMENSIONS:
        raise wrong(name, f"at most {MAX_DIMENSIONS} dimensions, found {len(shape)}")


def count(name: str, shape: tuple[int, ...], limit: int) -> int:
    """The number of elements; ProtocolError 413 if it is past the limit."""
    elements = math.prod(shape)
    if math.prod(length or 1 for length in shape) > limit:  # NumPy counts so, too
        elements = elements or math.prod(filter(None, shape))
        raise ProtocolError(413, f"tensor {name!r} has {elements} elements; the limit of this server is {limit}")
    return elements


def decode(name: str, datatype: str, shape: tuple[int, ...], data: msgspec.Raw, limit: int) -> NDArray[Any]:
    """A checked tensor from JSON that is nested as the shape says, or flat in row-major order."""
    elements = count(name, shape, limit)
    text = memoryview(data)
    depth, _ = _open(text)
    if depth == 0 or depth not in (1, len(shape)):
        raise wrong(name, f"expected data nested as {list(shape)} or flat ({elements} elements), found {depth} levels")
    array = _read(name, datatype, depth, text)
    if depth == 1 and len(array) != elements:
        raise wrong(name, f"expected {elements} elements for shape {list(shape)}, found {len(array)}")
    if depth > 1 and array.shape != shape:
        raise wrong(name, f"expected data of shape {list(shape)}, found {list(array.shape)}")
    return array.reshape(shape)


def decode_nested(name: str, datatype: str | None, data: msgspec.Raw, limit: int) -> NDArray[Any]:
    """JSON whose nesting is the shape; without a datatype it is what the data looks like."""
    text = memoryview(data)
    depth, first = _open(text)
    likely = (datatype,) if datatype else _LOOKS_LIKE.get(first, ())
    if not depth or not likely:
        raise wrong(name, "expected numbers, booleans or strings, in lists")
    check(name, likely[0], (0,) * depth)
    for one in likely:
        try:
            array = _read(name, one, depth, text)
            break
        except ProtocolError:
            if one == likely[-1]:
                raise
    count(name, array.shape, limit)
    return array


def _open(text: memoryview) -> tuple[int, bytes]:
    """How many lists begin at once, and what comes after."""
    opening = _OPENING.match(text)
    assert opening is not None
    return opening[1].count(b"["), opening[2]


def _read(name: str, datatype: str, depth: int, text: memoryview) -> NDArray[Any]:
    if len(text) <= large.PIECE_BYTES:
        return _array(name, datatype, _values(name, datatype, depth, text))

    def flat(part: bytes, before: int) -> NDArray[Any]:
        try:
            return _array(name, datatype, _values(name, datatype, 1, memoryview(part)))
        except ProtocolError as error:
            at = re.sub(r"\$\[(\d+)\]", lambda index: f"element {before + int(index[1])}", str(error))
            raise ProtocolError(error.status, at) from None

    try:
        return large.decode(text, depth, strings=datatype == "BYTES", flat=flat)
    except large.Ragged:
        raise wrong(name, f"data of {datatype} is not rectangular") from None


def _values(name: str, datatype: str, depth: int, text: memoryview) -> list[Any]:
    decoder = _decoder(datatype, depth)
    try:
        try:
            return decoder.decode(text)
        except msgspec.ValidationError:
            if DTYPES[datatype].kind not in "iu":
                raise
            # Again, with 1.0 as 1: to JSON they are the same, and there are clients that know only one kind of number.
            values: list[Any] = msgspec.convert(_whole(_numbers(depth).decode(text)), decoder.type)
            return values
    except msgspec.DecodeError as error:
        raise wrong(name, f"data of {datatype}: {error}") from None
    except UnicodeDecodeError:
        raise wrong(name, "data is not UTF-8") from None


def _whole(value: Any) -> Any:
    if isinstance(value, list):
        return [_whole(item) for item in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value


@functools.cache
def _decoder(datatype: str, depth: int) -> msgspec.json.Decoder[list[Any]]:
    """Checks type and range of each element while it reads. The ends of 64 bits are left to NumPy: msgspec takes no
    limit beyond 2**63. Not so the sign: NumPy before 2.0 makes 2**64 - 1 of -1.
    """
    dtype = DTYPES[datatype]
    kind: Any = {"b": bool, "i": int, "u": int, "f": float, "O": str}[dtype.kind]
    if dtype.kind in "iu" and dtype.itemsize < 8:
        limits = np.iinfo(dtype)
        kind = Annotated[int, msgspec.Meta(ge=int(limits.min), le=int(limits.max))]
    elif dtype.kind == "u":
        kind = Annotated[int, msgspec.Meta(ge=0)]
    return msgspec.json.Decoder(_nested(kind, depth))


@functools.cache
def _numbers(depth: int) -> msgspec.json.Decoder[Any]:
    return msgspec.json.Decoder(_nested(int | float, depth))


def _nested(kind: Any, depth: int) -> Any:
    for _ in range(depth):
        kind = list[kind]
    return kind


def _array(name: str, datatype: str, values: list[Any]) -> NDArray[Any]:
    dtype = DTYPES[datatype]
    try:
        if datatype in ("FP16", "FP32"):
            with np.errstate(over="ignore"):
                array = np.array(values, dtype)
            if not np.isfinite(array).all():
                raise wrong(name, f"data out of the range of {datatype}")
            return array
        return _to_bytes(np.array(values, dtype)) if datatype == "BYTES" else np.array(values, dtype)
    except OverflowError:
        limits = np.iinfo(dtype)
        raise wrong(name, f"data out of the range of {datatype}: {limits.min} to {limits.max}") from None
    except ValueError:
        raise wrong(name, "data is not rectangular") from None


def _to_bytes(array: NDArray[Any]) -> NDArray[Any]:
    flat = array.ravel()
    if any(isinstance(item, list) for item in flat):
        raise ValueError("lists of different lengths")
    flat[:] = [item.encode() for item in flat]
    return flat.reshape(array.shape)


def wrong(name: str, what: str) -> ProtocolError:
    return ProtocolError(400, f"tensor {name!r}: {what}")


def datatype_of(array: NDArray[Any]) -> str:
    """The V2 datatype of an array that a model gave back; a TypeError is the model's mistake."""
    if array.dtype not in DATATYPES:
        raise TypeError(f"no V2 datatype for {array.dtype}; a model's outputs are of {', '.join(DTYPES)}")
    return DATATYPES[array.dtype]


def encode(name: str, array: NDArray[Any], *, rows: bool = False) -> Any:
    """As orjson takes it, or a sequence of `rows`. ProtocolError where JSON has no way to write the values."""
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        raise ProtocolError(400, f"output {name!r} is not finite: JSON cannot carry it, binary data can")
    plain = _to_strings if array.dtype == object else np.ascontiguousarray
    try:
        return large.encode(array, plain) if array.size > large.PIECE_ELEMENTS and not rows else plain(array)
    except UnicodeDecodeError:
        raise ProtocolError(400, f"output {name!r} is not UTF-8: JSON cannot carry it, binary data can") from None


def _to_strings(array: NDArray[Any]) -> list[Any]:
    strings = np.empty(array.shape, dtype=object)
    strings.reshape(-1)[:] = [bytes(item).decode() for item in array.reshape(-1)]
    nested: list[Any] = strings.tolist()
    return nested
