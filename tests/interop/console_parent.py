"""Windows: starts a server on a private console, sends it console events, and tells how it ended.

    python console_parent.py ARGUMENT...    the server is this Python with these arguments

Standard input: `break` or `interrupt`, a line each; its end ends everything. Standard output: `sent`, then
`exit CODE LEFT...` with the pids of what the server left behind. The server has this process's standard error.
"""

import ctypes
import os
import subprocess
import sys
import threading
from ctypes import wintypes

PRIVATE = "--on-a-private-console"
EVENTS = {"interrupt": 0, "break": 1}  # CTRL_C_EVENT, CTRL_BREAK_EVENT
GRACE = 500  # milliseconds for processes that are just ending
SYNCHRONIZE, TERMINATE, QUERY = 0x00100000, 0x0001, 0x1000
BASIC_PROCESS_ID_LIST = 3  # JOBOBJECTINFOCLASS

kernel32 = ctypes.WinDLL("kernel32", use_last_error=True)
kernel32.CreateJobObjectW.restype = wintypes.HANDLE
kernel32.GetCurrentProcess.restype = wintypes.HANDLE
kernel32.OpenProcess.restype = wintypes.HANDLE
kernel32.AssignProcessToJobObject.argtypes = [wintypes.HANDLE, wintypes.HANDLE]
kernel32.QueryInformationJobObject.argtypes = [
    *(wintypes.HANDLE, ctypes.c_int, ctypes.c_void_p),
    *(wintypes.DWORD, ctypes.c_void_p),
]
kernel32.WaitForSingleObject.argtypes = [wintypes.HANDLE, wintypes.DWORD]
kernel32.TerminateProcess.argtypes = [wintypes.HANDLE, wintypes.UINT]
kernel32.QueryFullProcessImageNameW.argtypes = [wintypes.HANDLE, wintypes.DWORD, wintypes.LPWSTR, ctypes.c_void_p]


class Members(ctypes.Structure):
    _fields_ = (("assigned", wintypes.DWORD), ("listed", wintypes.DWORD), ("pids", ctypes.c_size_t * 64))


def true(result: int, what: str) -> int:
    if not result:
        raise OSError(f"{what} failed: error {ctypes.get_last_error()}")
    return result


def joined_job() -> int:
    """Every process that this one starts from now on is a member."""
    job = true(kernel32.CreateJobObjectW(None, None), "CreateJobObject")
    true(kernel32.AssignProcessToJobObject(job, kernel32.GetCurrentProcess()), "AssignProcessToJobObject")
    return job


def others(job: int) -> list[int]:
    """Members that outlast a short grace, without this process and the console's host."""
    members = Members()
    answer = kernel32.QueryInformationJobObject(
        job, BASIC_PROCESS_ID_LIST, ctypes.byref(members), ctypes.sizeof(members), None
    )
    true(answer, "QueryInformationJobObject")
    return [pid for pid in members.pids[: members.listed] if pid != os.getpid() and lasts(pid)]


def lasts(pid: int) -> bool:
    process = kernel32.OpenProcess(SYNCHRONIZE | QUERY, False, pid)
    if not process:
        return False
    name, size = ctypes.create_unicode_buffer(1024), wintypes.DWORD(1024)
    kernel32.QueryFullProcessImageNameW(process, 0, name, ctypes.byref(size))
    is_host = name.value.lower().endswith("conhost.exe")
    return not is_host and kernel32.WaitForSingleObject(process, GRACE) != 0


def end(pids: list[int]) -> None:
    for pid in pids:
        process = kernel32.OpenProcess(TERMINATE, False, pid)
        if process:
            kernel32.TerminateProcess(process, 1)


@ctypes.WINFUNCTYPE(wintypes.BOOL, wintypes.DWORD)
def unmoved(event: int) -> bool:
    """The console events are for the server; they reach this process as well."""
    return event in EVENTS.values()


def main(arguments: list[str]) -> None:
    true(kernel32.SetConsoleCtrlHandler(unmoved, True), "SetConsoleCtrlHandler")
    job = joined_job()
    server = subprocess.Popen([sys.executable, *arguments], stdin=subprocess.DEVNULL, stdout=2)

    def report() -> None:
        code = server.wait()
        print("exit", code, *others(job), flush=True)

    threading.Thread(target=report, daemon=True).start()
    for line in sys.stdin:
        true(kernel32.GenerateConsoleCtrlEvent(EVENTS[line.strip()], 0), "GenerateConsoleCtrlEvent")
        print("sent", flush=True)
    end(others(job))


if __name__ == "__main__":
    if sys.argv[1] == PRIVATE:
        main(sys.argv[2:])
    else:
        # Wine gives a process that Linux started no console of its own, so a Windows process starts the real one.
        inner = subprocess.Popen(
            [sys.executable, __file__, PRIVATE, *sys.argv[1:]],
            creationflags=subprocess.CREATE_NO_WINDOW,
            stdin=0,
            stdout=1,
            stderr=2,
        )
        sys.exit(inner.wait())
