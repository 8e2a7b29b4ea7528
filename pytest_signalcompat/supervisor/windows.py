"""The supervisor for Windows. Stdlib only. Start it with CREATE_NO_WINDOW, or it signals the console it was started on.

Contract: see protocol.py. CREATE_NO_WINDOW gives a private hidden console, so that a control event reaches this
supervisor and its server tree and nobody else (learn.microsoft.com, "Process Creation Flags").
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
import queue
import subprocess
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from ctypes import wintypes
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING or __package__:
    from . import protocol
else:  # run by file path under -I, which leaves the script's folder off sys.path
    sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
    import protocol

    del sys.path[0]

EVENTS = {"terminate": ("CTRL_BREAK_EVENT", 1), "interrupt": ("CTRL_C_EVENT", 0)}
MARKER = 0x53434B4C  # exit code of a process that this supervisor ended
POLL_MS = 50  # job messages are a hint: "delivery is not guaranteed" (JOBOBJECT_ASSOCIATE_COMPLETION_PORT)
KILL_LIMIT = 5.0  # seconds
DRAIN_LIMIT = 1.0  # seconds for the output of a tree that is gone; nobody is left to write more

JOB_BASIC_PROCESS_ID_LIST, JOB_COMPLETION_PORT, JOB_EXTENDED_LIMITS = 3, 7, 9
KILL_ON_JOB_CLOSE = 0x2000
PROCESS_TERMINATE, PROCESS_SET_QUOTA, PROCESS_QUERY_INFORMATION = 0x0001, 0x0100, 0x0400

Handle = wintypes.HANDLE
Pointer = ctypes.c_void_p
k32 = ctypes.WinDLL("kernel32", use_last_error=True)
ConsoleHandler = ctypes.WINFUNCTYPE(wintypes.BOOL, wintypes.DWORD)


class ExtendedLimits(ctypes.Structure):
    """JOBOBJECT_EXTENDED_LIMIT_INFORMATION; of its fields only LimitFlags matters here."""

    _fields_ = [
        ("times", ctypes.c_int64 * 2),
        ("flags", wintypes.DWORD),
        ("rest", ctypes.c_byte * (144 - 20 if ctypes.sizeof(ctypes.c_void_p) == 8 else 112 - 20)),
    ]


class PortAssociation(ctypes.Structure):
    _fields_ = [("key", ctypes.c_void_p), ("port", Handle)]


def declare(name: str, result: Any, *arguments: Any) -> None:
    function = getattr(k32, name)
    function.restype, function.argtypes = result, arguments


declare("CreateJobObjectW", Handle, ctypes.c_void_p, wintypes.LPCWSTR)
declare("SetInformationJobObject", wintypes.BOOL, Handle, ctypes.c_int, ctypes.c_void_p, wintypes.DWORD)
declare("QueryInformationJobObject", wintypes.BOOL, Handle, ctypes.c_int, Pointer, wintypes.DWORD, Pointer)
declare("AssignProcessToJobObject", wintypes.BOOL, Handle, Handle)
declare("IsProcessInJob", wintypes.BOOL, Handle, Handle, ctypes.POINTER(wintypes.BOOL))
declare("TerminateJobObject", wintypes.BOOL, Handle, wintypes.UINT)
declare("GetCurrentProcess", Handle)
declare("OpenProcess", Handle, wintypes.DWORD, wintypes.BOOL, wintypes.DWORD)
declare("TerminateProcess", wintypes.BOOL, Handle, wintypes.UINT)
declare("CloseHandle", wintypes.BOOL, Handle)
declare("CreateIoCompletionPort", Handle, Handle, Handle, ctypes.c_void_p, wintypes.DWORD)
declare("GetQueuedCompletionStatus", wintypes.BOOL, Handle, Pointer, Pointer, Pointer, wintypes.DWORD)
declare("QueryFullProcessImageNameW", wintypes.BOOL, Handle, wintypes.DWORD, wintypes.LPWSTR, ctypes.c_void_p)
declare("SetConsoleCtrlHandler", wintypes.BOOL, ctypes.c_void_p, wintypes.BOOL)
declare("GenerateConsoleCtrlEvent", wintypes.BOOL, wintypes.DWORD, wintypes.DWORD)


def checked(result: Any) -> Any:
    if not result:
        raise ctypes.WinError(ctypes.get_last_error())
    return result


# Called before Python's own handler (the newest is called first); true means handled. Lives as long as registered.
swallow = ConsoleHandler(lambda _event: 1)


class Job:
    """A job object. Its only handle is here and not inheritable."""

    def __init__(self) -> None:
        self.handle = checked(k32.CreateJobObjectW(None, None))
        self._port: Any = None

    @classmethod
    def kill_on_close(cls) -> Job:
        """Ends its members when its handle is closed, as at the end of this process, however that comes."""
        self = cls()
        self._set(JOB_EXTENDED_LIMITS, ExtendedLimits(flags=KILL_ON_JOB_CLOSE))
        return self

    @classmethod
    def of_everything(cls) -> Job:
        """Holds this process and everything it starts, and ends it all when its handle is closed."""
        self = cls.kill_on_close()
        self._port = checked(k32.CreateIoCompletionPort(Handle(-1), None, None, 1))
        self._set(JOB_COMPLETION_PORT, PortAssociation(1, self._port))
        checked(k32.AssignProcessToJobObject(self.handle, k32.GetCurrentProcess()))
        return self

    @classmethod
    def of_command(cls, pid: int) -> Job:
        """Holds a stop command and what it starts from now on, inside the other job (jobs nest since Windows 8)."""
        self = cls()
        process = k32.OpenProcess(PROCESS_SET_QUOTA | PROCESS_TERMINATE, False, pid)
        if process:  # it has not ended already
            k32.AssignProcessToJobObject(self.handle, process)
            k32.CloseHandle(process)
        return self

    def end(self) -> None:
        k32.TerminateJobObject(self.handle, MARKER)

    def close(self) -> None:
        k32.CloseHandle(self.handle)

    def _set(self, kind: int, record: ctypes.Structure) -> None:
        checked(k32.SetInformationJobObject(self.handle, kind, ctypes.byref(record), ctypes.sizeof(record)))

    def wait(self, milliseconds: int) -> None:
        """Until a member starts or ends, or the time is over."""
        number, key, overlapped = wintypes.DWORD(), ctypes.c_void_p(), ctypes.c_void_p()
        k32.GetQueuedCompletionStatus(
            self._port, ctypes.byref(number), ctypes.byref(key), ctypes.byref(overlapped), milliseconds
        )

    def pids(self) -> list[int]:
        """Every member but this process."""
        room = 64
        while True:

            class PidList(ctypes.Structure):
                _fields_ = [("assigned", wintypes.DWORD), ("listed", wintypes.DWORD), ("pids", ctypes.c_size_t * room)]

            found = PidList()
            done = k32.QueryInformationJobObject(
                self.handle, JOB_BASIC_PROCESS_ID_LIST, ctypes.byref(found), ctypes.sizeof(found), None
            )
            if done and found.listed == found.assigned:
                return [pid for pid in found.pids[: found.listed] if pid != os.getpid()]
            room = max(room * 2, found.assigned + 16)  # ERROR_MORE_DATA
            if room > 1 << 20:
                raise ctypes.WinError(ctypes.get_last_error())

    @contextlib.contextmanager
    def _member(self, pid: int, access: int) -> Iterator[int | None]:
        """A handle, if that pid still is a member: it may have ended, and its number may have been given away."""
        handle = k32.OpenProcess(access | PROCESS_QUERY_INFORMATION, False, pid)
        inside = wintypes.BOOL()
        try:
            ours = handle and k32.IsProcessInJob(handle, self.handle, ctypes.byref(inside)) and inside.value
            yield handle if ours else None
        finally:
            if handle:
                k32.CloseHandle(handle)

    def members(self) -> list[tuple[int, str]]:
        """(pid, image) of every member but this process and console hosts, which go with their console's last user."""
        found = []
        for pid in self.pids():
            with self._member(pid, 0) as handle:
                if handle is None:
                    continue
                name, size = ctypes.create_unicode_buffer(1024), wintypes.DWORD(1024)
                k32.QueryFullProcessImageNameW(handle, 0, name, ctypes.byref(size))
                if not name.value.lower().endswith("\\conhost.exe"):
                    found.append((pid, name.value))
        return found

    def terminate(self) -> None:
        for pid in self.pids():
            with self._member(pid, PROCESS_TERMINATE) as handle:
                if handle is not None:
                    k32.TerminateProcess(handle, MARKER)


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
        self._command: Job | None = None
        self._command_lock = threading.Lock()
        self._handlers: dict[str, protocol.Handler] = {
            "clock": protocol.clock,
            "spawn": self._spawn,
            "deliver": self._deliver,
            "run": self._run,
            # Without a name: just begun (perhaps a console host) or just ending. It counts for "gone" all the same.
            "tree": lambda _: [{"pid": pid, "name": name} for pid, name in self._members() if name],
            "output": lambda _: self._output.rest(),
            "kill": lambda _: self._kill(),
        }

    def serve(self) -> None:
        """Until end of input. Leaving closes the job's only handle, which ends whatever is left."""
        self._channel.send(hello())
        pending = b""
        while data := os.read(0, 65536):
            *lines, pending = (pending + data).split(b"\n")
            for line in lines:
                protocol.answer(self._channel, self._handlers, line)
        self._kill()

    def _popen(self, request: dict[str, Any]) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            request["argv"],
            cwd=request.get("cwd"),
            env={**os.environ, **request.get("env", {})},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            bufsize=0,
        )

    def _spawn(self, request: dict[str, Any]) -> dict[str, int]:
        if self._server is not None:
            raise protocol.Refused("one supervisor, one server: it was spawned already")
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

    def _deliver(self, request: dict[str, Any]) -> dict[str, Any]:
        if request["stop"] not in EVENTS:
            raise protocol.Refused(f"Windows has no console event for {request['stop']!r}; it has {', '.join(EVENTS)}")
        if self._server is None:
            raise protocol.Refused("no server was spawned")
        if self._server.poll() is not None:
            raise protocol.Refused("the leader has exited")
        name, event = EVENTS[request["stop"]]
        at = time.perf_counter_ns()
        checked(k32.GenerateConsoleCtrlEvent(event, 0))
        return {"what": name, "at": at}

    def _run(self, request: dict[str, Any]) -> Any:
        if self._command is not None:
            raise protocol.Refused("a command is running already")
        at = time.perf_counter_ns()
        command = self._popen(request)
        self._command = Job.of_command(command.pid)
        start(self._await_command, command, self._command, request, at)
        return protocol.LATER

    def _await_command(self, command: subprocess.Popen[bytes], job: Job, request: dict[str, Any], at: int) -> None:
        kept: queue.SimpleQueue[bytes] = queue.SimpleQueue()
        assert command.stdout is not None
        reader = start(read_all, command.stdout.fileno(), kept.put)
        status: int | None
        try:
            status = command.wait(request["timeout"]) & 0xFFFFFFFF
        except subprocess.TimeoutExpired:
            status = None
            job.end()
        ended = time.perf_counter_ns()
        reader.join(DRAIN_LIMIT)
        output = b"".join(kept.get() for _ in range(kept.qsize()))[-protocol.COMMAND_OUTPUT :]
        with self._command_lock:
            self._command = None
            job.close()
        answer = {"status": status, "output": output.decode("utf-8", "replace"), "at": at, "ended": ended}
        self._channel.send({"id": request["id"], "ok": answer})

    def _members(self) -> list[tuple[int, str]]:
        members = self._job.members()
        with self._command_lock:
            besides = self._command.pids() if self._command else []
        return [member for member in members if member[0] not in besides]

    def _kill(self) -> dict[str, int]:
        at = time.perf_counter_ns()
        limit = time.monotonic() + KILL_LIMIT
        while self._server is not None and not self._gone.is_set() and time.monotonic() < limit:
            self._job.terminate()
            self._gone.wait(POLL_MS / 1000)
        return {"at": at}


def start(target: Callable[..., None], *arguments: Any) -> threading.Thread:
    thread = threading.Thread(target=target, args=arguments, daemon=True)
    thread.start()
    return thread


def read_all(fd: int, keep: Callable[[bytes], None]) -> None:
    with contextlib.suppress(OSError):
        while data := os.read(fd, 65536):
            keep(data)


def hello() -> dict[str, Any]:
    return {
        "event": "hello",
        "protocol": protocol.VERSION,
        "family": "windows",
        "system": sys.platform,
        "python": "{}.{}.{}".format(*sys.version_info[:3]),
        "executable": sys.executable,
        "stops": {name: event for name, (event, _) in EVENTS.items()},
        "containment": "job",
    }


def main() -> None:
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


if __name__ == "__main__":
    main()
