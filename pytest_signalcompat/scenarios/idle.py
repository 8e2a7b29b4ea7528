"""SC2xx: asked to stop with nothing to do."""

from __future__ import annotations

from .. import checks
from ..errors import Unsupported
from ..live import LiveServer
from ..model import Level, Scenario, Stop
from .common import idle

KEEPALIVE_LIMIT = 5.0  # seconds; an idle connection is no reason to stay


async def keepalive_idle(live: LiveServer) -> None:
    await live.ready()
    steps = await live.keep_idle(live.server.ready.http or "/")
    if steps.end != "complete":
        raise Unsupported(f"no response to keep a connection after: {steps.detail or steps.end}; declare ready.http")
    if not steps.keep_alive:
        raise Unsupported("the server closes each connection after its response: there is no keep-alive to test")
    await live.pause(0.1)
    await live.stop()
    await live.ended()


SC201 = Scenario(
    code="SC201",
    slug="terminate-idle",
    level=Level.MUST,
    requirement="asked to terminate while idle, it shuts down by design, in time, and leaves nothing",
    why="It is what every orchestrator does first; without it each deployment ends in a kill.",
    act=idle(Stop.TERMINATE),
    checks=checks.stopped_well(),
    stops=(Stop.TERMINATE,),
)

SC202 = Scenario(
    code="SC202",
    slug="interrupt-idle",
    level=Level.MUST,
    requirement="interrupted while idle, it shuts down by design, in time, and leaves nothing",
    why="Ctrl-C is how people stop it, and the STOPSIGNAL of some images.",
    act=idle(Stop.INTERRUPT),
    checks=checks.stopped_well(),
    stops=(Stop.INTERRUPT,),
)

SC203 = Scenario(
    code="SC203",
    slug="quit-idle",
    level=Level.SHOULD,
    requirement="asked to quit while idle, it is gone in time",
    why="SIGQUIT is nginx's and gunicorn's stop request, and some images send it.",
    act=idle(Stop.QUIT),
    checks=(checks.was_asked, checks.exits_within(), checks.ends_by_itself, checks.nothing_left),
    stops=(Stop.QUIT,),
)

SC204 = Scenario(
    code="SC204",
    slug="keepalive-idle",
    level=Level.MUST,
    requirement="an idle keep-alive connection does not delay the stop beyond 5 s",
    why="Load balancers hold idle connections for minutes; waiting for them spends the whole grace period.",
    act=keepalive_idle,
    checks=(*checks.gone(KEEPALIVE_LIMIT), checks.idle_was_open),
    stops=(Stop.TERMINATE,),
)
