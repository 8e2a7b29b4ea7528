"""Reading the body of a request, within limits."""

from __future__ import annotations

from typing import Final, TypeVar

import msgspec
from fastapi import Request
from starlette.requests import ClientDisconnect

from reference_server.limits import Limits
from reference_server.protocol.errors import ProtocolError

T = TypeVar("T")

# tritonclient sends no Content-Type with JSON, and application/octet-stream where binary tensors follow it.
JSON_TYPES: Final = ("", "application/json", "application/octet-stream")


async def read_body(request: Request, limits: Limits) -> bytes | bytearray:
    """The whole body, of which never more than the limit is kept, whether or not its length was told before."""
    _check_headers(request)
    limit = limits.body_bytes
    told = request.headers.get("content-length", "0")
    if not told.isdecimal():
        raise ProtocolError(400, f"Content-Length: expected a number, found {told!r}")
    if int(told) > limit:
        raise _too_large(limit)
    body = bytearray()
    while True:
        message = await request.receive()
        if message["type"] == "http.disconnect":
            raise ClientDisconnect
        part: bytes = message.get("body", b"")
        if len(body) + len(part) > limit:
            raise _too_large(limit)
        last = not message.get("more_body", False)
        if last and not body:
            return part
        body += part
        if last:
            return body


def _check_headers(request: Request) -> None:
    encoding = request.headers.get("content-encoding", "identity")
    if encoding.strip().lower() != "identity":
        what = f"Content-Encoding {encoding!r} is not supported; send the body as it is"
        raise ProtocolError(415, what, {"accept-encoding": "identity"})
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind not in JSON_TYPES and not kind.endswith("+json"):
        raise ProtocolError(415, f"Content-Type {kind!r} is not supported; send application/json or none")


def _too_large(limit: int) -> ProtocolError:
    return ProtocolError(413, f"the body has more than {limit} bytes, the limit of this server")


def parse(decoder: msgspec.json.Decoder[T], text: bytes | bytearray | memoryview) -> T:
    """ProtocolError 400 with the path of the first thing that is wrong."""
    try:
        return decoder.decode(text)
    except msgspec.DecodeError as error:
        raise ProtocolError(400, str(error)) from None
    except UnicodeDecodeError:
        raise ProtocolError(400, "JSON is malformed: not UTF-8") from None
    except RecursionError:
        raise ProtocolError(400, "JSON is nested too deeply") from None
