"""A started server, as a scenario sees it: `ready`, `begin`, `connect`, `stop`, `ended`; and what was seen of it."""

from __future__ import annotations

import asyncio
import os
import re
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress

import h11

from . import probes
from .errors import NotReady, SpawnError, StopCommandError, SupervisorError
from .model import (
    PLACEHOLDERS,
    Delivery,
    Exchange,
    Exit,
    Observation,
    Platform,
    PortState,
    Post,
    Process,
    Reach,
    Server,
    Stop,
)
from .output import Log, count
from .ports import HOST, reserved_port
from .supervisor.client import Launcher, Supervisor
from .wire import Connection, Steps

PROBE_PAUSE = 0.02  # seconds between readiness probes
HELD_BACK_PAUSE = 0.2  # seconds between looks at output that is not forwarded any more
SETTLE = 0.3  # seconds from ready to the first stop: a server may listen before its handlers are installed
MARKS_LIMIT = 10.0  # seconds for the remaining workers' start marks once the first is ready
GONE_LIMIT = 1.0  # seconds from the leader's exit to an empty tree and a free port
KILL_LIMIT = 7.0  # seconds for a forced end; longer than the supervisor's own limit
PORT_PAUSE = 0.05  # seconds between attempts on a port that is still held

PLACEHOLDER = re.compile(rf"\{{({'|'.join(PLACEHOLDERS)}|env:\w+)\}}")


def expand(text: str, values: dict[str, str], env: dict[str, str]) -> str:
    """Fills placeholders; a value may hold placeholders itself ({env:NAME}). Unknown braces stay as they are.

    Raises SpawnError where a variable is not set.
    """

    def value(match: re.Match[str]) -> str:
        name = match[1]
        if name.startswith("env:"):
            if name[4:] not in env:
                raise SpawnError(f"{match[0]} in {text!r}: expected an environment variable, found none of that name")
            return expand(env[name[4:]], values, env)
        return values[name]

    return PLACEHOLDER.sub(value, text)


class Running:
    """An exchange that is under way."""

    def __init__(self, name: str, method: str, path: str) -> None:
        self.name, self.method, self.path = name, method, path
        self.steps = Steps(begun=time.perf_counter())
        self.sent, self.progress, self.release = asyncio.Event(), asyncio.Event(), asyncio.Event()
        self.task: asyncio.Task[None]

    async def under_way(self, limit: float = 5.0) -> None:
        """Until the request is sent as far as it will be, or has ended, or the limit (seconds) is reached."""
        await _first(self.sent.wait(), asyncio.wait((self.task,)), limit=limit)

    async def streaming(self, limit: float = 5.0) -> None:
        """Until the first piece of the response's body has come, or it has ended."""
        await _first(self.progress.wait(), asyncio.wait((self.task,)), limit=limit)

    async def finished(self, limit: float) -> None:
        """Until the exchange has ended, or the limit (seconds) is reached."""
        await asyncio.wait((self.task,), timeout=limit)


