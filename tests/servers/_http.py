"""As much of HTTP/1.1 as the servers here speak. No I/O."""

from __future__ import annotations

from typing import NamedTuple

REASONS = {
    200: "OK",
    400: "Bad Request",
    404: "Not Found",
    411: "Length Required",
    503: "Service Unavailable",
}
LAST_CHUNK = b"0\r\n\r\n"


class Request(NamedTuple):
    method: str
    path: str
    seconds: float  # from the query
    headers: dict[str, str]  # names in lower case
    keep_alive: bool


def parse(data: bytes) -> Request:
    """Raises ValueError where the data is no request head."""
    first, *lines = data.decode("latin-1").removesuffix("\r\n\r\n").split("\r\n")
    method, target, version = first.split(" ")
    path, _, query = target.partition("?")
    headers = {name.lower(): value.strip() for name, value in (line.split(":", 1) for line in lines)}
    parameters = dict(pair.partition("=")[::2] for pair in query.split("&"))
    return Request(
        method=method,
        path=path,
        seconds=float(parameters.get("seconds", "0")),
        headers=headers,
        keep_alive=version == "HTTP/1.1" and headers.get("connection", "").lower() != "close",
    )


def head(status: int, keep_alive: bool, content_type: str, framing: str) -> bytes:
    lines = [
        f"HTTP/1.1 {status} {REASONS[status]}",
        f"Connection: {'keep-alive' if keep_alive else 'close'}",
        f"Content-Type: {content_type}",
        framing,
    ]
    return "\r\n".join([*lines, "", ""]).encode()


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)
