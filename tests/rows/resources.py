"""SC8xx."""

from __future__ import annotations

from pytest_signalcompat.scenarios.resources import clean_output

from ..observations import KILLED, TRACEBACK, said
from . import MET, NOT_MET, UNPROVEN, row

ROWS = (
    row(clean_output, "nothing", MET),
    row(clean_output, "a traceback after the stop", NOT_MET, output=said(*TRACEBACK)),
    row(clean_output, "a traceback before the stop", MET, output=said(*TRACEBACK, at=0.5)),
    row(clean_output, "a traceback after the end by force", MET, **KILLED, output=said(*TRACEBACK, at=6.1)),
    row(clean_output, "not all kept", UNPROVEN, dropped=9, dropped_until=1.5),
    row(clean_output, "not all kept of what came before the stop", MET, dropped=9, dropped_until=0.9),
    row(clean_output, "a pending task", NOT_MET, output=said("Task was destroyed but it is pending!")),
    row(clean_output, "never awaited", NOT_MET, output=said("coroutine 'close' was never awaited")),
)
