"""The servers these tests judge: what their docstrings promise, and that each is the good one with one fault."""

from __future__ import annotations

import pytest

from pytest_signalcompat.engine import Engine
from pytest_signalcompat.model import Outcome
from pytest_signalcompat.reporters.terminal import explain
from pytest_signalcompat.scenarios import CATALOGUE

from .selection import BAD_NAMES, FAMILIES, breaks, codes_to_run, declared_failures, described, lacks_here, with_room

CODES = {scenario.code: scenario for scenario in CATALOGUE}


def test_every_requirement_has_a_server_that_is_there_for_it(engine: Engine, family: str) -> None:
    platform = engine.call(engine.platform()).result()
    possible = {scenario.code for scenario in CATALOGUE if not lacks_here(scenario, platform)}
    broken = {breaks(name) for name in BAD_NAMES if breaks(name) in declared_failures(name)[family]}
    assert broken == possible


@pytest.mark.parametrize("family", FAMILIES)
def test_the_good_server_fails_nothing(family: str) -> None:
    assert declared_failures("good")[family] == set()


@pytest.mark.outside_lab
@pytest.mark.timeout(240)
def test_without_its_fault_a_bad_server_passes(engine: Engine, family: str) -> None:
    """So it fails for its fault, and for nothing beside it in the same file."""
    names = [name for name in BAD_NAMES if breaks(name) in declared_failures(name)[family]]
    pending = [
        engine.submit(case.server, scenario, case.id)
        for name in names
        for scenario in (CODES[breaks(name)],)
        for case in scenario.cases(with_room(described(name, env={"FAULT": "off"}), scenario))
    ]
    results = [future.result() for future in pending]
    assert len(results) > len(CODES) / 2
    missed = [explain(result) for result in results if result.outcome is not Outcome.PASS]
    assert not missed, "\n\n".join(missed)


def test_what_is_run_against_a_server() -> None:
    every = set(CODES)
    assert codes_to_run("good", everything=False) == every
    assert codes_to_run("silent_late", everything=True) == every
    assert codes_to_run("silent_late", everything=False) == {"SC301", "SC304", "SC310"}
    for name in BAD_NAMES:
        failures = declared_failures(name)
        selected = codes_to_run(name, everything=False)
        assert failures["posix"] | failures["windows"] | {breaks(name)} <= selected <= every
