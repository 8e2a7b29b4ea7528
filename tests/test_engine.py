"""Attempts, retries and what is told of trouble: real servers, and scenarios made for the purpose."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from msgspec.structs import replace

from pytest_signalcompat import checks
from pytest_signalcompat.busy import BUSY, Meter
from pytest_signalcompat.engine import Engine, _only_late
from pytest_signalcompat.live.stage import Stage
from pytest_signalcompat.model import (
    IN_FLIGHT,
    Ending,
    Failure,
    Level,
    Marks,
    Outcome,
    Ready,
    Result,
    Server,
    Stop,
    StopCommand,
)
from pytest_signalcompat.reporters.terminal import explain
from pytest_signalcompat.scenario import Check, Scenario, check
from pytest_signalcompat.scenarios import CATALOGUE
from pytest_signalcompat.scenarios.idle import SC201, SC202
from pytest_signalcompat.supervisor.client import Launcher

from .selection import run_all

PROVEN = Failure(check="a", expected="b", actual="c")
LATE = Failure(check="a", expected="b", actual="c", timing=True)
LACKING = Failure(check="a", expected="b", actual="c", unproven=True)


@pytest.mark.parametrize(
    ("failures", "ending", "again"),
    [
        ((), Ending.CLEAN, False),
        ((LATE,), Ending.CLEAN, True),
        ((LATE, LACKING), Ending.CLEAN, True),
        ((LATE, PROVEN), Ending.CLEAN, False),
        ((LATE, PROVEN), Ending.TIMEOUT, True),
        ((LACKING,), Ending.TIMEOUT, False),
    ],
)
def test_only_late(failures: tuple[Failure, ...], ending: Ending, again: bool) -> None:
    result = Result(
        server="api",
        code="SC301",
        slug="inflight-completes",
        level=Level.MUST,
        outcome=Outcome.FAIL,
        ending=ending,
        failures=failures,
    )
    assert _only_late(result) is again


def scenario(act: Callable[[Stage], object], *judged: Check, code: str = "X1") -> Scenario:
    return Scenario(
        code=code,
        slug=code.lower(),
        level=Level.MUST,
        requirement="it works",
        act=act,  # type: ignore[arg-type]
        checks=judged,
    )


# ---------------------------------------------------------------- requests


def test_a_mistake_inside_a_request_is_an_error_and_no_unanswered_request(
    engine: Engine, describe: Callable[..., Server]
) -> None:
    """Also of one that nobody waits for."""

    async def wrong_path(stage: Stage) -> None:
        live = await stage.ready()
        live.http.begin(IN_FLIGHT, "/sl ow")
        await live.stop()
        await live.ended()

    result = engine.submit(describe("good"), scenario(wrong_path, *checks.stopped_well())).result()
    assert result.outcome is Outcome.ERROR, explain(result)
    assert "LocalProtocolError" in result.reason


def test_a_secret_is_masked_after_the_verdict(
    engine: Engine, describe: Callable[..., Server], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Marks are looked for in what the server really said."""
    monkeypatch.setenv("SIGNALCOMPAT_WORD", "stopped pid")
    result = engine.submit(describe("good", env={"WORD": "{env:SIGNALCOMPAT_WORD}"}), SC201).result()
    assert result.outcome is Outcome.PASS, explain(result)
    assert result.observation is not None
    assert "{env:SIGNALCOMPAT_WORD}=" in result.observation.output[-1].text


# ---------------------------------------------------------------- attempts


class Measured(Meter):
    """A machine that is always, or never, busy."""

    def __init__(self, share: float) -> None:
        super().__init__()
        self._share = share

    def share(self, since: tuple[float, float]) -> float:
        return self._share


@pytest.fixture
def busy(launcher: Launcher) -> Iterator[Engine]:
    """An engine on a machine that is busy."""
    engine = Engine(launcher, meter=Measured(1.0))
    yield engine
    engine.close()


