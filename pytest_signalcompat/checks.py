"""Requirements as pure functions: (Server, Observation) -> Failure, or None when met.

A check judges one thing and says what was expected, what was found, and what to do. No check asks which platform the
tests run on: what may differ is in `Observation.platform`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from .model import Check, Exchange, Exit, Failure, Family, Observation, Server, Stop
from .output import count, exceptions, marked

GONE_WITHIN = 1.0  # seconds from the leader's exit
ANSWER_WITHIN = 1.0  # seconds for a new connection while the server stops
DRAINING_FOR = 0.5  # seconds a server has to live on for new connections to say anything
OVERLONG_WITHIN = 5.0  # seconds after the declared drain limit
CLOCK_SLACK = 0.1  # seconds; a timer of the server and ours need not agree better

SIGNAL_NUMBERS = {Stop.TERMINATE: 15, Stop.INTERRUPT: 2, Stop.QUIT: 3, Stop.HANGUP: 1}
SIGKILL = 9
CONTROL_C_EXIT = 0xC000013A  # the default handler of either console event
NAMES = {1: "SIGHUP", 2: "SIGINT", 3: "SIGQUIT", 6: "SIGABRT", 9: "SIGKILL", 11: "SIGSEGV", 15: "SIGTERM"}
CUT = (500, 502, 503)  # also by how a server cuts a request: uvicorn answers 500, a proxy 502
TRACEBACK = "Traceback (most recent call last)"
FAULTS = ("NotImplementedError", "AttributeError", TRACEBACK)
DIRTY = (TRACEBACK, "Task was destroyed", "was never awaited", "Exception ignored")

FIX_ADD_SIGNAL_HANDLER = (
    "no Windows event loop has add_signal_handler: where it raises NotImplementedError use signal.signal for"
    " SIGINT and SIGBREAK, and wake the loop with call_soon_threadsafe (as kserve#3882 was fixed)"
)
FIX_MISSING_SIGNAL = "Windows has no SIGQUIT, SIGHUP, SIGUSR1 …: look signals up with getattr(signal, name, None)"
FIX_SLOW = "routes.slow must take as long as its {seconds} say"
FIX_FRAMING = "let the route answer with a Content-Length or with chunked transfer coding"
FIX_LIMIT = "give requests in flight the declared drain limit, then cut them and leave"
FIX_HANDLER = "handle the stop request: stop accepting, finish what is in flight, then leave with status 0"


def describe_status(family: Family, status: int) -> str:
    """Text for an exit status, with the name of what it stands for."""
    if family == "windows":
        names = {CONTROL_C_EXIT: "STATUS_CONTROL_C_EXIT", 0xC0000005: "STATUS_ACCESS_VIOLATION"}
        return f"0x{status:X} ({names.get(status, 'NTSTATUS')})" if status >= 0x80000000 else str(status)
    return f"{status} ({NAMES.get(-status, 'signal')})" if status < 0 else str(status)


def in_flight(seen: Observation) -> list[Exchange]:
    """The exchanges that were really open when the stop request was delivered."""
    at = seen.delivered.at if seen.delivered else float("inf")
    return [x for x in seen.exchanges if x.sent is not None and x.sent <= at and (x.ended is None or x.ended > at)]


def own_exit(seen: Observation) -> Exit | None:
    """The leader's exit, unless the supervisor had to bring it about."""
    if seen.exit is None or (seen.killed is not None and seen.exit.at >= seen.killed):
        return None
    return seen.exit


def is_good(exchange: Exchange) -> bool:
    return exchange.end == "complete" and exchange.status is not None and 200 <= exchange.status < 300


def succeeded(exchange: Exchange) -> bool:
    """A complete response, 2xx. Where only the connection's end says where it ends, nobody knows whether it is."""
    return is_good(exchange) and exchange.framed


# ---------------------------------------------------------------- starting


def became_ready(server: Server, seen: Observation) -> Failure | None:
    if seen.ready is not None:
        return None
    raised = exceptions(seen.own_output)
    last = raised[-1] if raised else None
    found = seen.ready_detail or "not ready"
    exit = own_exit(seen)
    if exit is not None:
        status = describe_status(seen.platform.family, exit.status)
        found = f"exited {exit.at:.1f} s after the start with status {status}"
    if last is not None:
        found += f"; {last.type}{': ' + last.text if last.text else ''} at {last.where}"
    return Failure(
        check="becomes ready",
        expected=f"ready within {server.ready.timeout:g} s",
        actual=found,
        fix=_advice(seen) or "see the output below",
        timing=exit is None and last is None,
    )


