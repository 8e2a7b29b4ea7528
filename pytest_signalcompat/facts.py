"""Questions to an observation. What is not there raises Unseen, so that no check can pass by looking at nothing."""

from __future__ import annotations

import re

from . import statuses
from .errors import Unseen
from .model import Delivery, Exchange, Exit, Observation, Reach, Role, Server, Stop
from .output import marked

LATEST = 1.0  # seconds from the leader's exit in which a group or console may still give evidence
GONE_WITHIN = 1.0  # seconds from the leader's exit to an empty tree and a refused port


def ready_at(seen: Observation) -> float:
    if seen.ready is None:
        raise Unseen("a server that is ready")
    return seen.ready


def delivery(seen: Observation) -> Delivery:
    """The first stop request."""
    if seen.delivered is None:
        raise Unseen("a stop request that was delivered")
    return seen.delivered


def exchanges(seen: Observation, role: Role) -> tuple[Exchange, ...]:
    """Every exchange of that role; one or more."""
    found = tuple(exchange for exchange in seen.exchanges if exchange.role == role)
    if not found:
        raise Unseen(f"an exchange of the role {role!r}")
    return found


def exchange(seen: Observation, role: Role) -> Exchange:
    """The first exchange of that role."""
    return exchanges(seen, role)[0]


def own_exit(seen: Observation) -> Exit | None:
    """The leader's exit, unless the supervisor had to bring it about."""
    if seen.exit is None or (seen.killed is not None and seen.exit.at >= seen.killed):
        return None
    return seen.exit


def exit_of_its_own(seen: Observation) -> Exit:
    """The same where there has to be one."""
    exit = own_exit(seen)
    if exit is None:
        raise Unseen("an exit by itself")
    return exit


# ---------------------------------------------------------------- exchanges


def was_in_flight(exchange: Exchange, seen: Observation) -> bool:
    """Whether it was really open when the stop request was delivered."""
    at = delivery(seen).at
    sent_before = exchange.sent is not None and exchange.sent <= at
    return sent_before and (exchange.ended is None or exchange.ended > at)


def in_flight(seen: Observation) -> list[Exchange]:
    """Whatever was open when the stop request was delivered, of any role; perhaps nothing."""
    return [exchange for exchange in seen.exchanges if was_in_flight(exchange, seen)]


def cut_by_us(exchange: Exchange, seen: Observation) -> bool:
    """Whether it ended, if at all, only when the supervisor ended the server."""
    return seen.killed is not None and (exchange.ended is None or exchange.ended >= seen.killed)


def is_good(exchange: Exchange) -> bool:
    return exchange.end == "complete" and exchange.status is not None and 200 <= exchange.status < 300


def succeeded(exchange: Exchange) -> bool:
    """A complete response, 2xx. Where only the connection's end says where it ends, nobody knows whether it is."""
    return is_good(exchange) and exchange.framed


def outcome_of(exchange: Exchange, seen: Observation) -> str:
    """What became of an exchange, in words, with the time since the stop request."""
    if cut_by_us(exchange, seen):
        return "unanswered when the harness ended the server"
    words = {
        "complete": f"complete, status {exchange.status}",
        "truncated": f"cut after {exchange.received} bytes of its response",
        "closed": "connection closed without a response",
        "reset": "connection reset without a response",
        "refused": "connection refused",
        "not-understood": f"not understood: {exchange.detail}",
        "open": "no response",
    }[exchange.end]
    if exchange.ended is not None and seen.delivered is not None:
        after = exchange.ended - seen.delivered.at
        words += f", {abs(after):.2f} s {'after' if after >= 0 else 'before'} {seen.delivered.what}"
    return words


# ---------------------------------------------------------------- the end


def left_behind(seen: Observation) -> list[str]:
    """What was still there GONE_WITHIN seconds after the leader's exit: the tree and the port, each by itself."""
    exit, left = exit_of_its_own(seen), []
    if seen.gone is None:
        names = ", ".join(f"{p.pid} {p.name[:80]}" for p in seen.survivors[:5]) or "a process that ended meanwhile"
        left.append(f"left running: {names}")
    if seen.port is not None and (seen.port.freed is None or seen.port.freed > exit.at + GONE_WITHIN):
        left.append(f"port {seen.port.number} still accepts connections")
    return left


def status_is_accepted(server: Server, seen: Observation) -> bool:
    asked, exit = delivery(seen), exit_of_its_own(seen)
    return statuses.is_accepted(server, seen.platform.family, asked.stop, exit.status)


def ended_by_default(seen: Observation) -> bool:
    """Whether nothing but Windows' default handler of CTRL_BREAK ended it. After CTRL_C the same code may be Python's,
    of a KeyboardInterrupt that nobody caught, with all clean-up done before."""
    asked, exit = delivery(seen), exit_of_its_own(seen)
    return seen.platform.family == "windows" and asked.stop is Stop.TERMINATE and exit.status == statuses.CONTROL_C_EXIT


def output_lost(seen: Observation) -> bool:
    """Whether there was more of it after the stop request than could be kept."""
    return seen.dropped_until is not None and seen.dropped_until >= delivery(seen).at


# ---------------------------------------------------------------- marks of serving processes


def start_marks(server: Server, seen: Observation) -> list[str]:
    """The lines with a start mark, whenever they came."""
    return marked(server.marks.started, seen.own_output)


def stop_marks(server: Server, seen: Observation) -> list[str]:
    """The lines with a stop mark that came after the stop request, in time to be evidence."""
    until = evidence_until(seen)
    return marked(server.marks.stopped, (line for line in seen.own_output if line.at <= until), delivery(seen).at)


def evidence_until(seen: Observation) -> float:
    """Where the leader alone was asked, evidence ends with its exit: as PID 1 of a container it would take all others
    with it. Where a group or a console was asked, with the end of the tree, at most LATEST after."""
    exit = exit_of_its_own(seen).at
    if delivery(seen).reach in (Reach.LEADER, Reach.COMMAND):
        return exit
    return min(seen.gone, exit + LATEST) if seen.gone is not None else exit + LATEST


def workers_that_wrote(lines: list[str], seen: Observation) -> int:
    """How many of several workers wrote these lines: told apart by their pids where a line has one, since two log
    handlers write it twice; else one a line. Who only leads does not count."""
    pids = {str(process.pid) for process in seen.processes}
    named = [pids.intersection(re.findall(r"\d+", line)) for line in lines]
    workers = set().union(*named) - {str(pid) for pid in leaders(seen)}
    return len(workers) + sum(1 for found in named if not found)


def leaders(seen: Observation) -> set[int]:
    """Of several workers: the leader, and below it, through wrappers with one child each, the process that has them."""
    found = set[int]()
    children: dict[int | None, list[int]] = {}
    for process in seen.processes:
        children.setdefault(process.parent, []).append(process.pid)
    pid = seen.processes[0].pid if seen.processes else None
    while pid is not None:
        found.add(pid)
        below = children.get(pid, [])
        only = below[0] if len(below) == 1 else None
        pid = only if only in children else None  # the only child of a leader, without any of its own, is a worker
    return found
