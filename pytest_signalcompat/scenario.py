"""What a numbered requirement is made of: an act, checks, needs and cases. The catalogue itself is scenarios/."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from msgspec.structs import replace

from .errors import Unseen
from .model import Failure, Family, Level, Observation, Platform, Record, Server, Stop

if TYPE_CHECKING:
    from .live.stage import Stage

Act = Callable[["Stage"], Awaitable[None]]
"""What is done to the servers it starts on the stage. It judges nothing."""

Judge = Callable[[Server, Observation], Failure | None]


class Check(Record):
    """One thing that a requirement asks of an observation. Its `id` stands in reports and baselines and never changes.

    Called, it gives a failure or None. Of several starts of one scenario it judges each, or the one numbered `start`.
    """

    id: str
    judge: Judge
    start: int | None = None

    def __call__(self, server: Server, seen: Observation) -> Failure | None:
        try:
            failure = self.judge(server, seen)
        except Unseen as problem:
            failure = _not_seen(str(problem))
        return None if failure is None else replace(failure, check=self.id)

    def on(self, start: int) -> Check:
        """This check for that start alone, counted from 0."""
        return replace(self, start=start)

    def of(self, server: Server, starts: tuple[Observation, ...]) -> list[Failure]:
        """What it finds in a whole attempt."""
        if self.start is not None:
            starts = starts[self.start : self.start + 1]
        if not starts:
            return [replace(_not_seen("a server that was started"), check=self.id)]
        return [failure for seen in starts if (failure := self(server, seen)) is not None]


def _not_seen(what: str) -> Failure:
    return Failure(expected=what, actual=f"{what}: none was seen", unproven=True, missing=what)


def check(id: str) -> Callable[[Judge], Check]:
    """Makes a check of a function: `@check("exits-in-time")`."""
    return lambda judge: Check(id=id, judge=judge)


class Need(Record):
    """A declaration without which a scenario cannot be run, with the words that say what to declare."""

    declared: Callable[[Server], bool]
    advice: str


class Case(Record):
    """One way to run a scenario on a server: `SC901[selector-2]`. The only case of a scenario has no id."""

    server: Server
    id: str = ""


Cases = Callable[[Server], tuple[Case, ...]]


def as_declared(server: Server) -> tuple[Case, ...]:
    """The usual choice of cases: the server as it is declared."""
    return (Case(server=server),)


class Scenario(Record):
    """A numbered requirement: what to do to a server, and how to judge what was seen.

    `cases` follow from the declaration alone, so that they are known before any process is started. `least_grace` is
    how many seconds of grace its verdict needs. `explanation` is Markdown, for a scenario of your own; the pages of the
    catalogue are scenarios/explain/.
    """

    code: str
    slug: str
    level: Level
    requirement: str
    act: Act
    checks: tuple[Check, ...]
    needs: tuple[Need, ...] = ()
    stops: tuple[Stop, ...] = ()  # stop requests the platform must have, or the server a command for
    only: Family | None = None
    cases: Cases = as_declared
    least_grace: Callable[[Server], float] = lambda server: 0.0
    explanation: str = ""


def why_not(scenario: Scenario, server: Server, platform: Platform) -> str | None:
    """Why a scenario does not apply here, saying what to declare; None if it does."""
    if scenario.only is not None and scenario.only != platform.family:
        return f"{scenario.slug} is about {scenario.only} only"
    for stop in scenario.stops:
        if stop not in platform.stops and stop not in server.stops:
            return f"{platform.family} has no {stop} request (it has {', '.join(platform.stops.values())})"
    undeclared = [need.advice for need in scenario.needs if not need.declared(server)]
    if undeclared:
        return f"declare {' and '.join(undeclared)}"
    least = scenario.least_grace(server)
    if server.grace < least:
        return f"declare a grace of {least:g} s or more, in which {scenario.slug} can be seen; it is {server.grace:g} s"
    return None
