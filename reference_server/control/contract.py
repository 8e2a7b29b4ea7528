"""What a platform's file provides and uses: streams and errors; and what is said on a stream, a line of JSON each:

    server   reference_server/1
    client   {"command": "stop", "wait": true}
    server   {"state": "draining", …}

Where the client waits there is one more line at the server's end, `{"exit_code": 0}`, and then the end of the stream:
the process is gone.
"""

from __future__ import annotations

import json
import math
import time
from pathlib import Path
from typing import Any, Final, Protocol

GREETING: Final = b"reference_server/1"
COMMANDS: Final = ("status", "stop", "force", "drain")
# The longest line of a client. The longest of a server lists 256 workers.
REQUEST_BYTES: Final = 1024
ANSWER_BYTES: Final = 65536


class ControlError(Exception):
    """The channel cannot be made or reached: one sentence that names its address."""


class AddressTaken(ControlError):
    """A running server, or something else that answers, has the address."""

    def __init__(self, address: str) -> None:
        super().__init__(f"control address {address} belongs to a running server; choose another --control-address")


class NobodyThere(ControlError):
    """No server answers at the address."""

    def __init__(self, address: str) -> None:
        super().__init__(f"no server answers at control address {address}")


class NotAllowed(ControlError):
    """The system refuses this user, or what is there is another user's."""


class Refused(Exception):
    """The other side does not speak this protocol."""


class Stream(Protocol):
    """A connection. Deadlines are moments of the monotonic clock, or infinity; past one there is a TimeoutError."""

    def receive(self, size: int, deadline: float) -> bytes:
        """At most `size` bytes; b"" at the end."""

    def send(self, data: bytes, deadline: float) -> None: ...

    def close(self) -> None: ...

    def leave_open(self) -> None:
        """From now on only the end of the process closes it, and tells the other side of that end."""


def encode(document: dict[str, Any]) -> bytes:
    return json.dumps(document).encode() + b"\n"


def decode(line: bytes) -> dict[str, Any]:
    """Raises Refused."""
    try:
        document = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise Refused(f"expected JSON, found {line[:40]!r}: {error}") from None
    if not isinstance(document, dict):
        raise Refused(f"expected an object, found {document!r:.40}")
    return document


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


def cannot(make: str, what: str | Path, error: OSError) -> ControlError:
    kind = NotAllowed if isinstance(error, PermissionError) else ControlError
    return kind(f"cannot {make} {what}: {error.strerror or error}")


def seconds_until(deadline: float) -> float | None:
    """For timeouts: None for never, and never zero, which would mean not to wait at all."""
    return max(0.001, deadline - time.monotonic()) if deadline < math.inf else None
