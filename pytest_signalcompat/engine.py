"""Runs scenarios: a thread with an event loop of its own, a bounded number of slots, one future a case.

The thread that asks may be interrupted at any moment; `close` cancels what is under way and leaves nothing running.
"""

from __future__ import annotations

import asyncio
import os
import threading
import traceback
from collections.abc import Callable, Coroutine
from concurrent.futures import Future
from contextlib import suppress
from typing import Any, TypeVar

from msgspec.structs import replace

from . import masking, placeholders, verdict
from .busy import BUSY, Meter
from .errors import ConfigError, NotReady, StartRefused, StopCommandError, SupervisorError, Unsupported
from .live.stage import stage
from .model import Attempt, Ending, Failure, Outcome, Platform, Result, Server
from .scenario import Scenario, why_not
from .scheduling import Gates, Slots
from .supervisor.client import Launcher, Supervisor
from .verdict import never_ready

T = TypeVar("T")
CLOSE_LIMIT = 30.0  # seconds for everything under way to be ended


def default_jobs() -> int:
    """Scenarios mostly wait; starting servers is what costs."""
    return max(2, 2 * (os.cpu_count() or 1))


class Engine:
    """Lifetime: from the first scenario to the end of the session."""

    def __init__(self, launcher: Launcher, jobs: int | None = None, meter: Meter | None = None) -> None:
        self.launcher = launcher
        self._meter = meter or Meter()
        self._jobs = jobs or default_jobs()
        self._loop = asyncio.new_event_loop()
        self._slots = Slots(self._jobs)
        self._gates = Gates()
        self._hanging: set[str] = set()  # servers seen alone to outlast their grace period
        self._platform: asyncio.Task[Platform] | None = None
        self._thread = threading.Thread(target=self._run_loop, name="signalcompat-engine", daemon=True)
        self._thread.start()
        self.call(self._meter.run())

    def _run_loop(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_forever()

    def call(self, work: Coroutine[Any, Any, T]) -> Future[T]:
        """Runs a coroutine on the engine's loop. Cancelling the future cancels the coroutine."""
        return asyncio.run_coroutine_threadsafe(work, self._loop)

    def submit(self, server: Server, scenario: Scenario, case: str = "", retry: bool = True) -> Future[Result]:
        """Starts a scenario as soon as a slot is free. `case` and its server are one of `scenario.cases(...)`.

        What fails by time only, on a machine that is busy, is run again alone, unless `retry` is false. No result holds
        a secret (masking.py).
        """
        return self.call(self._masked(server, scenario, case, retry))

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

    async def _masked(self, server: Server, scenario: Scenario, case: str, retry: bool) -> Result:
        secrets = masking.secrets(placeholders.taken(server, os.environ))
        return masking.masked(await self._scheduled(server, scenario, case, retry), secrets)

    async def _scheduled(self, server: Server, scenario: Scenario, case: str, retry: bool) -> Result:
        blank = _blank(server, scenario, case)
        try:
            platform = await self.platform()
        except SupervisorError as problem:
            return replace(blank, outcome=Outcome.ERROR, reason=str(problem))
        blank = replace(blank, platform=platform)
        reason = why_not(scenario, server, platform)
        if reason is not None:
            return replace(blank, outcome=Outcome.UNSUPPORTED, reason=reason)
        code = await self._gates.blocked_by(server, scenario.code)
        if code:
            return replace(blank, outcome=Outcome.BLOCKED, blocked_by=code, reason=f"not ready: see {code}")
        cause = ""
        try:
            result = await self._judged(server, scenario, blank, retry)
            cause = scenario.code if _not_ready(result) else ""
            return result
        finally:
            self._gates.tell(server, cause)

    async def _judged(self, server: Server, scenario: Scenario, blank: Result, retry: bool) -> Result:
        """In one attempt, or two."""
        async with self._slots.one():
            result = await self._attempt(server, scenario, blank)
        if not retry or not _only_late(result) or not _was_busy(result):
            return result
        async with self._slots.all():
            if _hangs(result) and server.name in self._hanging:
                return result
            again = await self._attempt(server, scenario, result)
            if _hangs(again):
                self._hanging.add(server.name)
            return _unproven(again) if _hangs(result) and again.outcome is Outcome.PASS else again

    async def _attempt(self, server: Server, scenario: Scenario, before: Result) -> Result:
        return await run(server, scenario, self.launcher, before, self._meter, lambda: self._gates.tell(server))


def _not_ready(result: Result) -> bool:
    """Whether no server could be started, or none became ready."""
    return never_ready(result.failures) or (result.outcome is Outcome.ERROR and not result.attempts)


def _only_late(result: Result) -> bool:
    """A machine that is busy makes servers late: such a failure counts only if it happens alone too.

    What is found beside an end by force after the grace period may follow from it, as a response that never came.
    """
    found = [failure for failure in result.failures if not failure.unproven]
    return bool(found) and (_hangs(result) or all(failure.timing for failure in found))


def _was_busy(result: Result) -> bool:
    return result.attempts[-1].busy >= BUSY


def _hangs(result: Result) -> bool:
    """Whether it was still running at the end of its grace period. Seen alone once, that is believed of a server."""
    return result.ending is Ending.TIMEOUT


def _unproven(result: Result) -> Result:
    """A whole grace period is not late: a server that hung once and stopped once may hang in every second stop."""
    failure = Failure(
        check="same-verdict-twice",
        expected="an attempt alone that ends as the first did",
        actual="the first attempt was still running at the end of its grace period, the second, alone, stopped well",
        fix="look for what the server waits for now and then: a lock, a thread, a signal that comes a moment too early",
        unproven=True,
    )
    return replace(result, outcome=Outcome.UNPROVEN, failures=(failure,))


async def _ask_platform(launcher: Launcher) -> Platform:
    supervisor = await Supervisor.start(launcher)
    await supervisor.close()
    return supervisor.platform


def _blank(server: Server, scenario: Scenario, case: str) -> Result:
    return Result(
        server=server.name,
        code=scenario.code,
        slug=scenario.slug,
        level=scenario.level,
        case=case,
        requirement=scenario.requirement,
        outcome=Outcome.ERROR,
        preset=server.preset,
    )


async def run(
    server: Server,
    scenario: Scenario,
    launcher: Launcher,
    before: Result,
    meter: Meter,
    on_ready: Callable[[], None] = lambda: None,
) -> Result:
    """One attempt at a scenario: `before` with its verdict. Raises nothing but cancellation; trouble of our own is an
    ERROR."""
    assert before.platform is not None
    begun = meter.now()
    try:
        async with stage(server, before.platform, launcher, on_ready) as on:
            with suppress(NotReady):  # becomes-ready says it
                await scenario.act(on)
            await on.conclude()
            starts = on.observations()
        found = verdict.of(scenario, server, starts)
    except (StartRefused, Unsupported) as problem:
        return replace(before, outcome=Outcome.UNSUPPORTED, reason=str(problem), failures=())
    except (ConfigError, StopCommandError, SupervisorError) as problem:
        return replace(before, outcome=Outcome.ERROR, reason=str(problem), failures=())
    except Exception:
        return replace(before, outcome=Outcome.ERROR, reason=traceback.format_exc(), failures=())
    took = meter.now()[0] - begun[0]
    attempts = (*before.attempts, Attempt(starts=starts, seconds=took, busy=meter.share(begun)))
    return replace(
        before,
        outcome=found.outcome,
        ending=found.ending,
        failures=found.failures,
        attempts=attempts,
        seconds=before.seconds + took,
    )
