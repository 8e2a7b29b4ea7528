"""From observations to a verdict: failures in order, outcome, ending; and nothing passes for want of a subject."""

from __future__ import annotations

import msgspec
import pytest

from pytest_signalcompat import checks, verdict
from pytest_signalcompat.live.stage import Stage
from pytest_signalcompat.model import (
    Ending,
    Exit,
    Failure,
    Level,
    Observation,
    Outcome,
    PortState,
    Process,
    Role,
)
from pytest_signalcompat.scenario import Check, Scenario
from pytest_signalcompat.scenarios import CATALOGUE
from pytest_signalcompat.scenarios.inflight import request_completed

from .observations import HANGING, KILLED, SERVER, UNASKED, idle, newcomer, request, said, seen, server, stream


async def nothing(stage: Stage) -> None:
    """No server is started in these tests."""


def scenario(*checks: Check, level: Level = Level.MUST) -> Scenario:
    return Scenario(code="X1", slug="mine", level=level, requirement="it works", act=nothing, checks=checks)


def failures(of: Scenario, *starts: Observation) -> list[str]:
    return [failure.check for failure in verdict.of(of, SERVER, starts).failures]


def test_proof_comes_before_what_lacks_it() -> None:
    observation = seen(exchanges=(request(ended=0.9),), exit=Exit(at=2.0, status=1))
    assert failures(scenario(request_completed, checks.accepted_status), observation) == [
        *("accepted-status", "request-completed")
    ]


@pytest.mark.parametrize("of", CATALOGUE, ids=lambda of: of.code)
def test_a_server_that_was_never_ready_has_one_failure(of: Scenario) -> None:
    observation = seen(ready=None, deliveries=(), exit=Exit(at=0.2, status=1), output=said("NotImplementedError"))
    found = verdict.of(of, SERVER, (observation,))
    assert [failure.check for failure in found.failures] == ["becomes-ready"]
    assert found.outcome in (Outcome.FAIL, Outcome.WEAK)
    assert found.ending is Ending.CRASH


GOOD = (request(ended=1.95, answered=1.95), idle(closed=1.1), stream(ended=1.1), newcomer())
LIMITED = {"SC701": {"exit": Exit(at=3.1, status=0), "gone": 3.1, "port": PortState(number=1, freed=3.1)}}
LONG = {"SC701": (request(end="closed", status=None, ended=3.0),)}
WORKERS = {"SC501": tuple(Process(pid=pid, name="x", parent=1) for pid in (1, 2, 3))}


@pytest.mark.parametrize("of", CATALOGUE, ids=lambda of: of.code)
def test_a_good_stop_passes_and_the_same_without_any_exchange_does_not(of: Scenario) -> None:
    if of.code == "SC101":
        observation = seen(deliveries=(), exit=None, gone=None, output=())
    else:
        observation = seen(exchanges=LONG.get(of.code, GOOD), **LIMITED.get(of.code, {}))
    observation = msgspec.structs.replace(observation, processes=WORKERS.get(of.code, observation.processes))
    declared = server(grace=8.0, workers=2 if of.code == "SC501" else 1)
    if of.code == "SC501":
        observation = msgspec.structs.replace(observation, output=said("stopped pid=2", "stopped pid=3"))
    assert verdict.of(of, declared, (observation,)).failures == ()
    without = verdict.of(of, declared, (msgspec.structs.replace(observation, exchanges=()),))
    about_requests = of.code in ("SC204", "SC301", "SC304", "SC310", "SC401", "SC701")
    assert without.outcome is (Outcome.UNPROVEN if about_requests else Outcome.PASS)


def test_what_is_missing_is_told_once() -> None:
    of = scenario(checks.exits_within(), checks.accepted_status, checks.has_evidence, checks.nothing_left)
    assert failures(of, seen(deliveries=(), exit=None)) == ["exits-in-time"]


