"""What a platform's file provides and uses: streams, errors, keys."""

from __future__ import annotations

import math
import secrets
import time
from pathlib import Path
from typing import Protocol


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
    """The system refuses this user."""


class Stream(Protocol):
    """A connection. Deadlines are moments of the monotonic clock, or infinity; past one there is a TimeoutError."""

    def receive(self, size: int, deadline: float) -> bytes:
        """At most `size` bytes; b"" at the end."""

    def send(self, data: bytes, deadline: float) -> None: ...

    def close(self) -> None: ...

    def leave_open(self) -> None:
        """From now on only the end of the process closes it, and tells the other side of that end."""


def cannot(make: str, what: str | Path, error: OSError) -> ControlError:
    kind = NotAllowed if isinstance(error, PermissionError) else ControlError
    return kind(f"cannot {make} {what}: {error.strerror or error}")


def new_key() -> bytes:
    return secrets.token_hex(32).encode()


def seconds_until(deadline: float) -> float | None:
    """For timeouts: None for never, and never zero, which would mean not to wait at all."""
    return max(0.001, deadline - time.monotonic()) if deadline < math.inf else None
