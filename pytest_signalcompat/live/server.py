"""A started server, as a scenario sees it: `ready`, `http`, `stop`, `ended`; and what was seen of it."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable

from msgspec.structs import replace

from .. import masking
from ..errors import NotReady, SpawnError, StopCommandError, SupervisorError
from ..model import Delivery, Exit, Observation, Platform, Process, Reach, Server, Stop, StopCommand
from ..placeholders import Placeholder, Variables, environment, expand, taken, values
from ..supervisor.client import Command, Supervisor
from . import ending
from .http import Requests
from .readiness import Heard, Readiness
from .waiting import first

SETTLE = 0.3  # seconds from ready to the first stop: a server may listen before its handlers are installed
FIRST_MARK_LIMIT = 1.0  # seconds from ready to the first start mark
MARKS_LIMIT = 10.0  # seconds for the remaining workers' start marks once the first is ready


def usual_reach(stop: Stop) -> Reach:
    """Whom a request reaches if nothing else is asked for: a terminal's Ctrl-C its whole foreground group (termios(3),
    ISIG), a process manager's SIGTERM to the process that it started."""
    return Reach.GROUP if stop is Stop.INTERRUPT else Reach.LEADER


class LiveServer:
    """Lifetime: one server process tree. Started by a `Stage`."""

    def __init__(self, server: Server, supervisor: Supervisor, port: int) -> None:
        self.server, self.port = server, port
        self.platform: Platform = supervisor.platform
        self.notes: list[str] = []
        self.http = Requests(port, self.now)
        self.concluded = False
        self.on_ready: Callable[[], None] = lambda: None
        self.spawned = 0.0  # seconds of perf_counter
        self._supervisor = supervisor
        self._cwd = None if server.cwd is None else os.path.abspath(server.cwd)
        self._heard = Heard(supervisor)
        self._readiness = Readiness(server.ready, port, self._heard)
        self._ready: float | None = None
        self._ready_detail = ""
        self._deliveries: list[Delivery] = []
        self._commands: list[asyncio.Task[None]] = []
        self._processes: tuple[Process, ...] = ()
        self._end = ending.End()

    # ------------------------------------------------------------ starting

    async def spawn(
        self,
        wrapper: tuple[str, ...] = (),
        ignored: tuple[str, ...] = (),
        blocked: tuple[str, ...] = (),
        namespace: str | None = None,
    ) -> None:
        """Raises SpawnError naming the command, or what cannot be had here; ConfigError naming a variable that is not
        set."""
        command = tuple(self._fill(part) for part in (*wrapper, *self.server.command))
        # A Python server's prints are seen when they are made, not when a buffer is full.
        self._env = {"PYTHONUNBUFFERED": "1", **environment(self._values(), self._variables())}
        self.spawned = self._heard.origin = time.perf_counter()
        self.spawned = self._heard.origin = await self._supervisor.spawn(
            command, self._cwd, self._env, ignored=ignored, blocked=blocked, namespace=namespace
        )

    def _fill(self, text: str) -> str:
        return expand(text, self._values(), self._variables())

    def _values(self) -> dict[Placeholder, str]:
        python, pid = self.platform.executable, self._supervisor.pid
        return values(self.server, python=python, port=self.port, pid=pid)

    def _variables(self) -> Variables:
        windows = self.platform.family == "windows"
        return Variables(declared=self.server.env, tests=os.environ, ignore_case=windows)

    def now(self) -> float:
        """Seconds since the server was spawned."""
        return time.perf_counter() - self.spawned

    async def ready(self, settle: float = SETTLE) -> None:
        """Until the server is ready, has said so in every worker's start mark, and had `settle` seconds.

        Raises NotReady when it exits before, or when `ready.timeout` is over.
        """
        limit = self.server.ready.timeout
        try:
            async with asyncio.timeout(limit):
                await first(self._become_ready(), asyncio.shield(self._supervisor.exit))
            self._ready_detail = self._readiness.detail
        except TimeoutError:
            self._ready_detail = f"not ready within {limit:g} s ({self._readiness.detail})"
        if self._ready is None:
            raise NotReady(self._ready_detail)
        await self._see_start_marks()
        await self.pause(settle)

    async def _see_start_marks(self) -> None:
        """A server whose log is quiet shows none and is not waited for; one that shows some will show them all."""
        mark, workers = self.server.marks.started, self.server.workers
        if mark is not None and await self._see_marks(mark, 1, FIRST_MARK_LIMIT) and workers > 1:
            await self._see_marks(mark, workers, MARKS_LIMIT)

    async def _see_marks(self, mark: str, number: int, limit: float) -> bool:
        """Until that many lines have it, or the limit (seconds) is over, or the server has exited."""
        seen = asyncio.ensure_future(self._heard.until(mark, number))
        await first(asyncio.wait((seen,)), asyncio.shield(self._supervisor.exit), limit=limit)
        found = seen.done()
        seen.cancel()
        return found

    async def _become_ready(self) -> None:
        await self._readiness.reached()
        self._ready = self.now()
        self.on_ready()

    async def pause(self, seconds: float) -> None:
        """Lets the server be for a while; shorter only if it exits."""
        await first(asyncio.sleep(seconds), asyncio.shield(self._supervisor.exit))

    @property
    def exited(self) -> bool:
        return self._supervisor.exit.done()

    async def exit_within(self, seconds: float) -> bool:
        """Until the leader has exited, or that time is over. Asks for nothing."""
        await self.pause(seconds)
        return self.exited

    # ------------------------------------------------------------ stopping

    async def stop(self, stop: Stop = Stop.TERMINATE, reach: Reach | None = None) -> None:
        """Delivers a stop request, or starts the declared command in its place. A server that is gone gets none.

        By default INTERRUPT reaches the whole group, as Ctrl-C in a terminal does, and every other request the leader.
        On Windows each reaches everybody on the console.

        Raises SpawnError where the command cannot be started.
        """
        if not self._deliveries:
            self._processes = await self._supervisor.tree()
        command = self.server.stops.get(stop)
        try:
            if command is None:
                delivery = await self._supervisor.deliver(stop, reach or usual_reach(stop))
                self._deliveries.append(self._since_spawn(delivery))
            else:
                await self._start_command(stop, command)
        except SupervisorError as problem:
            if isinstance(problem, SpawnError) and not self.exited:
                raise
            self.notes.append(f"{stop} was not delivered: {problem}")

    def _since_spawn(self, delivery: Delivery) -> Delivery:
        return replace(delivery, at=delivery.at - self.spawned)

    async def _start_command(self, stop: Stop, command: StopCommand) -> None:
        argv = tuple(self._fill(part) for part in command.command)
        running = await self._supervisor.run(argv, self._cwd, self._env, command.timeout)
        what = Delivery(stop=stop, what=" ".join(argv), reach=Reach.COMMAND, at=running.at)
        self._deliveries.append(self._since_spawn(what))
        number = len(self._deliveries) - 1
        self._commands.append(asyncio.create_task(self._end_of(running, number, command, argv)))

    async def _end_of(self, running: Command, number: int, command: StopCommand, argv: tuple[str, ...]) -> None:
        done = await running.done
        delivery = self._deliveries[number] = replace(self._deliveries[number], done=self.now())
        if done.status == 0:
            return
        how = f"hung within {command.timeout:g} s" if done.status is None else f"exited with status {done.status}"
        text = done.output.strip() or "(no output)"
        raise StopCommandError(
            f"stop.{delivery.stop}.command of server {self.server.name!r} {how}; expected: status 0\n"
            f"  command: {list(argv)}\n  output: {text}"
        )

    async def ended(self) -> None:
        """Until the leader has exited, or the grace period since the first stop request is over.

        Raises StopCommandError when a stop command fails.
        """
        begun = self._deliveries[0].at if self._deliveries else self.now()
        exit_seen = asyncio.shield(self._supervisor.exit)
        waiting: set[asyncio.Future[object]] = {exit_seen, *self._commands}  # type: ignore[arg-type]
        while exit_seen in waiting:
            left = begun + self.server.grace - self.now()
            done, waiting = await asyncio.wait(waiting, timeout=max(0.0, left), return_when=asyncio.FIRST_COMPLETED)
            if not done:
                return
            for task in done:
                if task is not exit_seen:
                    task.result()

    # ------------------------------------------------------------ what was seen

    async def conclude(self) -> None:
        """Sees the end: waits for exit, tree and port as long as the requirement allows, then ends what is left.

        Raises StopCommandError when a stop command failed, and what went wrong inside a request.
        """
        if self.concluded:
            return
        self.concluded = True
        if self._deliveries:
            await self.ended()
        exit = self._exit()
        self._end = await ending.see(self._supervisor, self.port, self.now, exit.at if exit else None)
        ends = await asyncio.gather(*self._commands, return_exceptions=True)
        await self._heard.finish()
        await self.http.close()
        for problem in (*ends, self.http.mistake):
            if problem is not None:
                raise problem

    async def close(self) -> None:
        """Lets go of requests and commands, whatever became of the server."""
        for command in self._commands:
            command.cancel()
        await asyncio.gather(*self._commands, return_exceptions=True)
        await self.http.close()

    def _exit(self) -> Exit | None:
        left = self._supervisor.exit
        if not left.done() or left.cancelled() or left.exception() is not None:
            return None
        return Exit(at=left.result().at - self.spawned, status=left.result().status)

    def observation(self) -> Observation:
        """Everything seen so far; complete once `conclude` has returned."""
        return Observation(
            platform=self.platform,
            workers=self.server.workers,
            ready=self._ready,
            ready_detail=self._ready_detail,
            deliveries=tuple(self._deliveries),
            exchanges=self.http.facts,
            processes=self._described(self._processes),
            output=tuple(self._heard.log.lines),
            dropped=self._supervisor.dropped,
            dropped_until=self._since(self._supervisor.dropped_until),
            exit=self._exit(),
            gone=self._since(self._end.gone),
            survivors=self._described(self._end.survivors),
            port=self._end.port,
            killed=self._since(self._end.killed),
            notes=tuple(self.notes),
        )

    def _described(self, processes: tuple[Process, ...]) -> tuple[Process, ...]:
        """Without the secrets on their command lines, of which a text may show a part."""
        secrets = masking.secrets(taken(self.server, os.environ))
        return tuple(masking.in_command_line(process, secrets) for process in processes)

    def _since(self, at: float | None) -> float | None:
        return None if at is None else at - self.spawned
