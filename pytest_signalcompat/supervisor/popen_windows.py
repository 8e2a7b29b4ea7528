"""Starts a supervisor on Windows as a member of a job from its first moment.

CreateProcess resumes the new process's first thread last. Were the tests' process ended between the two, a supervisor
that is to join a job itself would stay suspended for ever. A job given at creation reaches it
(PROC_THREAD_ATTRIBUTE_JOB_LIST), and subprocess.Popen cannot give one
(learn.microsoft.com, "UpdateProcThreadAttribute"; docs.python.org, subprocess.STARTUPINFO.lpAttributeList).

Windows refuses that for a program of the Microsoft Store, such as its Python: it is created in a job of its package's
own (github.com/microsoft/WSL, src/windows/common/install.cpp, CallMsiPackage). There the job is given afterwards, if it
can be given at all, and what the supervisor does by itself has to do.
"""

from __future__ import annotations

import sys

assert sys.platform == "win32"

import contextlib
import ctypes
import io
import msvcrt
import os
import subprocess
from collections.abc import Iterator, Sequence
from ctypes import wintypes
from typing import Any

from .job import Handle, Job, Pointer, checked, declare, k32

CREATE_FLAGS = subprocess.CREATE_NO_WINDOW | 0x00080000  # EXTENDED_STARTUPINFO_PRESENT
USE_STD_HANDLES = 0x0100
HANDLE_LIST, JOB_LIST = 0x20002, 0x2000D
INFINITE = 0xFFFFFFFF
WAIT_TIMEOUT = 258


class StartupInfo(ctypes.Structure):
    """STARTUPINFOEXW; of its fields only those named in full matter here."""

    _fields_ = [
        ("size", wintypes.DWORD),
        ("_names", Pointer * 3),
        ("_window", wintypes.DWORD * 7),
        ("flags", wintypes.DWORD),
        ("_show", wintypes.WORD * 2),
        ("_reserved", Pointer),
        ("std_handles", Handle * 3),
        ("attributes", Pointer),
    ]


class ProcessInformation(ctypes.Structure):
    _fields_ = [("process", Handle), ("thread", Handle), ("pid", wintypes.DWORD), ("tid", wintypes.DWORD)]


Size = ctypes.c_size_t
declare("InitializeProcThreadAttributeList", wintypes.BOOL, Pointer, wintypes.DWORD, wintypes.DWORD, Pointer)
declare("UpdateProcThreadAttribute", wintypes.BOOL, Pointer, wintypes.DWORD, Size, Pointer, Size, Pointer, Pointer)
declare("DeleteProcThreadAttributeList", None, Pointer)
declare(
    "CreateProcessW",
    *(wintypes.BOOL, wintypes.LPCWSTR, wintypes.LPWSTR, Pointer, Pointer, wintypes.BOOL, wintypes.DWORD),
    *(Pointer, wintypes.LPCWSTR, Pointer, Pointer),
)
declare("WaitForSingleObject", wintypes.DWORD, Handle, wintypes.DWORD)
declare("GetExitCodeProcess", wintypes.BOOL, Handle, Pointer)


class Popen:
    """What the client uses of subprocess.Popen: pipes for input and for output with errors, no window, and a job.

    The job ends with this object's process, and with it the supervisor and all that is its. OSError if there is no
    such program.
    """

    def __init__(self, argv: Sequence[str]) -> None:
        self._job = Job.kill_on_close()
        theirs_in, ours_in = os.pipe()
        ours_out, theirs_out = os.pipe()
        handles = msvcrt.get_osfhandle(theirs_in), msvcrt.get_osfhandle(theirs_out)
        try:
            try:
                made = _create(argv, *handles, self._job)
            except PermissionError:
                made = _create(argv, *handles, None)
                k32.AssignProcessToJobObject(self._job.handle, made.process)
        except BaseException:
            os.close(ours_in)
            os.close(ours_out)
            raise
        finally:
            os.close(theirs_in)
            os.close(theirs_out)
        self.pid: int = made.pid
        self._handle = made.process
        self.stdin: io.FileIO | None = io.FileIO(ours_in, "wb")  # optional to a type checker only, as Popen's
        self.stdout: io.FileIO | None = io.FileIO(ours_out, "rb")
        self._status: int | None = None

    def wait(self, timeout: float | None = None) -> int:
        """The exit code. subprocess.TimeoutExpired after `timeout` seconds. From any thread, more than once."""
        if self._status is None:
            milliseconds = INFINITE if timeout is None else int(timeout * 1000)
            if k32.WaitForSingleObject(self._handle, milliseconds) == WAIT_TIMEOUT:
                raise subprocess.TimeoutExpired("the supervisor", timeout or 0.0)
            code = wintypes.DWORD()
            checked(k32.GetExitCodeProcess(self._handle, ctypes.byref(code)))
            self._status = code.value
        return self._status

    def kill(self) -> None:
        self._job.end()
        k32.TerminateProcess(self._handle, 1)  # where it is not in the job

    def __del__(self) -> None:
        if hasattr(self, "_handle"):
            k32.CloseHandle(self._handle)
        if hasattr(self, "_job"):
            self._job.close()


def _create(argv: Sequence[str], stdin: int, output: int, job: Job | None) -> ProcessInformation:
    """It inherits the two handles and nothing else. PermissionError where it cannot be born in that job."""
    handles = (Handle * 2)(stdin, output)
    for handle in (stdin, output):
        os.set_handle_inheritable(handle, True)
    attributes: dict[int, Any] = {HANDLE_LIST: handles}
    if job is not None:
        attributes[JOB_LIST] = (Handle * 1)(job.handle)
    made = ProcessInformation()
    with _attribute_list(attributes) as room:
        startup = StartupInfo(
            size=ctypes.sizeof(StartupInfo),
            flags=USE_STD_HANDLES,
            std_handles=(Handle * 3)(stdin, output, output),
            attributes=ctypes.addressof(room),
        )
        line = ctypes.create_unicode_buffer(subprocess.list2cmdline(argv))
        checked(
            k32.CreateProcessW(
                *(None, line, None, None, True, CREATE_FLAGS, None, None),
                *(ctypes.byref(startup), ctypes.byref(made)),
            )
        )
    k32.CloseHandle(made.thread)
    return made


@contextlib.contextmanager
def _attribute_list(values: dict[int, Any]) -> Iterator[Any]:
    size = Size()
    k32.InitializeProcThreadAttributeList(None, len(values), 0, ctypes.byref(size))  # fails, and tells the size
    room = ctypes.create_string_buffer(size.value)
    checked(k32.InitializeProcThreadAttributeList(room, len(values), 0, ctypes.byref(size)))
    try:
        for kind, value in values.items():
            checked(k32.UpdateProcThreadAttribute(room, 0, kind, value, ctypes.sizeof(value), None, None))
        yield room
    finally:
        k32.DeleteProcThreadAttributeList(room)
