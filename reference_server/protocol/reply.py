"""Responses."""

from __future__ import annotations

from typing import Any

import msgspec
import orjson
from fastapi.responses import Response

JSON = "application/json"


def reply(message: msgspec.Struct | list[Any], status: int = 200) -> Response:
    return Response(msgspec.json.encode(message), status, media_type=JSON)


def encode_arrays(answer: dict[str, Any]) -> bytes:
    """NumPy arrays become lists without one Python object for each element."""
    return orjson.dumps(answer, option=orjson.OPT_SERIALIZE_NUMPY)


def reply_arrays(answer: dict[str, Any]) -> Response:
    return Response(encode_arrays(answer), media_type=JSON)
