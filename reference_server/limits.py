"""How much one serving process takes on."""

from __future__ import annotations

from typing import NamedTuple


class Limits(NamedTuple):
    """Past the first two a request is answered with 413, past the third with 503."""

    body_bytes: int = 64 * 2**20
    tensor_elements: int = 2**24
    requests: int = 256
