"""SC8xx: what is left, and what is said."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from msgspec.structs import replace

from .. import checks, facts
from ..complaints import Found, found_in
from ..errors import NotReady
from ..live.server import LiveServer
from ..live.stage import Stage
from ..model import IN_FLIGHT, STREAM, Failure, Level, Line, Observation, Record, Server, Stop
from ..output import count, exceptions
from ..scenario import Check, Need, Scenario, check
from .common import A_REQUEST, A_STREAM, LEAD, begin_load, lasting, least_grace_with_load, left
from .streaming import BEYOND

FLUSHED = 0.5  # seconds before the exit in which a process writes what its buffers hold
TRIES = 3  # a busy machine may come back to a request when it is over
LONGEST = 300  # characters of a complaint that are told

# ---------------------------------------------------------------- the act


class Situation(Record):
    """One start: how the server is asked, and what it is doing then."""

    stop: Callable[[LiveServer], Awaitable[None]]
    need: Need | None = None
    what: str = "idle"


async def terminate(live: LiveServer) -> None:
    await live.stop(Stop.TERMINATE)


async def interrupt(live: LiveServer) -> None:
    await live.stop(Stop.INTERRUPT)


async def with_request(live: LiveServer) -> None:
    """That is when shutdown code meets surprises."""
    for _ in range(TRIES):
        request = await begin_load(live, lasting(live.server, left(live.server)))
        if request.fact.ended is None:
            break
    await live.stop(Stop.TERMINATE)
    await live.pause(left(live.server))
    request.release.set()


async def with_stream(live: LiveServer) -> None:
    """One whose client stays: the server has to end it."""
    route = live.server.routes.stream
    assert route is not None
    stream = live.http.begin(STREAM, route.replace("{seconds}", f"{live.server.grace + BEYOND:g}"))
    await stream.streaming()
    await live.pause(LEAD)
    await live.stop(Stop.TERMINATE)


SITUATIONS = (
    Situation(stop=terminate),
    Situation(stop=with_request, need=A_REQUEST, what="with a request in flight"),
    Situation(stop=with_stream, need=A_STREAM, what="with a stream open"),
    Situation(stop=interrupt),
)


async def stop_in_each_situation(stage: Stage) -> None:
    """A server for each, beside each other, in this order: the next is spawned while the others become ready."""
    chosen = [x for x in SITUATIONS if x.need is None or x.need.declared(stage.server)]
    others = [x for x in SITUATIONS if x.need is not None and x not in chosen]
    notes = [f"not stopped {x.what}: {x.need.advice} is not declared" for x in others if x.need is not None]
    playing: list[asyncio.Task[None]] = []
    try:
        for situation in chosen:
            live = await stage.start()
            live.notes += notes
            notes = []
            playing.append(asyncio.create_task(_play(live, situation)))
        ends = await asyncio.gather(*playing, return_exceptions=True)
    finally:
        for task in playing:
            task.cancel()
        await asyncio.gather(*playing, return_exceptions=True)
    problems = [end for end in ends if end is not None]
    for problem in sorted(problems, key=lambda problem: isinstance(problem, NotReady)):
        raise problem


async def _play(live: LiveServer, situation: Situation) -> None:
    await live.ready()
    await situation.stop(live)
    await live.conclude()  # each at its own time: what is left a second after an exit is looked at then


# ---------------------------------------------------------------- the checks


def situation_of(seen: Observation) -> str:
    """What was asked and what was under way, in words."""
    asked = seen.delivered.what if seen.delivered is not None else "no stop request"
    roles = {exchange.role for exchange in seen.exchanges}
    load = "a request in flight" if IN_FLIGHT in roles else "a stream open" if STREAM in roles else ""
    return f"{asked} with {load}" if load else f"{asked} while idle"


def told_with_situation(check: Check) -> Check:
    """The same check, of which a failure says what that start was doing."""

    def judge(server: Server, seen: Observation) -> Failure | None:
        failure = check.judge(server, seen)
        if failure is None:
            return None
        return replace(failure, actual=f"{failure.actual} ({situation_of(seen)})")

    return replace(check, judge=judge)


@check("load-was-open")
def load_was_open(server: Server, seen: Observation) -> Failure | None:
    """Without it, that start showed what an idle server does."""
    facts.delivery(seen)
    load = [x for x in seen.exchanges if x.role in (IN_FLIGHT, STREAM)]
    if not load or any(facts.was_in_flight(x, seen) for x in load):
        return None
    return Failure(
        expected=f"{load[-1].method} {load[-1].path} under way when the stop request is delivered",
        actual=facts.outcome_of(load[-1], seen),
        fix="routes.slow and routes.stream must go on for their {seconds}",
        unproven=True,
    )


@check("evidence")
def shut_down(server: Server, seen: Observation) -> Failure | None:
    """A server that did not shut down says nothing about how it does. With nothing under way, status 0 is evidence."""
    return (checks.has_evidence if facts.in_flight(seen) else checks.ended_by_design).judge(server, seen)


@check("clean-output")
def clean_output(server: Server, seen: Observation) -> Failure | None:
    asked = facts.delivery(seen)
    after = tuple(line for line in seen.own_output if line.at >= asked.at)
    found = found_in(after)
    if not found:
        return _all_was_heard(seen)
    sure = next((complaint for complaint in found if not may_be_older(complaint, server, seen, after)), None)
    if sure is not None:
        return Failure(
            expected="no traceback, panic or complaint of a runtime after the stop request",
            actual=_told(sure, after),
            fix="end what was started before the event loop does: cancel tasks and await them, close what is open",
        )
    return Failure(
        expected="output that is written when it is said",
        actual=f"{_told(found[0], after)}, in the one piece that came when the process ended: perhaps of its start",
        fix="write each line at once (flush, line buffering, `python -u`, `stdbuf -oL`), so that its time can be seen",
        unproven=True,
    )


def may_be_older(complaint: Found, server: Server, seen: Observation, after: tuple[Line, ...]) -> bool:
    """Whether it may have been said before the stop request and have lain in a buffer since.

    A process that block-buffers its output writes it when it exits, in one piece, whatever it said in its life. That is
    told by the silence before: nothing was heard of it until the stop request, or not the start mark that is declared.
    Of a line in that piece nobody knows when it was said, not even in front of a start mark: standard error, which
    is rarely buffered, runs into the same pipe, and what was written there a moment ago is read together with
    the rest. So it neither blames nor clears. What stands behind a stop mark, or by what it says belongs to the end, is
    of the stop all the same.
    """
    if complaint.final or count(server.marks.stopped, after[: complaint.number]):
        return False
    exit, asked = facts.own_exit(seen), facts.delivery(seen).at
    before = [line for line in seen.own_output if line.at < asked]
    silent = not before or (server.marks.started is not None and not count(server.marks.started, before))
    at = after[complaint.number].at
    return silent and exit is not None and at >= exit.at - FLUSHED and at == after[-1].at


def _told(complaint: Found, after: tuple[Line, ...]) -> str:
    """Of a traceback the exception and its place; else what the runtime says."""
    raised = exceptions(after[complaint.number :]) if complaint.name == "python-traceback" else []
    if not raised:
        return complaint.text[:LONGEST]
    return f"{raised[0].type}{': ' + raised[0].text if raised[0].text else ''} at {raised[0].where}"


def _all_was_heard(seen: Observation) -> Failure | None:
    """That nothing was found means something of an output that is whole, and of processes that have ended."""
    if facts.output_lost(seen):
        return Failure(
            expected="output after the stop request that can be read to the end",
            actual=f"{seen.dropped} bytes of output, of which some after the stop request, were too many to keep",
            fix="log less while stopping",
            unproven=True,
        )
    exit = facts.own_exit(seen)
    if exit is None or seen.gone is not None:
        return None
    return Failure(
        expected="processes that shut down, so that it is heard how",
        actual="; ".join(facts.left_behind(seen)),
        fix="stop and wait for child processes before the leader exits",
        unproven=True,
    )


SC803 = Scenario(
    code="SC803",
    slug="clean-output",
    level=Level.MUST,
    requirement="it shuts down without a traceback or a complaint of its runtime, whatever it is doing",
    act=stop_in_each_situation,
    checks=tuple(
        told_with_situation(check)
        for check in (
            *(checks.became_ready, checks.was_asked, checks.exits_within()),
            *(load_was_open, shut_down, clean_output),
        )
    ),
    stops=(Stop.TERMINATE, Stop.INTERRUPT),
    least_grace=least_grace_with_load,
)
