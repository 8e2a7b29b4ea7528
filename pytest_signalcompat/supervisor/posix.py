"""The supervisor for Linux, macOS and other POSIX systems. Stdlib only; `run.py` starts it.

Contract: see protocol.py. The server gets a session of its own (a server may signal its whole process group; sanic
kills it), default signal dispositions and an empty signal mask (only SIG_IGN and the mask survive exec, and a shell's
background job has SIGINT and SIGQUIT ignored: POSIX.1 XCU 2.11), no core dumps, and a drained output pipe.
`subreaper.py` holds its tree together on Linux; elsewhere, or with `--containment session`, `session.py` does.
"""

from __future__ import annotations

import contextlib
import os
import selectors
import signal
import subprocess
import sys
import time
from typing import Any

assert sys.platform != "win32"  # for type checkers, which otherwise look for these functions on Windows

from . import dispositions, namespace, protocol
from .containment import COMMAND_VARIABLE, NOBODY, Containment
from .pipe import Pipe

SIGNALS = {"terminate": "SIGTERM", "interrupt": "SIGINT", "quit": "SIGQUIT", "hangup": "SIGHUP"}
REACHES = ("leader", "group")
LEAVE = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)  # sent to this process: kill everything and leave
KILL_LIMIT = 5.0  # seconds; a process in uninterruptible sleep does not die
CLEANER_LIMIT = 1.0  # seconds for cleaners (containment.py), from the first kill


class LeaderExited(protocol.Refused):
    """What a request wants to reach is not there any more."""


