"""Frozen data: what a server is, what was seen of it, and what was concluded. No I/O, no clocks, no platform.

All times are seconds. In an `Observation` they count from the moment its server was spawned, on the monotonic clock of
the tests (the supervisor's stamps are converted on arrival).
"""

from __future__ import annotations

from enum import StrEnum
from typing import Literal, NewType, dataclass_transform

import msgspec

Family = Literal["posix", "windows"]


@dataclass_transform(frozen_default=True, kw_only_default=True)
class Record(msgspec.Struct, frozen=True, kw_only=True):
    """Base of all records: frozen, built by keyword."""


class Declared(Record, forbid_unknown_fields=True, rename="kebab"):
    """Base of what is written as a table in a configuration file; its keys have dashes."""


class Stop(StrEnum):
    """A stop request. POSIX sends SIGTERM, SIGINT, SIGQUIT, SIGHUP; Windows CTRL_BREAK_EVENT, CTRL_C_EVENT and nothing
    for the last two (learn.microsoft.com, GenerateConsoleCtrlEvent)."""

    TERMINATE = "terminate"
    INTERRUPT = "interrupt"
    QUIT = "quit"
    HANGUP = "hangup"


class Reach(StrEnum):
    """Who is asked: the leader alone, its whole process group, everybody on its console (Windows, always), or whoever a
    declared command asks."""

    LEADER = "leader"
    GROUP = "group"
    CONSOLE = "console"
    COMMAND = "command"


class Level(StrEnum):
    """How strongly a requirement is meant, in the words of RFC 2119."""

    MUST = "must"
    SHOULD = "should"
    MAY = "may"


class Outcome(StrEnum):
    PASS = "pass"
    FAIL = "fail"
    WEAK = "weak"  # a SHOULD or MAY that failed
    UNSUPPORTED = "unsupported"  # not declared, or the platform has no such request
    UNPROVEN = "unproven"  # nothing failed, but the evidence is missing
    BLOCKED = "blocked"  # not judged: the server never became ready, which another code tells
    ERROR = "error"  # the harness or the configuration failed, not the server


class Ending(StrEnum):
    CLEAN = "clean"  # ended by itself with an accepted status, nothing left
    FORCED = "forced"  # ended by the supervisor because the scenario was over
    CRASH = "crash"  # ended by itself with a status that is not accepted, or before it was asked
    TIMEOUT = "timeout"  # still running at the end of the grace period
    LEAK = "leak"  # leader gone, but a process or the port was still held
    NONE = "none"  # never started


# ---------------------------------------------------------------- what a server is


class Ready(Declared):
    """How readiness is seen: an HTTP path answered 2xx, an accepted TCP connection, or a line of output."""

    http: str | None = None
    tcp: bool = False
    log: str | None = None
    timeout: float = 30.0


class Post(Declared):
    path: str
    body: str = "{}"
    content_type: str = "application/json"


class Routes(Declared):
    """Paths that make load. `{seconds}` in `slow` and `stream` is replaced by the wanted duration."""

    slow: str | None = None
    stream: str | None = None
    post: Post | None = None


class Marks(Declared):
    """Regular expressions, searched in each output line: one line for each serving process."""

    started: str | None = None
    stopped: str | None = None


class StopCommand(Declared):
    """A command that asks the server to stop, run by the supervisor in place of a signal."""

    command: tuple[str, ...]
    timeout: float = 10.0


class Declarations(Declared, kw_only=True):
    """What the table of a server and a `Server` have in common, key for key. Placeholders are still in place."""

    command: tuple[str, ...]
    cwd: str | None = None
    env: dict[str, str] = {}
    ready: Ready = Ready(tcp=True)
    routes: Routes = Routes()
    marks: Marks = Marks()
    drain: float | None = None
    workers: int = 1
    preset: str | None = None


class Server(Declarations, kw_only=True):
    """What the harness knows of a server."""

    name: str
    exits: dict[Family, dict[Stop, tuple[int, ...]]] = {}
    stops: dict[Stop, StopCommand] = {}
    grace: float = 30.0
    loop: str = "auto"
    source: tuple[str, int] | None = None  # file and line (from 1) of its table


# ---------------------------------------------------------------- what a platform is


class Platform(Record):
    """What the supervisor said of the place it runs in. Never derived from the tests' own platform."""

    family: Family
    system: str  # linux, darwin, win32
    python: str
    executable: str
    stops: dict[Stop, str]  # what it sends for each stop request
    containment: str  # subreaper, session, job
    launcher: str = "native"
    starts: tuple[str, ...] = ()  # what it can start a server with: ignored, blocked, pid-namespace


# ---------------------------------------------------------------- what was seen


class Process(Record):
    """A process of a server's tree. Windows: the parent may have ended."""

    pid: int
    name: str
    parent: int | None = None


class Delivery(Record):
    """A stop request as it was delivered: `what` is the signal, the event or the command."""

    stop: Stop
    what: str
    reach: Reach
    at: float
    done: float | None = None  # when a command had ended


