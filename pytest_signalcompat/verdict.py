"""From what was seen to a verdict: failures, outcome and ending, in one call. Pure."""

from __future__ import annotations

from . import facts
from .checks import became_ready
from .model import Ending, Failure, Level, Observation, Outcome, Record, Server
from .scenario import Scenario


class Verdict(Record):
    outcome: Outcome
    ending: Ending
    failures: tuple[Failure, ...] = ()


def of(scenario: Scenario, server: Server, starts: tuple[Observation, ...]) -> Verdict:
    """The verdict of one attempt, which started a server once or several times."""
    failures = _failures(scenario, server, starts)
    return Verdict(outcome=decide(scenario.level, failures), ending=ending(server, starts), failures=failures)


def _failures(scenario: Scenario, server: Server, starts: tuple[Observation, ...]) -> tuple[Failure, ...]:
    """Those that prove something before those that only lack proof.

    What is missing is told once, and only where nothing else failed: a server that was never ready was not asked, did
    not answer and did not exit, but that is one failure and not five.
    """
    found = [failure for check in scenario.checks for failure in check.of(server, starts)]
    proven = any(not failure.unproven for failure in found)
    told, kept = set[str](), []
    for failure in sorted(found, key=lambda failure: failure.unproven):
        if failure.missing and (proven or failure.missing in told):
            continue
        told.add(failure.missing)
        kept.append(failure)
    return tuple(kept)


def decide(level: Level, failures: tuple[Failure, ...]) -> Outcome:
    """A failed MUST fails; a failed SHOULD or MAY is WEAK; missing proof is UNPROVEN, never PASS.

    A server that does not even become ready fails whatever was asked of it.
    """
    if not failures:
        return Outcome.PASS
    if all(failure.unproven for failure in failures):
        return Outcome.UNPROVEN
    return Outcome.FAIL if level is Level.MUST or never_ready(failures) else Outcome.WEAK


def never_ready(failures: tuple[Failure, ...]) -> bool:
    return any(failure.check == became_ready.id and not failure.unproven for failure in failures)


ORDER = (Ending.NONE, Ending.CLEAN, Ending.FORCED, Ending.CRASH, Ending.LEAK, Ending.TIMEOUT)


def ending(server: Server, starts: tuple[Observation, ...]) -> Ending:
    """How the run ended, whatever the outcome: the worst of its starts."""
    return max((_ending(server, seen) for seen in starts), key=ORDER.index, default=Ending.NONE)


def _ending(server: Server, seen: Observation) -> Ending:
    asked = seen.delivered is not None
    if facts.own_exit(seen) is None:
        return Ending.TIMEOUT if asked else Ending.FORCED
    if not asked:
        return Ending.CRASH
    if facts.left_behind(seen):
        return Ending.LEAK
    accepted = facts.status_is_accepted(server, seen) and not facts.ended_by_default(seen)
    return Ending.CLEAN if accepted else Ending.CRASH