class Supervisor:
    """Owns one server tree. Single-threaded: everything that happens arrives at one selector."""

    def __init__(self, containment: Containment, token: str) -> None:
        self._containment = containment
        self._token = token
        self._starts = ("ignored", "blocked", *["pid-namespace"] * (containment.adopts and namespace.likely()))
        self._channel = protocol.Channel(1)
        self._output = protocol.Output(self._channel)
        self._selector = selectors.DefaultSelector()
        self._leader = NOBODY
        self._pipe: Pipe | None = None
        self._exited = self._gone = self._leaving = False
        self._commands: dict[int, Command] = {}  # by pid; those that run
        self._commanded = False  # whether there ever was one
        self._pending = b""
        self._handlers: dict[str, protocol.Handler] = {
            "clock": protocol.clock,
            "spawn": self._spawn,
            "deliver": self._deliver,
            "run": self._run,
            "tree": lambda _: self._tree(),
            "output": lambda _: self._output.rest(),
            "kill": lambda _: self._kill(),
        }

    def serve(self) -> None:
        """Until end of input, or a signal that means leave; then nothing of the tree is left."""
        wake, waker = os.pipe()
        os.set_blocking(waker, False)
        os.set_blocking(wake, False)
        signal.set_wakeup_fd(waker, warn_on_full_buffer=False)
        for number in (signal.SIGCHLD, *LEAVE):
            signal.signal(number, lambda *_: None)
        self._selector.register(wake, selectors.EVENT_READ, self._signalled)
        self._selector.register(0, selectors.EVENT_READ, self._requested)
        self._channel.send(protocol.hello("posix", SIGNALS, self._containment.name, self._starts))
        try:
            while not self._leaving:
                for key, _ in self._selector.select(self._timeout()):
                    # An earlier event of this round may have closed it.
                    if self._selector.get_map().get(key.fd) == key:
                        key.data(key.fd)
                self._settle()
        finally:
            self._kill(leaving=True)

    def _timeout(self) -> float | None:
        waits = [max(0.0, command.deadline - time.monotonic()) for command in self._commands.values()]
        if self._ending and (poll := self._containment.poll()) is not None:
            waits.append(poll)
        return min(waits, default=None)

    def _signalled(self, wake: int) -> None:
        if set(os.read(wake, 4096)) & set(LEAVE):
            self._leaving = True
        self._reap()

    def _requested(self, stdin: int) -> None:
        data = os.read(stdin, 65536)
        *lines, self._pending = (self._pending + data).split(b"\n")
        for line in lines:
            protocol.answer(self._channel, self._handlers, line)
        self._leaving |= not data

    def _settle(self) -> None:
        """What follows from the passing of time rather than from an event."""
        for command in list(self._commands.values()):
            if time.monotonic() >= command.deadline:
                self._finish(command, None)
        if self._ending and self._containment.poll() is not None:
            self._reap()

    @property
    def _ending(self) -> bool:
        return self._exited and not self._gone

    # ------------------------------------------------------------ the server

    def _popen(self, request: dict[str, Any], environment: dict[str, str], prepare: Any = None) -> Any:
        """`prepare` runs in the child, before exec: safe here, where no other thread can hold a lock when it is forked
        (docs.python.org, subprocess.Popen, preexec_fn)."""
        return subprocess.Popen(
            request["argv"],
            cwd=request.get("cwd"),
            env={**os.environ, **self._containment.environment, **environment, **request.get("env", {})},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            bufsize=0,
            start_new_session=True,
            preexec_fn=prepare,
        )

    def _spawn(self, request: dict[str, Any]) -> dict[str, int]:
        if self._leader != NOBODY:
            raise protocol.Refused("one supervisor, one server: it was spawned already")
        inherited = dispositions.Inherited(request)
        at = time.perf_counter_ns()
        if request.get("namespace") is None:
            process = self._popen(request, {}, inherited.take_on if inherited else None)
            process.returncode = 0  # so that Popen never waits for it: `_reap` does
            self._leader = process.pid
        else:
            process, self._leader = self._spawn_in_namespace(request, inherited)
        self._pipe = Pipe(self._selector, process.stdout, self._output.add)
        return {"pid": self._leader, "at": at}

    def _spawn_in_namespace(self, request: dict[str, Any], inherited: dispositions.Inherited) -> tuple[Any, int]:
        name = f"{request['namespace']}-namespace"
        if name not in self._starts:
            raise protocol.StartRefused(name, f"no {name} here; there is: {', '.join(self._starts)}")

        def prepare() -> None:
            entrance.enter()
            inherited.take_on()

        with namespace.Entrance() as entrance:
            try:
                process = self._popen(request, {}, prepare)
            except subprocess.SubprocessError as problem:
                reason = entrance.news()[1] or problem
                raise protocol.StartRefused(name, f"cannot make a {name}: {reason}") from None
            process.wait()  # it has ended, or is about to, and the server is a child of this process
            first, _ = entrance.news()
            assert first is not None
            return process, first

    def _require_leader(self) -> None:
        if self._leader == NOBODY:
            raise protocol.Refused("no server was spawned")
        self._reap()  # so that a pid is never signalled after its process was waited for
        if self._exited:
            raise LeaderExited("the leader has exited")

    def _deliver(self, request: dict[str, Any]) -> dict[str, Any]:
        name = SIGNALS.get(request["stop"])
        if name is None:
            raise protocol.Refused(f"unknown stop request {request['stop']!r}; known: {', '.join(SIGNALS)}")
        reach = protocol.known_reach(request, REACHES)
        try:
            self._require_leader()
        except LeaderExited:
            if reach != "group" or self._gone:  # its number is taken as long as somebody is in its group
                raise
        at = time.perf_counter_ns()
        try:
            (os.killpg if reach == "group" else os.kill)(self._leader, signal.Signals[name])
        except ProcessLookupError:
            raise protocol.Refused("nobody is left in the group") from None
        return {"what": name, "reach": reach, "at": at}

    # ------------------------------------------------------------ stop commands

    def _run(self, request: dict[str, Any]) -> dict[str, int]:
        limit = float(request["timeout"])
        self._require_leader()
        at = time.perf_counter_ns()
        process = self._popen(request, {COMMAND_VARIABLE: self._token})
        self._commanded = True
        self._commands[process.pid] = Command(process, request["id"], limit, self._selector)
        return {"at": at}

    def _finish(self, command: Command, status: int | None) -> None:
        del self._commands[command.pid]
        if status is None:
            with contextlib.suppress(OSError):  # it is ending just now
                os.killpg(command.pid, signal.SIGKILL)  # it was not waited for, so the number is its own
        self._channel.send(command.ended(status))

    # ------------------------------------------------------------ the tree

    def _tree(self) -> list[dict[str, Any]]:
        if self._leader == NOBODY:
            return []
        members = self._containment.members(self._leader, self._commands)
        return [{"pid": pid, "parent": parent, "name": name} for pid, parent, name in members]

    def _reap(self) -> bool:
        """Waits for every child that has ended, and tells of the leader and of the last of the tree.

        Returns whether no child is left.
        """
        _, none_left = self._wait_for_ended()
        # Without a stop command, children are left as long as the tree is; and what is no event must be looked for.
        while self._ending and (none_left or self._commanded):
            if not self._containment.empty(self._leader, self._commands, none_left):
                break
            # A child of ours that ends during a look may leave behind what that look missed.
            ended, none_left = self._wait_for_ended()
            if not ended:
                self._tell_gone()
        return none_left

    def _wait_for_ended(self) -> tuple[bool, bool]:
        """Whether some have ended, and whether none is left. Each status is seen, once: nobody else reaps."""
        some = False
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return some, True
            if pid == 0:
                return some, False
            some, code = True, os.waitstatus_to_exitcode(status)
            if pid == self._leader and not self._exited:
                self._exited = True
                if self._pipe is not None:
                    self._pipe.drain()  # what can be read when an exit is seen was written before it
                self._channel.send({"event": "exit", "at": time.perf_counter_ns(), "status": code})
            elif pid in self._commands:
                self._finish(self._commands[pid], code)

    def _tell_gone(self) -> None:
        at = time.perf_counter_ns()
        if self._pipe is not None:
            self._pipe.drain()
        self._gone = True
        self._channel.send({"event": "gone", "at": at})

    def _kill(self, leaving: bool = False) -> dict[str, int]:
        """Kills the tree; on leaving also stop commands, which may outlast it."""
        at = time.perf_counter_ns()
        begun = time.monotonic()
        while (passed := time.monotonic() - begun) < KILL_LIMIT:
            none_left = self._reap()
            if leaving:
                done = none_left and self._containment.empty(self._leader, None, none_left)
            else:
                done = self._gone or self._leader == NOBODY
            if done:
                break
            spared = None if leaving else self._commands
            self._containment.kill(self._leader, spared, sparing=passed < CLEANER_LIMIT)
            if self._pipe is not None and not self._gone:
                self._pipe.drain(pieces=1)  # a cleaner may have to warn
            time.sleep(0.001)  # death by SIGKILL is not at once; the next round sees it
        return {"at": at}