class LiveServer:
    """Lifetime: one server process tree. Made by `started`."""

    def __init__(self, server: Server, supervisor: Supervisor, port: int, variant: str = "") -> None:
        self.server, self.port, self.variant = server, port, variant
        self.platform: Platform = supervisor.platform
        self.notes: list[str] = []
        self._supervisor = supervisor
        self._log, self._fed = Log(), 0
        self._output_came = asyncio.Event()
        supervisor.on_output = self._read_output
        self._origin = time.perf_counter()
        self._ready: float | None = None
        self._ready_detail = ""
        self._started_marks = 0
        self._deliveries: list[Delivery] = []
        self._commands: list[asyncio.Task[None]] = []
        self._running: list[Running] = []
        self._idle: list[asyncio.Task[None]] = []
        self._idle_closed: float | None = None
        self._processes: tuple[Process, ...] = ()
        self._survivors: tuple[Process, ...] = ()
        self._port_state: PortState | None = None
        self._gone: float | None = None
        self._killed: float | None = None

    # ------------------------------------------------------------ starting

    async def spawn(self) -> None:
        """Raises SpawnError naming the command."""
        server = self.server
        command = tuple(self._fill(part) for part in server.command)
        # A Python server's prints are seen when they are made, not when a buffer is full.
        env = {"PYTHONUNBUFFERED": "1", **{name: self._fill(value) for name, value in server.env.items()}}
        self._cwd, self._env = server.cwd, env
        self._origin = await self._supervisor.spawn(command, server.cwd, env)

    def _fill(self, text: str) -> str:
        values = {
            "python": self.platform.executable,
            "port": str(self.port),
            "workers": str(self.server.workers),
            "loop": self.server.loop,
            "drain": f"{self.server.drain or 0:g}",
            "pid": str(self._supervisor.pid or ""),
        }
        return expand(text, values, {**os.environ, **self.server.env})

    def now(self) -> float:
        """Seconds since the server was spawned."""
        return time.perf_counter() - self._origin

    async def ready(self, settle: float = SETTLE) -> None:
        """Until the server is ready, has said so in every worker's start mark, and had `settle` seconds.

        Raises NotReady when it exits before, or when `ready.timeout` is over.
        """
        limit = self.server.ready.timeout
        try:
            async with asyncio.timeout(limit):
                await _first(self._become_ready(), asyncio.shield(self._supervisor.exit))
        except TimeoutError:
            self._ready_detail = f"not ready within {limit:g} s ({self._ready_detail})"
        if self._ready is None:
            raise NotReady(self._ready_detail)
        if self.server.marks.started is not None:
            with suppress(TimeoutError):
                async with asyncio.timeout(MARKS_LIMIT):
                    await _first(self._see_marks(self.server.workers), asyncio.shield(self._supervisor.exit))
        await self.pause(settle)

    async def _become_ready(self) -> None:
        ready = self.server.ready
        while True:
            if ready.http is not None:
                good, self._ready_detail = await probes.http(self.port, ready.http)
            elif ready.log is not None:
                good, self._ready_detail = await self._was_said(ready.log), f"no line like {ready.log!r}"
            else:
                good, self._ready_detail = await probes.tcp(self.port)
            if good:
                self._ready = self.now()
                return
            await asyncio.sleep(PROBE_PAUSE)

    async def _was_said(self, mark: str) -> bool:
        """Also by a server that has said so much that it is forwarded no more."""
        if count(mark, self._log.lines):
            return True
        if not self._supervisor.holds_back:
            return False
        await asyncio.sleep(HELD_BACK_PAUSE)
        log = Log()
        for at, piece in await self._supervisor.held_back():
            log.feed(at, piece)
        return count(mark, log.lines) > 0

    async def _see_marks(self, number: int) -> None:
        while count(self.server.marks.started, self._log.lines) < number:
            self._output_came.clear()
            await self._output_came.wait()

    def _read_output(self) -> None:
        pieces = self._supervisor.output
        for at, data in pieces[self._fed :]:
            self._log.feed(at - self._origin, data)
        self._fed = len(pieces)
        self._output_came.set()

    async def pause(self, seconds: float) -> None:
        """Lets the server be for a while; shorter only if it exits."""
        await _first(asyncio.sleep(seconds), asyncio.shield(self._supervisor.exit))

    @property
    def exited(self) -> bool:
        return self._supervisor.exit.done()

    # ------------------------------------------------------------ load

    def begin(self, name: str, path: str, post: Post | None = None, hold: bool = False) -> Running:
        """Starts a request on a connection of its own. With `hold` half of the body waits for `release`."""
        running = Running(name, "POST" if post else "GET", path)
        running.task = asyncio.create_task(self._exchange(running, Connection(HOST, self.port), post, hold))
        self._running.append(running)
        return running

    async def _exchange(self, running: Running, connection: Connection, post: Post | None, hold: bool) -> None:
        steps, body = running.steps, post.body.encode() if post else b""
        async with connection:
            try:
                if not connection.open:
                    await connection.connect()
                steps.connected = time.perf_counter()
                content_type = post.content_type if post else None
                await connection.send_head(running.method, running.path, len(body), content_type)
                half = len(body) // 2 if hold else len(body)
                if half:
                    await connection.send_body(body[:half])
                steps.sent = time.perf_counter()
                running.sent.set()
                reading = asyncio.create_task(connection.receive(steps, running.progress))
                try:
                    if hold:
                        await _first(running.release.wait(), asyncio.wait((reading,)))
                    await self._send_rest(connection, body[half:], steps, reading)
                    await reading
                finally:
                    reading.cancel()
            except (OSError, TimeoutError) as problem:
                connected = steps.connected is not None
                timed_out = isinstance(problem, TimeoutError)
                steps.end = "open" if timed_out else "reset" if connected else "refused"
                steps.detail = f"{type(problem).__name__}: {problem}"
                steps.ended = None if timed_out else time.perf_counter()

    @staticmethod
    async def _send_rest(connection: Connection, rest: bytes, steps: Steps, reading: asyncio.Task[None]) -> None:
        """A server may answer or hang up before it has the whole body: what it then says is read all the same."""
        try:
            if rest and not reading.done():
                await connection.send_body(rest)
            if not reading.done():
                await connection.end_request()
        except (OSError, h11.LocalProtocolError) as problem:
            steps.detail = f"sending the rest: {type(problem).__name__}: {problem}"

    async def keep_idle(self, path: str) -> Steps:
        """One request on a connection that then stays open and idle until the server closes it."""
        running = Running("keep-alive", "GET", path)
        connection = Connection(HOST, self.port)
        steps = running.steps

        async def hold() -> None:
            async with connection:
                await connection.closed_by_peer()
                self._idle_closed = self.now()

        self._running.append(running)
        running.task = asyncio.create_task(asyncio.sleep(0))
        try:
            await connection.connect()
            steps.connected = time.perf_counter()
            await connection.send_head("GET", path, 0)
            await connection.end_request()
            steps.sent = time.perf_counter()
            async with asyncio.timeout(probes.ANSWER_LIMIT):
                await connection.receive(steps)
        except OSError as problem:
            steps.end, steps.detail = "reset", f"{type(problem).__name__}: {problem}"
        self._idle.append(asyncio.create_task(hold()) if connection.open else running.task)
        return steps

    # ------------------------------------------------------------ stopping

    async def stop(self, stop: Stop = Stop.TERMINATE, reach: Reach = Reach.LEADER) -> None:
        """Delivers a stop request, or starts the declared command in its place. A server that is gone gets none."""
        self._started_marks = count(self.server.marks.started, self._log.lines)
        self._processes = await self._supervisor.tree()
        command = self.server.stops.get(stop)
        if command is not None:
            argv = tuple(self._fill(part) for part in command.command)
            what = " ".join(argv)
            self._deliveries.append(Delivery(stop=stop, what=what, reach=Reach.COMMAND, at=self.now()))
            self._commands.append(asyncio.create_task(self._run_command(stop, argv)))
            await asyncio.sleep(0)
            return
        try:
            delivery = await self._supervisor.deliver(stop, reach)
        except SupervisorError as problem:
            self.notes.append(f"{stop} was not delivered: {problem}")
            return
        at = delivery.at - self._origin
        self._deliveries.append(Delivery(stop=stop, what=delivery.what, reach=delivery.reach, at=at))

    async def _run_command(self, stop: Stop, argv: tuple[str, ...]) -> None:
        command = self.server.stops[stop]
        try:
            done = await (await self._supervisor.run(argv, self._cwd, self._env, command.timeout)).done
        except SpawnError as problem:
            if not self.exited:
                raise
            self.notes.append(f"{stop} was not delivered: {problem}")
            return
        if done.status == 0:
            return
        how = "hung" if done.status is None else f"exited with status {done.status}"
        within = f" within {command.timeout:g} s" if done.status is None else ""
        text = done.output.strip() or "(no output)"
        raise StopCommandError(
            f"stop.{stop}.command of server {self.server.name!r} {how}{within}; expected: status 0\n"
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
        """Sees the end: waits for tree and port as long as the requirement allows, then ends what is left."""
        if self._deliveries:
            await self.ended()
        if self.exited:
            port = asyncio.create_task(self._watch_port())
            with suppress(TimeoutError):
                left = max(0.01, self._exit_at() + GONE_LIMIT - self.now())
                self._gone = await asyncio.wait_for(asyncio.shield(self._supervisor.gone), left) - self._origin
            await port
        if self._gone is None:
            self._survivors = await self._supervisor.tree()
            self._killed = await self._supervisor.kill() - self._origin
            with suppress(TimeoutError):
                await asyncio.wait_for(asyncio.shield(self._supervisor.gone), KILL_LIMIT)
        for command in self._commands:
            await command
        await self._supervisor.fetch_rest()
        self._read_output()
        self._log.finish()
        await self._close_exchanges()

    def _exit_at(self) -> float:
        return self._supervisor.exit.result().at - self._origin

    async def _watch_port(self) -> None:
        """The first refused attempt says that the port is free; its start counts, as Windows takes 2 s to refuse."""
        held: float | None = None
        while True:
            begun = self.now()
            accepted, _ = await probes.tcp(self.port)
            if not accepted:
                self._port_state = PortState(number=self.port, freed=begun, held_until=held)
                return
            held = self.now()
            if held > self._exit_at() + GONE_LIMIT:
                self._port_state = PortState(number=self.port, held_until=held)
                return
            await asyncio.sleep(PORT_PAUSE)

    async def _close_exchanges(self) -> None:
        """Gives what ended with the server a moment to be read, then closes the rest."""
        tasks = [running.task for running in self._running] + self._idle
        if tasks:
            await asyncio.wait(tasks, timeout=0.2)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def observation(self) -> Observation:
        """Everything seen so far; complete once `conclude` has returned."""
        left = self._supervisor.exit
        exited = left.result() if left.done() and not left.cancelled() and left.exception() is None else None
        return Observation(
            platform=self.platform,
            workers=self.server.workers,
            variant=self.variant,
            ready=self._ready,
            ready_detail=self._ready_detail,
            started_marks=self._started_marks,
            deliveries=tuple(self._deliveries),
            exchanges=tuple(self._fact(running) for running in self._running),
            idle_closed=self._idle_closed,
            processes=self._processes,
            output=tuple(self._log.lines),
            dropped=self._supervisor.dropped,
            dropped_until=self._since(self._supervisor.dropped_until),
            exit=Exit(at=exited.at - self._origin, status=exited.status) if exited else None,
            gone=self._gone,
            survivors=self._survivors,
            port=self._port_state,
            killed=self._killed,
            notes=tuple(self.notes),
        )

    def _since(self, at: float | None) -> float | None:
        return None if at is None else at - self._origin

    def _fact(self, running: Running) -> Exchange:
        steps, since = running.steps, self._since
        return Exchange(
            name=running.name,
            method=running.method,
            path=running.path,
            end=steps.end,  # type: ignore[arg-type]
            begun=steps.begun - self._origin,
            connected=since(steps.connected),
            sent=since(steps.sent),
            answered=since(steps.answered),
            ended=since(steps.ended),
            status=steps.status,
            received=steps.received,
            keep_alive=steps.keep_alive,
            framed=steps.framed,
            detail=steps.detail,
        )


@asynccontextmanager
async def started(server: Server, launcher: Launcher, variant: str = "") -> AsyncIterator[LiveServer]:
    """A server that has been spawned, not yet ready. Whatever happens, nothing of it is left afterwards.

    Raises SupervisorError, or SpawnError naming the command.
    """
    async with AsyncExitStack() as stack:
        port = stack.enter_context(reserved_port())
        supervisor = await Supervisor.start(launcher)
        stack.push_async_callback(_shielded, supervisor.close)
        live = LiveServer(server, supervisor, port, variant)
        stack.push_async_callback(live._close_exchanges)
        await live.spawn()
        yield live


async def _shielded(close: Callable[[], Awaitable[None]]) -> None:
    """Closing goes to its end even when this task is cancelled meanwhile."""
    closing = asyncio.ensure_future(close())
    while not closing.done():
        try:
            await asyncio.shield(closing)
        except asyncio.CancelledError:
            continue


async def _first(*awaitables: Awaitable[object], limit: float | None = None) -> None:
    """Until one of them is done (its exception is raised) or the limit is over; the others are cancelled."""
    tasks = [asyncio.ensure_future(awaitable) for awaitable in awaitables]
    try:
        done, _ = await asyncio.wait(tasks, timeout=limit, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
    finally:
        for task in tasks:
            task.cancel()
