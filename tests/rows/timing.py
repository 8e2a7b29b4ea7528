"""SC7xx."""

from __future__ import annotations

from pytest_signalcompat.model import Exit
from pytest_signalcompat.scenarios.timing import cut_at_the_limit

from ..observations import KILLED, request
from . import MET, NOT_MET, UNPROVEN, row

waiting = (request(end="open", status=None, answered=None, ended=None),)
late = (request(end="closed", status=None, sent=1.1, ended=3.1),)
cut = (request(end="closed", status=None),)
cut_late = (request(end="closed", status=None, ended=3.0),)

ROWS = (
    row(cut_at_the_limit, "at the limit", MET, exit=Exit(at=3.0, status=0), exchanges=waiting),
    row(cut_at_the_limit, "a timer's slack before it", MET, exit=Exit(at=2.91, status=0), exchanges=waiting),
    row(cut_at_the_limit, "before it", NOT_MET, exit=Exit(at=2.85, status=0), exchanges=waiting),
    row(cut_at_the_limit, "5 s after it", MET, exit=Exit(at=8.0, status=0), exchanges=waiting),
    row(cut_at_the_limit, "more than 5 s after it", NOT_MET, exit=Exit(at=8.01, status=0), exchanges=waiting),
    row(cut_at_the_limit, "cut before it", NOT_MET, exchanges=(request(end="closed", status=None),)),
    row(cut_at_the_limit, "cut at once, gone at it", NOT_MET, exit=Exit(at=3.0, status=0), exchanges=cut),
    row(cut_at_the_limit, "cut at it", MET, exit=Exit(at=3.2, status=0), exchanges=cut_late),
    row(cut_at_the_limit, "refused at once", NOT_MET, exchanges=(request(status=503),)),
    row(cut_at_the_limit, "cut with a response, as uvicorn does", NOT_MET, exchanges=(request(status=500),)),
    row(cut_at_the_limit, "timed out by itself", UNPROVEN, exchanges=(request(status=408),)),
    row(cut_at_the_limit, "answered before the stop", UNPROVEN, exchanges=(request(status=404, ended=0.6),)),
    row(cut_at_the_limit, "answered long before it", UNPROVEN, exchanges=(request(),)),
    row(cut_at_the_limit, "killed", UNPROVEN, **KILLED, exchanges=waiting),
    row(cut_at_the_limit, "sent after the stop", UNPROVEN, exit=Exit(at=3.2, status=0), exchanges=late),
)
