"""SC4xx: asked to stop while streaming."""

from __future__ import annotations

from .. import checks, facts
from ..live.stage import Stage
from ..model import STREAM, Failure, Level, Observation, Server, Stop
from ..scenario import Scenario, check
from .common import A_STREAM, LEAD, LEAVE

BEYOND = 60.0  # seconds a stream would go on after the grace period


async def endless_stream(stage: Stage) -> None:
    live = await stage.ready()
    route = live.server.routes.stream
    assert route is not None
    stream = live.http.begin(STREAM, route.replace("{seconds}", f"{live.server.grace + BEYOND:g}"))
    await stream.streaming()
    await live.pause(LEAD)
    await live.stop()
    await live.ended()


@check("stream-was-open")
def stream_was_open(server: Server, seen: Observation) -> Failure | None:
    facts.delivery(seen)
    stream = facts.exchange(seen, STREAM)
    if facts.was_in_flight(stream, seen) and stream.answered is not None:
        return None
    return Failure(
        expected="a stream under way when the stop request is delivered",
        actual=f"{stream.method} {stream.path}: {facts.outcome_of(stream, seen)}",
        fix="routes.stream must go on for its {seconds}",
        unproven=True,
    )


SC401 = Scenario(
    code="SC401",
    slug="endless-stream-is-bounded",
    level=Level.MUST,
    requirement="an endless stream whose client stays does not keep the server from stopping in time",
    act=endless_stream,
    checks=(*checks.gone(), stream_was_open),
    needs=(A_STREAM,),
    stops=(Stop.TERMINATE,),
    least_grace=lambda server: LEAVE,
)
