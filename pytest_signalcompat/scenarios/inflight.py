"""SC3xx: asked to stop with requests in flight."""

from __future__ import annotations

from .. import checks
from ..live import LiveServer
from ..model import Level, Scenario, Stop
from .common import begin_load, lasting, left

DRAINING = 2.5  # seconds a request keeps the server draining while others come
PAUSE = 0.25  # seconds between new connections, until it has left or its grace period is over


async def request_in_flight(live: LiveServer) -> None:
    await live.ready()
    request = await begin_load(live, lasting(live.server, left(live.server)))
    await live.stop()
    await live.pause(left(live.server))
    request.release.set()
    await live.ended()


async def connect_while_draining(live: LiveServer) -> None:
    await live.ready()
    drain = min(DRAINING, max(1.0, live.server.grace - 1.0))
    request = await begin_load(live, lasting(live.server, drain))
    await live.stop()
    for number in range(1, round(live.server.grace / PAUSE) + 1):
        if live.exited:
            break
        if number * PAUSE > drain:
            request.release.set()
        live.begin(f"new connection {number}", live.server.ready.http or "/")
        await live.pause(PAUSE)
    request.release.set()
    await live.ended()


SC301 = Scenario(
    code="SC301",
    slug="inflight-completes",
    level=Level.MUST,
    requirement="a request begun before the stop request gets its complete response",
    why="Every rolling update would otherwise show its users errors.",
    act=request_in_flight,
    checks=(*checks.stopped_well(), checks.request_completed),
    needs=("slow or post",),
    stops=(Stop.TERMINATE,),
)

SC304 = Scenario(
    code="SC304",
    slug="no-blackhole",
    level=Level.MUST,
    requirement="from the stop request until it has left, it leaves no new connection without a word",
    why="A connection that is accepted by the kernel and never served hangs a client until its own timeout.",
    act=connect_while_draining,
    checks=(checks.was_asked, checks.no_silence),
    needs=("slow or post",),
    stops=(Stop.TERMINATE,),
)
