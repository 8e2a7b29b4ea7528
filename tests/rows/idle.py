"""SC2xx."""

from __future__ import annotations

from typing import Any

from pytest_signalcompat.model import Exit, Stop
from pytest_signalcompat.scenarios.idle import idle_was_open, no_crash

from ..observations import asked, idle, server
from . import MET, NOT_MET, UNPROVEN, row

quit: dict[str, Any] = {"deliveries": (asked(Stop.QUIT, what="SIGQUIT"),)}

ROWS = (
    row(no_crash, "0", MET, **quit),
    row(no_crash, "death by the signal sent", MET, **quit, exit=Exit(at=2.0, status=-3)),
    row(no_crash, "the same behind a wrapper", MET, **quit, exit=Exit(at=2.0, status=131)),
    row(no_crash, "2, as Go after a dump of its stacks", NOT_MET, **quit, exit=Exit(at=2.0, status=2)),
    row(no_crash, "death by another signal", NOT_MET, **quit, exit=Exit(at=2.0, status=-6)),
    row(no_crash, "a hard kill", NOT_MET, **quit, exit=Exit(at=2.0, status=-9)),
    row(no_crash, "declared", MET, server(exits={"posix": {Stop.QUIT: (2,)}}), **quit, exit=Exit(at=2.0, status=2)),
    row(idle_was_open, "open until the stop", MET, exchanges=(idle(closed=1.2),)),
    row(idle_was_open, "never closed", MET, exchanges=(idle(),)),
    row(idle_was_open, "closed before", UNPROVEN, exchanges=(idle(closed=0.8),)),
)
