"""Windows: a named pipe, with an access list of one entry: the user of this process, who also owns it.

Where another process has made that pipe already, making its first instance fails.
"""

from __future__ import annotations

import sys

assert sys.platform == "win32"

import contextlib
import time
from collections.abc import Iterator
from typing import Any, Final

import ntsecuritycon
import pywintypes
import win32api
import win32con
import win32event
import win32file
import win32pipe
import win32security
import winerror

from reference_server.control.contract import (
    AddressTaken,
    NobodyThere,
    NotAllowed,
    Stream,
    cannot,
    seconds_until,
)

KIND: Final = "pipe"
PREFIX: Final = "\\\\.\\pipe\\"
BUFFER: Final = 4096
# Not in pywin32: https://learn.microsoft.com/windows/win32/api/winbase/nf-winbase-createnamedpipea
PIPE_REJECT_REMOTE_CLIENTS: Final = 8
FILE_FLAG_FIRST_PIPE_INSTANCE: Final = 0x00080000
# A server that is not ours may learn who we are, but cannot act as us (CreateFile, dwFlagsAndAttributes).
IDENTIFY_ONLY: Final = 0x00100000 | 0x00010000  # SECURITY_SQOS_PRESENT, SECURITY_IDENTIFICATION


def default_address(port: int) -> str:
    return f"{PREFIX}reference_server-{port}"


def check_address(address: str) -> None:
    """ValueError unless a pipe of this machine can have that name."""
    name = address.removeprefix(PREFIX)
    if name == address or not name or len(name) > 200 or set(name) & set('\\/:*?"<>|'):
        raise ValueError(rf"expected a pipe of this machine, {PREFIX}NAME")


def find_address(port: int) -> str:
    return default_address(port)


@contextlib.contextmanager
def _os_errors() -> Iterator[None]:
    """pywintypes.error is no OSError."""
    try:
        yield
    except pywintypes.error as error:
        raise OSError(None, error.strerror, None, error.winerror) from None


def _me() -> Any:
    token = win32security.OpenProcessToken(win32api.GetCurrentProcess(), win32con.TOKEN_QUERY)
    user, _ = win32security.GetTokenInformation(token, win32security.TokenUser)
    return user


def _only_for_me() -> Any:
    """Protected: nothing is inherited. By default an administrator's pipe would belong to all administrators."""
    access = win32security.ACL()
    access.AddAccessAllowedAce(win32security.ACL_REVISION, ntsecuritycon.FILE_ALL_ACCESS, _me())
    descriptor = win32security.SECURITY_DESCRIPTOR()
    descriptor.SetSecurityDescriptorOwner(_me(), False)
    descriptor.SetSecurityDescriptorDacl(True, access, False)
    descriptor.SetSecurityDescriptorControl(win32security.SE_DACL_PROTECTED, win32security.SE_DACL_PROTECTED)
    attributes = win32security.SECURITY_ATTRIBUTES()
    attributes.SECURITY_DESCRIPTOR = descriptor
    return attributes


def _check_owner(handle: Any, address: str) -> None:
    """NotAllowed unless the pipe is this user's: another one may have made it first, and nobody can give one away."""
    found = win32security.GetSecurityInfo(
        handle, win32security.SE_KERNEL_OBJECT, win32security.OWNER_SECURITY_INFORMATION
    )
    owner: Any = found.GetSecurityDescriptorOwner()
    if owner != _me():
        whose = win32security.ConvertSidToStringSid(owner) if owner else "unknown"
        raise NotAllowed(f"control address {address}: expected a pipe of this user, its owner is {whose}")


def _claim(address: str, attributes: Any) -> Any:
    """A name that one process has, and that is free when that process is gone: a pipe's is its clients', too."""
    name = f"Global\\{address.removeprefix(PREFIX)}"
    try:
        mutex = win32event.CreateMutex(attributes, False, name)
    except pywintypes.error:  # another user's
        raise AddressTaken(address) from None
    if win32api.GetLastError() == winerror.ERROR_ALREADY_EXISTS:
        mutex.Close()
        raise AddressTaken(address)
    return mutex


