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
from pytest_signalcompat.model import Stop, StopCommand
from pytest_signalcompat.supervisor.client import Launcher, Supervisor, native

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
WRAPPED = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {SLEEP!r}, *sys.argv[1:]])"


@pytest.fixture(params=["native", pytest.param("session", marks=pytest.mark.posix), *WINE])
def place(request: pytest.FixtureRequest) -> Launcher:
    """{python} is the supervisor's own there: a venv's python.exe is one process more in the tree."""
    launcher = native("session") if request.param == "session" else _launcher(request.param)
    return msgspec.structs.replace(launcher, python=None)


def on_windows(place: Launcher) -> bool:
    return place.windows_paths or sys.platform == "win32"


async def run(supervisor: Supervisor, argv: tuple[str, ...], timeout: float = 60.0) -> dict[str, object]:
    return await supervisor.run(StopCommand(command=argv, timeout=timeout), argv, None, {})


async def assert_cut_short(command: asyncio.Task[dict[str, object]]) -> None:
    """Its supervisor had to leave: it either said so of the command, or could say nothing any more."""
    with contextlib.suppress(SupervisorError):
        assert (await command)["status"] not in (0, None)


# ---------------------------------------------------------------- the tree


@in_loop
async def test_gone_is_told_only_when_the_last_descendant_has_ended(place: Launcher, tmp_path: Path) -> None:
    until = place.path(tmp_path / "end")
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
        await supervisor.spawn(python(supervisor, "-c", "import time; time.sleep(300)"), None, {})
        done = await run(supervisor, python(supervisor, "-c", "print('asked'); raise SystemExit(3)"))
        assert (done["status"], str(done["output"]).strip()) == (3, "asked")
        assert done["at"] < done["ended"]  # type: ignore[operator]
        assert len(await supervisor.tree()) == 1
        assert not supervisor.exit.done()
        done = await run(supervisor, python(supervisor, "-c", "print('x' * 100_000 + 'end')"))
        assert len(str(done["output"])) < 20_000
        assert str(done["output"]).rstrip().endswith("xend")


@in_loop
async def test_a_stop_command_that_hangs_is_killed_with_what_it_started_and_the_server_lives_on(
    place: Launcher,
) -> None:
    token, limit = new_token(), 12.0 if on_windows(place) else 3.0
    async with supervised(place) as supervisor:
        await supervisor.spawn(python(supervisor, "-c", SLEEP), None, {})
        hanging = python(supervisor, "-c", f"print('asking', flush=True); {WRAPPED}", token)
        waiting = asyncio.create_task(run(supervisor, hanging, limit))
        await running(token, 2)
        done = await waiting
        assert done["status"] is None
        assert str(done["output"]).strip() == "asking"
        assert done["ended"] - done["at"] >= limit - 0.1  # type: ignore[operator]
        assert_none_left(token, left_limit(place))
        assert len(await supervisor.tree()) == 1
        assert (await run(supervisor, python(supervisor, "-c", "")))["status"] == 0


@in_loop
async def test_a_stop_command_that_outlasts_the_server_does_not_delay_gone(place: Launcher, tmp_path: Path) -> None:
    """Nor does what the command started. A descendant of the server does, though its end is no event for us."""
    token, until = new_token(), place.path(tmp_path / "end")
    async with supervised(place) as supervisor:
        await supervisor.spawn(program(supervisor, "tree", new_token(), "leader=0", f"until={until}"), None, {})
        await supervisor.exit
        command = asyncio.create_task(run(supervisor, python(supervisor, "-c", WRAPPED, token)))
        await running(token, 2)
        assert len(await supervisor.tree()) == 2
        assert not supervisor.gone.done()
        (tmp_path / "end").touch()
        await asyncio.wait_for(supervisor.gone, 20)
        assert not command.done()
        assert await supervisor.tree() == ()
        await supervisor.close()
        await assert_cut_short(command)


# ---------------------------------------------------------------- requests that cannot be carried out


@in_loop
async def test_a_refused_request_says_what_was_asked_and_what_there_is(place: Launcher) -> None:
    async with supervised(place) as supervisor:
        refused: list[tuple[str, dict[str, object], str]] = [
            ("fly", {}, "unknown command 'fly'; known: clock, deliver, kill, output, run, spawn, tree"),
            ("deliver", {"stop": "terminate"}, "no server was spawned"),
            ("deliver", {"stop": "faint"}, "'faint'.*terminate, interrupt"),
            ("deliver", {}, "deliver.*'stop'"),
            ("spawn", {"argv": ["a\0b"]}, "a.*b.*null (byte|character)"),
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
            missing = supervisor.launcher.path(tmp_path / "no-such-directory")
            await supervisor.spawn(python(supervisor, "-c", ""), missing, {})
        with pytest.raises(SpawnError, match="no-such-command"):
            await run(supervisor, ("no-such-command",))
        await supervisor.spawn(python(supervisor, "-c", ""), None, {})  # none of these used the supervisor up
        assert (await supervisor.exit).status == 0


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


@pytest.mark.parametrize("server", ["none", "gone"])
@in_loop
async def test_the_end_of_input_ends_a_stop_command_that_runs_before_or_after_the_server(
    place: Launcher, server: str
) -> None:
    token = new_token()
    supervisor = await Supervisor.start(marked(place, token))
    if server == "gone":
        await supervisor.spawn(python(supervisor, "-c", ""), None, {})
        await supervisor.gone
    command = asyncio.create_task(run(supervisor, program(supervisor, "tree", token)))
    await running(token, 4)
    await supervisor.close()
    assert_none_left(token, left_limit(place))
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
