"""SC3xx: asked to stop with requests in flight."""

from __future__ import annotations

from msgspec.structs import replace

from .. import checks, facts
from ..errors import Unseen
from ..live.stage import Stage
from ..model import IN_FLIGHT, NEW_CONNECTION, Delivery, Exchange, Failure, Level, Observation, Server, Stop
from ..scenario import Scenario, check
from .common import A_REQUEST, LEAD, LEAVE, begin_load, begin_several, lasting, least_grace, left

IDLE_AFTER_ANSWER = 5.0  # seconds; an idle connection is no reason to stay
CLOCK_SLACK = 0.1  # seconds between an answer that was read and an exit that was seen
DRAINING = 2.5  # seconds a request keeps the server draining while others come; less, where the grace is short
DRAINING_LEAST = 1.0
PAUSE = 0.25  # seconds between new connections, until it has exited or its grace period is over
ANSWER_WITHIN = 1.0  # seconds for a new connection while the server stops
DRAINING_FOR = 0.5  # seconds a server has to live on for new connections to say anything


async def request_in_flight(stage: Stage) -> None:
    live = await stage.ready()
    requests = await begin_several(live)
    await live.stop()
    await live.pause(left(live.server))
    for request in requests:
        request.release.set()
    await live.ended()


async def stay_connected(stage: Stage) -> None:
    live = await stage.ready()
    routes, seconds = live.server.routes, lasting(live.server, left(live.server))
    if routes.slow is not None:
        request = live.http.begin(IN_FLIGHT, routes.slow.replace("{seconds}", f"{seconds:g}"), keep=True)
    else:
        assert routes.post is not None
        request = live.http.begin(IN_FLIGHT, routes.post.path, routes.post, hold=True, keep=True)
    await request.under_way()
    await live.pause(LEAD)
    await live.stop()
    await live.pause(left(live.server))
    request.release.set()
    await live.ended()


async def connect_while_draining(stage: Stage) -> None:
    live = await stage.ready()
    drain = min(DRAINING, max(DRAINING_LEAST, live.server.grace - LEAVE))
    request = await begin_load(live, lasting(live.server, drain))
    await live.stop()
    for number in range(1, round(live.server.grace / PAUSE) + 1):
        if live.exited:
            break
        if number * PAUSE > drain:
            request.release.set()
        live.http.begin(NEW_CONNECTION, live.server.ready.http or "/")
        await live.pause(PAUSE)
    request.release.set()
    await live.ended()


@check("request-completed")
def request_completed(server: Server, seen: Observation) -> Failure | None:
    """Each of them; of several failures one that proves something. One that was answered before the stop request, since
    the machine was slow to ask, is left out where others were in flight."""
    asked, requests = facts.delivery(seen).at, facts.exchanges(seen, IN_FLIGHT)
    late = [x for x in requests if not (facts.is_good(x) and x.ended is not None and x.ended <= asked)]
    found = [_failure_of(request, seen) for request in late or requests]
    failures = sorted((failure for failure in found if failure), key=lambda failure: failure.unproven)
    if not failures:
        return None
    several = f" ({len(failures)} of {len(found)} requests)" if len(found) > 1 else ""
    return replace(failures[0], actual=failures[0].actual + several)


def _failure_of(request: Exchange, seen: Observation) -> Failure | None:
    asked, found = facts.delivery(seen), facts.outcome_of(request, seen)
    if request.end == "complete" and request.status is not None and 300 <= request.status < 500:
        return Failure(
            expected="a complete 2xx response",
            actual=f"{request.method} {request.path}: {found}",
            fix="the declared route, its body or its headers are not what the server expects",
            unproven=True,
        )
    if not facts.was_in_flight(request, seen):
        return Failure(
            expected="a request in flight when the stop request is delivered",
            actual=f"{request.method} {request.path} {_when(request, asked.at)} ({found})",
            fix=checks.FIX_SLOW,
            unproven=True,
        )
    if facts.cut_by_us(request, seen):
        return Failure(expected="a complete 2xx response", actual=found, unproven=True)
    if request.end == "not-understood":
        return Failure(expected="an HTTP/1.1 response", actual=found, unproven=True)
    if not facts.is_good(request):
        return Failure(
            expected="a complete 2xx response",
            actual=found,
            fix="on a stop request keep serving what has begun, up to a limit shorter than the grace period",
        )
    if not request.framed:
        return Failure(
            expected="a response that says how long it is",
            actual=f"{request.received} bytes of a body, ended by the end of the connection as a cut one is",
            fix=checks.FIX_FRAMING,
            unproven=True,
        )
    if seen.exit is not None and request.ended is not None and seen.exit.at < request.ended - CLOCK_SLACK:
        return Failure(
            expected="the leader to exit after the response",
            actual=f"it exited {request.ended - seen.exit.at:.2f} s before",
        )
    return None


def _when(request: Exchange, asked: float) -> str:
    """Where a request was, other than in flight, when the stop request came."""
    if request.ended is not None and request.ended <= asked:
        return f"ended {asked - request.ended:.2f} s before it"
    if request.sent is not None:
        return f"was sent {request.sent - asked:.2f} s after it"
    return "was never sent"


