"""The supervisor for Windows. Stdlib only; `run.py` starts it.

Contract: see protocol.py. It is to be started with CREATE_NO_WINDOW: a private hidden console, so that a control event
reaches this supervisor and its server tree and nobody else (learn.microsoft.com, "Process Creation Flags").
  stop requests  GenerateConsoleCtrlEvent(event, 0) through ctypes: everybody on the private console gets it. Not
                 os.kill: without a console CPython before 3.13 falls through to TerminateProcess.
  CTRL_C         SetConsoleCtrlHandler(NULL, FALSE) undoes an inherited "ignore CTRL_C", which children would inherit.
  containment    a job object with KILL_ON_JOB_CLOSE, joined by this process before it spawns: every descendant is a
                 member from birth, and all die with this process, however it dies. The tree is read from the job.
  exit status    unsigned; MARKER where this supervisor ended the process.
"""

from __future__ import annotations

import sys

assert sys.platform == "win32"

import contextlib
import ctypes
import msvcrt
import os
import subprocess
import threading
import time
import traceback
from collections.abc import Callable
from ctypes import wintypes
from typing import Any

from . import protocol
from .job import Handle, Job, checked, declare, k32, parents

EVENTS = {"terminate": ("CTRL_BREAK_EVENT", 1), "interrupt": ("CTRL_C_EVENT", 0)}
REACHES = ("leader", "group", "console")  # understood; an event always reaches the console
CREATE_SUSPENDED = 0x4
POLL_MS = 50  # job messages are a hint: "delivery is not guaranteed" (JOBOBJECT_ASSOCIATE_COMPLETION_PORT)
KILL_LIMIT = 5.0  # seconds
DRAIN_LIMIT = 1.0  # seconds for the output of a tree that is gone; nobody is left to write more

ConsoleHandler = ctypes.WINFUNCTYPE(wintypes.BOOL, wintypes.DWORD)
declare("SetConsoleCtrlHandler", wintypes.BOOL, ctypes.c_void_p, wintypes.BOOL)
declare("GenerateConsoleCtrlEvent", wintypes.BOOL, wintypes.DWORD, wintypes.DWORD)
ntdll = ctypes.WinDLL("ntdll")
ntdll.NtResumeProcess.argtypes = (Handle,)

# Called before Python's own handler (the newest is called first); true means handled. Lives as long as registered.
swallow = ConsoleHandler(lambda _event: 1)


