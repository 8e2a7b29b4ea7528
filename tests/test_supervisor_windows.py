"""What windows.py does, against real processes: on Windows, and on Linux in the Windows Python of the lab."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import msgspec
import pytest

from pytest_signalcompat.errors import StartRefused, SupervisorError
from pytest_signalcompat.model import Reach, Stop
from pytest_signalcompat.supervisor import client
from pytest_signalcompat.supervisor.client import Launcher, Supervisor, native
from pytest_signalcompat.supervisor.starting import OUTER, SCRIPT

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
    said,
    supervised,
    text,
)

WHERE = {"linux": "wine", "win32": "native"}.get(sys.platform)
MARKER = 0x53434B4C
CONTROL_C_EXIT = 0xC000013A
PACKAGE = str(Path(client.__file__).parents[1])
SLEEP = "import time; print('ready', flush=True); time.sleep(300)"

DETACHED_PROCESS, NEW_CONSOLE, NEW_GROUP, NO_WINDOW, BREAKAWAY = 0x8, 0x10, 0x200, 0x08000000, 0x01000000
ESCAPE = f"""
import subprocess, sys, time
quiet = dict(stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
try:
    subprocess.Popen([sys.executable, "-c", {SLEEP!r}, sys.argv[1]], creationflags=int(sys.argv[2]), **quiet)
except OSError as problem:
    print("refused", problem.winerror, flush=True)
else:
    print("started", flush=True)
time.sleep(300)
"""
# As a careless parent starts a process: CTRL_C ignored, which is inherited, and a process group of its own.
IGNORING = (
    "import ctypes, subprocess, sys; ctypes.windll.kernel32.SetConsoleCtrlHandler(None, True);"
    " sys.exit(subprocess.Popen([sys.executable, '-I', '-S', *sys.argv[1:]],"
    f" creationflags={NO_WINDOW | NEW_GROUP}, stdin=0, stdout=1, stderr=2).wait())"
)
HEARS = """
import ctypes, signal, time
seen = []
for stop in (signal.SIGINT, signal.SIGBREAK):
    signal.signal(stop, lambda number, frame: seen.append(signal.Signals(number).name))
for event in (0, 1):
    ctypes.windll.kernel32.GenerateConsoleCtrlEvent(event, 0)
limit = time.monotonic() + 10
while "SIGBREAK" not in seen and time.monotonic() < limit:
    time.sleep(0.02)
print(*seen)
"""
# The fault: a tree that never shows anybody, so that the supervisor has to rely on its job alone.
BLIND = """
import sys
sys.path.append(sys.argv[1])
from supervisor import windows
windows.Job.members = lambda job, besides: []
windows.main([])
"""


@pytest.fixture
def place() -> Launcher:
    if WHERE is None:
        pytest.skip("Windows, or Linux with the lab")
    return msgspec.structs.replace(_launcher(WHERE), python=None)


def started_by(place: Launcher, code: str, *arguments: str) -> Launcher:
    """A supervisor that is started by this piece of Python."""
    return msgspec.structs.replace(place, argv=(place.argv[0], "-c", code, *arguments))


# ---------------------------------------------------------------- delivery


@pytest.mark.parametrize(("stop", "name"), [(Stop.TERMINATE, "SIGBREAK"), (Stop.INTERRUPT, "SIGINT")])
@in_loop
async def test_an_event_reaches_the_server_and_its_child_and_nobody_on_another_console(
    place: Launcher, stop: Stop, name: str
) -> None:
    script = str(HERE / "events.py")
    bystander = subprocess.Popen(  # noqa: ASYNC220
        (place.argv[0], "-c", OUTER, script, "bystander"),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    assert bystander.stdin is not None
    assert bystander.stdout is not None
    with bystander:
        assert bystander.stdout.readline().split() == [b"bystander", b"ready"]
        async with supervised(place) as supervisor:
            await supervisor.spawn(program(supervisor, "events", "leader", "child"), None, {})
            await said(supervisor, "leader ready")
            delivery = await supervisor.deliver(stop)
            assert delivery.reach == "console"
            await said(supervisor, f"leader got {name}")
            await said(supervisor, f"child got {name}")
        bystander.stdin.close()
        rest = bystander.stdout.read().decode().splitlines()
    assert rest[0] == "bystander seen 0"
    assert rest[1].startswith("bystander got SIGBREAK")  # the control: its own event it does see


def test_a_process_started_with_ctrl_c_ignored_does_not_get_it(place: Launcher) -> None:
    """The control of the next test: what a supervisor inherits there, a server would inherit from it."""
    done = subprocess.run((place.argv[0], "-c", IGNORING, "-c", HEARS), capture_output=True, timeout=60, check=False)
    assert done.stdout.split() == [b"SIGBREAK"], done.stderr


@in_loop
async def test_ctrl_c_arrives_although_the_starting_process_ignores_it(place: Launcher) -> None:
    async with supervised(started_by(place, IGNORING, SCRIPT)) as supervisor:
        await supervisor.spawn(program(supervisor, "events", "leader", "child"), None, {})
        await said(supervisor, "leader ready")
        assert (await supervisor.deliver(Stop.INTERRUPT)).what == "CTRL_C_EVENT"
        await said(supervisor, "leader got SIGINT")
        await said(supervisor, "child got SIGINT")


@pytest.mark.parametrize("stop", [Stop.QUIT, Stop.HANGUP])
@in_loop
async def test_a_stop_request_windows_lacks_is_refused_naming_what_exists(place: Launcher, stop: Stop) -> None:
    async with supervised(place) as supervisor:
        assert supervisor.platform.stops == {Stop.TERMINATE: "CTRL_BREAK_EVENT", Stop.INTERRUPT: "CTRL_C_EVENT"}
        await supervisor.spawn(python(supervisor, "-c", SLEEP), None, {})
        with pytest.raises(SupervisorError, match=f"no console event for '{stop}'; it has terminate, interrupt"):
            await supervisor.deliver(stop)


@pytest.mark.parametrize("reach", [Reach.LEADER, Reach.GROUP, Reach.CONSOLE])
@in_loop
async def test_whoever_is_meant_the_whole_console_is_reached(place: Launcher, reach: Reach) -> None:
    async with supervised(place) as supervisor:
        await supervisor.spawn(python(supervisor, "-c", SLEEP), None, {})
        await said(supervisor, "ready")
        assert (await supervisor.deliver(Stop.TERMINATE, reach)).reach is Reach.CONSOLE


# ---------------------------------------------------------------- starts


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"ignored": ["SIGINT"]}, r"no signals that could be ignored: \['SIGINT'\]"),
        ({"blocked": ["SIGTERM"]}, r"no signals that could be blocked: \['SIGTERM'\]"),
        ({"namespace": "pid"}, "no pid namespaces"),
    ],
)
@in_loop
async def test_what_windows_cannot_start_a_server_with_is_refused_by_name(
    place: Launcher, options: dict[str, Any], expected: str
) -> None:
    async with supervised(place) as supervisor:
        assert supervisor.platform.starts == ()
        with pytest.raises(StartRefused, match=expected):
            await supervisor.spawn(python(supervisor, "-c", SLEEP), None, {}, **options)
        await supervisor.spawn(python(supervisor, "-c", SLEEP), None, {})


# ---------------------------------------------------------------- exit status


@pytest.mark.parametrize("stop", [Stop.TERMINATE, Stop.INTERRUPT])
@in_loop
async def test_the_default_handlers_exit_code_is_told_unsigned(place: Launcher, stop: Stop) -> None:
    async with supervised(place) as supervisor:
        await supervisor.spawn(python(supervisor, "-c", SLEEP), None, {})
        await said(supervisor, "ready")
        await supervisor.deliver(stop)
        assert (await supervisor.exit).status == CONTROL_C_EXIT


@pytest.mark.parametrize(
    ("code", "status"),
    [
        ("import signal; signal.raise_signal(signal.SIGBREAK)", 3),  # what a server does that raises its signal again
        ("import os; os._exit(-1)", 0xFFFFFFFF),
        ("import os, signal; os.kill(os.getpid(), signal.SIGTERM)", 15),  # TerminateProcess
    ],
)
@in_loop
async def test_other_ends_have_their_own_exit_codes(place: Launcher, code: str, status: int) -> None:
    async with supervised(place) as supervisor:
        await supervisor.spawn(python(supervisor, "-c", code), None, {})
        assert (await supervisor.exit).status == status


@in_loop
async def test_a_forced_end_is_told_by_a_marker_of_our_own(place: Launcher) -> None:
    async with supervised(place) as supervisor:
        await supervisor.spawn(python(supervisor, "-c", SLEEP), None, {})
        await said(supervisor, "ready")
        await supervisor.kill()
        assert (await supervisor.exit).status == MARKER


# ---------------------------------------------------------------- the job


@pytest.mark.parametrize("flags", [DETACHED_PROCESS | NEW_GROUP, NEW_CONSOLE, NO_WINDOW, BREAKAWAY], ids=hex)
@in_loop
async def test_a_grandchild_cannot_leave_the_job(place: Launcher, flags: int) -> None:
    token = new_token()
    async with supervised(place) as supervisor:
        await supervisor.spawn(python(supervisor, "-c", ESCAPE, token, str(flags)), None, {})
        how = (await said(supervisor, r"started|refused 5")).group()
        assert how == "started" or flags == BREAKAWAY  # 5: ERROR_ACCESS_DENIED
        expected = 2 if how == "started" else 1
        while {len(carrying(token)), len(await supervisor.tree())} != {expected}:  # noqa: ASYNC110 - it is being loaded
            await asyncio.sleep(0.02)
        await supervisor.kill()
        await supervisor.gone
        assert_none_left(token, left_limit(place))


def supervisors_pid(supervisor: Supervisor, token: str) -> int:
    """Under Wine the process that the client started has started another."""
    if sys.platform == "win32":
        return supervisor._process.pid
    (pid,) = (pid for pid, line in carrying(token).items() if "run.py" in line and " -c " not in line)
    return pid


@in_loop
async def test_a_supervisor_that_is_killed_takes_its_tree_with_it(place: Launcher) -> None:
    """Nobody tells it to: the job's only handle is closed with its owner."""
    token = new_token()
    async with supervised(marked(place, token)) as supervisor:
        await supervisor.spawn(program(supervisor, "tree", token, "holds=1"), None, {})
        await said(supervisor, "leader pid=")
        assert len(carrying(token)) >= 4
        os.kill(supervisors_pid(supervisor, token), getattr(signal, "SIGKILL", signal.SIGTERM))
        assert_none_left(token, left_limit(place))
        with pytest.raises(SupervisorError):
            await supervisor.exit


@pytest.mark.windows
@in_loop
async def test_a_supervisor_that_cannot_be_born_in_a_job_is_started_all_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As a program of the Microsoft Store. It is then given the job afterwards."""
    if sys.platform == "win32":
        from pytest_signalcompat.supervisor import popen_windows

        create = popen_windows._create

        def refuse(argv: tuple[str, ...], stdin: int, output: int, job: object) -> object:
            if job is not None:
                raise PermissionError(13, "Access is denied")
            return create(argv, stdin, output, None)

        monkeypatch.setattr(popen_windows, "_create", refuse)
        token = new_token()
        async with supervised(marked(native(), token)) as supervisor:
            await supervisor.spawn(program(supervisor, "tree", token), None, {})
            await said(supervisor, "leader pid=")
            supervisor._process._job.end()
            assert_none_left(token, left_limit(native()))


@pytest.mark.parametrize("holds", ["holds=1", "leader=0"])
@in_loop
async def test_a_supervisor_that_leaves_takes_with_it_what_its_tree_does_not_show(place: Launcher, holds: str) -> None:
    """Also what holds the server's output open, which a thread of the supervisor then still reads."""
    token = new_token()
    blind = (OUTER, "-c", BLIND) if place.name == "wine" else (BLIND,)
    async with supervised(started_by(place, *blind, PACKAGE, "--token", token)) as supervisor:
        await supervisor.spawn(program(supervisor, "tree", token, "leader=0", holds), None, {})
        await supervisor.gone  # as far as it can see
        assert len(carrying(token)) >= 3
        begun = time.perf_counter()
        await supervisor.close()
        assert time.perf_counter() - begun < left_limit(place)
        assert_none_left(token, left_limit(place))
    assert "grandchild pid=" in text(supervisor)