def test_what_is_missing_is_not_told_beside_what_failed() -> None:
    of = scenario(checks.exits_within(), checks.accepted_status, request_completed)
    assert failures(of, seen(**HANGING)) == ["exits-in-time"]


def test_a_scenario_of_ones_own_cannot_pass_on_a_role_that_its_act_forgot() -> None:
    others = seen(exchanges=(request(role=Role("slow request")),))
    found = verdict.of(scenario(request_completed), SERVER, (others,))
    assert found.outcome is Outcome.UNPROVEN
    assert found.failures[0].actual == "an exchange of the role 'in flight': none was seen"


def test_an_act_that_started_nothing_proves_nothing() -> None:
    assert verdict.of(scenario(checks.nothing_left), SERVER, ()).outcome is Outcome.UNPROVEN


def test_every_start_is_judged() -> None:
    """As for "start again on the same port": the second has to stop as well as the first."""
    of = scenario(*checks.stopped_well())
    assert verdict.of(of, SERVER, (seen(), seen())).outcome is Outcome.PASS
    assert verdict.of(of, SERVER, (seen(), seen(gone=None))).outcome is Outcome.FAIL
    assert verdict.of(of, SERVER, (seen(), seen(gone=None))).ending is Ending.LEAK


def test_a_start_that_must_fail_can_be_required() -> None:
    """Readiness is a check like others: where it is not asked for, a server that exits at its start may pass."""
    never_ready = seen(ready=None, deliveries=(), exit=Exit(at=0.2, status=1))
    left = Check(id="exits-nonzero", judge=lambda server, seen: None if seen.exit and seen.exit.status else WRONG)
    assert verdict.of(scenario(left), SERVER, (never_ready,)).outcome is Outcome.PASS
    zero = seen(ready=None, deliveries=(), exit=Exit(at=0.2, status=0))
    assert verdict.of(scenario(left), SERVER, (zero,)).outcome is Outcome.FAIL


WRONG = Failure(check="a", expected="b", actual="c")
LACKING = Failure(check="a", expected="b", actual="c", unproven=True)


@pytest.mark.parametrize(
    ("level", "found", "outcome"),
    [
        (Level.MUST, (), Outcome.PASS),
        (Level.MUST, (WRONG,), Outcome.FAIL),
        (Level.MUST, (WRONG, LACKING), Outcome.FAIL),
        (Level.MUST, (LACKING,), Outcome.UNPROVEN),
        (Level.SHOULD, (), Outcome.PASS),
        (Level.SHOULD, (WRONG,), Outcome.WEAK),
        (Level.MAY, (WRONG,), Outcome.WEAK),
        (Level.SHOULD, (LACKING,), Outcome.UNPROVEN),
    ],
)
def test_decide(level: Level, found: tuple[Failure, ...], outcome: Outcome) -> None:
    assert verdict.decide(level, found) is outcome


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, Ending.CLEAN),
        ({"exit": Exit(at=2.0, status=-15)}, Ending.CLEAN),
        ({"exit": Exit(at=2.0, status=143)}, Ending.CLEAN),
        ({"exit": Exit(at=2.0, status=1)}, Ending.CRASH),
        (UNASKED, Ending.CRASH),
        ({"gone": None, "survivors": (Process(pid=9, name="worker"),)}, Ending.LEAK),
        ({"port": PortState(number=20000)}, Ending.LEAK),
        (HANGING, Ending.TIMEOUT),
        (KILLED, Ending.TIMEOUT),
        ({"deliveries": (), "exit": None, "killed": 1.0}, Ending.FORCED),
        ({"deliveries": (), "exit": Exit(at=1.1, status=-9), "killed": 1.0}, Ending.FORCED),
    ],
)
def test_ending(changes: dict[str, object], expected: Ending) -> None:
    assert verdict.ending(SERVER, (seen(**changes),)) is expected
    assert verdict.ending(SERVER, ()) is Ending.NONE
