"""What a worker says of itself when its leader asks: a byte there, a line of JSON back, in a thread of its own."""

from __future__ import annotations

import contextlib
import json
import socket
import threading
from typing import Any

from reference_server.lifecycle import Lifecycle


class Inquiry:
    """The leader's end. `theirs` is for the worker; it stays open here, too: Windows asks for that while it is shared
    (https://learn.microsoft.com/windows/win32/api/winsock2/nf-winsock2-wsaduplicatesocketw).
    """

    def __init__(self) -> None:
        self._ours, self.theirs = socket.socketpair()
        self._asking = threading.Lock()

    def ask(self, seconds: float) -> dict[str, Any] | None:
        """None if the worker does not answer in time: it is still too young, or gone."""
        with self._asking, contextlib.suppress(OSError):
            self._discard_late_answers()
            self._ours.settimeout(seconds)
            self._ours.sendall(b"?")
            line = b""
            while not line.endswith(b"\n"):
                part = self._ours.recv(4096)
                if not part:
                    return None
                line += part
            report: dict[str, Any] = json.loads(line.splitlines()[-1])
            return report
        return None

    def _discard_late_answers(self) -> None:
        self._ours.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            while self._ours.recv(4096):
                pass

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._ours.shutdown(socket.SHUT_RDWR)  # ends an `ask` under way
        with self._asking:
            self._ours.close()
            self.theirs.close()


def answer(sock: socket.socket, lifecycle: Lifecycle) -> None:
    """The worker's end, to the end of the leader."""
    with sock, contextlib.suppress(OSError):
        while sock.recv(64):
            sock.sendall(json.dumps(lifecycle.summary()).encode() + b"\n")
