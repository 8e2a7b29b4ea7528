"""Each requirement against servers that break it, one that meets all, and one that is killed hard."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from pytest_signalcompat.engine import Engine
from pytest_signalcompat.model import Marks, Outcome, Ready, Result, Scenario, Server, Stop, StopCommand
from pytest_signalcompat.reporters.terminal import explain
from pytest_signalcompat.scenarios import CATALOGUE

from .conftest import SERVERS, declared_failures

BAD = (Outcome.FAIL, Outcome.WEAK, Outcome.INCONCLUSIVE)
NAMES = sorted(path.stem for path in SERVERS.glob("*.py") if not path.stem.startswith("_"))
KILL_HARD = "import os, sys; os.kill(int(sys.argv[1]), 15 if os.name == 'nt' else 9)"  # 15: TerminateProcess there

pytestmark = pytest.mark.timeout(240)


def run_all(engine: Engine, server: Server, scenarios: tuple[Scenario, ...] = CATALOGUE) -> list[Result]:
    pending = [engine.submit(server, scenario) for scenario in scenarios]
    return [future.result() for future in pending]


def told(results: list[Result]) -> str:
    return "\n".join(explain(result) for result in results if result.outcome is not Outcome.PASS)


# A limit that is missed by a quarter has to be told from one that is met on a busy machine.
MORE_TIME = {"drains_too_short": {"drain": 2.0, "grace": 7.0}, "silent_late": {"drain": 2.0, "grace": 10.0}}
IN_THE_LAB_TOO = ("good", "drops_inflight", "no_handlers", "ignores_terminate")


@pytest.mark.parametrize(
    "name", [name if name in IN_THE_LAB_TOO else pytest.param(name, marks=pytest.mark.outside_lab) for name in NAMES]
)
def test_server_fails_exactly_what_it_declares(
    name: str, engine: Engine, family: str, describe: Callable[..., Server]
) -> None:
    results = run_all(engine, describe(name, **MORE_TIME.get(name, {})))
    failed = {result.code for result in results if result.outcome in BAD}
    assert failed == declared_failures(name)[family], told(results)
    assert not [result for result in results if result.outcome is Outcome.ERROR], told(results)


def test_every_requirement_has_a_server_that_breaks_it(family: str) -> None:
    broken = set().union(*(declared_failures(name)[family] for name in NAMES))
    here = [scenario for scenario in CATALOGUE if scenario.only in (None, family)]
    assert broken == {s.code for s in here if family == "posix" or Stop.QUIT not in s.stops}


@pytest.mark.parametrize("scenario", [s for s in CATALOGUE if s.stops], ids=lambda scenario: scenario.code)
def test_a_hard_kill_never_passes(scenario: Scenario, engine: Engine, describe: Callable[..., Server]) -> None:
    """The control: whatever a scenario looks at, being killed in place of being asked is not meeting it."""
    platform = engine.call(engine.platform()).result()
    kill = StopCommand(command=("{python}", "-c", KILL_HARD, "{pid}"))
    server = describe("good", stops={stop: kill for stop in scenario.stops if stop in platform.stops})
    result = engine.submit(server, scenario).result()
    if result.outcome is Outcome.UNSUPPORTED:
        pytest.skip(result.reason)
    assert result.outcome in BAD, explain(result)


def test_a_ready_line_is_found_behind_however_much_output(engine: Engine, describe: Callable[..., Server]) -> None:
    talks = "import time; print(('x' * 99 + chr(10)) * 15_000, 'ready', sep='', flush=True); time.sleep(300)"
    server = describe("good", command=("{python}", "-c", talks), ready=Ready(log="^ready"), marks=Marks())
    result = engine.submit(server, CATALOGUE[0]).result()
    assert result.outcome is Outcome.PASS, explain(result)
    assert result.observation is not None
    assert result.observation.dropped > 0


def test_a_held_back_body_is_in_flight_too(engine: Engine, describe: Callable[..., Server]) -> None:
    """Without a slow route the scenarios hold a POST's body back, and say so."""
    from pytest_signalcompat.model import Routes
    from pytest_signalcompat.scenarios.inflight import SC301, SC304

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
