"""The server's side. Everything happens in threads of its own: it answers while the event loop is blocked."""

from __future__ import annotations

import contextlib
import logging
import math
import threading
import time
from collections.abc import Callable
from typing import Any, Final

from reference_server import control
from reference_server.control.contract import (
    COMMANDS,
    GREETING,
    REQUEST_BYTES,
    Lines,
    NotAllowed,
    Refused,
    Stream,
    decode,
    encode,
)
from reference_server.graceful import Lifecycle
from reference_server.reports import summary

# So many clients at once, each for so long at most; others wait for their turn. Only this user can connect at all.
CLIENTS: Final = 16
PATIENCE_SECONDS: Final = 2.0
# What is refused is logged at most so often.
QUIET_SECONDS: Final = 10.0
# At the end nobody is waited for longer.
FAREWELL_SECONDS: Final = 0.1

logger = logging.getLogger("reference_server")

Status = Callable[[], dict[str, Any]]
Farewell = Callable[[int], None]


class Channel:
    """Has its address from the beginning, listens from `serve` on, and takes its files away with `close`."""

    def __init__(self, address: str) -> None:
        """Raises ControlError."""
        self._listener = control.Listener(address)
        self._places = threading.BoundedSemaphore(CLIENTS)
        self._closed = threading.Event()
        self._closing = threading.Lock()
        self._waiting: list[Farewell] = []
        self._complaints = Complaints()
        self._thread: threading.Thread | None = None

    def __str__(self) -> str:
        return f"control {control.KIND} {self._listener.address}"

    def __enter__(self) -> Channel:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def serve(self, lifecycle: Lifecycle, status: Status | None = None) -> None:
        """Obeys from now on. `status` is what to answer to a client who asks for it."""
        self._lifecycle = lifecycle
        lifecycle.at_last_resort(self.close)
        self._status = status or (lambda: alone(lifecycle))
        self._thread = threading.Thread(target=self._accept, name="control", daemon=True)
        self._thread.start()
        logger.info("%s", self)

    def close(self) -> None:
        """Says goodbye to the clients that wait for the end. A second call does nothing."""
        with self._closing:
            if self._closed.is_set():
                return
            self._closed.set()
            waiting, self._waiting = self._waiting, []
        for farewell in waiting:
            farewell(self._lifecycle.exit_code)
        self._listener.wake()
        if self._thread is not None:
            self._thread.join(FAREWELL_SECONDS)
        self._listener.close()

    def _accept(self) -> None:
        while True:
            self._places.acquire()
            try:
                if self._closed.is_set() or (stream := self._listener.accept()) is None:
                    return
                threading.Thread(target=self._serve, args=(stream,), name="control-client", daemon=True).start()
            except NotAllowed as error:
                self._places.release()
                self._complaints.about(str(error))
            except (OSError, RuntimeError) as error:  # no descriptor or no thread left
                self._places.release()
                self._complaints.about(f"no clients for 1 s: {error}")
                self._closed.wait(1)

    def _serve(self, stream: Stream) -> None:
        farewell = None
        try:
            farewell = self._converse(stream, time.monotonic() + PATIENCE_SECONDS)
        except (Refused, OSError) as error:
            what = f"nothing complete within {PATIENCE_SECONDS:g} s" if isinstance(error, TimeoutError) else error
            self._complaints.about(f"a client was refused: {what}")
        finally:
            self._places.release()
            if farewell is None:
                stream.close()
        if farewell is not None:
            self._keep(farewell)

    def _keep(self, farewell: Farewell) -> None:
        with self._closing:
            if not self._closed.is_set():
                self._waiting.append(farewell)
                return
        farewell(self._lifecycle.exit_code)

    def _converse(self, stream: Stream, deadline: float) -> Farewell | None:
        """Returns what to do at the end of the server, if the client waits for that."""
        stream.send(GREETING + b"\n", deadline)
        if not (line := Lines(stream, REQUEST_BYTES).next(deadline)):
            return None  # it left without a word
        request = decode(line)
        if request.get("command") not in COMMANDS:
            raise Refused(f"expected one of {', '.join(COMMANDS)}, found {request!r:.80}")
        stream.send(encode(self._obey(request["command"])), time.monotonic() + PATIENCE_SECONDS)

        def farewell(exit_code: int) -> None:
            with contextlib.suppress(OSError):
                stream.send(encode({"exit_code": exit_code}), time.monotonic() + FAREWELL_SECONDS)
            stream.leave_open()

        return farewell if request.get("wait") is True else None

    def _obey(self, command: str) -> dict[str, Any]:
        if command == "status":
            return self._status()
        if command == "drain":
            self._lifecycle.request_drain("the control channel")
        elif command == "force":
            self._lifecycle.force("forced by the control channel")
        else:
            self._lifecycle.request_stop("the control channel")
        return summary(self._lifecycle)


def alone(lifecycle: Lifecycle) -> dict[str, Any]:
    """The status of a server of one process."""
    own = summary(lifecycle)
    return {**own, "workers": [own]}


class Complaints:
    """One WARNING in QUIET_SECONDS at most; the next one tells how many were left out."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._quiet_until = -math.inf
        self._unsaid = 0

    def about(self, what: str) -> None:
        with self._lock:
            now = time.monotonic()
            if now < self._quiet_until:
                self._unsaid += 1
                return
            more = f" ({self._unsaid} more before)" if self._unsaid else ""
            self._quiet_until, self._unsaid = now + QUIET_SECONDS, 0
        logger.warning("control: %s%s", what, more)
