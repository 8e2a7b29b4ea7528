"""Windows' job objects (learn.microsoft.com, "Job Objects"), and how the supervisor's files call the kernel."""

from __future__ import annotations

import sys

assert sys.platform == "win32"

import contextlib
import ctypes
import os
from collections.abc import Collection, Iterator
from ctypes import wintypes
from typing import Any

MARKER = 0x53434B4C  # exit code of a process that this supervisor ended

JOB_BASIC_PROCESS_ID_LIST, JOB_COMPLETION_PORT, JOB_EXTENDED_LIMITS = 3, 7, 9
KILL_ON_JOB_CLOSE = 0x2000
SNAPSHOT_PROCESSES = 0x2
PROCESS_TERMINATE, PROCESS_QUERY_INFORMATION = 0x0001, 0x0400

Handle = wintypes.HANDLE
Pointer = ctypes.c_void_p
k32 = ctypes.WinDLL("kernel32", use_last_error=True)


class ExtendedLimits(ctypes.Structure):
    """JOBOBJECT_EXTENDED_LIMIT_INFORMATION; of its fields only LimitFlags matters here."""

    _fields_ = [
        ("times", ctypes.c_int64 * 2),
        ("flags", wintypes.DWORD),
        ("rest", ctypes.c_byte * (144 - 20 if ctypes.sizeof(ctypes.c_void_p) == 8 else 112 - 20)),
    ]


class PortAssociation(ctypes.Structure):
    _fields_ = [("key", ctypes.c_void_p), ("port", Handle)]


class ProcessEntry(ctypes.Structure):
    """PROCESSENTRY32W; of its fields only the two ids matter here."""

    _fields_ = [
        ("size", wintypes.DWORD),
        ("_usage", wintypes.DWORD),
        ("pid", wintypes.DWORD),
        ("_heap", ctypes.c_size_t),
        ("_numbers", wintypes.DWORD * 2),
        ("parent", wintypes.DWORD),
        ("_priority", wintypes.LONG),
        ("_flags", wintypes.DWORD),
        ("_name", wintypes.WCHAR * 260),
    ]


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
declare("CreateToolhelp32Snapshot", Handle, wintypes.DWORD, wintypes.DWORD)
declare("Process32FirstW", wintypes.BOOL, Handle, Pointer)
declare("Process32NextW", wintypes.BOOL, Handle, Pointer)
declare("QueryFullProcessImageNameW", wintypes.BOOL, Handle, wintypes.DWORD, wintypes.LPWSTR, ctypes.c_void_p)


def checked(result: Any) -> Any:
    if not result:
        raise ctypes.WinError(ctypes.get_last_error())
    return result


def parents() -> dict[int, int]:
    """The id of each process's parent, which may have ended, and its number have been given to another."""
    found = {}
    snapshot = k32.CreateToolhelp32Snapshot(SNAPSHOT_PROCESSES, 0)
    entry = ProcessEntry(size=ctypes.sizeof(ProcessEntry))
    more = k32.Process32FirstW(snapshot, ctypes.byref(entry))
    while more:
        found[entry.pid] = entry.parent
        more = k32.Process32NextW(snapshot, ctypes.byref(entry))
    k32.CloseHandle(snapshot)
    return found


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

    def add(self, process: int) -> None:
        """Holds this process and what it starts from now on, inside the job it is in (jobs nest since Windows 8)."""
        k32.AssignProcessToJobObject(self.handle, Handle(process))

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

    def _holds(self, process: int) -> bool:
        inside = wintypes.BOOL()
        return bool(k32.IsProcessInJob(process, self.handle, ctypes.byref(inside)) and inside.value)

    @contextlib.contextmanager
    def _member(self, pid: int, access: int, besides: Collection[Job]) -> Iterator[int | None]:
        """A handle, if that pid still is a member: it may have ended, and its number may have been given away."""
        handle = k32.OpenProcess(access | PROCESS_QUERY_INFORMATION, False, pid)
        try:
            ours = handle and self._holds(handle) and not any(job._holds(handle) for job in besides)
            yield handle if ours else None
        finally:
            if handle:
                k32.CloseHandle(handle)

    def members(self, besides: Collection[Job] = ()) -> list[tuple[int, str]]:
        """(pid, image) of every member but this process, those `besides`, and console hosts, which go with their
        console's last user."""
        found = []
        for pid in self.pids():
            with self._member(pid, 0, besides) as handle:
                if handle is None:
                    continue
                name, size = ctypes.create_unicode_buffer(1024), wintypes.DWORD(1024)
                k32.QueryFullProcessImageNameW(handle, 0, name, ctypes.byref(size))
                if not name.value.lower().endswith("\\conhost.exe"):
                    found.append((pid, name.value))
        return found

    def terminate(self, besides: Collection[Job]) -> None:
        for pid in self.pids():
            with self._member(pid, PROCESS_TERMINATE, besides) as handle:
                if handle is not None:
                    k32.TerminateProcess(handle, MARKER)