def test_the_meter_measures() -> None:
    """Something waits all the time where more loops run than there are CPUs."""

    async def measure(meter: Meter) -> float:
        running = asyncio.create_task(meter.run())
        begun = meter.now()
        await asyncio.sleep(1.0)
        running.cancel()
        return meter.share(begun)

    loops = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(2 * (os.cpu_count() or 1))]
    try:
        assert asyncio.run(measure(Meter())) > BUSY
    finally:
        for loop in loops:
            loop.kill()
            loop.wait()


def test_late_on_an_idle_machine_is_late(launcher: Launcher, describe: Callable[..., Server]) -> None:
    engine = Engine(launcher, meter=Measured(BUSY / 2))
    try:
        result = engine.submit(describe("ignores_terminate", grace=1.0, drain=None), SC201).result()
    finally:
        engine.close()
    assert (len(result.attempts), result.outcome) == (1, Outcome.FAIL)
    assert result.attempts[0].busy == BUSY / 2


def test_a_hang_is_tried_twice_and_then_believed_of_that_server(busy: Engine, describe: Callable[..., Server]) -> None:
    """In one session: the first scenario it hangs in runs twice, the others once."""
    hangs = describe("ignores_terminate", name="hangs", grace=1.0, drain=None)
    first = busy.submit(hangs, SC201).result()
    assert [len(first.attempts), first.outcome, first.ending] == [2, Outcome.FAIL, Ending.TIMEOUT]
    second = busy.submit(hangs, SC201).result()
    assert [len(second.attempts), second.outcome, second.ending] == [1, Outcome.FAIL, Ending.TIMEOUT]
    another = describe("ignores_terminate", name="another", grace=1.0, drain=None)
    assert len(busy.submit(another, SC201).result().attempts) == 2


def test_no_retry_where_none_is_wanted(busy: Engine, describe: Callable[..., Server]) -> None:
    hangs = describe("ignores_terminate", grace=1.0, drain=None)
    assert len(busy.submit(hangs, SC201, retry=False).result().attempts) == 1


def once(tmp_path: Path, seconds: float) -> Server:
    """A server that takes that long to stop, the first time only."""
    code = (
        "import pathlib, signal, sys, time\n"
        f"count = pathlib.Path({str(tmp_path / 'count')!r})\n"
        "late = not count.exists()\n"
        "count.write_text('x')\n"
        "def stop(*_):\n"
        f"    time.sleep({seconds} if late else 0)\n"
        "    print('stopped', flush=True)\n"
        "    sys.exit(0)\n"
        "signal.signal(getattr(signal, 'SIGBREAK', signal.SIGTERM), stop)\n"
        "print('started', flush=True)\n"
        "while True: time.sleep(0.05)\n"
    )
    marks = Marks(started="^started", stopped="^stopped")
    return Server(name="once", command=("{python}", "-c", code), ready=Ready(log="^started"), marks=marks, grace=3.0)


def test_late_once_on_a_busy_machine_passes_and_both_attempts_are_in_the_result(busy: Engine, tmp_path: Path) -> None:
    """Late by a requirement's own limit, but ended within its grace."""
    quick = Scenario(
        code="X2",
        slug="quick",
        level=Level.MUST,
        requirement="it stops within 1 s",
        act=SC201.act,
        checks=(checks.became_ready, checks.exits_within(1.0)),
    )
    result = busy.submit(once(tmp_path, seconds=1.5), quick).result()
    assert result.outcome is Outcome.PASS, explain(result)
    first, second = (attempt.starts[0] for attempt in result.attempts)
    assert first.delivered is not None
    assert first.exit is not None
    assert first.exit.at - first.delivered.at > 1.0
    assert second.exit is not None


def test_a_server_that_hangs_in_every_second_stop_never_passes(busy: Engine, tmp_path: Path) -> None:
    result = busy.submit(once(tmp_path, seconds=30.0), SC201).result()
    assert (result.outcome, len(result.attempts)) == (Outcome.UNPROVEN, 2)
    assert result.attempts[0].starts[0].killed is not None
    assert "the first attempt was still running" in result.failures[0].actual


# ---------------------------------------------------------------- the stage


