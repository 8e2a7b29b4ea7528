"""SC4xx: asked to stop while streaming."""

from __future__ import annotations

from .. import checks
from ..live import LiveServer
from ..model import Level, Scenario, Stop
from .common import LEAD

BEYOND = 60.0  # seconds a stream would go on after the grace period


async def endless_stream(live: LiveServer) -> None:
    await live.ready()
    route = live.server.routes.stream
    assert route is not None
    stream = live.begin("stream", route.replace("{seconds}", f"{live.server.grace + BEYOND:g}"))
    await stream.streaming()
    await live.pause(LEAD)
    await live.stop()
    await live.ended()


SC401 = Scenario(
    code="SC401",
    slug="endless-stream-is-bounded",
    level=Level.MUST,
    requirement="an endless stream whose client stays does not keep the server from stopping in time",
    why="Event streams never end by themselves; waiting for them means being killed, with everything else in flight.",
    act=endless_stream,
    checks=(*checks.gone(), checks.stream_was_open),
    needs=("stream",),
    stops=(Stop.TERMINATE,),
)
