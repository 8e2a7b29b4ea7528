"""Job objects, as a supervisor uses them: learn.microsoft.com, "Job Objects"."""

import ctypes
import time
from ctypes import wintypes

k32 = ctypes.WinDLL("kernel32", use_last_error=True)
for _name in ("CreateJobObjectW", "GetCurrentProcess", "OpenProcess", "CreateIoCompletionPort"):
    getattr(k32, _name).restype = wintypes.HANDLE

SYNCHRONIZE, PROCESS_ALL_ACCESS, WAIT_TIMEOUT = 0x00100000, 0x1F0FFF, 0x102
INVALID_HANDLE = wintypes.HANDLE(-1)

# winnt.h: JOBOBJECTINFOCLASS and JOB_OBJECT_MSG_*
BASIC_PROCESS_ID_LIST, ASSOCIATE_COMPLETION_PORT, EXTENDED_LIMIT = 3, 7, 9
KILL_ON_JOB_CLOSE = 0x2000
ACTIVE_PROCESS_ZERO, NEW_PROCESS, EXIT_PROCESS, ABNORMAL_EXIT_PROCESS = 4, 6, 7, 8


class Limits(ctypes.Structure):  # JOBOBJECT_EXTENDED_LIMIT_INFORMATION, as far as it is used
    _fields_ = [("times", ctypes.c_int64 * 2), ("flags", wintypes.DWORD), ("rest", ctypes.c_byte * 124)]


class Association(ctypes.Structure):  # JOBOBJECT_ASSOCIATE_COMPLETION_PORT
    _fields_ = [("key", ctypes.c_void_p), ("port", wintypes.HANDLE)]


class Members(ctypes.Structure):  # JOBOBJECT_BASIC_PROCESS_ID_LIST
    _fields_ = [("assigned", wintypes.DWORD), ("listed", wintypes.DWORD), ("pids", ctypes.c_size_t * 64)]


def need(done: int, what: str) -> None:
    if not done:
        raise OSError(f"{what}: {ctypes.WinError(ctypes.get_last_error())}")


def tell(job: wintypes.HANDLE, what: int, value: ctypes.Structure) -> None:
    done = k32.SetInformationJobObject(job, what, ctypes.byref(value), ctypes.sizeof(value))
    need(done, f"SetInformationJobObject {what}")


def kill_on_close_job() -> wintypes.HANDLE:
    job = wintypes.HANDLE(k32.CreateJobObjectW(None, None))
    limits = Limits(flags=KILL_ON_JOB_CLOSE)
    assert ctypes.sizeof(limits) == 144
    tell(job, EXTENDED_LIMIT, limits)
    return job


def assign(job: wintypes.HANDLE, process: wintypes.HANDLE) -> None:
    need(k32.AssignProcessToJobObject(job, process), "AssignProcessToJobObject")


def members(job: wintypes.HANDLE) -> set[int]:
    found = Members()
    size = ctypes.sizeof(found)
    done = k32.QueryInformationJobObject(job, BASIC_PROCESS_ID_LIST, ctypes.byref(found), size, None)
    need(done, "QueryInformationJobObject")
    return set(found.pids[: found.listed])


def completion_port(job: wintypes.HANDLE) -> wintypes.HANDLE:
    port = wintypes.HANDLE(k32.CreateIoCompletionPort(INVALID_HANDLE, None, None, 0))
    tell(job, ASSOCIATE_COMPLETION_PORT, Association(key=1, port=port))
    return port


def messages(port: wintypes.HANDLE, until: int, seconds: float = 5) -> list[tuple[int, int]]:
    """(message, pid) in order of arrival, up to and with the first `until`, or what has come in time."""
    got: list[tuple[int, int]] = []
    deadline = time.monotonic() + seconds
    message, key, pid = wintypes.DWORD(), ctypes.c_size_t(), ctypes.c_void_p()
    into = [ctypes.byref(value) for value in (message, key, pid)]
    while not (got and got[-1][0] == until) and time.monotonic() < deadline:
        if k32.GetQueuedCompletionStatus(port, *into, 100):
            got.append((message.value, pid.value or 0))
    return got


def open_process(pid: int, access: int) -> wintypes.HANDLE:
    return wintypes.HANDLE(k32.OpenProcess(access, 0, pid))


def alive(pid: int) -> bool:
    handle = open_process(pid, SYNCHRONIZE)
    return bool(handle) and k32.WaitForSingleObject(handle, 0) == WAIT_TIMEOUT