def stays_alive(server: Server, seen: Observation) -> Failure | None:
    exit = own_exit(seen)
    if exit is None:
        return None
    status = describe_status(seen.platform.family, exit.status)
    return Failure(
        check="stays alive",
        expected="running once it has said it is ready",
        actual=f"exited {exit.at - (seen.ready or 0.0):.2f} s after ready with status {status}",
    )


def starts_without_errors(server: Server, seen: Observation) -> Failure | None:
    raised = exceptions(seen.own_output)
    if raised:
        first = raised[-1]
        found = f"{first.type}{': ' + first.text if first.text else ''} at {first.where or 'an unknown place'}"
    else:
        # A warning may say what a later version will raise; Python shows the line of code that gave it, too.
        said = [line for line in seen.own_output if "Warning" not in line.text and "warnings.warn" not in line.text]
        line = next((line for line in said if any(word in line.text for word in FAULTS)), None)
        if line is None:
            return None
        found = line.text.strip()
    return Failure(
        check="starts without errors", expected="no exception in the output", actual=found, fix=_advice(seen)
    )


def _advice(seen: Observation) -> str:
    text = "\n".join(line.text for line in seen.own_output)
    if "NotImplementedError" in text and "add_signal_handler" in text:
        return FIX_ADD_SIGNAL_HANDLER
    if "AttributeError" in text and "'signal'" in text:
        return FIX_MISSING_SIGNAL
    return ""


# ---------------------------------------------------------------- ending


def was_asked(server: Server, seen: Observation) -> Failure | None:
    if seen.delivered is not None:
        return None
    found = "it had exited before" if seen.exit is not None else "; ".join(seen.notes) or "not delivered"
    return Failure(check="was asked to stop", expected="running when the stop request is delivered", actual=found)


def exits_within(limit: float | None = None) -> Check:
    """The leader exits by itself within the grace period, or within `limit` seconds if that is less."""

    def exits_in_time(server: Server, seen: Observation) -> Failure | None:
        allowed = server.grace if limit is None else min(server.grace, limit)
        if seen.delivered is None:
            return None
        exit, what = own_exit(seen), seen.delivered.what
        if exit is not None and exit.at - seen.delivered.at <= allowed:
            return None
        if exit is not None:
            found = f"exited {exit.at - seen.delivered.at:.2f} s after {what}"
        else:
            found = f"still running {server.grace:g} s after {what}"
            pending = [x.name for x in in_flight(seen) if x.ended is None or (seen.killed and x.ended >= seen.killed)]
            found += f", with open: {', '.join(pending)}" if pending else ""
        return Failure(
            check="exits in time", expected=f"exit within {allowed:g} s", actual=found, fix=FIX_HANDLER, timing=True
        )

    return exits_in_time


def ends_by_itself(server: Server, seen: Observation) -> Failure | None:
    """For requirements that accept any status: a hard kill is none."""
    exit = own_exit(seen)
    if exit is None or seen.platform.family == "windows" or exit.status != -SIGKILL:
        return None
    return Failure(check="ends by itself", expected="an exit of its own", actual="killed by SIGKILL")


def accepted_status(server: Server, seen: Observation) -> Failure | None:
    """By the declared policy; by default 0, or death by exactly the request sent (which proves nothing alone)."""
    exit = own_exit(seen)
    if exit is None or seen.delivered is None:
        return None  # exits_within reports it
    family = seen.platform.family
    accepted = accepted_statuses(server, family, seen.delivered.stop)
    if exit.status in accepted:
        return None
    return Failure(
        check="accepted status",
        expected="exit status " + " or ".join(describe_status(family, status) for status in accepted),
        actual=f"exit status {describe_status(family, exit.status)}",
        fix=f"leave with 0 after a graceful stop, or declare exits.{seen.delivered.stop}",
    )


def accepted_statuses(server: Server, family: Family, stop: Stop) -> tuple[int, ...]:
    declared = server.exits.get(family, {}).get(stop)
    if declared is not None:
        return declared
    if stop in server.stops:
        return (0,)
    return (0, CONTROL_C_EXIT if family == "windows" else -SIGNAL_NUMBERS[stop])


