"""Small programs that the supervisors' tests start, and how those tests start them and look for them.

A program that takes TOKEN hands it on to every process it starts, so that all of them can be found by their command
lines, whoever their parent is by then and whatever became of their supervisor.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import itertools
import os
import re
import signal
import sys
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any, ParamSpec

import msgspec

from pytest_signalcompat.supervisor.client import Launcher, Supervisor

HERE = Path(__file__).parent
LIMIT = 90.0  # seconds for one test
SAID_LIMIT = 45.0  # seconds for a program to say something; a loaded machine starts a Windows Python slowly
LEFT_LIMIT = 5.0  # seconds until nothing may be left of a tree
UNBORN_SECONDS = 5.0  # for a process of the lab to begin, after which it is no longer called Wine's loader
LAB_LEFT_LIMIT = 30.0  # the same where a Windows Python takes seconds to start, and sees the end of its input only then

P = ParamSpec("P")
_numbers = itertools.count(1)


def in_loop(test: Callable[P, Coroutine[Any, Any, None]]) -> Callable[P, None]:
    """Makes a test function of a coroutine function."""

    @functools.wraps(test)
    def run(*args: P.args, **kwargs: P.kwargs) -> None:
        asyncio.run(asyncio.wait_for(test(*args, **kwargs), LIMIT))

    return run


def left_limit(launcher: Launcher) -> float:
    return LAB_LEFT_LIMIT if launcher.name == "wine" or sys.platform == "win32" else LEFT_LIMIT


def new_token() -> str:
    return f"token-{os.getpid()}-{time.time_ns()}-{next(_numbers)}-end"


def marked(launcher: Launcher, token: str) -> Launcher:
    """The same launcher; its supervisor has the token in its command line (and does nothing with it)."""
    return msgspec.structs.replace(launcher, argv=(*launcher.argv, "--token", token))


@contextlib.asynccontextmanager
async def supervised(launcher: Launcher) -> AsyncIterator[Supervisor]:
    supervisor = await Supervisor.start(launcher)
    try:
        yield supervisor
    finally:
        await supervisor.close()


def python(supervisor: Supervisor, *arguments: str) -> tuple[str, ...]:
    return (supervisor.platform.executable, "-I", "-S", *arguments)


def program(supervisor: Supervisor, name: str, *arguments: str) -> tuple[str, ...]:
    """The command of a program of this folder, where that supervisor runs."""
    return python(supervisor, str(HERE / f"{name}.py"), *arguments)


def text(supervisor: Supervisor) -> str:
    return b"".join(piece for _, piece in supervisor.output).decode().replace("\r\n", "\n")


async def said(supervisor: Supervisor, pattern: str) -> re.Match[str]:
    """Waits until the output has a match of the pattern."""
    changed = asyncio.Event()
    supervisor.on_output = changed.set
    try:
        async with asyncio.timeout(SAID_LIMIT):
            while not (match := re.search(pattern, text(supervisor))):
                changed.clear()
                await changed.wait()
    except TimeoutError:
        raise AssertionError(f"no {pattern!r} in the output: {text(supervisor)!r}") from None
    return match


def _command_lines() -> Iterator[tuple[int, str]]:
    """Of all processes that run. Wine's are processes of Linux too; a zombie has no command line."""
    if sys.platform == "linux":
        for entry in filter(str.isdigit, os.listdir("/proc")):
            with contextlib.suppress(OSError):
                line = Path("/proc", entry, "cmdline").read_bytes()
                yield int(entry), line.replace(b"\0", b" ").decode("utf-8", "replace")
    else:
        import psutil

        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error, OSError):
                yield process.pid, " ".join(process.cmdline())


def carrying(token: str) -> dict[int, str]:
    """The running processes with this token in their command line, this one excepted."""
    return {pid: line for pid, line in _command_lines() if token in line and pid != os.getpid()}


async def running(token: str, count: int) -> None:
    """Until they have started. Processes of somebody else tell nobody of it; `in_loop` limits the wait."""
    while len(carrying(token)) < count:  # noqa: ASYNC110
        await asyncio.sleep(0.02)


def assert_none_left(token: str, limit: float = LEFT_LIMIT) -> float:
    """Returns after how many seconds nothing was left. A process of somebody else can only be asked again and again."""
    begun = time.perf_counter()
    while left := carrying(token):
        waited = time.perf_counter() - begun
        if waited > UNBORN_SECONDS:
            end_unborn(left)
        assert waited < limit, f"left after {limit:g} s: {left}"
        time.sleep(0.02)
    return time.perf_counter() - begun


def end_unborn(processes: dict[int, str]) -> None:
    """Ends what Wine has lost (tools/winelab/README.md): Windows has no such process any more, only Linux has."""
    if sys.platform == "linux":
        for pid, line in processes.items():
            if re.match(r"\S*/wine64 Z:", line):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
