"""Uvicorn's HTTP implementations (h11 or httptools), with what is different here."""

from __future__ import annotations

import functools
import json
from typing import Any


@functools.cache
def protocol_class(implementation: Any) -> Any:
    class Protocol(implementation):  # type: ignore[misc]
        def send_400_response(self, msg: str) -> None:
            """To what is no HTTP request. Uvicorn's is text."""
            if self.cycle is None or not self.cycle.response_started or self.cycle.response_complete:
                body = json.dumps({"error": msg})
                head = f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\nConnection: close"
                self.transport.write(f"HTTP/1.1 400 Bad Request\r\n{head}\r\n\r\n{body}".encode())
            self.transport.close()

    return Protocol