def has_evidence(server: Server, seen: Observation) -> Failure | None:
    """That the shutdown ran by design: its declared marker, or the complete response of a request in flight."""
    exit = own_exit(seen)
    if seen.delivered is None or exit is None:
        return None  # reported by others
    mark = server.marks.stopped
    if count(mark, seen.own_output, since=seen.delivered.at) or any(succeeded(x) for x in in_flight(seen)):
        return None
    status = describe_status(seen.platform.family, exit.status)
    took = f"exit status {status} {exit.at - seen.delivered.at:.2f} s after {seen.delivered.what}"
    if mark is None:
        return Failure(
            check="evidence",
            expected="a sign that the shutdown code ran",
            actual=f"{took}, and nothing that tells a graceful end from a lucky one",
            fix="declare marks.stopped: a regex for a line the server writes at the end of its shutdown",
            inconclusive=True,
        )
    return Failure(
        check="evidence",
        expected=f"a line like '{mark}' after the stop request",
        actual=f"{took}, without it{' in what could be kept of the output' if _output_lost(seen) else ''}",
        fix=FIX_HANDLER,
        inconclusive=_output_lost(seen),
    )


def ended_by_design(server: Server, seen: Observation) -> Failure | None:
    """Where a requirement asks for the end alone: neither a default action nor a hard kill ever ends in status 0.

    That is said of the process which was asked. A console event asks all of them, and a leader may well leave with 0
    after the default action has ended its workers, or with their status, as it happens (hypercorn's does both).
    """
    exit = own_exit(seen)
    asked_all = seen.delivered is not None and seen.delivered.reach == "console"
    return None if exit is not None and exit.status == 0 and not asked_all else has_evidence(server, seen)


def nothing_left(server: Server, seen: Observation) -> Failure | None:
    """Within a second of the leader's exit the tree is empty and the port refused. Each is looked at by itself."""
    exit = own_exit(seen)
    if exit is None or seen.delivered is None:
        return None
    left = []
    if seen.gone is None:
        names = ", ".join(f"{p.pid} {p.name[:80]}" for p in seen.survivors[:5]) or "a process that ended meanwhile"
        left.append(f"left running: {names}")
    if seen.port is not None and (seen.port.freed is None or seen.port.freed > exit.at + GONE_WITHIN):
        left.append(f"port {seen.port.number} still accepts connections")
    if not left:
        return None
    return Failure(
        check="nothing left",
        expected=f"no process and no open port {GONE_WITHIN:g} s after the leader's exit",
        actual="; ".join(left),
        fix="stop and wait for child processes before the leader leaves",
        timing=True,
    )


def stopped_well() -> tuple[Check, ...]:
    """EVIDENCE, STATUS and GONE, as the catalogue says it."""
    return (was_asked, exits_within(), accepted_status, has_evidence, nothing_left)


def gone(limit: float | None = None) -> tuple[Check, ...]:
    """GONE, within the grace period or `limit` seconds if that is less."""
    return (was_asked, exits_within(limit), accepted_status, ended_by_design, nothing_left)


def every_worker_stopped(server: Server, seen: Observation) -> Failure | None:
    mark = server.marks.stopped
    if seen.delivered is None or own_exit(seen) is None:
        return None  # reported by others
    if workers_ran(server, seen) is not None:
        return None  # there were fewer workers to stop
    if mark is None:
        return Failure(
            check="every worker stopped",
            expected=f"a sign from each of {server.workers} workers that its shutdown code ran",
            actual="none is declared, and the leader does not tell a worker that stopped from one that was killed",
            fix="declare marks.stopped: a regex for a line that each worker writes at the end of its shutdown",
            inconclusive=True,
        )
    number = _processes_that_wrote(marked(mark, seen.own_output, since=seen.delivered.at), seen)
    if number == server.workers:
        return None
    return Failure(
        check="every worker stopped",
        expected=f"{server.workers} lines like '{mark}', one from each worker",
        actual=f"{number} line{'' if number == 1 else 's'} to say that a worker stopped, of {server.workers}",
        fix="let the leader ask each worker to stop and wait until it has",
        inconclusive=number < server.workers and _output_lost(seen),
    )


