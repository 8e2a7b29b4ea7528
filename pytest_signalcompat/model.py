"""Frozen data: what a server is, what was seen of it, and what was concluded. No I/O, no clocks, no platform.

All times are seconds. In an `Observation` they count from the moment the server was spawned, on the monotonic clock
of the tests (the supervisor's stamps are converted on arrival).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from enum import StrEnum
from typing import TYPE_CHECKING, Literal, dataclass_transform

import msgspec

if TYPE_CHECKING:
    from .live import LiveServer

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
    INCONCLUSIVE = "inconclusive"  # nothing failed, but the evidence is missing
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


# In braces, in a command or the environment; besides these {env:NAME}.
PLACEHOLDERS = ("python", "port", "workers", "loop", "drain", "pid")


class Server(Record):
    """What the harness knows of a server. PLACEHOLDERS are still in place."""

    name: str
    command: tuple[str, ...]
    cwd: str | None = None
    env: dict[str, str] = {}
    ready: Ready = Ready(tcp=True)
    routes: Routes = Routes()
    marks: Marks = Marks()
    exits: dict[Family, dict[Stop, tuple[int, ...]]] = {}
    stops: dict[Stop, StopCommand] = {}
    grace: float = 30.0
    drain: float | None = None
    workers: int = 1
    loop: str = "auto"
    preset: str | None = None
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
    starts: tuple[str, ...] = ()  # what it may start a server with: ignored, blocked, pid-namespace


# ---------------------------------------------------------------- what was seen


class Process(Record):
    pid: int
    name: str


class Delivery(Record):
    """A stop request as it was delivered: `what` is the signal, the event or the command."""

    stop: Stop
    what: str
    reach: Reach
    at: float


ExchangeEnd = Literal["complete", "truncated", "closed", "reset", "refused", "open"]


class Exchange(Record):
    """One HTTP request, from the first byte to its end.

    `complete`: the whole response by its own framing; if it has none (not `framed`), ended as a cut one ends, too.
    `truncated`: cut after the response began. `closed` and `reset`: ended without a byte of response. `refused`: no
    connection. `open`: unanswered when the observation ended.
    """

    name: str
    method: str
    path: str
    end: ExchangeEnd
    begun: float
    connected: float | None = None
    sent: float | None = None
    answered: float | None = None
    ended: float | None = None
    status: int | None = None
    received: int = 0
    keep_alive: bool = False
    framed: bool = True
    detail: str = ""


class Line(Record):
    at: float
    text: str


class Exit(Record):
    """The leader's exit. POSIX: code, or the negative number of the signal; Windows: unsigned code."""

    at: float
    status: int


class PortState(Record):
    """`freed`: when the first connection attempt that was refused after the exit had begun."""

    number: int
    freed: float | None = None
    held_until: float | None = None  # the last attempt that was still accepted after the exit


class Observation(Record):
    """Facts about one run of one server, on one clock."""

    platform: Platform
    workers: int = 1
    variant: str = ""
    ready: float | None = None
    ready_detail: str = ""
    started_marks: int = 0  # seen before the stop request
    deliveries: tuple[Delivery, ...] = ()
    exchanges: tuple[Exchange, ...] = ()
    idle_closed: float | None = None  # when an idle connection was closed by the server
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


# ---------------------------------------------------------------- what was concluded


class Failure(Record):
    """A requirement that was not met, as a value.

    `inconclusive`: nothing wrong was seen, but what would prove the requirement is missing.
    `timing`: wrong by time only; such a run is repeated alone before it counts.
    """

    check: str
    expected: str
    actual: str
    fix: str = ""
    inconclusive: bool = False
    timing: bool = False


class Result(Record):
    """The verdict of one scenario on one server."""

    server: str
    code: str
    slug: str
    level: Level
    outcome: Outcome
    ending: Ending = Ending.NONE
    requirement: str = ""
    failures: tuple[Failure, ...] = ()
    reason: str = ""
    seconds: float = 0.0
    attempt: int = 1
    platform: Platform | None = None
    observation: Observation | None = None


Check = Callable[[Server, Observation], Failure | None]
Act = Callable[["LiveServer"], Awaitable[None]]
Variants = Callable[[Server, Platform], tuple[tuple[str, Server], ...]]


def as_declared(server: Server, platform: Platform) -> tuple[tuple[str, Server], ...]:
    """The usual choice of variants: the server once, as it is declared."""
    return (("", server),)


class Scenario(Record):
    """A numbered requirement: what to do to a server, and how to judge what was seen."""

    code: str
    slug: str
    level: Level
    requirement: str
    why: str
    act: Act
    checks: tuple[Check, ...]
    needs: tuple[str, ...] = ()  # declarations: "slow", "stream", "slow or post", "drain", "workers"
    stops: tuple[Stop, ...] = ()  # stop requests the platform must have
    only: Family | None = None
    variants: Variants = as_declared
