"""POSIX: a Unix socket, and a key file under flock.

The lock also keeps systemd-tmpfiles from clearing the key away: its ageing skips what somebody has locked, and sockets
that are in use (https://www.freedesktop.org/software/systemd/man/latest/tmpfiles.d.html, "Age").
"""

from __future__ import annotations

import sys

assert sys.platform != "win32"

import contextlib
import fcntl
import os
import selectors
import socket
import stat
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from reference_server.control.contract import (
    AddressTaken,
    ControlError,
    NobodyThere,
    Stream,
    cannot,
    new_key,
    seconds_until,
)

KIND: Final = "socket"
# sun_path holds 108 bytes on Linux (unix(7)), 104 on macOS and BSD, with a zero at the end.
LONGEST: Final = 103
BACKLOG: Final = 16


def _directory() -> Path:
    return Path("/tmp") / f"reference_server-{os.geteuid()}"


def default_address(port: int) -> str:
    return str(_directory() / f"{port}.sock")


def check_address(address: str) -> None:
    """ValueError unless a socket can have that path."""
    if "\0" in address or len(os.fsencode(address)) > LONGEST:
        raise ValueError(f"expected the path of a socket, at most {LONGEST} bytes")


def key_path(address: str) -> Path:
    return Path(f"{address}.key")


def _make_private(directory: Path) -> None:
    """It is in /tmp: anybody may have made it."""
    with contextlib.suppress(FileExistsError):
        directory.mkdir(mode=0o700)
    found = directory.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid() or found.st_mode & 0o077:
        raise ControlError(f"control directory {directory}: expected a directory of this user alone, of mode 0700")


@contextlib.contextmanager
def _alone(directory: Path) -> Iterator[None]:
    """Nobody else claims an address in it or removes one from it."""
    file = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
    finally:
        os.close(file)


def _remove_what_was_left(directory: Path) -> None:
    """Key and socket of servers that were ended by force: nobody holds the lock any more."""
    for path in directory.glob("*.sock.key"):
        with contextlib.suppress(OSError):
            file = os.open(path, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                path.with_suffix("").unlink(missing_ok=True)
                path.unlink()
            finally:
                os.close(file)


class Claim:
    """The key file, with a new key in it, locked as long as this process lives."""

    def __init__(self, address: str) -> None:
        self._path = key_path(address)
        try:
            with contextlib.ExitStack() as held:
                if self._path.parent == _directory():
                    _make_private(self._path.parent)
                    held.enter_context(_alone(self._path.parent))
                    _remove_what_was_left(self._path.parent)
                self._file = self._lock(address)
        except OSError as error:
            raise cannot("make key file", self._path, error) from None
        self.key = new_key()
        try:
            os.ftruncate(self._file, 0)
            os.write(self._file, self.key)
        except OSError as error:
            self.release()
            raise cannot("write key file", self._path, error) from None

    def _lock(self, address: str) -> int:
        while True:
            file = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                found = os.fstat(file)
                if not stat.S_ISREG(found.st_mode) or found.st_uid != os.geteuid() or found.st_mode & 0o177:
                    raise ControlError(f"key file {self._path}: expected a file of this user alone, of mode 0600")
                with contextlib.suppress(FileNotFoundError):
                    if os.path.samestat(found, self._path.lstat()):
                        return file
            except BlockingIOError:
                os.close(file)
                raise AddressTaken(address) from None
            except BaseException:
                os.close(file)
                raise
            os.close(file)  # a server that ended has removed it meanwhile: make another

    def release(self) -> None:
        with contextlib.suppress(OSError):
            self._path.unlink()
        os.close(self._file)


class SocketStream:
    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock

    def receive(self, size: int, deadline: float) -> bytes:
        self._sock.settimeout(seconds_until(deadline))
        try:
            return self._sock.recv(size)
        except ConnectionError:
            return b""

    def send(self, data: bytes, deadline: float) -> None:
        self._sock.settimeout(seconds_until(deadline))
        self._sock.sendall(data)

    def close(self) -> None:
        self._sock.close()

    def leave_open(self) -> None:
        self._sock.detach()


class Listener:
    """Raises AddressTaken or ControlError. `close` removes socket and key."""

    def __init__(self, address: str) -> None:
        self.address = address
        self._claim = Claim(address)
        self.key = self._claim.key
        try:
            self._sock = _bind(address)
        except BaseException:
            self._claim.release()
            raise
        self._waker, self._wakened = socket.socketpair()

    def accept(self) -> Stream | None:
        """The next client, or None from `wake` on."""
        with selectors.DefaultSelector() as selector:
            for source in (self._sock, self._wakened):
                selector.register(source, selectors.EVENT_READ)
            ready = [key.fileobj for key, _ in selector.select()]
        if self._wakened in ready:
            return None
        return SocketStream(self._sock.accept()[0])

    def wake(self) -> None:
        self._waker.close()

    def close(self) -> None:
        with contextlib.suppress(OSError):
            Path(self.address).unlink()
        for sock in (self._sock, self._waker, self._wakened):
            sock.close()
        self._claim.release()


def _bind(address: str) -> socket.socket:
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        _clear(address)
        sock.bind(address)
        os.chmod(address, 0o600)
        sock.listen(BACKLOG)
    except OSError as error:
        sock.close()
        raise cannot("make control socket", address, error) from None
    except BaseException:
        sock.close()
        raise
    return sock


def _clear(address: str) -> None:
    """Removes a socket that nobody answers at. One that answers is none of ours, which would have locked the key."""
    with contextlib.suppress(FileNotFoundError):
        if not stat.S_ISSOCK(os.lstat(address).st_mode):
            raise ControlError(f"control address {address}: expected a socket or nothing, found something else")
        try:
            connect(address, time.monotonic() + 1).close()
        except NobodyThere:
            os.unlink(address)
        else:
            raise AddressTaken(address)


def connect(address: str, deadline: float) -> Stream:
    """Raises NobodyThere or ControlError."""
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        sock.settimeout(seconds_until(deadline))
        sock.connect(address)
    except (FileNotFoundError, ConnectionRefusedError):
        sock.close()
        raise NobodyThere(address) from None
    except OSError as error:
        sock.close()
        raise cannot("connect to control address", address, error) from None
    return SocketStream(sock)
