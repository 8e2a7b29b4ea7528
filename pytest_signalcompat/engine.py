"""Runs scenarios: a thread with an event loop of its own, a bounded number of slots, one future a scenario.

The thread that asks may be interrupted at any moment; `close` cancels what is under way and leaves nothing running.
"""

from __future__ import annotations

import asyncio
import os
import threading
import time
import traceback
from collections.abc import AsyncIterator, Callable, Coroutine
from concurrent.futures import Future
from contextlib import asynccontextmanager, suppress
from typing import Any, TypeVar

from msgspec.structs import replace

from . import checks
from .errors import ConfigError, NotReady, StopCommandError, SupervisorError, Unsupported
from .live import started
from .model import Ending, Failure, Level, Observation, Outcome, Platform, Result, Scenario, Server
from .placeholders import templated
from .supervisor.client import Launcher, Supervisor

T = TypeVar("T")
CLOSE_LIMIT = 30.0  # seconds for everything under way to be ended

NEEDS: dict[str, tuple[Callable[[Server], bool], str]] = {
    "slow or post": (lambda s: s.routes.slow is not None or s.routes.post is not None, "routes.slow or routes.post"),
    "stream": (lambda s: s.routes.stream is not None, "routes.stream"),
    "drain": (lambda s: s.drain is not None, "drain, the server's own drain limit in seconds"),
    "workers": (lambda s: s.workers > 1 or templated(s, "workers"), "workers = 2, with {workers} in the command"),
}


def default_jobs() -> int:
    """Scenarios mostly wait; starting servers is what costs."""
    return max(2, 2 * (os.cpu_count() or 1))


class Slots:
    """A bounded number of scenarios at a time, or one alone."""

    def __init__(self, number: int) -> None:
        self._number = number
        self._free = asyncio.Semaphore(number)
        self._gathering = asyncio.Lock()

    @asynccontextmanager
    async def one(self) -> AsyncIterator[None]:
        async with self._gathering:
            await self._free.acquire()
        try:
            yield
        finally:
            self._free.release()

    @asynccontextmanager
    async def all(self) -> AsyncIterator[None]:
        """Nothing else starts meanwhile, and what runs is waited for."""
        held = 0
        try:
            async with self._gathering:
                while held < self._number:
                    await self._free.acquire()
                    held += 1
            yield
        finally:
            for _ in range(held):
                self._free.release()


class Engine:
    """Lifetime: from the first scenario to the end of the session."""

    def __init__(self, launcher: Launcher, jobs: int | None = None) -> None:
        self.launcher = launcher
        self._jobs = jobs or default_jobs()
        self._loop = asyncio.new_event_loop()
        self._slots = Slots(self._jobs)
        self._hanging: set[str] = set()  # servers seen alone to outlast their grace period
        self._platform: asyncio.Task[Platform] | None = None
        self._thread = threading.Thread(target=self._run_loop, name="signalcompat-engine", daemon=True)
        self._thread.start()

    def _run_loop(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_forever()

    def call(self, work: Coroutine[Any, Any, T]) -> Future[T]:
        """Runs a coroutine on the engine's loop. Cancelling the future cancels the coroutine."""
        return asyncio.run_coroutine_threadsafe(work, self._loop)

    def submit(self, server: Server, scenario: Scenario) -> Future[Result]:
        """Starts a scenario as soon as a slot is free."""
        return self.call(self._scheduled(server, scenario))

    def close(self) -> None:
        """Cancels what is under way, waits until it is ended, and stops the thread. Safe to call twice."""
        if self._loop.is_closed():
            return
        ended = self.call(self._cancel_all())
        try:
            ended.result(CLOSE_LIMIT)
        finally:
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join(CLOSE_LIMIT)
            if not self._thread.is_alive():
                self._loop.close()

    async def _cancel_all(self) -> None:
        others = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)

    # ------------------------------------------------------------ scenarios

    async def platform(self) -> Platform:
        """What the place of the servers is; asked once."""
        if self._platform is None:
            self._platform = asyncio.create_task(_ask_platform(self.launcher))
        return await asyncio.shield(self._platform)

    async def _scheduled(self, server: Server, scenario: Scenario) -> Result:
        try:
            platform = await self.platform()
        except SupervisorError as problem:
            return _result(server, scenario, None, Outcome.ERROR, reason=str(problem))
        async with self._slots.one():
            result = await run(server, scenario, self.launcher, platform)
        if not _only_late(result):
            return result
        async with self._slots.all():
            if _hangs(result) and server.name in self._hanging:
                return result
            again = await run(server, scenario, self.launcher, platform, attempt=2)
            if _hangs(again):
                self._hanging.add(server.name)
            return again


