"""SC5xx."""

from __future__ import annotations

from pytest_signalcompat.model import Process
from pytest_signalcompat.scenarios.workers import workers_ran

from ..observations import server
from . import MET, UNPROVEN, row

ROWS = (
    row(workers_ran, "two", MET, server(workers=2), processes=(Process(pid=1, name="a"), Process(pid=2, name="b"))),
    row(workers_ran, "one of two", UNPROVEN, server(workers=2)),
)
