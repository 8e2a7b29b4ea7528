"""What several families of the catalogue ask for. A check that one family uses lives beside its scenario.

A check judges one thing and says what was expected, what was found, and what to do. None asks which platform the tests
run on: what may differ is in `Observation.platform`.
"""

from __future__ import annotations

from . import facts
from .model import Failure, Observation, Reach, Server
from .output import count, exceptions
from .scenario import Check, check
from .statuses import SIGKILL, accepted, described

CLOCK_SLACK = 0.1  # seconds between an answer that was read and an exit that was seen

FIX_ADD_SIGNAL_HANDLER = (
    "no Windows event loop has add_signal_handler: where it raises NotImplementedError use signal.signal for"
    " SIGINT and SIGBREAK, and wake the loop with call_soon_threadsafe (as kserve#3882 was fixed)"
)
FIX_MISSING_SIGNAL = "Windows has no SIGQUIT, SIGHUP, SIGUSR1 …: look signals up with getattr(signal, name, None)"
FIX_SLOW = "routes.slow must take as long as its {seconds} say"
FIX_FRAMING = "let the route answer with a Content-Length or with chunked transfer coding"
FIX_MARK = "declare marks.stopped: a regex for a line that each serving process writes at the end of its shutdown"
FIX_QUIET = "let it log the marks to its output (level info, no log file), or declare marks that it does print"
FIX_BREAK = "handle SIGBREAK as SIGTERM: it is what CTRL_BREAK becomes, and without a handler the process dies at once"
FIX_HANDLER = "handle the stop request: stop accepting, finish what is in flight, then exit with status 0"


# ---------------------------------------------------------------- starting


@check("becomes-ready")
def became_ready(server: Server, seen: Observation) -> Failure | None:
    if seen.ready is not None:
        return None
    raised = exceptions(seen.own_output)
    last = raised[-1] if raised else None
    found = seen.ready_detail or "not ready"
    exit = facts.own_exit(seen)
    if exit is not None:
        status = described(seen.platform.family, exit.status)
        found = f"exited {exit.at:.1f} s after the start with status {status}"
    if last is not None:
        found += f"; {last.type}{': ' + last.text if last.text else ''} at {last.where}"
    return Failure(
        expected=f"ready within {server.ready.timeout:g} s",
        actual=found,
        fix=advice_on_output(seen) or "see the output below",
        timing=exit is None and last is None,
    )


def advice_on_output(seen: Observation) -> str:
    """What to do about an exception in the output, where the cause is one that every Windows port meets."""
    text = "\n".join(line.text for line in seen.own_output)
    if "NotImplementedError" in text and "add_signal_handler" in text:
        return FIX_ADD_SIGNAL_HANDLER
    if "AttributeError" in text and "'signal'" in text:
        return FIX_MISSING_SIGNAL
    return ""


# ---------------------------------------------------------------- ending


@check("was-asked")
def was_asked(server: Server, seen: Observation) -> Failure | None:
    if seen.delivered is not None:
        return None
    facts.ready_at(seen)
    found = "it had exited before" if seen.exit is not None else "; ".join(seen.notes) or "not delivered"
    return Failure(expected="running when the stop request is delivered", actual=found)


def exits_within(limit: float | None = None) -> Check:
    """The leader exits by itself within the grace period, or within `limit` seconds if that is less."""

    @check("exits-in-time")
    def exits_in_time(server: Server, seen: Observation) -> Failure | None:
        allowed = server.grace if limit is None else min(server.grace, limit)
        asked, exit = facts.delivery(seen), facts.own_exit(seen)
        if exit is not None and exit.at - asked.at <= allowed:
            return None
        if exit is not None:
            found = f"exited {exit.at - asked.at:.2f} s after {asked.what}"
        else:
            pending = [x.role for x in facts.in_flight(seen) if x.ended is None or facts.cut_by_us(x, seen)]
            found = f"still running {server.grace:g} s after {asked.what}"
            found += f", with open: {', '.join(pending)}" if pending else ""
        return Failure(expected=f"exit within {allowed:g} s", actual=found, fix=FIX_HANDLER, timing=True)

    return exits_in_time


@check("ends-by-itself")
def ends_by_itself(server: Server, seen: Observation) -> Failure | None:
    """For requirements that accept any status: a hard kill is none."""
    exit = facts.exit_of_its_own(seen)
    if seen.platform.family == "windows" or exit.status != -SIGKILL:
        return None
    return Failure(expected="an exit of its own", actual="killed by SIGKILL")


@check("accepted-status")
def accepted_status(server: Server, seen: Observation) -> Failure | None:
    if facts.status_is_accepted(server, seen):
        return None
    family, stop = seen.platform.family, facts.delivery(seen).stop
    return Failure(
        expected="exit status " + " or ".join(described(family, status) for status in accepted(server, family, stop)),
        actual=f"exit status {described(family, facts.exit_of_its_own(seen).status)}",
        fix=f"exit with 0 after a graceful stop, or declare exits.{stop}",
    )