@check("no-silence")
def no_silence(server: Server, seen: Observation) -> Failure | None:
    """Until the server has exited, every new connection hears something within a second, if only that it is refused."""
    asked = facts.delivery(seen)
    lived = seen.exit.at - _heard_by(asked, seen.exit.at) if seen.exit is not None else DRAINING_FOR
    if lived < DRAINING_FOR and not any(x.role == NEW_CONNECTION for x in seen.exchanges):
        return _no_drain(lived, seen)
    tried = facts.exchanges(seen, NEW_CONNECTION)
    worst, wait = max(((x, _silence(x, seen)) for x in tried), key=lambda pair: pair[1])
    if wait > ANSWER_WITHIN:
        silent = sum(_silence(x, seen) > ANSWER_WITHIN for x in tried)
        number = tried.index(worst) + 1
        return Failure(
            expected=f"each new connection refused, reset, or answered within {ANSWER_WITHIN:g} s",
            actual=f"{silent} of {len(tried)} heard nothing: new connection {number} for {wait:.1f} s"
            f" ({facts.outcome_of(worst, seen)})",
            fix="close the listening socket in every process that holds it, or go on answering (503)",
            timing=True,
        )
    return None if lived >= DRAINING_FOR else _no_drain(lived, seen)


def _heard_by(asked: Delivery, exit: float) -> float:
    """When the server had been asked at the latest: a command takes its time to start, and may wait for the exit."""
    return asked.done if asked.done is not None and asked.done < exit else asked.at


def _no_drain(lived: float, seen: Observation) -> Failure:
    """It exited so soon that new connections say nothing."""
    held = [x for x in seen.exchanges if x.role == IN_FLIGHT]
    load = "; ".join(f"{x.method} {x.path}: {facts.outcome_of(x, seen)}" for x in held)
    return Failure(
        expected=f"a server that drains for {DRAINING_FOR:g} s or more, so that new connections meet it",
        actual=f"it exited {lived:.2f} s after {facts.delivery(seen).what}{f' ({load})' if load else ''}",
        fix="keep serving what has begun; " + checks.FIX_SLOW,
        unproven=True,
    )


def _silence(exchange: Exchange, seen: Observation) -> float:
    """Seconds without a word. Those until a refusal do not count, which Windows gives after 2 s only: nor, there, those
    of a connection that is not made yet."""
    if exchange.end == "refused" or (exchange.connected is None and seen.platform.family == "windows"):
        return 0.0
    until = exchange.answered or exchange.ended
    if until is None:
        ends = (seen.killed, seen.gone, seen.exit.at if seen.exit else None)
        until = max((at for at in ends if at is not None), default=exchange.begun)
    return until - (exchange.connected or exchange.begun)


SC301 = Scenario(
    code="SC301",
    slug="inflight-completes",
    level=Level.MUST,
    requirement="a request begun before the stop request gets its complete response",
    act=request_in_flight,
    checks=(*checks.stopped_well(), request_completed),
    needs=(A_REQUEST,),
    stops=(Stop.TERMINATE,),
    least_grace=least_grace,
)


@check("exits-after-answer")
def exits_after_answer(server: Server, seen: Observation) -> Failure | None:
    """The connection is the client's to keep: that it is still there is no reason to stay."""
    request, exit = facts.exchange(seen, IN_FLIGHT), facts.own_exit(seen)
    if not facts.was_in_flight(request, seen) or not facts.is_good(request) or request.ended is None:
        return Failure(
            expected="a request in flight at the stop request that is answered after it",
            actual=f"{request.method} {request.path}: {facts.outcome_of(request, seen)}",
            fix=checks.FIX_SLOW,
            unproven=True,
        )
    until = exit.at if exit is not None else seen.killed
    if until is None:
        raise Unseen("an end of the server")
    took = until - request.ended
    if took <= IDLE_AFTER_ANSWER:
        return None
    return Failure(
        expected=f"exit within {IDLE_AFTER_ANSWER:g} s of the answer to the request in flight",
        actual=f"{'exited' if exit is not None else 'still running'} {took:.2f} s after it, while the client kept its"
        " connection",
        fix="answer with `Connection: close` while shutting down, and close connections that are idle",
        timing=True,
    )


SC304 = Scenario(
    code="SC304",
    slug="no-blackhole",
    level=Level.MUST,
    requirement="while it shuts down, every new connection is refused, reset or answered within 1 s",
    act=connect_while_draining,
    checks=(checks.became_ready, checks.was_asked, no_silence),
    needs=(A_REQUEST,),
    stops=(Stop.TERMINATE,),
    least_grace=lambda server: least_grace(server, DRAINING_LEAST),
)

SC310 = Scenario(
    code="SC310",
    slug="connection-idle-after-answer",
    level=Level.MUST,
    requirement="a connection that its client keeps after the answer does not delay the exit beyond 5 s",
    act=stay_connected,
    checks=(checks.became_ready, checks.was_asked, exits_after_answer, checks.exits_within(), checks.nothing_left),
    needs=(A_REQUEST,),
    stops=(Stop.TERMINATE,),
    least_grace=lambda server: left(server) + IDLE_AFTER_ANSWER + 1.0,
)
