"""The tests' side of a supervisor: event loops, clocks, and supervisors that do not start or break off."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import json
import os
import signal
import sys
import time
from collections.abc import Callable

import pytest

from pytest_signalcompat.errors import SupervisorError
from pytest_signalcompat.model import Stop
from pytest_signalcompat.supervisor.client import CLOSE_LIMIT, CommandEnd, Launcher, Supervisor, native
from pytest_signalcompat.supervisor.protocol import VERSION

from .programs import carrying, in_loop, new_token, program, python, said, supervised

LOOPS: list[Callable[[], asyncio.AbstractEventLoop]] = [asyncio.new_event_loop, asyncio.SelectorEventLoop]
if sys.platform == "win32":
    LOOPS.append(asyncio.ProactorEventLoop)

SLEEP = "import time; print('ready', flush=True); time.sleep(300)"
LISTENS = f"""
import json, sys, time
hello = dict(event="hello", protocol={VERSION}, family="posix", system="", python="", executable="", stops={{}},
    containment="", starts=[])
print(json.dumps(hello), flush=True)
for line in sys.stdin:
    request = json.loads(line)
    if request["do"] == "clock":
        answer = dict(id=request["id"], ok=dict(at=time.perf_counter_ns()))
    else:
        answer = dict(event="output", at=0, text=request["do"])
    print(json.dumps(answer), flush=True)