def _processes_that_wrote(lines: list[list[str]], seen: Observation) -> int:
    """Told apart by their pids where the mark has one, since two log handlers write a line twice; else one a line."""
    pids = {str(process.pid) for process in seen.processes}
    named = [pids.intersection(re.findall(r"\d+", " ".join(marks))) for marks in lines]
    return len(set().union(*named)) + sum(1 for found in named if not found)


def workers_ran(server: Server, seen: Observation) -> Failure | None:
    if seen.delivered is None or len(seen.processes) >= server.workers:
        return None
    return Failure(
        check="workers ran",
        expected=f"at least {server.workers} processes before the stop request",
        actual=f"{len(seen.processes)}",
        fix="pass {workers} in the command",
        inconclusive=True,
    )


# ---------------------------------------------------------------- what was in flight


def request_completed(server: Server, seen: Observation) -> Failure | None:
    request = _named("in flight", seen)
    if request is None or seen.delivered is None:
        return None
    at = seen.delivered.at
    if request not in in_flight(seen):
        what = f"ended {at - request.ended:.2f} s before it" if request.ended is not None else "was never sent"
        return Failure(
            check="request completed",
            expected="a request in flight when the stop request is delivered",
            actual=f"{request.method} {request.path} {what} ({_told(request, seen)})",
            fix=FIX_SLOW,
            inconclusive=True,
        )
    if not is_good(request):
        return Failure(
            check="request completed",
            expected="a complete 2xx response",
            actual=_told(request, seen),
            fix="on a stop request keep serving what has begun, up to a limit shorter than the grace period",
        )
    if not request.framed:
        return Failure(
            check="request completed",
            expected="a response that says how long it is",
            actual=f"{request.received} bytes of a body, ended by the end of the connection as a cut one is",
            fix=FIX_FRAMING,
            inconclusive=True,
        )
    if seen.exit is not None and request.ended is not None and seen.exit.at < request.ended - CLOCK_SLACK:
        return Failure(
            check="request completed",
            expected="the leader to leave after the response",
            actual=f"it left {request.ended - seen.exit.at:.2f} s before",
        )
    return None


def stream_was_open(server: Server, seen: Observation) -> Failure | None:
    stream = _named("stream", seen)
    if stream is None or seen.delivered is None or (stream in in_flight(seen) and stream.answered is not None):
        return None
    return Failure(
        check="stream was open",
        expected="a stream under way when the stop request is delivered",
        actual=f"{stream.method} {stream.path}: {_told(stream, seen)}",
        fix="routes.stream must go on for its {seconds}",
        inconclusive=True,
    )


def idle_was_open(server: Server, seen: Observation) -> Failure | None:
    closed = seen.idle_closed
    if seen.delivered is None or closed is None or closed >= seen.delivered.at:
        return None
    return Failure(
        check="idle connection was open",
        expected="a keep-alive connection open when the stop request is delivered",
        actual=f"the server closed it {seen.delivered.at - closed:.2f} s before",
        inconclusive=True,
    )


