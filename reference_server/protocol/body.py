"""Reading the body of a request, within limits."""

from __future__ import annotations

import asyncio
import zlib
from typing import Final, TypeVar

import msgspec
from fastapi import Request
from starlette.requests import ClientDisconnect

from reference_server.limits import Limits
from reference_server.protocol.errors import ProtocolError

T = TypeVar("T")

# tritonclient sends no Content-Type with JSON, and application/octet-stream where binary tensors follow it.
JSON_TYPES: Final = ("", "application/json", "application/octet-stream")


ENCODINGS: Final = ("identity", "gzip", "deflate")
STEP_BYTES: Final = 2**18


async def read_body(request: Request, limits: Limits) -> bytes | bytearray:
    """The whole body, of which never more than the limit is kept, whether or not its length was told before."""
    if _check_headers(request) != "identity":
        return await _unzipped(await _read(request, limits), limits.body_bytes)
    return await _read(request, limits)


async def _read(request: Request, limits: Limits) -> bytes | bytearray:
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


async def _unzipped(body: bytes | bytearray, limit: int) -> bytearray:
    """gzip and zlib say themselves which of them it is."""
    whole, unzip, rest = bytearray(), zlib.decompressobj(wbits=47), bytes(body)
    try:
        while rest and not unzip.eof:
            whole += unzip.decompress(rest, STEP_BYTES)
            rest = unzip.unconsumed_tail
            if len(whole) > limit:
                raise _too_large(limit)
            await asyncio.sleep(0)  # a few bytes may become many
        whole += unzip.flush()
    except zlib.error as error:
        raise ProtocolError(400, f"the body is not what Content-Encoding says: {error}") from None
    if not unzip.eof or unzip.unused_data or len(whole) > limit:
        raise _too_large(limit) if len(whole) > limit else ProtocolError(400, "the compressed body is not whole")
    return whole


def _check_headers(request: Request) -> str:
    """The encoding."""
    encoding = request.headers.get("content-encoding", "identity").strip().lower()
    if encoding not in ENCODINGS:
        what = f"Content-Encoding {encoding!r} is not supported; expected one of {', '.join(ENCODINGS)}"
        raise ProtocolError(415, what, {"accept-encoding": ", ".join(ENCODINGS)})
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind not in JSON_TYPES and not kind.endswith("+json"):
        raise ProtocolError(415, f"Content-Type {kind!r} is not supported; send application/json or none")
    return encoding


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
