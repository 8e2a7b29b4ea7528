"""SC1xx."""

from __future__ import annotations

from pytest_signalcompat.model import Exit
from pytest_signalcompat.scenarios.startup import starts_without_errors, stays_alive

from ..observations import TRACEBACK, UNASKED, said
from . import MET, NOT_MET, row

ROWS = (
    row(stays_alive, "running at the end", MET, deliveries=(), exit=None),
    row(stays_alive, "ended by the supervisor", MET, deliveries=(), exit=Exit(at=1.1, status=-9), killed=1.0),
    row(stays_alive, "left by itself", NOT_MET, **UNASKED),
    row(starts_without_errors, "nothing said", MET),
    row(starts_without_errors, "a traceback", NOT_MET, output=said(*TRACEBACK)),
    row(starts_without_errors, "an error's name in a log line", NOT_MET, output=said("NotImplementedError: signals")),
    row(starts_without_errors, "an error in a log line", NOT_MET, output=said("ERROR AttributeError in a hook")),
    row(starts_without_errors, "a traceback without its end", NOT_MET, output=said(TRACEBACK[0])),
    row(starts_without_errors, "one logged as an error", NOT_MET, output=said("ERROR [web] NotImplementedError()")),
    row(starts_without_errors, "INFO", MET, output=said("INFO: handlers: AttributeError -> 400, ValueError -> 422")),
    row(starts_without_errors, "a fallback", MET, output=said("no uvloop (NotImplementedError), falling back")),
    row(starts_without_errors, "a warning of it", MET, output=said("WARNING: NotImplementedError: no signals here")),
    row(starts_without_errors, "an error of another", MET, output=said("ERROR: 404 Not Found, see AttributeErrors")),
    row(starts_without_errors, "a deprecation", MET, output=said("FutureWarning: will raise AttributeError in 3")),
    row(starts_without_errors, "its line of code", MET, output=said('  warnings.warn("will raise AttributeError")')),
)
