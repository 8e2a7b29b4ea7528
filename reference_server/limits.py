"""How much one serving process takes on."""

from __future__ import annotations

from typing import NamedTuple


class Limits(NamedTuple):
    """Past the first two a request is answered with 413, past the third with 503, past the fourth with 431, and what is
    not sent in time with 408.
    """

    body_bytes: int = 64 * 2**20
    tensor_elements: int = 2**24
    requests: int = 256
    head_bytes: int = 64 * 2**10
    head_seconds: float = 10.0
    body_seconds: float = 60.0
