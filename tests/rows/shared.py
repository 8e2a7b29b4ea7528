"""What the checks of checks.py find."""

from __future__ import annotations

from typing import Any

from pytest_signalcompat import checks
from pytest_signalcompat.model import Exit, Marks, PortState, Process, Reach, Stop, StopCommand
from pytest_signalcompat.statuses import CONTROL_C_EXIT

from ..observations import HANGING, KILLED, UNASKED, WINDOWS, asked, server
from . import MET, NOT_MET, UNPROVEN, row

windows: dict[str, Any] = {"platform": WINDOWS, "deliveries": (asked(what="CTRL_BREAK_EVENT"),)}
console: dict[str, Any] = {**windows, "deliveries": (asked(what="CTRL_BREAK_EVENT", reach=Reach.CONSOLE),)}
no_mark = server(marks=Marks())

ROWS = (
    row(checks.became_ready, "ready", MET),
    row(checks.became_ready, "never ready", NOT_MET, ready=None, ready_detail="refused", exit=None),
    row(checks.became_ready, "left before", NOT_MET, ready=None, exit=Exit(at=0.2, status=3)),
    row(checks.was_asked, "asked", MET),
    row(checks.was_asked, "gone before", NOT_MET, **UNASKED),
    row(checks.was_asked, "not delivered", NOT_MET, deliveries=(), exit=None),
    row(checks.exits_within(), "exit in time", MET),
    row(checks.exits_within(), "exit exactly at the limit", MET, exit=Exit(at=6.0, status=0)),
    row(checks.exits_within(), "exit just after the limit", NOT_MET, exit=Exit(at=6.01, status=0)),
    row(checks.exits_within(), "exit at the kill", NOT_MET, exit=Exit(at=6.0, status=-9), killed=6.0),
    row(checks.exits_within(), "still running", NOT_MET, **HANGING),
    row(checks.exits_within(), "killed at the end of the grace", NOT_MET, **KILLED),
    row(checks.exits_within(), "never asked", UNPROVEN, **UNASKED),
    row(checks.exits_within(0.5), "beyond its own limit", NOT_MET),
    row(checks.exits_within(0.5), "within its own limit", MET, exit=Exit(at=1.5, status=0)),
    row(checks.exits_within(60.0), "the grace is the shorter limit", NOT_MET, exit=Exit(at=8.0, status=0)),
    row(checks.ends_by_itself, "an exit", MET),
    row(checks.ends_by_itself, "SIGKILL by somebody", NOT_MET, exit=Exit(at=1.1, status=-9)),
    row(checks.ends_by_itself, "SIGKILL by the supervisor", UNPROVEN, **KILLED),
    row(checks.accepted_status, "0", MET),
    row(checks.accepted_status, "death by the signal sent", MET, exit=Exit(at=2.0, status=-15)),
    row(checks.accepted_status, "death by another signal", NOT_MET, exit=Exit(at=2.0, status=-2)),
    row(checks.accepted_status, "143 of a wrapper", MET, exit=Exit(at=2.0, status=143)),
    row(
        checks.accepted_status,
        "declared",
        MET,
        server(exits={"posix": {Stop.TERMINATE: (143,)}}),
        exit=Exit(at=2.0, status=143),
    ),
    row(checks.accepted_status, "declared, another one", NOT_MET, server(exits={"posix": {Stop.TERMINATE: (143,)}})),
    row(
        checks.accepted_status, "declared for the other family", MET, server(exits={"windows": {Stop.TERMINATE: (3,)}})
    ),
    row(checks.accepted_status, "declared for another request", MET, server(exits={"posix": {Stop.INTERRUPT: (130,)}})),
    row(checks.accepted_status, "of a killed server", UNPROVEN, **KILLED),
    row(checks.accepted_status, "Windows: 0", MET, **windows),
    row(checks.accepted_status, "Windows: control C exit", MET, **windows, exit=Exit(at=2.0, status=CONTROL_C_EXIT)),
    row(checks.accepted_status, "Windows: 3", MET, **windows, exit=Exit(at=2.0, status=3)),
    row(checks.accepted_status, "Windows: 15", NOT_MET, **windows, exit=Exit(at=2.0, status=15)),
    row(
        checks.accepted_status,
        "Windows: 3, declared",
        MET,
        server(exits={"windows": {Stop.TERMINATE: (0, 3)}}),
        **windows,
        exit=Exit(at=2.0, status=3),
    ),
    row(
        checks.accepted_status,
        "a command leaves no signal to die of",
        NOT_MET,
        server(stops={Stop.TERMINATE: StopCommand(command=("ctl", "stop"))}),
        exit=Exit(at=2.0, status=-15),
    ),
    row(
        checks.ended_by_design,
        "another status, no mark declared",
        UNPROVEN,
        no_mark,
        output=(),
        exit=Exit(at=2.0, status=-9),
    ),
    row(checks.nothing_left, "nothing", MET),
    row(checks.nothing_left, "ended by force just after its exit", NOT_MET, gone=None, killed=2.1),
    row(checks.nothing_left, "a process", NOT_MET, gone=None, survivors=(Process(pid=9, name="worker"),)),
    row(checks.nothing_left, "the port", NOT_MET, port=PortState(number=20000, freed=None)),
    row(checks.nothing_left, "the port for too long", NOT_MET, port=PortState(number=20000, freed=3.2)),
    row(checks.nothing_left, "the port for a moment", MET, port=PortState(number=20000, freed=3.0)),
    row(checks.nothing_left, "of a killed server", UNPROVEN, **KILLED),
)