@check("evidence")
def has_evidence(server: Server, seen: Observation) -> Failure | None:
    """That the shutdown ran by design: the stop mark of every serving process, or, of a single one, the complete
    response of a request in flight; in time."""
    asked, until = facts.delivery(seen), facts.evidence_until(seen)
    marks = facts.stop_marks(server, seen)
    if server.workers > 1:
        return _evidence_of_workers(server, seen)
    answered = [x for x in facts.in_flight(seen) if facts.succeeded(x) and x.ended is not None]
    if marks or any(x.ended <= until + CLOCK_SLACK for x in answered if x.ended is not None):
        return None
    if server.marks.stopped is None:
        return Failure(
            expected="a sign that the shutdown code ran",
            actual=f"{_end(seen)}, and nothing that tells a graceful end from a lucky one",
            fix=FIX_BREAK if facts.ended_by_default(seen) else FIX_MARK,
            unproven=not facts.ended_by_default(seen),
        )
    late = count(server.marks.stopped, seen.own_output, since=asked.at) > 0
    quiet, lost = _is_quiet(server, seen), facts.output_lost(seen)
    where = ", its mark only after that" if late else ", without it"
    where += " in what could be kept of the output" if lost else ""
    where += ", nor was the start mark seen: its log is quiet or goes elsewhere" if quiet else ""
    return Failure(
        expected=f"a line like '{server.marks.stopped}' after the stop request and before the exit",
        actual=_end(seen) + where,
        fix=FIX_QUIET if quiet else FIX_BREAK if facts.ended_by_default(seen) else FIX_HANDLER,
        unproven=not late and (lost or quiet),
    )


def _evidence_of_workers(server: Server, seen: Observation) -> Failure | None:
    """From each of them: a response shows what one of them did, and nobody knows which."""
    stopped = server.marks.stopped
    if stopped is None:
        return Failure(
            expected=f"a sign from each of {server.workers} workers that its shutdown code ran",
            actual="none is declared, and the leader does not tell a worker that stopped from one that was killed",
            fix=FIX_MARK,
            unproven=True,
        )
    number = facts.workers_that_wrote(facts.stop_marks(server, seen), seen)
    if number >= server.workers:
        return None
    quiet, lost = _is_quiet(server, seen), facts.output_lost(seen)
    up = _workers_up(server, seen)
    found = f"{number} line{'' if number == 1 else 's'} to say that a worker stopped, of {server.workers}"
    found += f", of which {up} had started" if up < server.workers and not quiet else ""
    found += "; nor was a start mark seen: its log is quiet or goes elsewhere" if quiet else ""
    return Failure(
        expected=f"{server.workers} lines like '{stopped}', one from each worker, before the leader's exit",
        actual=found,
        fix=FIX_QUIET if quiet else "let the leader ask each worker to stop and wait until it has",
        unproven=lost or quiet or number >= up,
    )


def _workers_up(server: Server, seen: Observation) -> int:
    """How many had started: one that is not up yet, or starts on demand, is not one that was lost."""
    if server.marks.started is not None:
        return facts.workers_that_wrote(facts.start_marks(server, seen), seen)
    return min(server.workers, len({process.pid for process in seen.processes} - facts.leaders(seen)))


def _is_quiet(server: Server, seen: Observation) -> bool:
    """Whether the start mark was not seen either: then the absence of a stop mark means nothing."""
    return server.marks.started is not None and not facts.start_marks(server, seen)


def _end(seen: Observation) -> str:
    asked, exit = facts.delivery(seen), facts.exit_of_its_own(seen)
    status = described(seen.platform.family, exit.status)
    by_default = ": ended by the default action, no handler for SIGBREAK ran" if facts.ended_by_default(seen) else ""
    return f"exit status {status} {exit.at - asked.at:.2f} s after {asked.what}{by_default}"


@check("ended-by-design")
def ended_by_design(server: Server, seen: Observation) -> Failure | None:
    """Where a requirement asks for the end alone: neither a default action nor a hard kill ever ends in status 0.

    That is said of the process which was asked. A console or a group is asked as a whole, and a leader may well exit
    with 0 after the default action has ended its workers, or with their status, as it happens (hypercorn's does both).
    """
    exit, asked_all = facts.exit_of_its_own(seen), facts.delivery(seen).reach in (Reach.CONSOLE, Reach.GROUP)
    return None if exit.status == 0 and not asked_all else has_evidence(server, seen)


@check("nothing-left")
def nothing_left(server: Server, seen: Observation) -> Failure | None:
    """Within a second of the leader's exit the tree is empty and the port refused."""
    facts.delivery(seen)
    left = facts.left_behind(seen)
    if not left:
        return None
    return Failure(
        expected=f"no process and no open port {facts.GONE_WITHIN:g} s after the leader's exit",
        actual="; ".join(left),
        fix="stop and wait for child processes before the leader exits",
        timing=True,
    )


def stopped_well() -> tuple[Check, ...]:
    """Readiness, then EVIDENCE, STATUS and GONE, as the catalogue says it."""
    return (became_ready, was_asked, exits_within(), accepted_status, has_evidence, nothing_left)


def gone(limit: float | None = None) -> tuple[Check, ...]:
    """Readiness, then GONE, within the grace period or `limit` seconds if that is less."""
    return (became_ready, was_asked, exits_within(limit), accepted_status, ended_by_design, nothing_left)