class Supervisor:
    """Owns one server tree. The main thread serves requests; output, exit and job each have a thread that waits."""

    def __init__(self, job: Job) -> None:
        self._job = job
        self._channel = protocol.Channel(1)
        self._output = protocol.Output(self._channel)
        self._server: subprocess.Popen[bytes] | None = None
        self._readers: list[threading.Thread] = []
        self._exited = threading.Event()
        self._gone = threading.Event()
        self._commands: list[Job] = []  # one for each stop command, kept: what it started may stay
        self._handlers: dict[str, protocol.Handler] = {
            "clock": protocol.clock,
            "spawn": self._spawn,
            "deliver": self._deliver,
            "run": self._run,
            # Without a name: just begun (perhaps a console host) or just ending. It counts for "gone" all the same.
            "tree": lambda _: self._tree(),
            "output": lambda _: self._output.rest(),
            "kill": lambda _: self._kill(),
        }

    def serve(self) -> None:
        """Until end of input. Leaving closes the job's only handle, which ends whatever is left."""
        self._channel.send(protocol.hello("windows", {name: event for name, (event, _) in EVENTS.items()}, "job", ()))
        pending = b""
        while data := os.read(0, 65536):
            *lines, pending = (pending + data).split(b"\n")
            for line in lines:
                protocol.answer(self._channel, self._handlers, line)
        self._kill()

    def _popen(self, request: dict[str, Any], flags: int = 0) -> subprocess.Popen[bytes]:
        cwd = request.get("cwd")
        return subprocess.Popen(
            request["argv"],
            cwd=None if cwd is None else os.path.abspath(cwd),  # with a drive, which "/work" has not
            env={**os.environ, **request.get("env", {})},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            bufsize=0,
            creationflags=flags,
        )

    def _spawn(self, request: dict[str, Any]) -> dict[str, int]:
        if self._server is not None:
            raise protocol.Refused("one supervisor, one server: it was spawned already")
        refuse_starts(request)
        at = time.perf_counter_ns()
        server = self._server = self._popen(request)
        assert server.stdout is not None
        self._readers.append(start(read_all, server.stdout.fileno(), self._output.add))
        start(self._await_exit, server)
        return {"pid": server.pid, "at": at}

    def _await_exit(self, server: subprocess.Popen[bytes]) -> None:
        status = server.wait() & 0xFFFFFFFF
        self._channel.send({"event": "exit", "at": time.perf_counter_ns(), "status": status})
        self._exited.set()
        while self._members():
            self._job.wait(POLL_MS)
        at = time.perf_counter_ns()
        for reader in self._readers:
            reader.join(DRAIN_LIMIT)
        self._gone.set()
        self._channel.send({"event": "gone", "at": at})

    def _require_leader(self) -> None:
        if self._server is None:
            raise protocol.Refused("no server was spawned")
        if self._server.poll() is not None:
            raise protocol.Refused("the leader has exited")

    def _deliver(self, request: dict[str, Any]) -> dict[str, Any]:
        if request["stop"] not in EVENTS:
            raise protocol.Refused(f"Windows has no console event for {request['stop']!r}; it has {', '.join(EVENTS)}")
        protocol.known_reach(request, REACHES)
        self._require_leader()
        name, event = EVENTS[request["stop"]]
        at = time.perf_counter_ns()
        checked(k32.GenerateConsoleCtrlEvent(event, 0))
        return {"what": name, "reach": "console", "at": at}

    def _run(self, request: dict[str, Any]) -> dict[str, int]:
        limit = float(request["timeout"])
        self._require_leader()
        job = Job()
        at = time.perf_counter_ns()
        command = self._popen(request, CREATE_SUSPENDED)  # until it is in its job, and with it all that it starts
        handle = int(command._handle)  # type: ignore[attr-defined]
        job.add(handle)
        self._commands.append(job)
        ntdll.NtResumeProcess(handle)
        start(self._await_command, command, job, request["id"], limit)
        return {"at": at}

    def _await_command(self, command: subprocess.Popen[bytes], job: Job, request: int, limit: float) -> None:
        output = protocol.CommandOutput()
        assert command.stdout is not None
        reader = start(read_all, command.stdout.fileno(), output.add)
        status: int | None
        try:
            status = command.wait(limit) & 0xFFFFFFFF
        except subprocess.TimeoutExpired:
            status = None
            job.end()
        reader.join(DRAIN_LIMIT)
        self._channel.send({"event": "command", "id": request, "status": status, "output": output.text()})

    def _tree(self) -> list[dict[str, Any]]:
        above = parents()
        return [{"pid": pid, "parent": above.get(pid), "name": name} for pid, name in self._members() if name]

    def _members(self) -> list[tuple[int, str]]:
        return self._job.members(besides=tuple(self._commands))

    def _kill(self) -> dict[str, int]:
        at = time.perf_counter_ns()
        limit = time.monotonic() + KILL_LIMIT
        while self._server is not None and not self._gone.is_set() and time.monotonic() < limit:
            self._job.terminate(besides=tuple(self._commands))
            self._gone.wait(POLL_MS / 1000)
        return {"at": at}


def refuse_starts(request: dict[str, Any]) -> None:
    """A Windows process has no signals to begin with, and no namespace."""
    for option in ("ignored", "blocked"):
        if request.get(option):
            raise protocol.StartRefused(option, f"Windows has no signals that could be {option}: {request[option]}")
    if kind := request.get("namespace"):
        raise protocol.StartRefused(f"{kind}-namespace", f"Windows has no {kind} namespaces")


def start(target: Callable[..., None], *arguments: Any) -> threading.Thread:
    thread = threading.Thread(target=target, args=arguments, daemon=True)
    thread.start()
    return thread


def read_all(fd: int, keep: Callable[[bytes], None]) -> None:
    with contextlib.suppress(OSError):
        while data := os.read(fd, 65536):
            keep(data)


def main(_arguments: list[str]) -> None:
    for fd in (0, 1, 2):  # inherited handles stay inheritable: the server would hold the client's pipes open
        with contextlib.suppress(OSError):
            os.set_handle_inheritable(msvcrt.get_osfhandle(fd), False)
        with contextlib.suppress(OSError):
            msvcrt.setmode(fd, os.O_BINARY)
    checked(k32.SetConsoleCtrlHandler(None, False))
    checked(k32.SetConsoleCtrlHandler(swallow, True))
    try:
        Supervisor(Job.of_everything()).serve()
    except BaseException:
        traceback.print_exc()
    # Not by returning: Python would close the pipes, and the C runtime lets nobody close what another thread reads, so
    # this process would stay, its job open, for as long as somebody holds a pipe's other end.
    os._exit(0)
