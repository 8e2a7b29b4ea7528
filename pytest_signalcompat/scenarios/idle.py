"""SC2xx: asked to stop with nothing to do."""

from __future__ import annotations

from .. import checks, facts
from ..errors import Unsupported
from ..live.stage import Stage
from ..model import KEEP_ALIVE, Failure, Level, Observation, Reach, Server, Stop
from ..scenario import Scenario, check
from ..statuses import described, is_crash
from .common import idle

KEEPALIVE_LIMIT = 5.0  # seconds; an idle connection is no reason to stay


async def keepalive_idle(stage: Stage) -> None:
    live = await stage.ready()
    answer = await live.http.keep_idle(KEEP_ALIVE, live.server.ready.http or "/")
    if answer.end != "complete":
        raise Unsupported(f"no response to keep a connection after: {answer.detail or answer.end}; declare ready.http")
    if not answer.keep_alive:
        raise Unsupported("the server closes each connection after its response: there is no keep-alive to test")
    await live.pause(0.1)
    await live.stop()
    await live.ended()


@check("idle-was-open")
def idle_was_open(server: Server, seen: Observation) -> Failure | None:
    asked, closed = facts.delivery(seen).at, facts.exchange(seen, KEEP_ALIVE).closed
    if closed is None or closed >= asked:
        return None
    return Failure(
        expected="a keep-alive connection open when the stop request is delivered",
        actual=f"the server closed it {asked - closed:.2f} s before",
        unproven=True,
    )


@check("no-crash")
def no_crash(server: Server, seen: Observation) -> Failure | None:
    """Whatever the server makes of it, it is not to crash: Go's default is to dump its stacks and exit with 2."""
    asked, exit = facts.delivery(seen), facts.exit_of_its_own(seen)
    family = seen.platform.family
    if facts.status_is_accepted(server, seen) or not is_crash(family, asked.stop, exit.status):
        return None
    return Failure(
        expected=f"exit status 0, or death by {asked.what}",
        actual=f"exit status {described(family, exit.status)}",
        fix=f"handle {asked.what}: shut down, or leave it at its default",
    )


SC201 = Scenario(
    code="SC201",
    slug="terminate-idle",
    level=Level.MUST,
    requirement="asked to terminate while idle, it shuts down by design, in time, and leaves nothing",
    act=idle(Stop.TERMINATE),
    checks=checks.stopped_well(),
    stops=(Stop.TERMINATE,),
)

SC202 = Scenario(
    code="SC202",
    slug="interrupt-idle",
    level=Level.MUST,
    requirement="interrupted while idle, it shuts down by design, in time, and leaves nothing",
    act=idle(Stop.INTERRUPT),
    checks=checks.stopped_well(),
    stops=(Stop.INTERRUPT,),
)

SC203 = Scenario(
    code="SC203",
    slug="quit-idle",
    level=Level.SHOULD,
    requirement="asked to quit while idle, it is gone in time",
    act=idle(Stop.QUIT),
    checks=(
        checks.became_ready,
        checks.was_asked,
        checks.exits_within(),
        no_crash,
        checks.nothing_left,
    ),
    stops=(Stop.QUIT,),
)

SC204 = Scenario(
    code="SC204",
    slug="keepalive-idle",
    level=Level.MUST,
    requirement="an idle keep-alive connection does not delay the stop beyond 5 s",
    act=keepalive_idle,
    checks=(*checks.gone(KEEPALIVE_LIMIT), idle_was_open),
    stops=(Stop.TERMINATE,),
)

SC207 = Scenario(
    code="SC207",
    slug="interrupt-leader-only",
    level=Level.SHOULD,
    requirement="interrupted alone, without the other processes of its group, the leader stops them all in time",
    act=idle(Stop.INTERRUPT, Reach.LEADER),
    checks=(checks.became_ready, checks.was_asked, checks.exits_within(), no_crash, checks.nothing_left),
    stops=(Stop.INTERRUPT,),
    only="posix",
)
