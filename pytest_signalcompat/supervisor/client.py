"""The tests' side of a supervisor: starts it, asks it, and hears from it. Works on every asyncio event loop.

The pipes are read by a thread, not by the loop: Windows' Selector loop cannot do subprocess pipes at all
(docs.python.org, asyncio platform support), and a thread costs the same everywhere.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import subprocess
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

from ..errors import SpawnError, StartRefused, SupervisorError
from ..model import Delivery, Exit, Platform, Process, Reach, Record, Stop
from .protocol import BUDGET, VERSION
from .starting import OUTER as OUTER
from .starting import Launcher as Launcher
from .starting import Popen, popen
from .starting import native as native
from .starting import wine as wine

HELLO_LIMIT = 60.0  # seconds; a first Wine process boots its prefix
CLOSE_LIMIT = 15.0  # seconds; longer than the supervisor's own limit for killing
ANSWER_LIMIT = 30.0  # seconds; longer than the supervisor's limit for killing, the slowest thing it is asked for
STATUS_LIMIT = 2.0  # seconds from the end of its output to its exit
CLOCK_ROUNDS = 5


class CommandEnd(Record, frozen=True, kw_only=True):
    """How a stop command ended. Its exit status as of a leader's; None: it hung and was killed."""

    status: int | None
    output: str


class Command(Record, frozen=True, kw_only=True):
    """A stop command that was started `at` (seconds); `done` fails with SupervisorError if its end stays unknown."""

    at: float
    done: asyncio.Future[CommandEnd]


