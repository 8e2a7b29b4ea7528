"""What a supervisor and its client say to each other: JSON lines on the supervisor's stdin and stdout. Stdlib only.

The client asks (`id` is echoed in the answer, which has `ok` or `error`):
  {"id": 1, "do": "clock"}                                        ok: {"at": NS}
  {"id": 2, "do": "spawn", "argv": [...], "cwd": S|null, "env": {...},
   "ignored": [SIGNAL, …], "blocked": [SIGNAL, …], "namespace": "pid"|null}    ok: {"pid": N, "at": NS}
  {"id": 3, "do": "deliver", "stop": "terminate", "reach": "leader"}     ok: {"what": "SIGTERM", "reach": S, "at": NS}
  {"id": 4, "do": "run", "argv": [...], "cwd": S|null, "env": {...}, "timeout": SECONDS}     ok: {"at": NS}
  {"id": 5, "do": "tree"}     ok: [{"pid": N, "parent": N|null, "name": S}, …] without supervisor and stop commands
  {"id": 6, "do": "output"}                  ok: {"dropped": BYTES, "until": NS|null, "chunks": [[NS, TEXT], …]}
  {"id": 7, "do": "kill"}                    ok: {"at": NS}; stop commands go on
The supervisor tells, unasked:
  {"event": "hello", …}       once, first: what this platform is, can send and can start (`Platform` in model.py)
  {"event": "output", "at": NS, "text": TEXT}     up to BUDGET bytes; what follows is kept as a ring, see `output`
  {"event": "exit", "at": NS, "status": N}        the leader
  {"event": "gone", "at": NS}                     the leader and every descendant; after `exit` and all output
  {"event": "command", "id": N, "status": N|null, "output": S}     the stop command of request N has ended, or hung and
                              was killed (null); at any time after its spawn, even before the answer to that request
An `error` about something that `spawn` cannot start a server with names it in `start`, as hello's `starts` would.
NS is time.perf_counter_ns() of the supervisor. TEXT holds the output's bytes as latin-1. End of input means: kill
everything and leave.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Any

VERSION = 2
BUDGET = 1 << 20  # bytes of output forwarded as they come
RING = 1 << 18  # bytes of the newest output kept after that
COMMAND_OUTPUT = 1 << 14  # bytes kept of a stop command's output

Handler = Callable[[dict[str, Any]], Any]


class Refused(Exception):
    """A request that cannot be carried out; its text goes back to the client."""


class StartRefused(Refused):
    """What `spawn` cannot start a server with; `start` is its name in hello's `starts`."""

    def __init__(self, start: str, text: str) -> None:
        super().__init__(text)
        self.start = start


class Channel:
    """Writes lines to the client. Safe to use from several threads; a client that has gone is not an error here."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._lock = threading.Lock()

    def send(self, message: dict[str, Any]) -> None:
        data = json.dumps(message, separators=(",", ":")).encode() + b"\n"
        with self._lock:
            try:
                while data:
                    data = data[os.write(self._fd, data) :]
            except OSError:
                pass  # the client is gone: end of input follows


class Output:
    """The server's output: forwarded up to BUDGET, then the newest RING bytes are kept and the rest is counted."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self._left = BUDGET
        self._ring: deque[tuple[int, bytes]] = deque()
        self._kept = 0
        self._dropped = 0
        self._dropped_until: int | None = None
        self._lock = threading.Lock()

    def add(self, data: bytes) -> None:
        at = time.perf_counter_ns()
        if self._left > 0:
            self._left -= len(data)
            self._channel.send({"event": "output", "at": at, "text": data.decode("latin-1")})
            return
        with self._lock:
            self._ring.append((at, data))
            self._kept += len(data)
            while self._kept > RING and len(self._ring) > 1:
                self._dropped_until, lost = self._ring.popleft()
                self._kept -= len(lost)
                self._dropped += len(lost)

    def rest(self) -> dict[str, Any]:
        with self._lock:
            chunks = [[at, data.decode("latin-1")] for at, data in self._ring]
            return {"dropped": self._dropped, "until": self._dropped_until, "chunks": chunks}


class CommandOutput:
    """The newest COMMAND_OUTPUT bytes of a stop command's output."""

    def __init__(self) -> None:
        self._newest = b""

    def add(self, data: bytes) -> None:
        self._newest = (self._newest + data)[-COMMAND_OUTPUT:]

    def text(self) -> str:
        return self._newest.decode("utf-8", "replace")


def hello(family: str, stops: dict[str, str], containment: str, starts: tuple[str, ...]) -> dict[str, Any]:
    return {
        "event": "hello",
        "protocol": VERSION,
        "family": family,
        "system": sys.platform,
        "python": "{}.{}.{}".format(*sys.version_info[:3]),
        "executable": sys.executable,
        "stops": stops,
        "containment": containment,
        "starts": starts,
    }


def answer(channel: Channel, handlers: dict[str, Handler], line: bytes) -> None:
    """Carries out one request line and sends its answer."""
    if not line.strip():
        return
    reply: dict[str, Any] = {"id": None}
    try:
        request = json.loads(line)
        reply["id"] = request.get("id")
        handler = handlers.get(request.get("do"))
        if handler is None:
            raise Refused(f"unknown command {request.get('do')!r}; known: {', '.join(sorted(handlers))}")
        reply["ok"] = handler(request)
    except StartRefused as problem:
        reply |= {"error": str(problem), "start": problem.start}
    except (Refused, OSError) as problem:
        reply["error"] = str(problem)
    except Exception as problem:  # a malformed request must not end the supervisor, and the server with it
        reply["error"] = f"cannot carry out {line[:200]!r}: {problem!r}"
    channel.send(reply)


def clock(_request: dict[str, Any]) -> dict[str, int]:
    return {"at": time.perf_counter_ns()}


def known_reach(request: dict[str, Any], known: tuple[str, ...]) -> str:
    """Whom a `deliver` is for; the leader where it does not say."""
    reach: str = request.get("reach", "leader")
    if reach not in known:
        raise Refused(f"unknown reach {reach!r}; known: {', '.join(known)}")
    return reach
