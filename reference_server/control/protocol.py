"""Three lines, and both sides prove that they know the key without sending it:

    server   reference_server/1 NONCE
    client   MAC {"nonce": "…", "command": "stop", "wait": true}
    server   MAC {"state": "draining", …}

A MAC is HMAC-SHA256 over who speaks, the other side's nonce and the text, so that nothing can be repeated, reflected or
changed. Nothing is parsed before its MAC is right. Where the client waits there is a fourth line at the server's end,
`MAC {"exit_code": 0}`, and then the end of the stream: the process is gone.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import secrets
from typing import Any, Final

from reference_server.control.contract import Stream

GREETING: Final = b"reference_server/1 "
# The longest line of a client. The longest of a server lists 256 workers.
REQUEST_BYTES: Final = 1024
ANSWER_BYTES: Final = 65536
COMMANDS: Final = ("status", "stop", "force", "drain")


class Refused(Exception):
    """The other side does not speak this protocol, or does not know the key."""


def new_nonce() -> str:
    return secrets.token_hex(16)


def sign(key: bytes, speaker: str, nonce: str, document: dict[str, Any]) -> bytes:
    text = json.dumps(document).encode()
    return _mac(key, speaker, nonce, text) + b" " + text + b"\n"


def verify(key: bytes, speaker: str, nonce: str, line: bytes) -> dict[str, Any]:
    mac, _, text = line.rstrip(b"\n").partition(b" ")
    if not hmac.compare_digest(mac, _mac(key, speaker, nonce, text)):
        raise Refused("wrong key")
    document = json.loads(text)
    if not isinstance(document, dict):
        raise Refused(f"expected an object, found {document!r:.40}")
    return document


def _mac(key: bytes, speaker: str, nonce: str, text: bytes) -> bytes:
    return hmac.new(key, f"{speaker} {nonce} ".encode() + text, hashlib.sha256).hexdigest().encode()


class Lines:
    """Reads lines of bounded length from a stream."""

    def __init__(self, stream: Stream, limit: int) -> None:
        self._stream = stream
        self._limit = limit
        self._rest = b""

    def next(self, deadline: float) -> bytes:
        """b"" at the end of the stream; also a line that is not whole is lost then."""
        while b"\n" not in self._rest:
            if len(self._rest) > self._limit:
                raise Refused(f"a line of more than {self._limit} bytes")
            part = self._stream.receive(self._limit, deadline)
            if not part:
                return b""
            self._rest += part
        line, _, self._rest = self._rest.partition(b"\n")
        return line
