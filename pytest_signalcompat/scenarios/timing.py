"""SC7xx: limits of time."""

from __future__ import annotations

from .. import checks, facts
from ..live.stage import Stage
from ..model import IN_FLIGHT, Exchange, Failure, Level, Observation, Server, Stop
from ..scenario import Scenario, check
from .common import A_DRAIN_LIMIT, A_REQUEST, begin_load

OVERLONG_WITHIN = 5.0  # seconds after the declared drain limit
BEYOND = 10.0  # seconds that the request would go on after the declared drain limit and what is allowed on top
TIMER_SLACK = 0.1  # seconds; a timer of the server and ours need not agree better
CUT = (500, 502, 503)  # also by how a server cuts a request: uvicorn answers 500, a proxy 502
FIX_LIMIT = "give requests in flight the declared drain limit, then cut them and exit"


async def overlong_request(stage: Stage) -> None:
    live = await stage.ready()
    await begin_load(live, _drain(live.server) + OVERLONG_WITHIN + BEYOND)
    await live.stop()
    await live.ended()


def _drain(server: Server) -> float:
    assert server.drain is not None  # A_DRAIN_LIMIT
    return server.drain


@check("cut-at-the-limit")
def cut_at_the_limit(server: Server, seen: Observation) -> Failure | None:
    """A request longer than the declared drain limit D is cut then, and the exit falls into [D, D + 5 s]."""
    asked, load, drain = facts.delivery(seen), facts.exchange(seen, IN_FLIGHT), _drain(server)
    took = facts.exit_of_its_own(seen).at - asked.at
    first, last = drain - TIMER_SLACK, drain + OVERLONG_WITHIN
    if load.ended is not None and load.ended - asked.at < first:
        return _over_too_soon(load, drain, seen)
    if not facts.was_in_flight(load, seen):
        return _not_in_flight(load, drain, seen)
    if first <= took <= last:
        return None
    return Failure(
        expected=f"exit between {drain:g} and {last:g} s after the stop request",
        actual=f"exit after {took:.2f} s ({facts.outcome_of(load, seen)})",
        fix=FIX_LIMIT,
        timing=took > last,
    )


def _over_too_soon(load: Exchange, drain: float, seen: Observation) -> Failure:
    """Before the limit: by itself, which proves nothing, or cut."""
    if not facts.was_in_flight(load, seen) or (load.end == "complete" and load.status not in CUT):
        return _not_in_flight(load, drain, seen)
    return Failure(
        expected=f"the request in flight to be cut {drain:g} s after the stop request, and no sooner",
        actual=facts.outcome_of(load, seen),
        fix=FIX_LIMIT,
    )


def _not_in_flight(load: Exchange, drain: float, seen: Observation) -> Failure:
    what = "was over by itself" if load.ended is not None else "was not in flight"
    return Failure(
        expected=f"a request in flight that takes longer than {drain:g} s after the stop request",
        actual=f"{load.method} {load.path} {what} ({facts.outcome_of(load, seen)})",
        fix=checks.FIX_SLOW if load.framed else checks.FIX_FRAMING,
        unproven=True,
    )


SC701 = Scenario(
    code="SC701",
    slug="overlong-request-bounded",
    level=Level.MUST,
    requirement="a request longer than the declared drain limit is cut at that limit, and the server exits",
    act=overlong_request,
    checks=(
        checks.became_ready,
        checks.was_asked,
        checks.exits_within(),
        checks.ends_by_itself,
        cut_at_the_limit,
        checks.nothing_left,
    ),
    needs=(A_DRAIN_LIMIT, A_REQUEST),
    stops=(Stop.TERMINATE,),
    least_grace=lambda server: (server.drain or 0.0) + OVERLONG_WITHIN,
)
