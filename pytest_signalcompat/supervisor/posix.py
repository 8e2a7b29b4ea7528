"""The supervisor for Linux, macOS and other POSIX systems. Stdlib only; try it by hand: `python posix.py`.

Contract: see protocol.py. The server gets a session of its own (a server may signal its whole process group; sanic
kills it), default signal dispositions and an empty signal mask (only SIG_IGN and the mask survive exec, and a shell's
background job has SIGINT and SIGQUIT ignored: POSIX.1 XCU 2.11), no core dumps, and a drained output pipe.

Containment:
  subreaper  Linux. Orphans become children of this process (prctl(2), PR_SET_CHILD_SUBREAPER), so nobody can leave:
             waitpid(-1) failing with ECHILD *is* "the tree is gone". Exact, and free of pid reuse: a direct child's pid
             stays taken until this process has waited for it, and only direct children are signalled.
  session    elsewhere, or with `--containment session`: members are found by psutil as whoever carries this tree's
             environment variable, is in the server's session, or descends from it.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import resource
import selectors
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any, Protocol

assert sys.platform != "win32"  # for type checkers, which otherwise look for these functions on Windows

if TYPE_CHECKING or __package__:
    from . import protocol
else:  # run by file path under -I, which leaves the script's folder off sys.path
    sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
    import protocol

    del sys.path[0]

SIGNALS = {"terminate": "SIGTERM", "interrupt": "SIGINT", "quit": "SIGQUIT", "hangup": "SIGHUP"}
LEAVE = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)  # sent to this process: kill everything and leave
PR_SET_CHILD_SUBREAPER = 36
POLL = 0.02  # seconds; only the session containment polls: nothing tells it of an exit it is not the parent of
KILL_LIMIT = 5.0  # seconds; a process in uninterruptible sleep does not die
# multiprocessing (and loky, made after it) has a process that unlinks the named semaphores and shared memory of its
# users once all of them have ended, however: it reads a pipe that they hold. Killed with them, it leaves those behind.
CLEANER = "resource_tracker import main"  # in its command line: Lib/multiprocessing/resource_tracker.py
CLEANER_LIMIT = 1.0  # seconds for it, from the first kill
TREE_VARIABLE = "SIGNALCOMPAT_TREE"

NOBODY = -1  # in place of a pid

Member = tuple[int, str]  # pid, command line


class Containment(Protocol):
    name: str

    def members(self, leader: int, command: int = NOBODY) -> list[Member]:
        """The leader and all its descendants that run, without a stop command and what that started."""

    def kill(self, leader: int, sparing: bool) -> None:
        """One round of SIGKILL, `sparing` cleaners or not; the caller repeats it until nothing is left."""

    def empty(self, leader: int, no_children: bool) -> bool:
        """Whether the tree is gone, given whether waitpid said ECHILD."""


class Subreaper:
    name = "subreaper"

    def __init__(self) -> None:
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0):
            raise OSError(ctypes.get_errno(), "prctl(PR_SET_CHILD_SUBREAPER)")

    @staticmethod
    def _table() -> dict[int, list[tuple[int, int]]]:
        """(pid, session) of running processes by parent. proc(5): the command's name may hold spaces and brackets,
        so split behind the last ')'. A process whose first thread has ended is Z too, but has other threads."""
        children: dict[int, list[tuple[int, int]]] = {}
        for entry in os.listdir("/proc"):
            if not entry.isdigit():
                continue
            with contextlib.suppress(OSError), open(f"/proc/{entry}/stat", "rb") as file:
                fields = file.read().rpartition(b")")[2].split()
                state, parent, session, threads = fields[0], int(fields[1]), int(fields[3]), int(fields[17])
                if state != b"Z" or threads > 1:
                    children.setdefault(parent, []).append((int(entry), session))
        return children

    def members(self, leader: int, command: int = NOBODY) -> list[Member]:
        children = self._table()
        found, queue = [], list(children.get(os.getpid(), ()))
        while queue:
            pid, session = queue.pop(0)
            if command in (pid, session):
                continue
            queue += children.get(pid, ())
            with contextlib.suppress(OSError):
                found.append((pid, self._command_line(pid)[:300]))
        return found

    @staticmethod
    def _command_line(pid: int) -> str:
        with open(f"/proc/{pid}/cmdline", "rb") as file:
            return file.read().replace(b"\0", b" ").decode("utf-8", "replace").strip()

    def kill(self, leader: int, sparing: bool) -> None:
        # Parents first: their children then become ours, and a parent that respawns is dead before its children.
        for pid, _ in self._table().get(os.getpid(), ()):
            with contextlib.suppress(OSError):
                if not sparing or CLEANER not in self._command_line(pid):
                    os.kill(pid, signal.SIGKILL)

    def empty(self, leader: int, no_children: bool) -> bool:
        return no_children


class Session:
    name = "session"

    def __init__(self, psutil_folder: str, token: str) -> None:
        sys.path.insert(0, psutil_folder)
        import psutil

        del sys.path[0]
        self._psutil = psutil
        self._token = token

    def _processes(self, leader: int) -> list[Any]:
        psutil, found = self._psutil, {}
        every = {process.pid: process for process in psutil.process_iter()}
        for pid, process in every.items():
            if pid == os.getpid():
                continue
            with contextlib.suppress(psutil.Error, OSError):
                ours = os.getsid(pid) == leader or process.environ().get(TREE_VARIABLE) == self._token
                if ours and (process.status() != psutil.STATUS_ZOMBIE or process.num_threads() > 1):
                    found[pid] = process
        for process in list(found.values()):
            with contextlib.suppress(psutil.Error, OSError):
                found.update({child.pid: child for child in process.children(recursive=True)})
        return list(found.values())

    def members(self, leader: int, command: int = NOBODY) -> list[Member]:
        found, besides = [], {command}
        with contextlib.suppress(self._psutil.Error, ValueError):  # ValueError: NOBODY
            besides |= {child.pid for child in self._psutil.Process(command).children(recursive=True)}
        for process in self._processes(leader):
            with contextlib.suppress(self._psutil.Error, OSError):
                if process.pid not in besides and os.getsid(process.pid) != command:
                    found.append((process.pid, self._command_line(process)[:300]))
        return found

    def _command_line(self, process: Any) -> str:
        # A zombie, or one whose first thread has ended; or somebody else's.
        with contextlib.suppress(self._psutil.ZombieProcess, self._psutil.AccessDenied):
            return " ".join(process.cmdline())
        return ""

    def kill(self, leader: int, sparing: bool) -> None:
        for process in self._processes(leader):
            with contextlib.suppress(self._psutil.Error, OSError):
                if not sparing or CLEANER not in self._command_line(process):
                    process.kill()

    def empty(self, leader: int, no_children: bool) -> bool:
        return no_children and not self._processes(leader)


def reset_inherited_state() -> None:
    """So that neither this process nor the server starts with what a shell, nohup or a careless parent left behind."""
    for number in signal.valid_signals():
        with contextlib.suppress(OSError, ValueError, TypeError):
            if signal.getsignal(number) is signal.SIG_IGN:
                signal.signal(number, signal.SIG_DFL)
    # A client that has gone is an OSError. Popen gives children the default.
    signal.signal(signal.SIGPIPE, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    _, hard = resource.getrlimit(resource.RLIMIT_CORE)
    resource.setrlimit(resource.RLIMIT_CORE, (0, hard))  # SIGQUIT's default action dumps core


class Supervisor:
    """Owns one server tree. Single-threaded: everything that happens arrives at one selector."""

    def __init__(self, containment: Containment, environment: dict[str, str]) -> None:
        self._containment = containment
        self._environment = environment
        self._channel = protocol.Channel(1)
        self._output = protocol.Output(self._channel)
        self._selector = selectors.DefaultSelector()
        self._server: subprocess.Popen[bytes] | None = None
        self._exited = self._gone = self._leaving = False
        self._command: Command | None = None
        self._pending = b""
        self._handlers: dict[str, protocol.Handler] = {
            "clock": protocol.clock,
            "spawn": self._spawn,
            "deliver": self._deliver,
            "run": self._run,
            "tree": lambda _: [{"pid": pid, "name": name} for pid, name in self._members()],
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
        self._channel.send(hello(self._containment.name))
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
        polls = self._exited and not self._gone and self._containment.name == "session"
        if self._command is None:
            return POLL if polls else None
        left = max(0.0, self._command.deadline - time.monotonic())
        return min(left, POLL) if polls else left

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
        if self._command is not None and time.monotonic() >= self._command.deadline:
            self._finish_command(None)
        if self._exited and not self._gone and self._containment.name == "session":
            self._reap()

    # ------------------------------------------------------------ commands

    def _popen(self, request: dict[str, Any], **options: Any) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            request["argv"],
            cwd=request.get("cwd"),
            env={**os.environ, **self._environment, **request.get("env", {})},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            bufsize=0,
            start_new_session=True,
            **options,
        )

    def _spawn(self, request: dict[str, Any]) -> dict[str, int]:
        if self._server is not None:
            raise protocol.Refused("one supervisor, one server: it was spawned already")
        at = time.perf_counter_ns()
        self._server = self._popen(request)
        self._watch(self._server, self._output.add)
        return {"pid": self._server.pid, "at": at}

    def _watch(self, process: subprocess.Popen[bytes], keep: Any) -> None:
        assert process.stdout is not None
        fd = process.stdout.fileno()
        os.set_blocking(fd, False)
        self._selector.register(fd, selectors.EVENT_READ, lambda fd: self._drain(fd, keep, once=True))

    def _drain(self, fd: int, keep: Any, once: bool = False) -> None:
        """Reads what is there: one piece (so that requests keep being served), or until the pipe is empty."""
        while True:
            try:
                data = os.read(fd, 65536)
            except BlockingIOError:
                return
            if not data:
                with contextlib.suppress(KeyError):
                    self._selector.unregister(fd)
                return
            keep(data)
            if once:
                return

    def _deliver(self, request: dict[str, Any]) -> dict[str, Any]:
        name = SIGNALS.get(request["stop"])
        if name is None:
            raise protocol.Refused(f"unknown stop request {request['stop']!r}; known: {', '.join(SIGNALS)}")
        number = signal.Signals[name]
        if self._server is None:
            raise protocol.Refused("no server was spawned")
        to_group = request.get("reach", "leader") == "group"
        self._reap()  # so that a pid is never signalled after its process was waited for
        if self._exited and not to_group:
            raise protocol.Refused("the leader has exited")
        at = time.perf_counter_ns()
        try:
            (os.killpg if to_group else os.kill)(self._server.pid, number)
        except ProcessLookupError:
            raise protocol.Refused("nobody is left in the group") from None
        return {"what": name, "at": at}

    def _run(self, request: dict[str, Any]) -> Any:
        if self._command is not None:
            raise protocol.Refused("a command is running already")
        at = time.perf_counter_ns()
        process = self._popen(request)
        self._command = Command(process, request["id"], at, time.monotonic() + request["timeout"])
        self._watch(process, self._command.add)
        return protocol.LATER

    def _finish_command(self, status: int | None) -> None:
        command, self._command = self._command, None
        assert command is not None and command.process.stdout is not None
        ended = time.perf_counter_ns()
        if status is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(command.process.pid, signal.SIGKILL)
            command.process.returncode = -signal.SIGKILL  # so that Popen never waits for it: `_reap` does
        fd = command.process.stdout.fileno()
        self._drain(fd, command.add)
        with contextlib.suppress(KeyError):
            self._selector.unregister(fd)
        command.process.stdout.close()
        output = command.output.decode("utf-8", "replace")
        answer = {"status": status, "output": output, "at": command.at, "ended": ended}
        self._channel.send({"id": command.request, "ok": answer})

    # ------------------------------------------------------------ the tree

    def _members(self) -> list[Member]:
        if self._server is None:
            return []
        return self._containment.members(self._server.pid, self._command.process.pid if self._command else NOBODY)

    def _reap(self) -> bool:
        """Waits for every child that has ended; whether none is left. Each status is seen, once: nobody else reaps."""
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                self._no_children(True)
                return True
            if pid == 0:
                self._no_children(False)
                return False
            code = os.waitstatus_to_exitcode(status)
            if self._server is not None and pid == self._server.pid:
                self._exited = True
                self._server.returncode = code
                self._channel.send({"event": "exit", "at": time.perf_counter_ns(), "status": code})
            elif self._command is not None and pid == self._command.process.pid:
                self._command.process.returncode = code
                self._finish_command(code)

    def _no_children(self, none_left: bool) -> None:
        if not self._exited or self._gone or self._server is None:
            return
        if self._command is not None and not none_left:  # a stop command may outlast the server it stopped
            empty = not self._members()
        else:
            empty = self._containment.empty(self._server.pid, none_left)
        if empty:
            at = time.perf_counter_ns()
            assert self._server.stdout is not None
            self._drain(self._server.stdout.fileno(), self._output.add)
            self._gone = True
            self._channel.send({"event": "gone", "at": at})

    def _kill(self, leaving: bool = False) -> dict[str, int]:
        """Kills the tree; on leaving also a stop command, which may run before the server and after it."""
        at = time.perf_counter_ns()
        begun = time.monotonic()
        leader = self._server.pid if self._server else NOBODY
        while (passed := time.monotonic() - begun) < KILL_LIMIT:
            none_left = self._reap()
            if self._containment.empty(leader, none_left) if leaving else self._gone or self._server is None:
                break
            self._containment.kill(leader, sparing=passed < CLEANER_LIMIT)
            if self._server is not None and self._server.stdout is not None and not self._gone:
                self._drain(self._server.stdout.fileno(), self._output.add, once=True)  # a cleaner may have to warn
            time.sleep(0.001)  # death by SIGKILL is not at once; the next round sees it
        return {"at": at}


class Command:
    """A stop command that runs: its output is bounded, its end is awaited by the selector."""

    def __init__(self, process: subprocess.Popen[bytes], request: int, at: int, deadline: float) -> None:
        self.process, self.request, self.at, self.deadline = process, request, at, deadline
        self.output = b""

    def add(self, data: bytes) -> None:
        self.output = (self.output + data)[-protocol.COMMAND_OUTPUT :]


def hello(containment: str) -> dict[str, Any]:
    return {
        "event": "hello",
        "protocol": protocol.VERSION,
        "family": "posix",
        "system": sys.platform,
        "python": "{}.{}.{}".format(*sys.version_info[:3]),
        "executable": sys.executable,
        "stops": SIGNALS,
        "containment": containment,
    }


def main(arguments: list[str]) -> None:
    """Arguments: `--containment session` forces what macOS uses; `--psutil FOLDER` is where psutil can be imported."""
    options = dict(zip(arguments[::2], arguments[1::2], strict=False))
    reset_inherited_state()
    environment: dict[str, str] = {}
    containment: Containment
    if options.get("--containment", "subreaper") == "subreaper" and sys.platform == "linux":
        containment = Subreaper()
    else:
        if "--psutil" not in options:
            sys.exit("psutil is needed here to find a server's processes: pip install psutil")
        token = f"{os.getpid()}-{time.time_ns()}"
        environment[TREE_VARIABLE] = token
        containment = Session(options["--psutil"], token)
    Supervisor(containment, environment).serve()


if __name__ == "__main__":
    main(sys.argv[1:])
