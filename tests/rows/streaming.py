"""SC4xx."""

from __future__ import annotations

from pytest_signalcompat.scenarios.streaming import stream_was_open

from ..observations import stream
from . import MET, UNPROVEN, row

ROWS = (
    row(stream_was_open, "under way", MET, exchanges=(stream(),)),
    row(stream_was_open, "ended before", UNPROVEN, exchanges=(stream(end="complete", ended=0.9),)),
    row(stream_was_open, "no byte of it yet", UNPROVEN, exchanges=(stream(answered=None),)),
    row(stream_was_open, "begun after the stop", UNPROVEN, exchanges=(stream(sent=1.1, answered=1.2),)),
)
