"""SC9xx: what a platform does differently."""

from __future__ import annotations

from msgspec.structs import replace

from .. import checks
from ..model import Level, Server, Stop
from ..placeholders import templated
from ..scenario import Case, Scenario
from .common import idle, one_and_several_workers

WINDOWS_LOOPS = ("proactor", "selector")


def loops_and_workers(server: Server) -> tuple[Case, ...]:
    """Both Windows loops where the command takes {loop}, one and several workers where it takes {workers}."""
    cases = one_and_several_workers(server)
    if not templated(server, "loop"):
        return cases
    return tuple(
        Case(id=f"{loop}-{case.server.workers}", server=replace(case.server, loop=loop))
        for loop in WINDOWS_LOOPS
        for case in cases
    )


SC901 = Scenario(
    code="SC901",
    slug="console-ctrl-c",
    level=Level.MUST,
    requirement="CTRL_C on its console stops it by design, on both event loops, with one worker and with several",
    act=idle(Stop.INTERRUPT),
    checks=checks.stopped_well(),
    stops=(Stop.INTERRUPT,),
    only="windows",
    cases=loops_and_workers,
)
