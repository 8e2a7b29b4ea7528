"""SC7xx: limits of time."""

from __future__ import annotations

from .. import checks
from ..errors import Unsupported
from ..live import LiveServer
from ..model import Level, Scenario, Stop
from .common import begin_load

BEYOND = 10.0  # seconds that the request would go on after the declared drain limit and what is allowed on top


async def overlong_request(live: LiveServer) -> None:
    server = live.server
    assert server.drain is not None
    if server.grace < server.drain + checks.OVERLONG_WITHIN:
        raise Unsupported(
            f"drain = {server.drain:g} needs a grace of {server.drain + checks.OVERLONG_WITHIN:g} s or more"
            f" to be told from being killed; it is {server.grace:g} s"
        )
    await live.ready()
    await begin_load(live, server.drain + checks.OVERLONG_WITHIN + BEYOND)
    await live.stop()
    await live.ended()


SC701 = Scenario(
    code="SC701",
    slug="overlong-request-bounded",
    level=Level.MUST,
    requirement="a request longer than the declared drain limit is cut at that limit, and the server leaves",
    why="One stuck request must not turn a stop into a kill.",
    act=overlong_request,
    checks=(
        checks.was_asked,
        checks.exits_within(),
        checks.ends_by_itself,
        checks.cut_at_the_limit,
        checks.nothing_left,
    ),
    needs=("drain", "slow or post"),
    stops=(Stop.TERMINATE,),
)