Role = NewType("Role", str)
"""What an exchange is there for. A check asks for it by the same value that the act gave; a scenario of your own may
declare more. Reports hold its text."""

IN_FLIGHT = Role("in flight")  # begun before the stop request, to end after it
STREAM = Role("stream")  # an endless response
KEEP_ALIVE = Role("keep-alive")  # answered before the stop request; its connection stays open, idle
NEW_CONNECTION = Role("new connection")  # made while the server shuts down

ExchangeEnd = Literal["complete", "truncated", "closed", "reset", "refused", "not-understood", "open"]


class Exchange(Record):
    """One HTTP request, from the first byte to its end.

    `complete`: the whole response by its own framing; if it has none (not `framed`), ended as a cut one ends, too.
    `truncated`: cut after the response began. `closed` and `reset`: ended without a byte of response. `refused`: no
    connection. `not-understood`: what came is no HTTP/1.1 to h11, which is stricter than most clients. `open`:
    unanswered when the observation ended.
    """

    role: Role
    method: str
    path: str
    begun: float
    end: ExchangeEnd = "open"
    connected: float | None = None
    sent: float | None = None
    answered: float | None = None
    ended: float | None = None
    status: int | None = None
    received: int = 0
    keep_alive: bool = False
    framed: bool = True
    closed: float | None = None  # when the server closed the connection that was kept after the response
    detail: str = ""


class Line(Record):
    at: float
    text: str


class Exit(Record):
    """The leader's exit. POSIX: code, or the negative number of the signal; Windows: unsigned code."""

    at: float
    status: int


class PortState(Record):
    """`freed`: when the first connection attempt that was refused after the exit had begun; None: it never was."""

    number: int
    freed: float | None = None


class Observation(Record):
    """Facts about one start of a server, on one clock that begins with it."""

    platform: Platform
    spawned: float = 0.0  # seconds after the first server of the same attempt
    workers: int = 1
    ready: float | None = None
    ready_detail: str = ""
    deliveries: tuple[Delivery, ...] = ()
    exchanges: tuple[Exchange, ...] = ()
    processes: tuple[Process, ...] = ()  # the tree just before the stop request
    output: tuple[Line, ...] = ()
    dropped: int = 0  # bytes of output that were read but not kept
    dropped_until: float | None = None  # when the last of them came
    exit: Exit | None = None
    gone: float | None = None  # when the tree was empty
    survivors: tuple[Process, ...] = ()
    port: PortState | None = None
    killed: float | None = None  # when the supervisor ended what was left
    notes: tuple[str, ...] = ()

    @property
    def delivered(self) -> Delivery | None:
        """The first stop request."""
        return self.deliveries[0] if self.deliveries else None

    @property
    def own_output(self) -> tuple[Line, ...]:
        """Without what came after the end by force: multiprocessing's resource tracker complains of what that left."""
        return tuple(line for line in self.output if self.killed is None or line.at < self.killed)

    def __repr__(self) -> str:
        """On one line, which is what pytest shows of a failed assertion."""
        from .timeline import timeline

        return f"<Observation: {timeline(self)}>"

    def __str__(self) -> str:
        from .timeline import summary

        return summary(self)


# ---------------------------------------------------------------- what was concluded


class Failure(Record):
    """A requirement that was not met, as a value.

    `unproven`: nothing wrong was seen, but what would prove the requirement is missing.
    `missing`: what the check is about and did not find at all; such a failure is always unproven, too.
    `timing`: wrong by time only; such a run is repeated alone before it counts.
    """

    expected: str
    actual: str
    fix: str = ""
    check: str = ""  # filled in by the check
    unproven: bool = False
    missing: str = ""
    timing: bool = False


class Attempt(Record):
    """One run of a scenario: an observation for each server that it started, in that order."""

    starts: tuple[Observation, ...]
    seconds: float = 0.0
    busy: float = 0.0  # the share of that time in which something on the machine waited for a CPU


class Result(Record):
    """The verdict of one case of a scenario on one server. The last attempt is the one that counts."""

    server: str
    code: str
    slug: str
    level: Level
    outcome: Outcome
    case: str = ""
    ending: Ending = Ending.NONE
    requirement: str = ""
    failures: tuple[Failure, ...] = ()
    reason: str = ""
    blocked_by: str | None = None  # the code that tells why this one could not be judged
    attempts: tuple[Attempt, ...] = ()
    seconds: float = 0.0
    platform: Platform | None = None
    preset: str | None = None

    @property
    def name(self) -> str:
        """`SC901[selector-2]`, as in pytest's node ids; without a case the code alone."""
        return f"{self.code}[{self.case}]" if self.case else self.code

    @property
    def observation(self) -> Observation | None:
        """The last start of the attempt that counts."""
        starts = self.attempts[-1].starts if self.attempts else ()
        return starts[-1] if starts else None
