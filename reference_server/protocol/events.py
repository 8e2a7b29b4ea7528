"""Server-sent events (https://html.spec.whatwg.org/multipage/server-sent-events.html)."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping
from typing import Any, Final

from fastapi.responses import StreamingResponse

MEDIA: Final = "text/event-stream"
# A stream has its connection for itself: when it ends while the server drains, nobody waits for an idle connection.
HEADERS: Final = {"cache-control": "no-store", "connection": "close"}


def event(data: Mapping[str, Any], kind: str = "message") -> bytes:
    """`message` is what a client takes an event for that does not say what it is."""
    begin = b"" if kind == "message" else b"event: %s\n" % kind.encode()
    return begin + b"data: " + json.dumps(data).encode() + b"\n\n"


def stream(source: AsyncIterator[bytes]) -> StreamingResponse:
    return StreamingResponse(source, media_type=MEDIA, headers=HEADERS)