class Operation:
    """An overlapped operation: begun with `overlapped`, then awaited up to a deadline, or cancelled."""

    def __init__(self, handle: Any) -> None:
        self._handle = handle
        self.overlapped: Any = pywintypes.OVERLAPPED()
        self.overlapped.hEvent = win32event.CreateEvent(None, True, False, None)

    def result(self, deadline: float) -> int:
        """How many bytes."""
        seconds = seconds_until(deadline)
        limit = win32event.INFINITE if seconds is None else max(1, int(seconds * 1000))
        if win32event.WaitForSingleObject(self.overlapped.hEvent, limit) != win32event.WAIT_OBJECT_0:
            self.cancel()
            raise TimeoutError
        return int(win32file.GetOverlappedResult(self._handle, self.overlapped, False))

    def cancel(self) -> None:
        """Returns when the system is done with the buffer."""
        win32file.CancelIo(self._handle)
        with contextlib.suppress(pywintypes.error):
            win32file.GetOverlappedResult(self._handle, self.overlapped, True)


class PipeStream:
    def __init__(self, handle: Any) -> None:
        self._handle = handle

    def receive(self, size: int, deadline: float) -> bytes:
        operation = Operation(self._handle)
        buffer: Any = win32file.AllocateReadBuffer(size)
        try:
            win32file.ReadFile(self._handle, buffer, operation.overlapped)
            return bytes(buffer[: operation.result(deadline)])
        except pywintypes.error:
            return b""  # the other side is gone

    def send(self, data: bytes, deadline: float) -> None:
        operation = Operation(self._handle)
        with _os_errors():
            win32file.WriteFile(self._handle, data, operation.overlapped)
            operation.result(deadline)

    def close(self) -> None:
        self._handle.Close()

    def leave_open(self) -> None:
        self._handle.Detach()


class Listener:
    """Raises AddressTaken or ControlError. There is always one free instance of the pipe: the next client's."""

    def __init__(self, address: str) -> None:
        self.address = address
        self._attributes = _only_for_me()
        self._claim: Any = _claim(address, self._attributes)
        self._woken: Any = win32event.CreateEvent(None, True, False, None)
        try:
            with _os_errors():
                self._free = self._instance(FILE_FLAG_FIRST_PIPE_INSTANCE)
        except OSError as error:
            self._claim.Close()
            if error.winerror in (winerror.ERROR_ACCESS_DENIED, winerror.ERROR_PIPE_BUSY):
                raise AddressTaken(address) from None
            raise cannot("make control pipe", address, error) from None

    def _instance(self, flags: int = 0) -> Any:
        return win32pipe.CreateNamedPipe(
            self.address,
            win32con.PIPE_ACCESS_DUPLEX | win32con.FILE_FLAG_OVERLAPPED | flags,
            win32con.PIPE_TYPE_BYTE | PIPE_REJECT_REMOTE_CLIENTS,
            win32con.PIPE_UNLIMITED_INSTANCES,
            BUFFER,
            BUFFER,
            0,
            self._attributes,
        )

    def accept(self) -> Stream | None:
        """The next client, or None from `wake` on."""
        with _os_errors():
            operation = Operation(self._free)
            try:
                status = win32pipe.ConnectNamedPipe(self._free, operation.overlapped)
            except pywintypes.error as error:
                if error.winerror != winerror.ERROR_NO_DATA:
                    raise
                status = winerror.ERROR_PIPE_CONNECTED  # connected and gone again: its end is read next
            if status == winerror.ERROR_IO_PENDING:
                events = [self._woken, operation.overlapped.hEvent]
                if win32event.WaitForMultipleObjects(events, False, win32event.INFINITE) == win32event.WAIT_OBJECT_0:
                    operation.cancel()
            if win32event.WaitForSingleObject(self._woken, 0) == win32event.WAIT_OBJECT_0:
                return None
            connected, self._free = self._free, self._instance()
        return PipeStream(connected)

    def wake(self) -> None:
        win32event.SetEvent(self._woken)

    def close(self) -> None:
        self._free.Close()
        self._claim.Close()


def connect(address: str, deadline: float) -> Stream:
    """Raises NobodyThere, NotAllowed or ControlError."""
    access = win32con.GENERIC_READ | win32con.GENERIC_WRITE
    flags = win32con.FILE_FLAG_OVERLAPPED | IDENTIFY_ONLY
    while True:
        try:
            with _os_errors():
                handle: Any = win32file.CreateFile(address, access, 0, None, win32con.OPEN_EXISTING, flags, None)
                _check_owner(handle, address)
                return PipeStream(handle)
        except OSError as error:
            if error.winerror == winerror.ERROR_FILE_NOT_FOUND:
                raise NobodyThere(address) from None
            left = deadline - time.monotonic()
            if error.winerror != winerror.ERROR_PIPE_BUSY or left <= 0:
                raise cannot("connect to control address", address, error) from None
        with contextlib.suppress(pywintypes.error):  # taken by another client, or no longer there: look again
            win32pipe.WaitNamedPipe(address, max(1, int(left * 1000)))
