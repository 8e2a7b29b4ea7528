"""What starting processes and sharing sockets takes on each platform."""

from __future__ import annotations

import base64
import contextlib
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from typing import Final

from reference_server.graceful import STOP_SIGNALS

# prometheus_client looks for it when it is imported.
METRICS_DIRECTORY: Final = "PROMETHEUS_MULTIPROC_DIR"


def ignore_stop_signals() -> None:
    """For a worker: the leader alone decides when it stops.

    POSIX: a handler that does nothing, since SIG_IGN would be inherited by the programs that a model starts; system
    calls go on (SA_RESTART). Windows: SIG_IGN is a matter of this process's C runtime alone.
    """
    for name in STOP_SIGNALS:
        number = signal.Signals[name]
        if sys.platform == "win32":
            signal.signal(number, signal.SIG_IGN)
        else:
            signal.signal(number, _nothing)
            signal.siginterrupt(number, False)
            signal.pthread_sigmask(signal.SIG_UNBLOCK, [number])


def _nothing(_number: int, _frame: object) -> None: ...


if sys.platform == "win32":

    @contextlib.contextmanager
    def holding_signals_back() -> Iterator[None]:
        yield

    def spawn(sock: socket.socket) -> subprocess.Popen[bytes]:
        # CREATE_NEW_PROCESS_GROUP masks CTRL_C from birth; without it one that comes before `ignore_stop_signals`
        # would print a KeyboardInterrupt. CTRL_BREAK cannot be masked: it ends a worker that young, without a word.
        # The base interpreter: a venv's python.exe is a launcher, whose pid `sock.share` could not use.
        environment = dict(os.environ)
        executable: str = getattr(sys, "_base_executable", sys.executable)
        if executable != sys.executable:
            environment["__PYVENV_LAUNCHER__"] = sys.executable
        return subprocess.Popen(
            [executable, "-m", "reference_server.worker"],
            bufsize=0,
            stdin=subprocess.PIPE,
            env=environment,
            creationflags=subprocess.CREATE_NEW_PROCESS_GROUP,
        )

    def ticket(sock: socket.socket, pid: int) -> str:
        return base64.b64encode(sock.share(pid)).decode()

    def redeem(ticket: str) -> socket.socket:
        return socket.fromshare(base64.b64decode(ticket))

    def hand_over(sock: socket.socket, through: socket.socket, pid: int) -> None:
        """From here on that process holds the socket, and keeps it open until it has taken it over, or ends."""
        share = sock.share(pid)
        through.sendall(len(share).to_bytes(2) + share)

    def take_over(through: socket.socket) -> socket.socket:
        """OSError if nothing comes, or if the leader has closed it meanwhile: it is stopping, or gone."""
        return socket.fromshare(_exactly(through, int.from_bytes(_exactly(through, 2))))

    def _exactly(sock: socket.socket, count: int) -> bytes:
        data = b""
        while len(data) < count:
            if not (part := sock.recv(count - len(data))):
                raise ConnectionError
            data += part
        return data

    def killed_by_console(code: int) -> bool:
        """0xC000013A, STATUS_CONTROL_C_EXIT: the stop event itself ended a worker that had not begun to serve."""
        return code & 0xFFFFFFFF == 0xC000013A

else:

    @contextlib.contextmanager
    def holding_signals_back() -> Iterator[None]:
        """The mask survives exec: a worker has the stop signals blocked from birth until it ignores them."""
        before = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.Signals[name] for name in STOP_SIGNALS])
        try:
            yield
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)

    def spawn(sock: socket.socket) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [sys.executable, "-m", "reference_server.worker"],
            bufsize=0,
            stdin=subprocess.PIPE,
            pass_fds=[sock.fileno()],
        )

    def ticket(sock: socket.socket, pid: int) -> str:
        return str(sock.fileno())

    def redeem(ticket: str) -> socket.socket:
        sock = socket.socket(fileno=int(ticket))
        sock.set_inheritable(False)
        return sock

    def hand_over(sock: socket.socket, through: socket.socket, pid: int) -> None:
        socket.send_fds(through, [b"\n"], [sock.fileno()])

    def take_over(through: socket.socket) -> socket.socket:
        """OSError if nothing comes: the leader is gone."""
        _, descriptors, _, _ = socket.recv_fds(through, 1, 1)
        if not descriptors:
            raise ConnectionError
        return redeem(str(descriptors[0]))

    def killed_by_console(code: int) -> bool:
        return False