class Command:
    """A stop command that runs: its output is bounded, its end is awaited by the selector."""

    def __init__(self, process: Any, request: int, limit: float, selector: selectors.BaseSelector) -> None:
        process.returncode = 0  # so that Popen never waits for it: the supervisor does
        self.pid: int = process.pid
        self.deadline = time.monotonic() + limit
        self._request = request
        self._output = protocol.CommandOutput()
        self._pipe = Pipe(selector, process.stdout, self._output.add)

    def ended(self, status: int | None) -> dict[str, Any]:
        """The event that tells of it."""
        self._pipe.drain()
        self._pipe.close()
        return {"event": "command", "id": self._request, "status": status, "output": self._output.text()}


def main(arguments: list[str]) -> None:
    """Arguments: `--containment session` forces what macOS uses; `--psutil FOLDER` is where psutil can be imported."""
    options = dict(zip(arguments[::2], arguments[1::2], strict=False))
    dispositions.reset()
    token = f"{os.getpid()}-{time.time_ns()}"
    Supervisor(contain(options, token), token).serve()


def contain(options: dict[str, str], token: str) -> Containment:
    if options.get("--containment", "subreaper") == "subreaper" and sys.platform == "linux":
        from .subreaper import Subreaper

        return Subreaper(token)
    if "--psutil" not in options:
        sys.exit("psutil is needed here to find a server's processes: pip install psutil")
    from .session import Session

    return Session(options["--psutil"], token)
