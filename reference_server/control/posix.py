"""POSIX: a Unix socket in a directory of this user alone.

$XDG_RUNTIME_DIR is one that the system makes, where it does. In /tmp anybody may have made the directory first, with
whatever in it. So server and client look at the directory itself (its owner, its mode, no link), the client at the
socket, and on Linux both ask the kernel whose process is at the other end.
"""

from __future__ import annotations

import sys

assert sys.platform != "win32"

import contextlib
import errno
import fcntl
import os
import selectors
import socket
import stat
import struct
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from reference_server.control.contract import (
    AddressTaken,
    ControlError,
    NobodyThere,
    NotAllowed,
    Stream,
    cannot,
    seconds_until,
)

KIND: Final = "socket"
# sun_path holds 108 bytes on Linux (unix(7)), 104 on macOS and BSD, with a zero at the end.
LONGEST: Final = 103
BACKLOG: Final = 128
# So long a server waits while another one looks for its address in the same directory.
CLAIM_SECONDS: Final = 10.0


def _directories() -> Iterator[Path]:
    """Where a server of this user may be, the best place first."""
    runtime = os.environ.get("XDG_RUNTIME_DIR", "")
    with contextlib.suppress(OSError):
        if os.path.isabs(runtime) and _is_private(os.lstat(runtime)):
            yield Path(runtime) / "reference_server"
    yield Path("/tmp") / f"reference_server-{os.geteuid()}"


def _addresses(port: int) -> list[str]:
    every = [str(directory / f"{port}.sock") for directory in _directories()]
    return [address for address in every if len(os.fsencode(address)) <= LONGEST]


def default_address(port: int) -> str:
    return _addresses(port)[0]


def find_address(port: int) -> str:
    """That of a running server: it may have been started without this environment."""
    addresses = _addresses(port)
    return next(filter(os.path.lexists, addresses), addresses[0])


def check_address(address: str) -> None:
    """ValueError unless a socket can have that path."""
    if "\0" in address or len(os.fsencode(address)) > LONGEST:
        raise ValueError(f"expected the path of a socket, at most {LONGEST} bytes")


def _is_private(found: os.stat_result) -> bool:
    return stat.S_ISDIR(found.st_mode) and found.st_uid == os.geteuid() and not found.st_mode & 0o077


def _open_directory(directory: Path) -> int:
    """A descriptor; NotAllowed where it should be this user's alone and is not. A link to one is none."""
    ours = directory in _directories()
    wrong = NotAllowed(f"control directory {directory}: expected a directory of this user alone, of mode 0700")
    try:
        file = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC | (os.O_NOFOLLOW if ours else 0))
    except NotADirectoryError:
        raise wrong from None
    if ours and not _is_private(os.fstat(file)):
        os.close(file)
        raise wrong
    return file


@contextlib.contextmanager
def _alone(directory: Path) -> Iterator[None]:
    """Nobody else claims an address in it or removes one from it."""
    file = _open_directory(directory)
    try:
        deadline = time.monotonic() + CLAIM_SECONDS
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.01)
        yield
    finally:
        os.close(file)


def _answers(path: str | Path) -> bool:
    """Whether a process has that socket, which hears nothing of the question: a datagram is of another type."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        return sock.connect_ex(str(path)) not in (errno.ECONNREFUSED, errno.ENOENT)


def _clear(address: str) -> None:
    """Removes the socket of a server that was ended by force; beside it in our own directory also those of others."""
    with contextlib.suppress(FileNotFoundError):
        if not stat.S_ISSOCK(os.lstat(address).st_mode):
            raise ControlError(f"control address {address}: expected a socket or nothing, found something else")
        if _answers(address):
            raise AddressTaken(address)
    directory = Path(address).parent
    for path in directory.glob("*.sock") if directory in _directories() else [Path(address)]:
        with contextlib.suppress(OSError):
            if not _answers(path):
                path.unlink()


def _bind(address: str) -> socket.socket:
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        directory = Path(address).parent
        if directory in _directories():
            with contextlib.suppress(FileExistsError):
                directory.mkdir(mode=0o700)
        with _alone(directory):
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


def _check_other_end(sock: socket.socket, address: str) -> None:
    """NotAllowed unless it is a process of this user."""
    if sys.platform == "linux":
        _, user, _ = struct.unpack("3i", sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
        if user != os.geteuid():
            raise NotAllowed(f"control address {address}: at its other end is a process of user {user}")


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
    """Raises AddressTaken or ControlError. `close` removes the socket."""

    def __init__(self, address: str) -> None:
        self.address = address
        self._sock = _bind(address)
        self._waker, self._wakened = socket.socketpair()

    def accept(self) -> Stream | None:
        """The next client, or None from `wake` on. Raises NotAllowed."""
        with selectors.DefaultSelector() as selector:
            for source in (self._sock, self._wakened):
                selector.register(source, selectors.EVENT_READ)
            ready = [key.fileobj for key, _ in selector.select()]
        if self._wakened in ready:
            return None
        client, _ = self._sock.accept()
        try:
            _check_other_end(client, self.address)
        except BaseException:
            client.close()
            raise
        return SocketStream(client)

    def wake(self) -> None:
        self._waker.close()

    def close(self) -> None:
        with contextlib.suppress(OSError):
            Path(self.address).unlink()
        for sock in (self._sock, self._waker, self._wakened):
            sock.close()


def connect(address: str, deadline: float) -> Stream:
    """Raises NobodyThere, NotAllowed or ControlError."""
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        os.close(_open_directory(Path(address).parent))
        found = os.lstat(address)
        if not stat.S_ISSOCK(found.st_mode) or found.st_uid != os.geteuid():
            raise NotAllowed(f"control address {address}: expected a socket of this user")
        # A timeout of Python's would make the socket non-blocking, and that one does not wait for its turn.
        limit = seconds_until(deadline) or 0.0
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, struct.pack("ll", int(limit), int(limit % 1 * 1e6)))
        sock.connect(address)
        _check_other_end(sock, address)
    except (FileNotFoundError, ConnectionRefusedError):
        sock.close()
        raise NobodyThere(address) from None
    except OSError as error:
        sock.close()
        raise cannot("connect to control address", address, error) from None
    except BaseException:
        sock.close()
        raise
    return SocketStream(sock)