class Supervisor:
    """A running supervisor. Its lifetime is that of the server tree: `close` leaves nothing behind.

    Attributes change as events arrive: `exit` and `gone` are futures, `output` a list of (seconds, bytes).
    All stamps are seconds of this process's perf_counter.
    """

    def __init__(self, launcher: Launcher, process: Popen) -> None:
        self.launcher = launcher
        self.platform: Platform
        self.pid: int | None = None  # the leader's
        self.output: list[tuple[float, bytes]] = []
        self.dropped = 0
        self.dropped_until: float | None = None
        self.on_output: Callable[[], None] = lambda: None
        loop = asyncio.get_running_loop()
        self.exit: asyncio.Future[Exit] = loop.create_future()
        self.gone: asyncio.Future[float] = loop.create_future()
        self._hello: asyncio.Future[dict[str, Any]] = loop.create_future()
        self._loop = loop
        self._process = process
        self._offset = 0  # nanoseconds: supervisor's clock minus ours
        self._ids = itertools.count(1)
        self._answers: dict[int, asyncio.Future[Any]] = {}
        self._commands: dict[int, asyncio.Future[CommandEnd]] = {}  # by the request that started them
        self._noise: deque[str] = deque(maxlen=40)  # what is not JSON: the supervisor's own stderr
        self._broken: SupervisorError | None = None
        threading.Thread(target=self._read, name="signalcompat-supervisor", daemon=True).start()

    @classmethod
    async def start(cls, launcher: Launcher) -> Supervisor:
        """Raises SupervisorError if no supervisor says hello."""
        try:
            process = popen(launcher.argv)
        except OSError as problem:
            raise SupervisorError(f"cannot start the supervisor {launcher.argv[0]!r}: {problem}") from problem
        self = cls(launcher, process)
        try:
            hello = await asyncio.wait_for(asyncio.shield(self._hello), HELLO_LIMIT)
            if hello.get("protocol") != VERSION:
                text = f"the supervisor speaks protocol {hello.get('protocol')}, these tests {VERSION}: {launcher.argv}"
                raise SupervisorError(text)
            await self._settle_clock()
            self.platform = Platform(
                family=hello["family"],
                system=hello["system"],
                python=hello["python"],
                executable=launcher.python or hello["executable"],
                stops={Stop(name): what for name, what in hello["stops"].items()},
                containment=hello["containment"],
                starts=tuple(hello["starts"]),
                launcher=launcher.name,
            )
        except BaseException as problem:
            await self.close()
            if isinstance(problem, TimeoutError):
                text = f"the supervisor said nothing for {HELLO_LIMIT:g} s: {launcher.argv}\n" + "\n".join(self._noise)
                raise SupervisorError(text) from None
            raise
        return self

    # ------------------------------------------------------------ asking

    async def spawn(
        self,
        command: Sequence[str],
        cwd: str | None,
        env: dict[str, str],
        *,
        ignored: Sequence[str] = (),
        blocked: Sequence[str] = (),
        namespace: str | None = None,
    ) -> float:
        """Starts the server and returns when. Raises SpawnError naming the command and the directory.

        `ignored` and `blocked` are names of signals; `namespace="pid"` makes it PID 1 of one. Raises StartRefused where
        that cannot be had; `platform.starts` says which of these may.
        """
        try:
            options: dict[str, Any] = {"ignored": ignored, "blocked": blocked, "namespace": namespace}
            reply = await self._ask("spawn", argv=command, cwd=_absolute(cwd), env=env, **options)
        except StartRefused:
            raise
        except SupervisorError as problem:
            raise SpawnError(f"cannot start {list(command)} in {cwd or 'the current directory'}: {problem}") from None
        self.pid = reply["pid"]
        return self._seconds(reply["at"])

    async def deliver(self, stop: Stop, reach: Reach = Reach.LEADER) -> Delivery:
        """Sends the platform's own request; its `reach` is what the platform made of it.

        Raises SupervisorError if there is nobody to send it to, or no such request or reach.
        """
        reply = await self._ask("deliver", stop=stop, reach=reach)
        return Delivery(stop=stop, what=reply["what"], reach=Reach(reply["reach"]), at=self._seconds(reply["at"]))

    async def run(self, argv: Sequence[str], cwd: str | None, env: dict[str, str], timeout: float) -> Command:
        """Starts a stop command, beside any others; one that takes longer than `timeout` (seconds) is killed.

        Raises SpawnError if it cannot be started, also because the leader has exited.
        """
        number = next(self._ids)
        done = self._commands[number] = self._loop.create_future()  # it may end before the answer has come
        try:
            reply = await self._ask("run", number, argv=argv, cwd=_absolute(cwd), env=env, timeout=timeout)
        except SupervisorError as problem:
            self._commands.pop(number, None)
            raise SpawnError(f"cannot start the stop command {list(argv)}: {problem}") from None
        return Command(at=self._seconds(reply["at"]), done=done)

    async def tree(self) -> tuple[Process, ...]:
        """The leader and all its descendants that run."""
        return tuple(Process(**entry) for entry in await self._ask("tree"))

    @property
    def holds_back(self) -> bool:
        """Whether so much was forwarded that the supervisor keeps the rest for `held_back`."""
        return sum(len(piece) for _, piece in self.output) >= BUDGET

    async def held_back(self) -> list[tuple[float, bytes]]:
        """The newest output that was held back, once the budget was spent."""
        rest = await self._ask("output")
        self.dropped = rest["dropped"]
        self.dropped_until = None if rest["until"] is None else self._seconds(rest["until"])
        return [(self._seconds(at), text.encode("latin-1")) for at, text in rest["chunks"]]

    async def fetch_rest(self) -> None:
        """Appends it to the output; once, at the end."""
        self.output += await self.held_back()

    async def kill(self) -> float:
        """Ends whatever is left of the tree, by force, and returns when that began."""
        return self._seconds((await self._ask("kill"))["at"])

    async def close(self) -> None:
        """Ends the supervisor, and with it everything it holds. Safe to call twice, and after it broke."""
        if self._process.stdin and not self._process.stdin.closed:
            self._process.stdin.close()
        try:
            await asyncio.to_thread(self._process.wait, CLOSE_LIMIT)
        except subprocess.TimeoutExpired:
            self._process.kill()
            await asyncio.to_thread(self._process.wait)

    async def _ask(self, do: str, number: int | None = None, **arguments: Any) -> Any:
        if self._broken is not None:
            raise self._broken
        number = number or next(self._ids)
        answer = self._answers[number] = self._loop.create_future()
        line = json.dumps({"id": number, "do": do, **arguments}).encode() + b"\n"
        assert self._process.stdin is not None
        try:
            while line:  # unbuffered: a write that a signal interrupts is a short one
                line = line[self._process.stdin.write(line) :]
        except (OSError, ValueError) as problem:
            raise SupervisorError(f"the supervisor is gone: {problem}") from None
        try:
            return await asyncio.wait_for(answer, ANSWER_LIMIT)
        except TimeoutError:
            raise SupervisorError(f"the supervisor did not answer {do!r} within {ANSWER_LIMIT:g} s") from None

    async def _settle_clock(self) -> None:
        """The shortest of several round trips tells best what the other clock says."""
        best = None
        for _ in range(CLOCK_ROUNDS):
            before = time.perf_counter_ns()
            there = (await self._ask("clock"))["at"]
            after = time.perf_counter_ns()
            if best is None or after - before < best:
                best = after - before
                self._offset = there - (before + after) // 2
        if best is not None and abs(self._offset) <= best // 2:
            self._offset = 0  # cannot be told from none; native processes share one clock

    def _seconds(self, stamp: int) -> float:
        return (stamp - self._offset) / 1e9

    # ------------------------------------------------------------ hearing

    def _read(self) -> None:
        """In a thread of its own, until the supervisor's end."""
        assert self._process.stdout is not None
        tell = self._loop.call_soon_threadsafe
        try:
            for line in open(self._process.stdout.fileno(), "rb", closefd=False):  # noqa: SIM115 - closed below
                try:
                    message = json.loads(line)
                except ValueError:
                    self._noise.append(line.decode("utf-8", "replace").rstrip())
                else:
                    tell(self._heard, message)
            self._process.stdout.close()
            tell(self._ended, self._status())
        except RuntimeError:  # the loop is closed: nobody listens any more
            self._process.stdout.close()

    def _status(self) -> str:
        try:
            return f"with exit status {self._process.wait(STATUS_LIMIT)}"
        except subprocess.TimeoutExpired:
            return "its output, but it is running"

    def _heard(self, message: dict[str, Any]) -> None:
        match message.get("event"):
            case None:
                self._answered(message)
            case "hello":
                if not self._hello.done():
                    self._hello.set_result(message)
            case "output":
                self.output.append((self._seconds(message["at"]), message["text"].encode("latin-1")))
                self.on_output()
            case "exit" if not self.exit.done():
                self.exit.set_result(Exit(at=self._seconds(message["at"]), status=message["status"]))
            case "command":
                self._command_ended(message)
            case "gone" if not self.gone.done():
                self.gone.set_result(self._seconds(message["at"]))

    def _answered(self, message: dict[str, Any]) -> None:
        answer = self._answers.pop(message["id"], None)
        if answer is None or answer.done():
            return
        if "start" in message:
            answer.set_exception(StartRefused(message["error"]))
        elif "error" in message:
            answer.set_exception(SupervisorError(message["error"]))
        else:
            answer.set_result(message["ok"])

    def _command_ended(self, message: dict[str, Any]) -> None:
        done = self._commands.pop(message["id"], None)
        if done is not None and not done.done():  # somebody may have cancelled it
            done.set_result(CommandEnd(status=message["status"], output=message["output"]))

    def _ended(self, how: str) -> None:
        said = "\n".join(self._noise)
        self._broken = SupervisorError(f"the supervisor ended {how}" + (f"; it said:\n{said}" if said else ""))
        futures: list[asyncio.Future[Any]] = [self._hello, self.exit, self.gone]
        futures += [*self._answers.values(), *self._commands.values()]
        for waiting in futures:
            if not waiting.done():
                waiting.set_exception(self._broken)
                waiting.exception()  # marks it as seen: not every one of these is awaited


def _absolute(cwd: str | None) -> str | None:
    return None if cwd is None else os.path.abspath(cwd)
