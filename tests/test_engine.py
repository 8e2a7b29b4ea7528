"""Attempts, retries and what is told of trouble: real servers, and scenarios made for the purpose."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest

from pytest_signalcompat import checks
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
from pytest_signalcompat.scenarios.idle import SC201

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


def test_a_hang_is_tried_twice_and_then_believed_of_that_server(
    engine: Engine, describe: Callable[..., Server]
) -> None:
    """In one session: the first scenario it hangs in runs twice, the others once."""
    hangs = describe("ignores_terminate", name=f"hangs-{id(engine)}", grace=1.0, drain=None)
    first = engine.submit(hangs, SC201).result()
    assert [len(first.attempts), first.outcome, first.ending] == [2, Outcome.FAIL, Ending.TIMEOUT]
    second = engine.submit(hangs, SC201).result()
    assert [len(second.attempts), second.outcome, second.ending] == [1, Outcome.FAIL, Ending.TIMEOUT]
    another = describe("ignores_terminate", name=f"another-{id(engine)}", grace=1.0, drain=None)
    assert len(engine.submit(another, SC201).result().attempts) == 2


def test_no_retry_where_none_is_wanted(engine: Engine, describe: Callable[..., Server]) -> None:
    hangs = describe("ignores_terminate", name=f"once-{id(engine)}", grace=1.0, drain=None)
    assert len(engine.submit(hangs, SC201, retry=False).result().attempts) == 1


def test_both_attempts_are_in_the_result(engine: Engine, describe: Callable[..., Server], tmp_path: Path) -> None:
    """A server that is late once: the second attempt counts, the first can be looked at."""
    count = tmp_path / "count"
    code = (
        "import pathlib, signal, sys, time\n"
        f"count = pathlib.Path({str(count)!r})\n"
        "late = not count.exists()\n"
        "count.write_text('x')\n"
        "def stop(*_):\n"
        "    time.sleep(2.5 if late else 0)\n"
        "    print('stopped', flush=True)\n"
        "    sys.exit(0)\n"
        "signal.signal(getattr(signal, 'SIGBREAK', signal.SIGTERM), stop)\n"
        "print('started', flush=True)\n"
        "while True: time.sleep(0.05)\n"
    )
    server = Server(
        name=f"late-once-{id(engine)}",
        command=("{python}", "-c", code),
        ready=Ready(log="^started"),
        marks=Marks(started="^started", stopped="^stopped"),
        grace=1.0,
    )
    result = engine.submit(server, SC201).result()
    assert result.outcome is Outcome.PASS, explain(result)
    first, second = (attempt.starts[0] for attempt in result.attempts)
    assert first.killed is not None
    assert second.killed is None


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
        command=("{python}", "-c", "print('started', flush=True)"),
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
