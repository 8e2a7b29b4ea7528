"""What a worker and its leader say to each other beside orders: a socket, with a thread at each end.

    worker   loaded       its models are: it wants the listening socket now
    leader   !            here it is (processes.hand_over)
    leader   ?            how are you?
    worker   {"pid": …}   a line of JSON
    worker   {"ask": …}   as changes.py says

A worker gets the listening socket last. One that held it while it still starts would keep the port open after a stop,
with clients waiting in a queue that nobody serves.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import queue
import socket
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, Final

from reference_server.graceful import Lifecycle

LOADED: Final = b"loaded\n"
ASK: Final = b"?"
GIVE: Final = b"!"


def summary(lifecycle: Lifecycle) -> dict[str, Any]:
    """For people and programs that ask, as JSON; `seconds_left` is null where nothing limits."""
    left = lifecycle.seconds_left()
    return {
        "pid": os.getpid(),
        "state": lifecycle.state.value,
        "in_flight": lifecycle.in_flight,
        "seconds_left": round(left, 3) if left < math.inf else None,
    }


class Inquiry:
    """The leader's end. `theirs` is for the worker; it stays open here, too: Windows asks for that while it is shared
    (https://learn.microsoft.com/windows/win32/api/winsock2/nf-winsock2-wsaduplicatesocketw).
    """

    def __init__(self) -> None:
        self._ours, self.theirs = socket.socketpair()
        self._reports: queue.SimpleQueue[dict[str, Any]] = queue.SimpleQueue()
        self._asking = threading.Lock()
        self._sending = threading.Lock()

    def listen(self, loaded: Callable[[], None], heard: Callable[[dict[str, Any]], None]) -> None:
        """Hears the worker, to `close`."""
        with contextlib.suppress(OSError), self._ours.makefile("rb") as lines:
            for line in lines:
                if line == LOADED:
                    loaded()
                elif "pid" in (message := json.loads(line)):
                    self._reports.put(message)
                else:
                    heard(message)

    def ask(self, seconds: float) -> dict[str, Any] | None:
        """None if the worker does not answer in time: it is still too young, or gone."""
        with self._asking, contextlib.suppress(OSError, queue.Empty):
            while not self._reports.empty():  # late answers
                self._reports.get()
            with self._sending:
                self._ours.sendall(ASK)
            return self._reports.get(timeout=seconds)
        return None

    def give(self, hand_over: Callable[[socket.socket], None]) -> None:
        with self._sending, contextlib.suppress(OSError):  # OSError: it is gone already
            self._ours.sendall(GIVE)
            hand_over(self._ours)

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._ours.shutdown(socket.SHUT_RDWR)  # ends `listen`
        self._ours.close()
        self.theirs.close()


class Reporter:
    """The worker's end."""

    def __init__(self, sock: socket.socket, lifecycle: Lifecycle) -> None:
        self._sock = sock
        self._lifecycle = lifecycle
        self._listener: Future[socket.socket] = Future()
        self._sending = threading.Lock()

    def want_listener(self) -> Future[socket.socket]:
        self._send(LOADED)
        return self._listener

    def say(self, document: dict[str, Any]) -> None:
        self._send(json.dumps(document).encode() + b"\n")

    def _send(self, line: bytes) -> None:
        with self._sending, contextlib.suppress(OSError):  # the leader is gone, which ends this process
            self._sock.sendall(line)

    def answer(self, take_over: Callable[[socket.socket], socket.socket]) -> None:
        """Serves the leader, to its end."""
        with self._sock, contextlib.suppress(OSError):
            while word := self._sock.recv(1):
                if word == ASK:
                    self.say(summary(self._lifecycle))
                else:
                    self._take(take_over(self._sock))

    def _take(self, listener: socket.socket) -> None:
        if self._listener.set_running_or_notify_cancel():
            self._listener.set_result(listener)
        else:
            listener.close()  # a stop came meanwhile
