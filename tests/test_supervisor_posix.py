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

import msgspec
import pytest

import pytest_signalcompat
from pytest_signalcompat.errors import SpawnError, StartRefused
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


async def state(supervisor: Supervisor, **options: Any) -> dict[str, Any]:
    await supervisor.spawn(program(supervisor, "state"), None, {}, **options)
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


@pytest.mark.parametrize("namespace", [None, pytest.param("pid", marks=pytest.mark.linux)])
@in_loop
async def test_the_server_starts_with_the_signals_ignored_and_blocked_that_were_asked_for(
    place: Launcher, namespace: str | None, request: pytest.FixtureRequest
) -> None:
    if namespace is not None:
        place = request.getfixturevalue("namespaces")
    async with supervised(place) as supervisor:
        assert {"ignored", "blocked"} <= set(supervisor.platform.starts)
        options = {"ignored": ["SIGHUP", "SIGQUIT"], "blocked": ["SIGTERM", "SIGUSR1"], "namespace": namespace}
        found = await state(supervisor, **options)
        assert found["ignored"] == sorted((signal.SIGHUP, signal.SIGQUIT))
        assert found["blocked"] == sorted((signal.SIGTERM, signal.SIGUSR1))
        command = program(supervisor, "state", "own")
        beside = json.loads((await (await supervisor.run(command, None, {}, 60.0)).done).output)
        assert (beside["ignored"], beside["blocked"]) == ([], [])  # as the supervisor is


@pytest.mark.parametrize("how", ["ignored", "blocked"])
@in_loop
async def test_a_signal_the_server_starts_without_does_not_end_it(place: Launcher, how: str) -> None:
    async with supervised(place) as supervisor:
        await supervisor.spawn(("sleep", "300"), None, {}, **{how: ["SIGTERM"]})  # type: ignore[arg-type]
        await supervisor.deliver(Stop.TERMINATE)
        await supervisor.deliver(Stop.HANGUP)
        assert (await supervisor.exit).status == -signal.SIGHUP


@in_loop
async def test_a_start_that_does_not_exist_is_refused_by_name_and_uses_nothing_up(place: Launcher) -> None:
    async with supervised(place) as supervisor:
        refused: list[tuple[dict[str, Any], str]] = [
            ({"ignored": ["SIGFAINT"]}, "ignored: there is no signal 'SIGFAINT'"),
            ({"ignored": ["SIGKILL"]}, "no process can have SIGKILL ignored"),
            ({"blocked": ["SIGSTOP"]}, "no process can have SIGSTOP blocked"),
            ({"namespace": "net"}, "no net-namespace here; there is: ignored, blocked"),
        ]
        for options, expected in refused:
            with pytest.raises(StartRefused, match=expected):
                await supervisor.spawn(("sleep", "300"), None, {}, **options)
        assert (await state(supervisor))["ignored"] == []


# ---------------------------------------------------------------- PID 1 of a pid namespace


@pytest.fixture
def namespaces() -> Launcher:
    """A supervisor that can make them: unshare(1) could, too."""
    control = ["unshare", "--user", "--map-root-user", "--pid", "--fork", "--mount-proc", "true"]
    done = subprocess.run(control, capture_output=True, text=True, timeout=60, check=False)
    if done.returncode:
        pytest.skip(f"no pid namespaces on this machine: {done.stderr.strip()}")
    return native()


ENDS_ON_INTERRUPT = f"""
import os, signal, sys
signal.signal(signal.SIGINT, lambda *_: sys.exit(7))
if "handles" in sys.argv:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(8))
{SLEEP}
"""