"""
HARD = getattr(signal, "SIGKILL", signal.SIGTERM)


def broken(code: str) -> Launcher:
    """In place of a supervisor: this piece of Python."""
    return Launcher(name="native", argv=(native().argv[0], "-I", "-S", "-c", code))


@pytest.mark.parametrize("factory", LOOPS, ids=lambda factory: str(factory.__name__))
def test_it_works_on_every_event_loop(launcher: Launcher, factory: Callable[[], asyncio.AbstractEventLoop]) -> None:
    async def story() -> int:
        async with supervised(launcher) as supervisor:
            await supervisor.spawn(program(supervisor, "tree", new_token(), "leader=5"), None, {})
            await said(supervisor, "grandchild pid=")
            await supervisor.kill()
            await supervisor.gone
            return (await supervisor.exit).status

    with asyncio.Runner(loop_factory=factory) as runner:
        assert runner.run(story()) != 0


@in_loop
async def test_several_supervisors_know_nothing_of_each_other(launcher: Launcher) -> None:
    async with supervised(launcher) as first, supervised(launcher) as second:
        for supervisor in (first, second):
            await supervisor.spawn(python(supervisor, "-c", SLEEP), None, {})
            await said(supervisor, "ready")
        assert not {process.pid for process in await first.tree()} & {process.pid for process in await second.tree()}
        await first.deliver(Stop.TERMINATE)
        await first.gone
        assert not second.exit.done()
        assert len(await second.tree()) >= 1


@in_loop
async def test_the_other_clock_is_told_in_our_seconds(launcher: Launcher) -> None:
    async with supervised(launcher) as supervisor:
        for _ in range(20):
            before = time.perf_counter()
            there = supervisor._seconds((await supervisor._ask("clock"))["at"])
            slack = 0.0 if launcher.name == "native" else 0.02
            assert before - slack <= there <= time.perf_counter() + slack


# ---------------------------------------------------------------- a supervisor that fails


@in_loop
async def test_a_launcher_that_does_not_exist_is_named() -> None:
    with pytest.raises(SupervisorError, match="no-such-python"):
        await Supervisor.start(Launcher(name="native", argv=("no-such-python", "posix.py")))


@in_loop
async def test_a_supervisor_that_cannot_start_is_quoted() -> None:
    with pytest.raises(SupervisorError, match=r"(?s)ended with exit status 1; it said:.*RuntimeError: no job for you"):
        await Supervisor.start(broken("raise RuntimeError('no job for you')"))


@pytest.mark.posix
@in_loop
async def test_a_containment_without_its_library_says_what_to_install() -> None:
    script = native().argv[3]
    argv = (native().argv[0], "-I", "-S", script, "--containment", "session")
    with pytest.raises(SupervisorError, match="pip install psutil"):
        await Supervisor.start(Launcher(name="native", argv=argv))


@in_loop
async def test_a_supervisor_that_says_nothing_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pytest_signalcompat.supervisor.client.HELLO_LIMIT", 1.0)
    with pytest.raises(SupervisorError, match=r"(?s)said nothing for 1 s.*warming up"):
        await Supervisor.start(broken("import sys; print('warming up', flush=True); sys.stdin.read()"))


@in_loop
async def test_a_start_that_is_cancelled_leaves_no_supervisor() -> None:
    started = asyncio.create_task(Supervisor.start(broken("import sys; sys.stdin.read()")))
    await asyncio.sleep(0.1)
    begun = time.perf_counter()
    started.cancel()
    with pytest.raises(asyncio.CancelledError):
        await started
    assert time.perf_counter() - begun < CLOSE_LIMIT  # it left when its input ended; nobody had to kill it


@in_loop
async def test_a_supervisor_of_another_version_is_named() -> None:
    hello = {"event": "hello", "protocol": 1, "family": "posix"}
    with pytest.raises(SupervisorError, match=f"speaks protocol 1, these tests {VERSION}: .*sys.stdin"):
        await Supervisor.start(broken(f"import sys; print({json.dumps(hello)!r}, flush=True); sys.stdin.read()"))


@in_loop
async def test_a_supervisor_killed_while_stop_commands_run_is_an_error_and_not_a_hang() -> None:
    """One command is awaited, nobody asks for the other: that must be no complaint of the loop either."""
    token, complaints = new_token(), []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: complaints.append(context))
    async with supervised(native()) as supervisor:
        await supervisor.spawn(python(supervisor, "-c", SLEEP, token), None, {})
        await said(supervisor, "ready")
        commands = [await supervisor.run(python(supervisor, "-c", SLEEP, token), None, {}, 60.0) for _ in range(2)]
        supervisor._process.kill()
        try:
            await assert_broken(supervisor, commands.pop().done)
        finally:
            for pid in carrying(token):  # on POSIX nothing ends a tree when its supervisor is killed hard
                with contextlib.suppress(OSError):  # on Windows it is just being ended
                    os.kill(pid, HARD)
        del commands
    del supervisor
    gc.collect()
    await asyncio.sleep(0)
    assert complaints == []


async def assert_broken(supervisor: Supervisor, command: asyncio.Future[CommandEnd]) -> None:
    for future in (command, supervisor.exit, supervisor.gone):
        with pytest.raises(SupervisorError, match="the supervisor ended"):
            await future
    with pytest.raises(SupervisorError):
        await supervisor.tree()
    with pytest.raises(SupervisorError):
        await supervisor.deliver(Stop.TERMINATE)


@in_loop
async def test_a_supervisor_killed_while_a_request_waits_is_an_error_and_not_a_hang() -> None:
    """What it is never answers: it says hello and the time, and then only listens."""
    supervisor = await Supervisor.start(broken(LISTENS))
    waiting = asyncio.create_task(supervisor.tree())
    await said(supervisor, "tree")
    supervisor._process.kill()
    with pytest.raises(SupervisorError, match="the supervisor ended"):
        await waiting
    await supervisor.close()


@in_loop
async def test_closing_twice_or_after_a_break_is_no_error(launcher: Launcher) -> None:
    supervisor = await Supervisor.start(launcher)
    await asyncio.gather(supervisor.close(), supervisor.close())
    await supervisor.close()
    with pytest.raises(SupervisorError):
        await supervisor.tree()
    supervisor = await Supervisor.start(launcher)
    supervisor._process.kill()
    await supervisor.close()
    await supervisor.close()