def test_started_again_on_the_same_port(engine: Engine, describe: Callable[..., Server]) -> None:
    async def twice(stage: Stage) -> None:
        first = await stage.ready()
        await first.stop()
        await first.conclude()
        second = await stage.start(port=first.port)
        await second.ready()
        await second.stop()
        await second.ended()

    result = engine.submit(describe("good"), scenario(twice, *checks.stopped_well())).result()
    assert result.outcome is Outcome.PASS, explain(result)
    first, second = result.attempts[0].starts
    assert first.port is not None
    assert second.port is not None
    assert first.port.number == second.port.number
    assert first.spawned == 0.0
    assert first.gone is not None
    assert second.spawned > first.gone


def test_a_start_on_a_taken_port_can_be_judged(engine: Engine, describe: Callable[..., Server]) -> None:
    """A start that must fail: not ready is no failure where no check asks for it."""

    @check("exits-nonzero")
    def exits_nonzero(server: Server, seen: object) -> Failure | None:
        exit = seen.exit  # type: ignore[attr-defined]
        return (
            None if exit is not None and exit.status not in (0, None) else Failure(expected="not 0", actual=str(exit))
        )

    async def conflict(stage: Stage) -> None:
        live = await stage.start(port=stage.port(taken=True))
        await live.exit_within(20.0)

    result = engine.submit(describe("good"), scenario(conflict, exits_nonzero)).result()
    assert result.outcome is Outcome.PASS, explain(result)
    assert result.observation is not None
    assert result.observation.ready is None


def test_several_servers_at_a_time_leave_nothing(engine: Engine, describe: Callable[..., Server]) -> None:
    async def together(stage: Stage) -> None:
        lives = [await stage.start(), await stage.start()]
        await asyncio.gather(*(live.ready() for live in lives))
        assert lives[0].port != lives[1].port
        await lives[0].stop()

    result = engine.submit(describe("good"), scenario(together, checks.became_ready)).result()
    assert result.outcome is Outcome.PASS, explain(result)
    assert [seen.killed is None for seen in result.attempts[0].starts] == [True, False]


# ---------------------------------------------------------------- trouble of our own


def test_an_act_that_raises_is_an_error_with_its_traceback(engine: Engine, describe: Callable[..., Server]) -> None:
    async def broken(stage: Stage) -> None:
        await stage.ready()
        raise KeyError("model")

    result = engine.submit(describe("good"), scenario(broken, checks.became_ready)).result()
    assert result.outcome is Outcome.ERROR
    assert "KeyError: 'model'" in result.reason


@pytest.mark.parametrize("code", [scenario.code for scenario in CATALOGUE if scenario.only == "windows"])
def test_every_case_is_unsupported_where_the_platform_is_another(
    code: str, engine: Engine, family: str, describe: Callable[..., Server]
) -> None:
    if family == "windows":
        pytest.skip("this is the platform")
    of = next(scenario for scenario in CATALOGUE if scenario.code == code)
    cases = of.cases(describe("good"))
    assert len(cases) == 4
    for case in cases:
        result = engine.submit(case.server, of, case.id).result()
        assert (result.outcome, result.case, result.attempts) == (Outcome.UNSUPPORTED, case.id, ())


# ---------------------------------------------------------------- stop commands


def asking(code: str, timeout: float = 10.0) -> StopCommand:
    return StopCommand(command=("{python}", "-c", code, "{pid}"), timeout=timeout)


def test_two_stop_commands_at_a_time(engine: Engine, describe: Callable[..., Server]) -> None:
    """The second is asked while the first still runs; both are awaited, and the failure of either is told."""
    slow = asking("import time; time.sleep(1)")
    bad = asking("import sys; print('no such pid'); sys.exit(3)")

    async def both(stage: Stage) -> None:
        live = await stage.ready()
        await live.stop(Stop.TERMINATE)
        await live.stop(Stop.INTERRUPT)
        await live.ended()

    server = describe("good", stops={Stop.TERMINATE: slow, Stop.INTERRUPT: bad}, grace=5.0)
    result = engine.submit(server, scenario(both, checks.was_asked)).result()
    assert result.outcome is Outcome.ERROR
    assert "stop.interrupt.command" in result.reason
    assert "no such pid" in result.reason
    both_well = describe("good", stops={Stop.TERMINATE: slow, Stop.INTERRUPT: slow}, grace=2.0)
    result = engine.submit(both_well, scenario(both, checks.was_asked), retry=False).result()
    assert result.outcome is Outcome.PASS, explain(result)
    assert result.observation is not None
    assert [delivery.stop for delivery in result.observation.deliveries] == [Stop.TERMINATE, Stop.INTERRUPT]


