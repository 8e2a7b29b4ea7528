"""SC9xx: what a platform does differently."""

from __future__ import annotations

from msgspec.structs import replace

from .. import checks
from ..model import Level, Platform, Scenario, Server, Stop
from ..placeholders import templated
from .common import idle, one_and_several_workers

WINDOWS_LOOPS = ("proactor", "selector")


def loops_and_workers(server: Server, platform: Platform) -> tuple[tuple[str, Server], ...]:
    """Both Windows loops where the command takes {loop}, one and several workers where it takes {workers}."""
    if not templated(server, "loop"):
        return one_and_several_workers(server, platform)
    return tuple(
        (f"loop={loop}" + (f", {name}" if name else ""), replace(variant, loop=loop))
        for loop in WINDOWS_LOOPS
        for name, variant in one_and_several_workers(server, platform)
    )


SC901 = Scenario(
    code="SC901",
    slug="console-ctrl-c",
    level=Level.MUST,
    requirement="CTRL_C on its console stops it by design, on both event loops, with one worker and with several",
    why="The two Windows loops wake up differently on CTRL_C, and every worker on the console hears it too.",
    act=idle(Stop.INTERRUPT),
    checks=checks.stopped_well(),
    stops=(Stop.INTERRUPT,),
    only="windows",
    variants=loops_and_workers,
)