def no_silence(server: Server, seen: Observation) -> Failure | None:
    """Until the server has left, every new connection hears something within a second, if only that it is refused."""
    if seen.delivered is None:
        return None
    tried = [x for x in seen.exchanges if x.name.startswith("new connection")]
    silent = [(x, wait) for x in tried if (wait := _silence(x, seen)) > ANSWER_WITHIN]
    if silent:
        worst, wait = max(silent, key=lambda pair: pair[1])
        return Failure(
            check="no silence",
            expected=f"each new connection refused, reset, or answered within {ANSWER_WITHIN:g} s",
            actual=f"{len(silent)} of {len(tried)} heard nothing: {worst.name} for {wait:.1f} s ({_told(worst, seen)})",
            fix="close the listening socket in every process that holds it, or go on answering (503)",
            timing=True,
        )
    lived = seen.exit.at - seen.delivered.at if seen.exit is not None else DRAINING_FOR
    if lived >= DRAINING_FOR and tried:
        return None
    load = "; ".join(f"{x.method} {x.path}: {_told(x, seen)}" for x in seen.exchanges if x.name == "in flight")
    return Failure(
        check="no silence",
        expected=f"a server that drains for {DRAINING_FOR:g} s or more, so that new connections meet it",
        actual=f"it left {lived:.2f} s after {seen.delivered.what}{f' ({load})' if load else ''}",
        fix="keep serving what has begun; " + FIX_SLOW,
        inconclusive=True,
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


def cut_at_the_limit(server: Server, seen: Observation) -> Failure | None:
    """A request longer than the declared drain limit D is cut then, and the exit falls into [D, D + 5 s]."""
    exit = own_exit(seen)
    if seen.delivered is None or exit is None or server.drain is None:
        return None  # exits_within reports it
    at = seen.delivered.at
    took = exit.at - at
    first, last = server.drain - CLOCK_SLACK, server.drain + OVERLONG_WITHIN
    load = _named("in flight", seen)
    if load is not None and load.ended is not None and load.ended - at < first:
        return _over_too_soon(load, server, seen)
    if first <= took <= last:
        return None
    return Failure(
        check="cut at the limit",
        expected=f"exit between {server.drain:g} and {last:g} s after the stop request",
        actual=f"exit after {took:.2f} s ({'; '.join(_told(x, seen) for x in in_flight(seen)) or 'nothing in flight'})",
        fix=FIX_LIMIT,
        timing=took > last,
    )


def _over_too_soon(load: Exchange, server: Server, seen: Observation) -> Failure:
    """Before the limit: by itself, which proves nothing, or cut."""
    if load not in in_flight(seen) or (load.end == "complete" and load.status not in CUT):
        return Failure(
            check="cut at the limit",
            expected=f"a request in flight that takes longer than {server.drain:g} s after the stop request",
            actual=f"{load.method} {load.path} was over by itself ({_told(load, seen)})",
            fix=FIX_SLOW if load.framed else FIX_FRAMING,
            inconclusive=True,
        )
    return Failure(
        check="cut at the limit",
        expected=f"the request in flight to be cut {server.drain:g} s after the stop request, and no sooner",
        actual=_told(load, seen),
        fix=FIX_LIMIT,
    )


def clean_output(server: Server, seen: Observation) -> Failure | None:
    if seen.delivered is None:
        return None
    after = [line for line in seen.own_output if line.at >= seen.delivered.at]
    dirty = next((line for line in after if any(word in line.text for word in DIRTY)), None)
    if dirty is None:
        if not _output_lost(seen):
            return None
        return Failure(
            check="clean output",
            expected="output after the stop request that can be read to the end",
            actual=f"{seen.dropped} bytes of output, of which some after the stop request, were too many to keep",
            fix="log less while stopping",
            inconclusive=True,
        )
    raised = exceptions(after)
    first = raised[0] if raised else None
    found = f"{first.type}{': ' + first.text if first.text else ''} at {first.where}" if first else dirty.text.strip()
    return Failure(
        check="clean output",
        expected="no traceback or asyncio complaint after the stop request",
        actual=found,
        fix="end what was started before the event loop does: cancel tasks and await them, close what is open",
    )


def _output_lost(seen: Observation) -> bool:
    """Whether there was more of it after the stop request than could be kept."""
    return seen.delivered is not None and seen.dropped_until is not None and seen.dropped_until >= seen.delivered.at


def _named(name: str, seen: Observation) -> Exchange | None:
    return next((x for x in seen.exchanges if x.name == name), None)


def _told(exchange: Exchange, seen: Observation) -> str:
    """What became of an exchange, in words, with the time since the stop request."""
    words = {
        "complete": f"complete, status {exchange.status}",
        "truncated": f"cut after {exchange.received} bytes of its response",
        "closed": "connection closed without a response",
        "reset": "connection reset without a response",
        "refused": "connection refused",
        "open": "no response",
    }[exchange.end]
    if exchange.ended is not None and seen.delivered is not None:
        after = exchange.ended - seen.delivered.at
        words += f", {abs(after):.2f} s {'after' if after >= 0 else 'before'} {seen.delivered.what}"
    return words


def judge(checks: Iterable[Check], server: Server, seen: Observation) -> tuple[Failure, ...]:
    """Every failure, those that prove something before those that only lack proof. One that was never ready has one."""
    unready = became_ready(server, seen)
    if unready is not None:
        return (unready,)
    found = [failure for check in checks if (failure := check(server, seen)) is not None]
    return tuple(sorted(found, key=lambda failure: failure.inconclusive))