def test_no_command_is_run_for_a_server_that_is_gone(
    engine: Engine, describe: Callable[..., Server], tmp_path: Path
) -> None:
    ran = tmp_path / "ran"
    server = describe(
        "good",
        command=("{python}", "-c", "import time; print('started', flush=True); time.sleep(1.5)"),
        ready=Ready(log="^started"),
        marks=Marks(),
        stops={Stop.TERMINATE: asking(f"open({str(ran)!r}, 'w')")},
    )

    async def late(stage: Stage) -> None:
        live = await stage.ready()
        await live.exit_within(20.0)
        await live.stop()

    result = engine.submit(server, scenario(late, checks.was_asked)).result()
    assert result.outcome is Outcome.FAIL, explain(result)
    assert result.failures[0].actual == "it had exited before"
    assert not ran.exists()


def test_what_the_platform_cannot_start_is_unsupported(
    engine: Engine, family: str, describe: Callable[..., Server]
) -> None:
    if family == "posix":
        pytest.skip("it can be started there")

    async def start(stage: Stage) -> None:
        await stage.start(ignored=("SIGINT",))

    result = engine.submit(describe("good"), scenario(start, checks.became_ready)).result()
    assert result.outcome is Outcome.UNSUPPORTED, explain(result)
    assert "ignored" in result.reason


# ---------------------------------------------------------------- a server that is not ready


def test_not_ready_is_told_once_and_costs_its_time_once(engine: Engine, describe: Callable[..., Server]) -> None:
    lost = describe("good", name="lost", ready=Ready(http="/nowhere", timeout=2.0))
    results = run_all(engine, lost)
    first, *others = [result for result in results if result.outcome is not Outcome.UNSUPPORTED]
    assert (first.code, first.outcome) == ("SC101", Outcome.FAIL)
    assert {(result.outcome, result.blocked_by) for result in others} == {(Outcome.BLOCKED, "SC101")}
    assert all(not result.attempts for result in others), "none of them was started"


def test_a_command_that_cannot_be_started_is_told_once(engine: Engine, describe: Callable[..., Server]) -> None:
    missing = describe("good", command=("no-such-program-here", "{port}"))
    first, *others = [result for result in run_all(engine, missing) if result.outcome is not Outcome.UNSUPPORTED]
    assert first.outcome is Outcome.ERROR
    assert "no-such-program-here" in first.reason
    assert {result.outcome for result in others} == {Outcome.BLOCKED}


def test_a_dead_server_is_never_green_whatever_is_deselected(engine: Engine, describe: Callable[..., Server]) -> None:
    """The first that is asked carries the failure, also where only a SHOULD is; asked again it is judged again."""
    should = Scenario(
        code="X3",
        slug="should",
        level=Level.SHOULD,
        requirement="it would be nice",
        act=SC201.act,
        checks=checks.stopped_well(),
    )
    dead = describe("good", command=("{python}", "-c", "raise SystemExit(3)", "{port}"))
    for _ in range(2):
        assert engine.submit(dead, should).result().outcome is Outcome.FAIL
    assert engine.submit(dead, SC201).result().blocked_by == "X3"


def test_the_cases_of_a_server_share_what_is_known_of_it(engine: Engine, describe: Callable[..., Server]) -> None:
    dead = describe("good", command=("{python}", "-c", "raise SystemExit(4)", "{port}", "{workers}"))
    assert engine.submit(dead, SC201).result().outcome is Outcome.FAIL
    two = engine.submit(replace(dead, workers=2), SC202).result()
    assert two.blocked_by == "SC201"
    another = describe("good", drain=1.5)
    assert engine.submit(another, SC201).result().outcome is Outcome.PASS
