"""What every supervisor does, against real processes: each containment of this system, and Windows' in the lab."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import random
import subprocess
import sys
import time
from pathlib import Path

import msgspec
import pytest

import pytest_signalcompat
from pytest_signalcompat.errors import SpawnError, SupervisorError
from pytest_signalcompat.model import Stop
from pytest_signalcompat.supervisor.client import Command, Launcher, Supervisor, native

from .conftest import _launcher
from .programs import (
    HERE,
    assert_none_left,
    carrying,
    in_loop,
    left_limit,
    marked,
    new_token,
    program,
    python,
    running,
    said,
    supervised,
    text,
)

WINE = [pytest.param("wine", marks=pytest.mark.linux)]
STEPS = ("started", "supervised", "spawned", "ready", "stopping")
FLOOD = 50_000_000
SLACK = 0.02  # seconds; another system's clock is known to half a round trip, and drifts
SLEEP = "import time; time.sleep(300)"
# Until the file of its first argument exists, then ends with the second's status.
AWAITS = """
import os, sys, time
while not os.path.exists(sys.argv[1]):
    time.sleep(0.02)
print("waited")
sys.exit(int(sys.argv[2]))
"""
WRAPPED = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {SLEEP!r}, *sys.argv[1:]])"


@pytest.fixture(params=["native", pytest.param("session", marks=pytest.mark.posix), *WINE])
def place(request: pytest.FixtureRequest) -> Launcher:
    """{python} is the supervisor's own there: a venv's python.exe is one process more in the tree."""
    launcher = native("session") if request.param == "session" else _launcher(request.param)
    return msgspec.structs.replace(launcher, python=None)


def on_windows(place: Launcher) -> bool:
    return place.name == "wine" or sys.platform == "win32"


async def run(supervisor: Supervisor, *argv: str, timeout: float = 60.0) -> Command:
    return await supervisor.run(python(supervisor, *argv), None, {}, timeout)


async def assert_cut_short(command: Command) -> None:
    """Its supervisor had to leave: it either said so of the command, or could say nothing any more."""
    with contextlib.suppress(SupervisorError):
        assert (await command.done).status not in (0, None)


# ---------------------------------------------------------------- the tree


@in_loop
async def test_gone_is_told_only_when_the_last_descendant_has_ended(place: Launcher, tmp_path: Path) -> None:
    until = str(tmp_path / "end")
    async with supervised(place) as supervisor:
        await supervisor.spawn(program(supervisor, "tree", new_token(), "leader=7", f"until={until}"), None, {})
        assert (await supervisor.exit).status == 7
        assert len(await supervisor.tree()) == 2  # child and grandchild
        assert not supervisor.gone.done()
        before = time.perf_counter()
        (tmp_path / "end").touch()
        assert (await supervisor.exit).at < before < await supervisor.gone + SLACK
        assert await supervisor.tree() == ()


@in_loop
async def test_the_tree_shows_leader_child_and_an_escaped_grandchild_and_all_are_killed(place: Launcher) -> None:
    token = new_token()
    async with supervised(place) as supervisor:
        await supervisor.spawn(program(supervisor, "tree", token), None, {})
        await said(supervisor, "leader pid=")
        shown = {process.pid for process in await supervisor.tree()}
        assert shown == {int(line.partition("=")[2]) for line in text(supervisor).splitlines()}
        assert len(shown) == 3
        assert carrying(token)
        begun = await supervisor.kill()
        assert begun <= await supervisor.gone < begun + 5
        assert await supervisor.tree() == ()
        assert_none_left(token, left_limit(place))


@in_loop
async def test_an_escaped_grandchild_is_killed_though_the_leader_has_long_ended(place: Launcher) -> None:
    token = new_token()
    async with supervised(place) as supervisor:
        await supervisor.spawn(program(supervisor, "tree", token, "leader=0", "holds=1"), None, {})
        await supervisor.exit
        assert len(carrying(token)) >= 2
        await supervisor.kill()
        await supervisor.gone
        assert_none_left(token, left_limit(place))


@pytest.mark.parametrize("code", [0, 7, 255])
@in_loop
async def test_the_leaders_exit_code_is_told(place: Launcher, code: int) -> None:
    async with supervised(place) as supervisor:
        await supervisor.spawn(python(supervisor, "-c", f"import sys; sys.exit({code})"), None, {})
        assert (await supervisor.exit).status == code


# ---------------------------------------------------------------- output


@pytest.mark.parametrize("size", [65536, 500])
@in_loop
async def test_a_flood_of_output_never_blocks_the_server_and_every_byte_is_accounted_for(
    place: Launcher, size: int
) -> None:
    total = FLOOD if size > 1000 else FLOOD // 25
    async with supervised(place) as supervisor:
        await supervisor.spawn(program(supervisor, "flood", str(total), str(size)), None, {})
        assert (await supervisor.exit).status == 0
        await supervisor.gone
        await supervisor.fetch_rest()
        kept = b"".join(piece for _, piece in supervisor.output)
        assert len(kept) + supervisor.dropped == total
        assert len(kept) < 2_000_000
        assert kept.startswith(b"%0999d\n%0999d\n" % (0, 1))
        assert kept.endswith(b"%0999d\n" % (total // 1000 - 1))


@in_loop
async def test_output_exit_and_gone_are_stamped_in_order_between_before_and_after(place: Launcher) -> None:
    async with supervised(place) as supervisor:
        before = time.perf_counter()
        spawned = await supervisor.spawn(python(supervisor, "-c", "print('here')"), None, {})
        await supervisor.gone
        after = time.perf_counter()
        (at, piece), *_ = supervisor.output
        assert piece.startswith(b"here")
        exit = (await supervisor.exit).at
        slack = 0.0 if place.name == "native" else SLACK
        assert before - slack <= spawned <= at
        assert spawned <= exit <= await supervisor.gone <= after + slack


@in_loop
async def test_a_delivery_is_stamped_between_before_and_after_and_not_after_its_arrival(place: Launcher) -> None:
    async with supervised(place) as supervisor:
        await supervisor.spawn(program(supervisor, "events", "leader"), None, {})
        await said(supervisor, "leader ready")
        before = time.perf_counter()
        delivery = await supervisor.deliver(Stop.INTERRUPT)
        after = time.perf_counter()
        slack = 0.0 if place.name == "native" else SLACK
        assert before - slack <= delivery.at <= after + slack
        seen = await said(supervisor, r"leader got SIGINT at (\d+)")
        arrived = supervisor._seconds(int(seen[1]))
        assert delivery.at <= arrived <= time.perf_counter() + slack
        assert delivery.what == supervisor.platform.stops[Stop.INTERRUPT]


# ---------------------------------------------------------------- stop commands


@in_loop
async def test_a_stop_command_runs_beside_the_server_and_its_status_and_output_are_told(place: Launcher) -> None:
    async with supervised(place) as supervisor:
        await supervisor.spawn(python(supervisor, "-c", SLEEP), None, {})
        before = time.perf_counter()
        command = await run(supervisor, "-c", "print('asked'); raise SystemExit(3)")
        assert before - SLACK <= command.at <= time.perf_counter() + SLACK
        end = await command.done
        assert (end.status, end.output.strip()) == (3, "asked")
        assert len(await supervisor.tree()) == 1
        assert not supervisor.exit.done()
        end = await (await run(supervisor, "-c", "print('x' * 100_000 + 'end')")).done
        assert len(end.output) < 20_000
        assert end.output.rstrip().endswith("xend")


@in_loop
async def test_several_stop_commands_run_at_a_time_and_each_has_its_own_end(place: Launcher, tmp_path: Path) -> None:
    """One hangs while two others end, in the order that they like."""
    token, limit = new_token(), 20.0 if on_windows(place) else 4.0
    async with supervised(place) as supervisor:
        await supervisor.spawn(python(supervisor, "-c", SLEEP), None, {})
        hanging = await run(supervisor, "-c", f"print('hangs', flush=True); {WRAPPED}", token, timeout=limit)
        waiting = await run(supervisor, "-c", AWAITS, str(tmp_path / "end"), "4", token)
        quick = await run(supervisor, "-c", "print('quick'); raise SystemExit(5)")
        end = await quick.done
        assert (end.status, end.output.strip()) == (5, "quick")
        await running(token, 3)
        assert [process.pid for process in await supervisor.tree()] == [supervisor.pid]
        assert not waiting.done.done()
        assert not hanging.done.done()
        (tmp_path / "end").touch()
        end = await waiting.done
        assert (end.status, end.output.strip()) == (4, "waited")
        assert not hanging.done.done()
        end = await hanging.done
        assert (end.status, end.output.strip()) == (None, "hangs")
        assert time.perf_counter() - hanging.at >= limit - 0.1
        assert_none_left(token, left_limit(place))
        assert [process.pid for process in await supervisor.tree()] == [supervisor.pid]
        assert (await (await run(supervisor, "-c", "")).done).status == 0


@in_loop
async def test_a_stop_command_that_outlasts_the_server_does_not_delay_gone(place: Launcher, tmp_path: Path) -> None:
    """Nor does what the command started. A descendant of the server does, though its end is no event for us."""
    token = new_token()
    async with supervised(place) as supervisor:
        server = program(supervisor, "tree", new_token(), f"until={tmp_path / 'end'}", f"exits={tmp_path / 'exit'}")
        await supervisor.spawn((*server, "leader=0"), None, {})
        await said(supervisor, "leader pid=")
        command = await run(supervisor, "-c", WRAPPED, token)
        await running(token, 2)
        (tmp_path / "exit").touch()
        await supervisor.exit
        assert len(await supervisor.tree()) == 2
        assert not supervisor.gone.done()
        (tmp_path / "end").touch()
        await asyncio.wait_for(supervisor.gone, 20)
        assert not command.done.done()
        assert await supervisor.tree() == ()
        await supervisor.close()
        await assert_cut_short(command)


@in_loop
async def test_what_a_stop_command_leaves_running_is_no_part_of_the_servers_tree(place: Launcher) -> None:
    """Even a daemon, whose parent is gone and whose session is its own. It ends with the supervisor."""
    token = new_token()
    async with supervised(place) as supervisor:
        await supervisor.spawn(python(supervisor, "-c", SLEEP), None, {})
        daemons = program(supervisor, "tree", token, "leader=0")
        command = await supervisor.run(daemons, None, {}, 60.0)
        assert (await command.done).status == 0
        assert len(carrying(token)) == 2
        assert [process.pid for process in await supervisor.tree()] == [supervisor.pid]
        await supervisor.kill()
        await asyncio.wait_for(supervisor.gone, 20)
        assert len(carrying(token)) == 2
    assert_none_left(token, left_limit(place))


@in_loop
async def test_a_kill_leaves_a_stop_command_alone(place: Launcher, tmp_path: Path) -> None:
    token = new_token()
    async with supervised(place) as supervisor:
        await supervisor.spawn(program(supervisor, "tree", new_token()), None, {})
        await said(supervisor, "leader pid=")
        command = await run(supervisor, "-c", AWAITS, str(tmp_path / "end"), "4", token)
        await running(token, 1)
        await supervisor.kill()
        await supervisor.gone
        (tmp_path / "end").touch()
        end = await command.done
        assert (end.status, end.output.strip()) == (4, "waited")


@in_loop
async def test_a_stop_command_for_nobody_is_refused(place: Launcher) -> None:
    async with supervised(place) as supervisor:
        with pytest.raises(SpawnError, match=r"stop command.*no server was spawned"):
            await run(supervisor, "-c", "")
        await supervisor.spawn(python(supervisor, "-c", ""), None, {})
        await supervisor.exit
        with pytest.raises(SpawnError, match=r"stop command.*the leader has exited"):
            await run(supervisor, "-c", "")


# ---------------------------------------------------------------- requests that cannot be carried out


@in_loop
async def test_a_refused_request_says_what_was_asked_and_what_there_is(place: Launcher) -> None:
    async with supervised(place) as supervisor:
        refused: list[tuple[str, dict[str, object], str]] = [
            ("fly", {}, "unknown command 'fly'; known: clock, deliver, kill, output, run, spawn, tree"),
            ("deliver", {"stop": "terminate"}, "no server was spawned"),
            ("deliver", {"stop": "faint"}, "'faint'.*terminate, interrupt"),
            ("deliver", {}, "deliver.*'stop'"),
            ("deliver", {"stop": "terminate", "reach": "grup"}, "unknown reach 'grup'; known: leader, group"),
            ("spawn", {"argv": ["a\0b"]}, "a.*b.*null (byte|character)"),
            ("run", {"argv": ["a"]}, "run.*'timeout'"),
        ]
        for do, arguments, expected in refused:
            with pytest.raises(SupervisorError, match=expected):
                await supervisor._ask(do, **arguments)
        await supervisor.spawn(python(supervisor, "-c", "import sys; sys.stdin.read()"), None, {})
        with pytest.raises(SpawnError, match="it was spawned already"):
            await supervisor.spawn(("again",), None, {})
        await supervisor.exit
        with pytest.raises(SupervisorError, match="the leader has exited"):
            await supervisor.deliver(Stop.TERMINATE)
        await supervisor.gone


@in_loop
async def test_a_missing_program_and_a_missing_directory_are_named(place: Launcher, tmp_path: Path) -> None:
    async with supervised(place) as supervisor:
        with pytest.raises(SpawnError, match="no-such-program"):
            await supervisor.spawn(("no-such-program", "--port", "1"), None, {})
        with pytest.raises(SpawnError, match="no-such-directory"):
            missing = str(tmp_path / "no-such-directory")
            await supervisor.spawn(python(supervisor, "-c", ""), missing, {})
        await supervisor.spawn(python(supervisor, "-c", SLEEP), None, {})  # none of these used the supervisor up
        with pytest.raises(SpawnError, match="no-such-command"):
            await supervisor.run(("no-such-command",), None, {}, 60.0)


# ---------------------------------------------------------------- nothing is left


@in_loop
async def test_the_end_of_input_ends_the_whole_tree_and_the_supervisor(place: Launcher) -> None:
    token = new_token()
    supervisor = await Supervisor.start(marked(place, token))
    await supervisor.spawn(program(supervisor, "tree", token, "holds=1"), None, {})
    await said(supervisor, "leader pid=")
    assert len(carrying(token)) >= 4
    begun = time.perf_counter()
    await supervisor.close()
    assert time.perf_counter() - begun < left_limit(place)
    assert_none_left(token, left_limit(place))


@pytest.mark.parametrize("server", ["runs", "gone"])
@in_loop
async def test_the_end_of_input_ends_stop_commands_that_run_beside_the_server_or_after_it(
    place: Launcher, server: str
) -> None:
    token = new_token()
    supervisor = await Supervisor.start(marked(place, token))
    await supervisor.spawn(python(supervisor, "-c", SLEEP), None, {})
    commands = [await supervisor.run(program(supervisor, "tree", token), None, {}, 60.0) for _ in range(2)]
    await running(token, 7)
    if server == "gone":
        await supervisor.kill()
        await supervisor.gone
    await supervisor.close()
    assert_none_left(token, left_limit(place))
    for command in commands:
        await assert_cut_short(command)


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize(
    ("place", "attempt"),
    [
        *(("native", attempt) for attempt in range(4)),
        *(pytest.param("session", attempt, marks=pytest.mark.posix) for attempt in range(4)),
        pytest.param("wine", 0, marks=pytest.mark.linux),
    ],
    indirect=["place"],
)
def test_nothing_is_left_when_the_tests_process_is_killed(place: Launcher, step: str, attempt: int) -> None:
    token = new_token()
    roots = (Path(pytest_signalcompat.__file__).parents[1], HERE.parents[1])
    starter = subprocess.Popen(
        [sys.executable, str(HERE / "starter.py"), token],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(map(str, roots))},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert starter.stdin is not None
    assert starter.stdout is not None
    with starter:
        starter.stdin.write(json.dumps(msgspec.to_builtins(marked(place, token))).encode() + b"\n")
        starter.stdin.flush()
        while starter.stdout.readline().decode().strip() != step:
            assert starter.poll() is None
        time.sleep(random.uniform(0, 0.3 if on_windows(place) else 0.03))
        if step in ("ready", "stopping"):
            assert len(carrying(token)) >= 5  # the control: this one, supervisor, leader, child, grandchild
        starter.kill()
        assert_none_left(token, left_limit(place))


def test_a_supervisor_can_be_tried_by_hand(place: Launcher) -> None:
    """Lines in, lines out; a mistyped one is answered too."""
    lines = ['{"id": 1, "do": "clock"}', "", '{"id": 2, "do": "cl', '{"do": "tree"}', ""]
    done = subprocess.run(place.argv, input="\n".join(lines).encode(), capture_output=True, timeout=60, check=False)
    hello, clock, mistyped, tree = map(json.loads, done.stdout.splitlines())
    assert hello["event"] == "hello"
    assert clock["ok"]["at"] > 0
    assert "cl" in mistyped["error"]
    assert tree == {"id": None, "ok": []}
    assert done.returncode == 0, done.stderr