def _only_late(result: Result) -> bool:
    """A machine that is busy makes servers late: such a failure counts only if it happens alone too.

    What is found beside an end by force after the grace period may follow from it, as a response that never came.
    """
    found = [failure for failure in result.failures if not failure.inconclusive]
    return bool(found) and (_hangs(result) or all(failure.timing for failure in found))


def _hangs(result: Result) -> bool:
    """Whether it was still running at the end of its grace period. Seen alone once, that is believed of a server."""
    return result.ending is Ending.TIMEOUT


async def _ask_platform(launcher: Launcher) -> Platform:
    supervisor = await Supervisor.start(launcher)
    await supervisor.close()
    return supervisor.platform


def missing(server: Server, scenario: Scenario, platform: Platform) -> str | None:
    """Why a scenario does not apply here, saying what to declare; None if it does."""
    if scenario.only is not None and scenario.only != platform.family:
        return f"{scenario.slug} is about {scenario.only} only"
    for stop in scenario.stops:
        if stop not in platform.stops and stop not in server.stops:
            return f"{platform.family} has no {stop} request (it has {', '.join(platform.stops.values())})"
    undeclared = [what for need in scenario.needs for declared, what in (NEEDS[need],) if not declared(server)]
    return f"declare {' and '.join(undeclared)}" if undeclared else None


async def run(server: Server, scenario: Scenario, launcher: Launcher, platform: Platform, attempt: int = 1) -> Result:
    """One scenario on one server: the verdict. Raises nothing but cancellation; trouble of our own is an ERROR."""
    begun = time.perf_counter()
    reason = missing(server, scenario, platform)
    if reason is not None:
        return _result(server, scenario, platform, Outcome.UNSUPPORTED, reason=reason)
    worst: Result | None = None
    try:
        for name, variant in scenario.variants(server, platform):
            result = await _run_once(variant, scenario, launcher, name)
            if worst is None or _weight(result) > _weight(worst):
                worst = result
    except Unsupported as problem:
        worst = _result(server, scenario, platform, Outcome.UNSUPPORTED, reason=str(problem))
    except (ConfigError, StopCommandError, SupervisorError) as problem:
        worst = _result(server, scenario, platform, Outcome.ERROR, reason=str(problem))
    except Exception:
        worst = _result(server, scenario, platform, Outcome.ERROR, reason=traceback.format_exc())
    assert worst is not None
    return replace(worst, seconds=time.perf_counter() - begun, attempt=attempt)


async def _run_once(server: Server, scenario: Scenario, launcher: Launcher, variant: str) -> Result:
    async with started(server, launcher, variant) as live:
        with suppress(NotReady):  # became_ready says it
            await scenario.act(live)
        await live.conclude()
        seen = live.observation()
    failures = checks.judge(scenario.checks, server, seen)
    outcome, end = decide(scenario.level, failures), ending(server, seen)
    return _result(server, scenario, seen.platform, outcome, failures, ending=end, seen=seen)


def decide(level: Level, failures: tuple[Failure, ...]) -> Outcome:
    """A failed MUST fails; a failed SHOULD or MAY is WEAK; missing proof is INCONCLUSIVE, never PASS."""
    if not failures:
        return Outcome.PASS
    if all(failure.inconclusive for failure in failures):
        return Outcome.INCONCLUSIVE
    return Outcome.FAIL if level is Level.MUST else Outcome.WEAK


def ending(server: Server, seen: Observation) -> Ending:
    """How the run ended, whatever the verdict."""
    if checks.own_exit(seen) is None:
        return Ending.TIMEOUT if seen.delivered is not None else Ending.FORCED
    if checks.nothing_left(server, seen) is not None:
        return Ending.LEAK
    asked = seen.delivered is not None
    return Ending.CLEAN if asked and checks.accepted_status(server, seen) is None else Ending.CRASH


ORDER = (Outcome.PASS, Outcome.UNSUPPORTED, Outcome.INCONCLUSIVE, Outcome.WEAK, Outcome.FAIL, Outcome.ERROR)


def _weight(result: Result) -> int:
    return ORDER.index(result.outcome)


def _result(
    server: Server,
    scenario: Scenario,
    platform: Platform | None,
    outcome: Outcome,
    failures: tuple[Failure, ...] = (),
    *,
    reason: str = "",
    ending: Ending = Ending.NONE,
    seen: Observation | None = None,
) -> Result:
    return Result(
        server=server.name,
        code=scenario.code,
        slug=scenario.slug,
        level=scenario.level,
        requirement=scenario.requirement,
        outcome=outcome,
        ending=ending,
        failures=failures,
        reason=reason,
        platform=platform,
        observation=seen,
    )
