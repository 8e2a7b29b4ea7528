"""Binary tensors: after the JSON, one after another, little-endian, each as long as its `binary_data_size` says.

https://github.com/triton-inference-server/server/blob/main/docs/protocol/extension_binary_data.md
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from reference_server.protocol.errors import ProtocolError
from reference_server.protocol.tensors import DTYPES, count, wrong

HEADER: Final = "inference-header-content-length"

_LENGTH: Final = np.dtype("<u4")


def split(body: bytes | bytearray, header: str | None) -> tuple[memoryview, memoryview]:
    """The JSON and the binary data, whose border is told by the header; without one all is JSON."""
    view = memoryview(body)
    if header is None:
        return view, view[len(view) :]
    if not header.isdecimal() or int(header) > len(view):
        what = f"expected a number up to {len(view)}, the length of the body; found {header!r}"
        raise ProtocolError(400, f"Inference-Header-Content-Length: {what}")
    border = int(header)
    return view[:border], view[border:]


def size_of(name: str, parameters: Mapping[str, Any]) -> int | None:
    """Of the input's binary data; None if it has none."""
    size = parameters.get("binary_data_size")
    if size is not None and (type(size) is not int or size < 0):
        raise wrong(name, f"binary_data_size: expected a number of bytes, found {size!r:.60}")
    return size


def decode(name: str, datatype: str, shape: tuple[int, ...], data: memoryview, limit: int) -> NDArray[Any]:
    """Without a copy, except for BYTES."""
    elements = count(name, shape, limit)
    if datatype == "BYTES":
        return _strings(name, data, elements).reshape(shape)
    dtype = DTYPES[datatype].newbyteorder("<")
    if len(data) != elements * dtype.itemsize:
        expected = f"{elements * dtype.itemsize} bytes for shape {list(shape)} of {datatype}"
        raise wrong(name, f"expected {expected}, found {len(data)}")
    array = np.frombuffer(data, dtype)
    if datatype == "BOOL" and elements and array.view(np.uint8).max() > 1:
        raise wrong(name, "BOOL in binary is a byte 0 or 1 for each element")
    return array.astype(DTYPES[datatype], copy=False).reshape(shape)


def _strings(name: str, data: memoryview, elements: int) -> NDArray[Any]:
    """Each of four bytes that tell its length, and so many bytes."""
    if len(data) < elements * _LENGTH.itemsize:
        raise wrong(name, f"expected {elements} elements of BYTES, found {len(data)} bytes")
    array = np.empty(elements, dtype=object)
    position = 0
    for index in range(elements):
        begin = position + _LENGTH.itemsize
        position = begin + int.from_bytes(data[position:begin], "little")
        if begin > len(data) or position > len(data):
            raise wrong(name, f"element {index} of BYTES ends after the data")
        array[index] = bytes(data[begin:position])
    if position != len(data):
        raise wrong(name, f"{len(data) - position} bytes after the {elements} elements of BYTES")
    return array


def encode(array: NDArray[Any]) -> bytes | memoryview:
    """Without a copy where the array lies in memory as the wire wants it; BYTES are copied."""
    if array.dtype == object:
        items = [bytes(item) for item in array.reshape(-1)]
        return b"".join(part for item in items for part in (len(item).to_bytes(4, "little"), item))
    flat = np.ascontiguousarray(array.reshape(-1), array.dtype.newbyteorder("<"))
    return flat.view(np.uint8).data
