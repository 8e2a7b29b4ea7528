"""Large tensors in JSON, piece by piece: one call into msgspec, NumPy or orjson keeps every other thread waiting.

So a thread beside the event loop may work on a body of many megabytes, and the loop goes on meanwhile.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any, Final

import numpy as np
import orjson
from numpy.typing import NDArray

PIECE_BYTES: Final = 2**18
PIECE_ELEMENTS: Final = 2**15

_STRUCTURE: Final = b"[],"
_OTHER: Final = bytes(set(range(256)) - set(_STRUCTURE))
_STRING: Final = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"', re.DOTALL)
_STRINGS: Final = re.compile(rb"[\[\],\s]*+(?:%s[\[\],\s]*+){1,4096}+" % _STRING.pattern, re.DOTALL)

Decode = Callable[[bytes, int], NDArray[Any]]


class Ragged(ValueError):
    """Lists of different lengths, or what is no list of such elements."""


def decode(text: memoryview, depth: int, *, strings: bool, flat: Decode) -> NDArray[Any]:
    """`flat` decodes a flat list, and gets the number of elements before it. Raises Ragged."""
    whole = bytes(text)
    structure = bytearray()
    arrays: list[NDArray[Any]] = []
    count = 0
    for piece in _strings(whole) if strings else _numbers(whole):
        bare = _STRING.sub(b"", piece) if strings else piece
        structure += bare.translate(None, _OTHER)
        elements = b",".join(_STRING.findall(piece)) if strings else piece.translate(None, b"[]").removesuffix(b",")
        arrays.append(flat(b"[%s]" % elements, count))
        count += len(arrays[-1])
    shape = _shape(bytes(structure), depth)
    if np.prod(shape, dtype=object) != count:
        raise Ragged
    return np.concatenate(arrays).reshape(shape)


def _numbers(text: bytes) -> Iterator[bytes]:
    """Each ends with a comma, but for the last."""
    begin = 0
    while begin < len(text):
        comma = text.find(b",", begin + PIECE_BYTES)
        end = comma + 1 or len(text)
        yield text[begin:end]
        begin = end


def _strings(text: bytes) -> Iterator[bytes]:
    begin = 0
    while begin < len(text):
        if (found := _STRINGS.match(text, begin)) is None:
            raise Ragged
        yield found[0]
        begin = found.end()


def _shape(structure: bytes, depth: int) -> tuple[int, ...]:
    """What the first list of each level says, if the others are like it."""
    shape: tuple[int, ...] = ()
    block = b""
    for level in range(1, depth + 1):
        inside = structure.find(b"]" * level) + level - (depth - level) - 2
        count = (inside + 1) // (len(block) + 1)
        if inside < 0 or count < 1:
            raise Ragged
        block = b"[%s%s]" % ((block + b",") * (count - 1), block)
        shape = (count, *shape)
    if block != structure:
        raise Ragged
    return shape


def encode(array: NDArray[Any], plain: Callable[[NDArray[Any]], Any]) -> orjson.Fragment:
    """`plain` makes of a part what orjson takes."""
    return orjson.Fragment(b"".join(_text(array, plain)))


def _text(array: NDArray[Any], plain: Callable[[NDArray[Any]], Any]) -> Iterator[bytes]:
    step = PIECE_ELEMENTS * len(array) // array.size
    yield b"["
    for begin in range(0, len(array), max(1, step)):
        yield b"," if begin else b""
        if step or array.ndim == 1:
            part = plain(array[begin : begin + max(1, step)])
            yield orjson.dumps(part, option=orjson.OPT_SERIALIZE_NUMPY)[1:-1]
        else:
            yield from _text(array[begin], plain)
    yield b"]"
