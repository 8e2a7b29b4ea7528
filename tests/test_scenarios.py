"""Each requirement against servers that break it, one that meets all, and one that is killed hard."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from pytest_signalcompat.engine import Engine
from pytest_signalcompat.model import Marks, Outcome, Ready, Result, Routes, Server, Stop, StopCommand
from pytest_signalcompat.reporters.terminal import explain
from pytest_signalcompat.scenario import Scenario
from pytest_signalcompat.scenarios import CATALOGUE
from pytest_signalcompat.scenarios.idle import SC201
from pytest_signalcompat.scenarios.inflight import SC301, SC304
from pytest_signalcompat.scenarios.resources import SC803

from .selection import (
    BAD_NAMES,
    NOT_MET,
    codes_to_run,
    declared_failures,
    described,
    failed,
    lacks_here,
    run_all,
    with_room,
)

KILL_HARD = "import os, sys; os.kill(int(sys.argv[1]), 15 if os.name == 'nt' else 9)"  # 15: TerminateProcess there
IN_THE_LAB_TOO = ("drops_inflight", "no_handlers", "ignores_terminate")

pytestmark = pytest.mark.timeout(240)


def told(results: list[Result]) -> str:
    return "\n".join(explain(result) for result in results if result.outcome is not Outcome.PASS)


def test_the_good_server_passes_whatever_the_platform_has(engine: Engine) -> None:
    platform = engine.call(engine.platform()).result()
    results = run_all(engine, described("good"))
    lacking = {scenario.code for scenario in CATALOGUE if lacks_here(scenario, platform)}
    wrong = [
        result
        for result in results
        if result.outcome is not (Outcome.UNSUPPORTED if result.code in lacking else Outcome.PASS)
    ]
    assert not wrong, told(wrong)


@pytest.mark.parametrize(
    "name",
    [name if name in IN_THE_LAB_TOO else pytest.param(name, marks=pytest.mark.outside_lab) for name in BAD_NAMES],
)
def test_a_bad_server_fails_exactly_what_it_declares(name: str, engine: Engine, family: str) -> None:
    declared = frozenset(declared_failures(name)[family])
    selected = tuple(scenario for scenario in CATALOGUE if scenario.code in codes_to_run(name))
    results = run_all(engine, described(name), selected, expected=declared)
    assert failed(results) == declared, told(results)
    assert not [result for result in results if result.outcome is Outcome.ERROR], told(results)


@pytest.mark.parametrize("scenario", [s for s in CATALOGUE if s.stops], ids=lambda scenario: scenario.code)
def test_a_hard_kill_never_passes(scenario: Scenario, engine: Engine) -> None:
    """The control: whatever a scenario looks at, being killed the moment it is asked is not meeting it."""
    platform = engine.call(engine.platform()).result()
    if lacks_here(scenario, platform):
        pytest.skip(f"{scenario.code} is not about {platform.family}")
    for case in scenario.cases(with_room(described("_killed"), scenario)):
        result = engine.submit(case.server, scenario, case.id).result()
        assert result.outcome in NOT_MET, explain(result)


def test_a_stop_command_that_kills_never_passes(engine: Engine) -> None:
    kill = StopCommand(command=("{python}", "-c", KILL_HARD, "{pid}"))
    result = engine.submit(described("good", stops={Stop.TERMINATE: kill}), SC201).result()
    assert result.outcome is Outcome.FAIL, explain(result)


def test_each_case_is_a_result_of_its_own(engine: Engine) -> None:
    """Also on POSIX: a scenario run with one worker and with two, of which the second case fails."""
    from msgspec.structs import replace

    from pytest_signalcompat.scenarios.common import one_and_several_workers

    scenario = replace(SC201, code="X201", cases=one_and_several_workers)
    results = {result.case: result for result in run_all(engine, described("orphans_workers"), (scenario,))}
    assert {case: result.outcome for case, result in results.items()} == {
        "workers-1": Outcome.PASS,
        "workers-2": Outcome.FAIL,
    }
    assert [result.name for result in results.values()] == ["X201[workers-1]", "X201[workers-2]"]
    two = results["workers-2"].observation
    assert two is not None
    assert two.workers == 2


def test_a_ready_line_is_found_behind_however_much_output(engine: Engine, describe: Callable[..., Server]) -> None:
    talks = "import time; print(('x' * 99 + chr(10)) * 15_000, 'ready', sep='', flush=True); time.sleep(300)"
    server = describe("good", command=("{python}", "-c", talks), ready=Ready(log="^ready"), marks=Marks())
    result = engine.submit(server, CATALOGUE[0]).result()
    assert result.outcome is Outcome.PASS, explain(result)
    assert result.observation is not None
    assert result.observation.dropped > 0


def test_a_held_back_body_is_in_flight_too(engine: Engine, describe: Callable[..., Server]) -> None:
    """Without a slow route the scenarios hold a POST's body back, and say so."""
    routes = Routes(post=describe("good").routes.post)
    for name, expected in (("good", Outcome.PASS), ("drops_inflight", Outcome.FAIL)):
        result = engine.submit(describe(name, routes=routes), SC301).result()
        assert result.outcome is expected, explain(result)
        assert result.observation is not None
        assert "held back" in " ".join(result.observation.notes)
    assert engine.submit(describe("good", routes=routes), SC304).result().outcome is Outcome.PASS


def test_a_stop_command_however_quick_leaves_the_server_time_to_drain(
    engine: Engine, family: str, describe: Callable[..., Server]
) -> None:
    if family == "windows":
        pytest.skip("there a command has no signal to send")
    polite = StopCommand(command=("sh", "-c", "kill -TERM {pid}"))
    server = describe("good", stops={Stop.TERMINATE: polite})
    assert server.drain == 1.0, "less than what a slow command is given"
    for result in run_all(engine, server, tuple(s for s in CATALOGUE if s.code in ("SC301", "SC803"))):
        assert result.outcome is Outcome.PASS, explain(result)


def test_a_shutdown_is_heard_in_each_situation(engine: Engine, describe: Callable[..., Server]) -> None:
    """Each is a start of its own; what is not declared is left out, and said."""
    every = describe("noisy_shutdown")
    result = engine.submit(every, SC803).result()
    situations = {failure.actual.rpartition(" (")[2].rstrip(")").partition(" ")[2] for failure in result.failures}
    assert situations == {"while idle", "with a request in flight", "with a stream open"}, explain(result)
    assert len(result.failures) == 4, explain(result)

    result = engine.submit(describe("good", routes=Routes()), SC803).result()
    assert result.outcome is Outcome.PASS, explain(result)
    starts = result.attempts[-1].starts
    assert [seen.delivered.stop for seen in starts if seen.delivered] == [Stop.TERMINATE, Stop.INTERRUPT]
    assert [note for seen in starts for note in seen.notes] == [
        "not stopped with a request in flight: routes.slow or routes.post is not declared",
        "not stopped with a stream open: routes.stream is not declared",
    ]
