"""SC2xx."""

from __future__ import annotations

from pytest_signalcompat.scenarios.idle import idle_was_open

from ..observations import idle
from . import MET, UNPROVEN, row

ROWS = (
    row(idle_was_open, "open until the stop", MET, exchanges=(idle(closed=1.2),)),
    row(idle_was_open, "never closed", MET, exchanges=(idle(),)),
    row(idle_was_open, "closed before", UNPROVEN, exchanges=(idle(closed=0.8),)),
)
