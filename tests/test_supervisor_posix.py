"""What posix.py does, by child subreaper and in the way of systems that have none, against real processes."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

import pytest_signalcompat
from pytest_signalcompat.model import Reach, Stop
from pytest_signalcompat.supervisor.client import Launcher, Supervisor, native

from .programs import (
    HERE,
    assert_none_left,
    carrying,
    in_loop,
    new_token,
    program,
    python,
    said,
    supervised,
    text,
)

pytestmark = pytest.mark.posix

SLEEP = "import time; print('ready', flush=True); time.sleep(300)"
MEMORY_LIMIT = 25_000  # kB; 13,600 to 15,300 were measured, of which an idle Python has 10,000
FIRST_THREAD_ENDS = """
import ctypes, os, threading, time
threading.Thread(target=time.sleep, args=(300,)).start()
print("ready", flush=True)
ctypes.CDLL(None).syscall(60 if os.uname().machine == "x86_64" else 93, 0)  # exit: of this thread alone
"""
SEMAPHORE = """
import multiprocessing, subprocess, sys, time
lock = multiprocessing.get_context("spawn").Lock()
subprocess.Popen([sys.executable, "-c", "import time; time.sleep(300)"], pass_fds=[
    multiprocessing.resource_tracker._resource_tracker._fd])  # a worker holds the tracker's pipe too
print(lock._semlock.name, flush=True)
while sys.argv[1:]:
    print("x" * 999)