@pytest.mark.linux
@in_loop
async def test_a_server_is_the_first_process_of_its_namespace_and_the_whole_tree(namespaces: Launcher) -> None:
    async with supervised(namespaces) as supervisor:
        assert "pid-namespace" in supervisor.platform.starts
        found = await state(supervisor, namespace="pid")
        assert (found["pid"], found["session"], found["group"]) == (1, 1, 1)
        assert f"NSpid:\t{supervisor.pid}\t1\n" in kernel_file(supervisor.pid, "status")
        assert [process.pid for process in await supervisor.tree()] == [supervisor.pid]
        await supervisor.kill()
        assert (await supervisor.exit).status == -signal.SIGKILL
        await supervisor.gone


@pytest.mark.linux
@pytest.mark.parametrize(
    ("namespace", "handles", "status"),
    [(None, False, -signal.SIGTERM), ("pid", False, 7), ("pid", True, 8)],
    ids=["the control", "no handler", "a handler"],
)
@in_loop
async def test_the_first_process_of_a_namespace_gets_only_signals_that_it_handles(
    namespaces: Launcher, namespace: str | None, handles: bool, status: int
) -> None:
    """And its exit status is its own."""
    async with supervised(namespaces) as supervisor:
        command = python(supervisor, "-c", ENDS_ON_INTERRUPT, *["handles"] * handles)
        await supervisor.spawn(command, None, {}, namespace=namespace)
        await said(supervisor, "ready")
        await supervisor.deliver(Stop.TERMINATE)
        if status == 7:
            await supervisor.deliver(Stop.INTERRUPT)
        assert (await supervisor.exit).status == status
        await supervisor.gone


@pytest.mark.linux
@pytest.mark.parametrize("end", ["kill", "end of input", "of the first"])
@in_loop
async def test_nothing_is_left_of_a_namespace(namespaces: Launcher, end: str) -> None:
    token = new_token()
    async with supervised(namespaces) as supervisor:
        ends = ["leader=0"] * (end == "of the first")
        await supervisor.spawn(program(supervisor, "tree", token, "holds=1", *ends), None, {}, namespace="pid")
        await said(supervisor, "leader pid=1\n")
        if end == "kill":
            shown = {process.pid for process in await supervisor.tree()}
            assert shown == set(carrying(token))
            assert len(shown) == 3
            await supervisor.kill()
        if end != "end of input":
            await supervisor.gone
            assert carrying(token) == {}
    assert_none_left(token)


@pytest.mark.linux
@in_loop
async def test_what_cannot_be_started_in_a_namespace_is_named(namespaces: Launcher, tmp_path: Path) -> None:
    async with supervised(namespaces) as supervisor:
        for command, cwd in (("no-such-program", None), ("sleep", str(tmp_path / "no-such-directory"))):
            with pytest.raises(SpawnError, match="no-such-") as refusal:
                await supervisor.spawn((command, "300"), cwd, {}, namespace="pid")
            assert not isinstance(refusal.value, StartRefused)
        assert (await state(supervisor, namespace="pid"))["pid"] == 1


@pytest.mark.linux
@in_loop
async def test_where_the_kernel_refuses_a_namespace_its_reason_is_told(namespaces: Launcher) -> None:
    """In a user namespace that may have no mount namespaces."""
    outer = ("unshare", "--user", "--map-root-user", "sh", "-c")
    without = (*outer, 'echo 0 > /proc/sys/user/max_mnt_namespaces && exec "$@"', "sh")
    async with supervised(msgspec.structs.replace(namespaces, argv=(*without, *namespaces.argv))) as supervisor:
        with pytest.raises(StartRefused, match="cannot make a pid-namespace: unshare: No space left on device"):
            await supervisor.spawn(("sleep", "300"), None, {}, namespace="pid")
        assert (await state(supervisor))["pid"] == supervisor.pid


@in_loop
async def test_without_a_subreaper_there_are_no_namespaces() -> None:
    async with supervised(native("session")) as supervisor:
        assert supervisor.platform.starts == ("ignored", "blocked")
        with pytest.raises(StartRefused, match="no pid-namespace here"):
            await supervisor.spawn(("sleep", "300"), None, {}, namespace="pid")


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
