"""Results made by hand, as reports and reporters meet them."""

from __future__ import annotations

import msgspec

from pytest_signalcompat.model import (
    IN_FLIGHT,
    Attempt,
    Delivery,
    Ending,
    Exchange,
    Exit,
    Failure,
    Level,
    Line,
    Observation,
    Outcome,
    Platform,
    PortState,
    Process,
    Reach,
    Result,
    Stop,
)

LINUX = Platform(
    family="posix",
    system="linux",
    python="3.11.7",
    executable="/usr/bin/python3",
    stops={Stop.TERMINATE: "SIGTERM", Stop.INTERRUPT: "SIGINT"},
    containment="subreaper",
)
WINDOWS = Platform(
    family="windows",
    system="win32",
    python="3.14.0",
    executable=r"C:\Python314\python.exe",
    stops={Stop.TERMINATE: "CTRL_BREAK_EVENT", Stop.INTERRUPT: "CTRL_C_EVENT"},
    containment="job",
)

CUT = Exchange(
    role=IN_FLIGHT,
    method="GET",
    path="/slow?seconds=1.5",
    end="closed",
    begun=0.6,
    connected=0.6,
    sent=0.61,
    ended=1.13,
    detail="connection closed without a response",
)

SEEN = Observation(
    platform=LINUX,
    ready=0.25,
    ready_detail="GET /health on port 20000: status 200",
    deliveries=(Delivery(stop=Stop.TERMINATE, what="SIGTERM", reach=Reach.LEADER, at=1.12),),
    exchanges=(CUT,),
    processes=(Process(pid=7, name="python server.py"),),
    output=(Line(at=0.24, text="started pid=7"), Line(at=1.5, text="stopped pid=7")),
    exit=Exit(at=1.55, status=-15),
    gone=1.56,
    port=PortState(number=20000, freed=1.57),
    notes=("a note",),
)

PASSED = Result(
    server="api",
    code="SC201",
    slug="terminate-idle",
    level=Level.MUST,
    outcome=Outcome.PASS,
    ending=Ending.CLEAN,
    requirement="asked to terminate while idle, it shuts down by design",
    seconds=1.23456,
    platform=LINUX,
    attempts=(Attempt(starts=(SEEN,), seconds=1.2),),
)
FAILED = Result(
    server="api",
    code="SC301",
    slug="inflight-completes",
    level=Level.MUST,
    outcome=Outcome.FAIL,
    ending=Ending.CLEAN,
    requirement="a request begun before the stop request gets its complete response",
    failures=(
        Failure(
            check="request-completed",
            expected="a complete 2xx response",
            actual="connection closed without a response, 0.01 s after SIGTERM",
            fix="on a stop request keep serving what has begun",
        ),
        Failure(
            check="accepted-status", expected="exit status 0", actual="exit status -15 (SIGTERM)", fix="leave with 0"
        ),
    ),
    seconds=2.5,
    platform=LINUX,
    attempts=(Attempt(starts=(SEEN,), seconds=1.2),),
)
WEAK = Result(
    server="api",
    code="SC203",
    slug="quit-idle",
    level=Level.SHOULD,
    outcome=Outcome.WEAK,
    ending=Ending.TIMEOUT,
    requirement="asked to quit while idle, it is gone in time",
    failures=(
        Failure(
            check="exits-in-time", expected="exit within 5 s", actual="still running 5 s after SIGQUIT", timing=True
        ),
    ),
    attempts=(Attempt(starts=(), seconds=6.0), Attempt(starts=(), seconds=5.5)),
    platform=LINUX,
)
UNPROVEN = Result(
    server="api",
    code="SC202",
    slug="interrupt-idle",
    level=Level.MUST,
    outcome=Outcome.UNPROVEN,
    ending=Ending.CLEAN,
    requirement="interrupted while idle, it shuts down by design",
    failures=(
        Failure(
            check="evidence",
            expected="a sign that the shutdown code ran",
            actual="exit status 0 0.10 s after SIGINT",
            unproven=True,
        ),
    ),
    platform=LINUX,
)
UNTESTED = Result(
    server="api",
    code="SC401",
    slug="endless-stream-is-bounded",
    level=Level.MUST,
    outcome=Outcome.UNSUPPORTED,
    requirement="an endless stream does not keep the server from stopping in time",
    reason="declare routes.stream",
    platform=LINUX,
)
ERROR = Result(
    server="api",
    code="SC803",
    slug="clean-output",
    level=Level.MUST,
    outcome=Outcome.ERROR,
    requirement="it shuts down without a traceback",
    reason="stop.terminate.command of server 'api' exited with status 3; expected: status 0\n  output: no such pid",
    platform=LINUX,
)
EVERY = (PASSED, UNPROVEN, WEAK, FAILED, UNTESTED, ERROR)


def with_observation(result: Result, seen: Observation | None) -> Result:
    """That result with another observation in its only attempt."""
    attempts = () if seen is None else (Attempt(starts=(seen,)),)
    changed: Result = msgspec.structs.replace(result, attempts=attempts)
    return changed