time.sleep(300)
"""


@pytest.fixture(params=[pytest.param("subreaper", marks=pytest.mark.linux), "session"])
def containment(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def place(containment: str) -> Launcher:
    return native(containment)


def kernel_file(pid: int | None, name: str) -> str:
    return Path("/proc", str(pid), name).read_text()


async def state(supervisor: Supervisor) -> dict[str, Any]:
    await supervisor.spawn(program(supervisor, "state"), None, {})
    said_so: dict[str, Any] = json.loads((await said(supervisor, r"\{.*\}\n")).group())
    return said_so


# ---------------------------------------------------------------- what the server starts with


@in_loop
async def test_the_containment_is_the_one_that_was_asked_for(place: Launcher, containment: str) -> None:
    async with supervised(place) as supervisor:
        assert supervisor.platform.containment == containment
        assert supervisor.platform.family == "posix"
        assert supervisor.platform.stops[Stop.QUIT] == "SIGQUIT"


@in_loop
async def test_the_server_leads_a_session_and_a_group_of_its_own(place: Launcher) -> None:
    async with supervised(place) as supervisor:
        found = await state(supervisor)
        assert found["pid"] == found["session"] == found["group"] == supervisor.pid
        assert os.getsid(0) != os.getsid(supervisor._process.pid) != found["session"]


def test_the_server_starts_with_default_dispositions_and_an_empty_mask_whatever_its_ancestors_did(
    containment: str,
) -> None:
    roots = (Path(pytest_signalcompat.__file__).parents[1], HERE.parents[1])
    done = subprocess.run(
        [sys.executable, str(HERE / "careless.py"), containment],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(map(str, roots))},
        capture_output=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    careless, found = map(json.loads, done.stdout.splitlines())
    assert {signal.SIGINT, signal.SIGQUIT} <= set(careless["ignored"])  # the control: it was as careless as it says
    assert signal.SIGTERM in careless["blocked"]
    assert found["ignored"] == []
    assert found["blocked"] == []


@in_loop
async def test_a_quit_leaves_no_core_dump(place: Launcher, tmp_path: Path) -> None:
    async with supervised(place) as supervisor:
        assert (await state(supervisor))["core"] == 0
    async with supervised(place) as supervisor:
        await supervisor.spawn(python(supervisor, "-c", SLEEP), str(tmp_path), {})
        await said(supervisor, "ready")
        await supervisor.deliver(Stop.QUIT)
        assert (await supervisor.exit).status == -signal.SIGQUIT
        await supervisor.gone
    assert os.listdir(tmp_path) == []


# ---------------------------------------------------------------- exit status


@pytest.mark.parametrize("stop", list(Stop))
@in_loop
async def test_death_by_a_signal_is_told_as_its_negative_number(place: Launcher, stop: Stop) -> None:
    async with supervised(place) as supervisor:
        code = f"import signal; signal.signal(signal.SIGINT, signal.SIG_DFL); {SLEEP}"
        await supervisor.spawn(python(supervisor, "-c", code), None, {})
        await said(supervisor, "ready")
        assert (await supervisor.deliver(stop)).what == supervisor.platform.stops[stop]
        assert (await supervisor.exit).status == -signal.Signals[supervisor.platform.stops[stop]]


@pytest.mark.parametrize(("ending", "status"), [("raise SystemExit(7)", 7), ("os.kill(os.getpid(), 15)", 143)])
@in_loop
async def test_behind_a_wrapper_the_status_is_what_the_wrapper_made_of_it(
    place: Launcher, ending: str, status: int
) -> None:
    async with supervised(place) as supervisor:
        inner = python(supervisor, "-c", f"import os; {ending}")
        await supervisor.spawn(("sh", "-c", '"$@"; exit $?', "sh", *inner), None, {})
        assert (await supervisor.exit).status == status


@in_loop
async def test_a_wrapper_killed_while_the_child_lives_has_its_own_status_and_the_child_is_still_held(
    place: Launcher,
) -> None:
    token = new_token()
    async with supervised(place) as supervisor:
        await supervisor.spawn(("sh", "-c", '"$@"; exit $?', "sh", *python(supervisor, "-c", SLEEP, token)), None, {})
        await said(supervisor, "ready")
        await supervisor.deliver(Stop.TERMINATE)
        assert (await supervisor.exit).status == -signal.SIGTERM
        (child,) = await supervisor.tree()
        assert token in child.name
        assert not supervisor.gone.done()
        os.kill(child.pid, signal.SIGKILL)
        await supervisor.gone


@pytest.mark.linux
@in_loop
async def test_a_process_whose_first_thread_has_ended_is_seen_and_killed(place: Launcher) -> None:
    """The kernel shows it as a zombie, but its other threads run."""
    async with supervised(place) as supervisor:
        await supervisor.spawn(python(supervisor, "-c", FIRST_THREAD_ENDS), None, {})
        await said(supervisor, "ready")
        while ") Z " not in kernel_file(supervisor.pid, "stat"):  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        assert [process.pid for process in await supervisor.tree()] == [supervisor.pid]
        await supervisor.kill()
        assert (await supervisor.exit).status == -signal.SIGKILL
        await supervisor.gone


# ---------------------------------------------------------------- delivery


@pytest.mark.parametrize("stop", list(Stop))
@in_loop
async def test_a_delivery_to_the_leader_reaches_the_leader_only(place: Launcher, stop: Stop) -> None:
    async with supervised(place) as supervisor:
        await supervisor.spawn(program(supervisor, "events", "leader", "child"), None, {})
        await said(supervisor, "leader ready")
        name = supervisor.platform.stops[stop]
        assert (await supervisor.deliver(stop)).reach == "leader"
        await said(supervisor, f"leader got {name}")
        await supervisor.deliver(Stop.INTERRUPT if stop is not Stop.INTERRUPT else Stop.QUIT, Reach.GROUP)
        # The child sees this second one; had it been sent the first, it would have said so before.
        assert name not in (await said(supervisor, "(?s)child got .*?\n")).group()
        assert f"child got {name}" not in text(supervisor)


@in_loop
async def test_a_delivery_to_the_group_reaches_leader_and_child_after_it_was_stamped(place: Launcher) -> None:
    async with supervised(place) as supervisor:
        await supervisor.spawn(program(supervisor, "events", "leader", "child"), None, {})
        await said(supervisor, "leader ready")
        before = time.perf_counter()
        delivery = await supervisor.deliver(Stop.TERMINATE, Reach.GROUP)
        assert delivery.reach == "group"
        assert before <= delivery.at <= time.perf_counter()
        for role in ("leader", "child"):
            seen = await said(supervisor, rf"{role} got SIGTERM at (\d+)")
            assert delivery.at <= int(seen[1]) / 1e9 <= time.perf_counter()


# ---------------------------------------------------------------- memory, and the supervisor's own end


@pytest.mark.linux
@pytest.mark.parametrize(
    ("containment", "total", "size"),
    [("subreaper", 50_000_000, 65536), ("session", 50_000_000, 65536), ("subreaper", 1_400_000, 1)],
)
@in_loop
async def test_the_supervisors_memory_stays_bounded_whatever_the_server_prints(
    containment: str, total: int, size: int
) -> None:
    async with supervised(native(containment)) as supervisor:
        await supervisor.spawn(program(supervisor, "flood", str(total), str(size)), None, {})
        await supervisor.exit
        peak = re.search(r"VmHWM:\s+(\d+) kB", kernel_file(supervisor._process.pid, "status"))
        assert peak is not None
        assert int(peak[1]) < MEMORY_LIMIT


@pytest.mark.parametrize("name", ["SIGTERM", "SIGINT", "SIGHUP"])  # by name: Windows collects this file too
@in_loop
async def test_a_supervisor_that_is_asked_to_end_takes_its_tree_with_it(place: Launcher, name: str) -> None:
    token = new_token()
    async with supervised(place) as supervisor:
        await supervisor.spawn(program(supervisor, "tree", token), None, {})
        await said(supervisor, "leader pid=")
        assert len(carrying(token)) == 3
        os.kill(supervisor._process.pid, getattr(signal, name))
        assert (await supervisor.exit).status == -signal.SIGKILL
        assert_none_left(token)


@pytest.mark.parametrize("how", ["kill", "kill while it floods", "end of input"])
@in_loop
async def test_what_multiprocessing_would_clean_up_after_its_processes_it_still_does(place: Launcher, how: str) -> None:
    import _multiprocessing

    async with supervised(place) as supervisor:
        await supervisor.spawn(python(supervisor, "-c", SEMAPHORE, *["floods"] * ("floods" in how)), None, {})
        name = (await said(supervisor, r"/mp-\S+\n")).group().strip()
        assert any("resource_tracker" in process.name for process in await supervisor.tree())
        if how.startswith("kill"):
            begun = await supervisor.kill()
            assert await supervisor.gone - begun < 1  # none had to be killed for taking its time
            assert await supervisor.tree() == ()
    with pytest.raises(FileNotFoundError):
        _multiprocessing.sem_unlink(name)
