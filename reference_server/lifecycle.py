"""The state of a serving process, and the one place that decides how long it may take to stop.

    starting ──► ready ──► draining ──► stopped
        └──────────────────────▲

A stop request may come from any thread at any moment, also before the server is ready. From then on readiness answers
503; after `readiness_delay_seconds` the listener closes; requests in flight have `drain_seconds` more; what is left
then is cut. A watchdog thread ends the process `WATCHDOG_SECONDS` after that limit, whatever the event loop or a
model's thread is doing. A drain (`request_drain`) is a stop without a limit; a stop request that follows sets it.

Exit codes of the server, the same on every platform:

    0   stopped gracefully: every request begun was answered in full
    2   a setting is wrong
    3   the server could not start (port taken, a model failed to load)
    75  cut short, with requests or connections left: at the drain limit, or by a second stop request that forces
    130 Ctrl+C where no signals are handled (`--signals none`)

POSIX: SIGTERM, SIGINT and SIGQUIT stop the server. Windows: CTRL_C (SIGINT) and CTRL_BREAK (SIGBREAK) do; nothing
else can be delivered to a Windows process from outside.
"""

from __future__ import annotations

import contextlib
import enum
import logging
import math
import os
import sys
import threading
import time
from collections.abc import Callable
from typing import Any, Final, Literal, NamedTuple

EXIT_OK: Final = 0
EXIT_BAD_SETTING: Final = 2
EXIT_START_FAILED: Final = 3
EXIT_CUT: Final = 75
EXIT_INTERRUPTED: Final = 130

# How long after the limit the process may still exist; cutting requests and unloading models takes a part of it.
WATCHDOG_SECONDS: Final = 0.8
# A terminal's Ctrl+C reaches the whole foreground group, and wrappers (npm, uv run, docker -it) pass it on once more
# to a child that has it already. Requests that close together are one request.
SAME_REQUEST_SECONDS: Final = 0.25

# The signals that can stop a server here, those that do by default, and what does duty for names from elsewhere.
if sys.platform == "win32":
    # signal.SIGTERM exists on Windows but nothing outside the process can deliver it: TerminateProcess is not a
    # signal. https://docs.python.org/3/library/signal.html#signal.signal
    FAMILY = "windows"
    STOP_SIGNALS: tuple[str, ...] = ("SIGINT", "SIGBREAK")
    DEFAULT_SIGNALS: tuple[str, ...] = ("SIGINT", "SIGBREAK")
    USED_INSTEAD = "SIGBREAK"
else:
    FAMILY = "posix"
    STOP_SIGNALS: tuple[str, ...] = ("SIGTERM", "SIGINT", "SIGQUIT", "SIGHUP", "SIGUSR1", "SIGUSR2")
    DEFAULT_SIGNALS: tuple[str, ...] = ("SIGTERM", "SIGINT", "SIGQUIT")
    USED_INSTEAD = "SIGTERM"

logger = logging.getLogger("reference_server")


class State(enum.Enum):
    STARTING = "starting"
    READY = "ready"
    DRAINING = "draining"
    STOPPED = "stopped"


class Policy(NamedTuple):
    """How a stop is carried out. `auto` lets a second interrupt force and ignores a second terminate."""

    drain_seconds: float = 10.0
    readiness_delay_seconds: float = 0.0
    second_signal: Literal["auto", "force", "ignore"] = "auto"


class Lifecycle:
    """Owner of the state. All methods may be called from every thread, none from a signal handler: they take a lock.

    Nothing is logged under that lock: a log that nobody reads blocks, and the watchdog needs the lock.
    """

    def __init__(
        self,
        policy: Policy | None = None,
        *,
        watchdog_seconds: float | None = None,
    ) -> None:
        """`watchdog_seconds` after the limit a watchdog ends the process. A thread of the process that makes this.

        None, no watchdog, is for a server embedded in a process that has more to do than to serve.
        """
        self.policy = policy or Policy()
        self._last_resorts: list[Callable[[], None]] = []
        self._changed = threading.Condition()
        self._state = State.STARTING
        self._limit = math.inf
        self._requested = 0.0
        self._unready_until = 0.0  # the listener closes then
        self._patient = False
        self._forced = False
        self._exit_code = EXIT_CUT
        self._listeners: list[Callable[[], object]] = []
        self.in_flight: int | None = 0  # kept by whoever counts the requests; None where nobody does
        if watchdog_seconds is not None:  # begun now, since at the end there may be no thread left to begin
            threading.Thread(target=self._watchdog, args=(watchdog_seconds,), name="watchdog", daemon=True).start()

    @property
    def state(self) -> State:
        return self._state

    @property
    def stopping(self) -> bool:
        return self._state in (State.DRAINING, State.STOPPED)

    @property
    def forced(self) -> bool:
        return self._forced

    @property
    def exit_code(self) -> int:
        """What the process ends with: that of a cut until `mark_stopped` or `close` has said better."""
        return self._exit_code

    def seconds_left(self) -> float:
        """Seconds until requests are cut: infinite while no stop with a limit is requested, never negative."""
        return max(0.0, self._limit - time.monotonic())

    def summary(self) -> dict[str, Any]:
        """For people and programs that ask, as JSON; `seconds_left` is null where nothing limits."""
        left = self.seconds_left()
        return {
            "pid": os.getpid(),
            "state": self._state.value,
            "in_flight": self.in_flight,
            "seconds_left": round(left, 3) if left < math.inf else None,
        }

    def listen(self, listener: Callable[[], object]) -> None:
        """Calls `listener` (which must not block) on a stop request, also a past one, and when the limit moves.

        A RuntimeError of it, as of an event loop that is closed, keeps no other listener from hearing of the stop.
        """
        with self._changed:
            self._listeners.append(listener)
            if self.stopping:
                self._tell(listener)

    def at_last_resort(self, callback: Callable[[], None]) -> None:
        """Has the watchdog call this before it ends the process, whether or not it raises."""
        self._last_resorts.append(callback)

    def wait(self, state: State, timeout: float | None = None) -> State:
        """Waits while the state is `state`, at most for so many seconds; returns the state then."""
        with self._changed:
            self._changed.wait_for(lambda: self._state is not state, timeout)
            return self._state

    def mark_ready(self) -> None:
        """The process serves and its stop signals are handled: logs the ready mark, unless a stop came first."""
        with self._changed:
            if self._state is not State.STARTING:
                return
            self._state = State.READY
            self._changed.notify_all()
        logger.info("ready pid=%d", os.getpid())

    def request_stop(self, reason: str, *, interrupt: bool = False) -> None:
        """Starts the drain, or counts as a further request. `interrupt` tells a Ctrl+C from a polite request."""
        with self._changed:
            now = time.monotonic()
            first = not self.stopping or self._patient
            if self._state is State.STOPPED or (not first and now - self._requested < SAME_REQUEST_SECONDS):
                return
            if first:
                self._drain(now, patient=False)
        choice = self.policy.second_signal
        if first:
            logger.info("stop requested by %s; requests in flight have %g s", reason, self.policy.drain_seconds)
        elif choice == "force" or (choice == "auto" and interrupt):
            self.force(f"second stop request ({reason})")
        else:
            logger.info("further stop request (%s) ignored: already draining", reason)

    def request_drain(self, reason: str) -> None:
        """Starts a drain without a limit, which a stop request may set later. While stopping it does nothing."""
        with self._changed:
            before = self._state
            if first := not self.stopping:
                self._drain(time.monotonic(), patient=True)
        if first:
            logger.info("drain requested by %s; requests in flight have no limit", reason)
        else:
            logger.info("drain request (%s) ignored: already %s", reason, before.value)

    def _drain(self, now: float, *, patient: bool) -> None:
        if not self.stopping:
            self._state = State.DRAINING
            self._unready_until = now + self.policy.readiness_delay_seconds
        self._patient = patient
        self._requested = now
        self._limit = math.inf if patient else max(now, self._unready_until) + self.policy.drain_seconds
        self._tell(*self._listeners)

    def force(self, reason: str) -> None:
        """Moves the limit to now. A stop that was not requested yet is requested by it."""
        with self._changed:
            if self._state is State.STOPPED or self._forced:
                return
            now = time.monotonic()
            if not self.stopping:
                self._drain(now, patient=False)
            self._forced = True
            self._patient = False
            self._limit = now
            self._tell(*self._listeners)
        logger.warning("%s: requests in flight are cut now", reason)

    def _tell(self, *listeners: Callable[[], object]) -> None:
        for listener in listeners:
            with contextlib.suppress(RuntimeError):
                listener()
        self._changed.notify_all()

    def mark_stopped(self, exit_code: int) -> None:
        """The server is done; logs the mark, `stopped` only if nothing was cut. Later requests do nothing."""
        self.close(exit_code)
        if exit_code in (EXIT_OK, EXIT_START_FAILED):
            logger.info("%s pid=%d", "stopped" if exit_code == EXIT_OK else "failed to start", os.getpid())
        else:
            logger.warning("cut short pid=%d: exit code %d", os.getpid(), exit_code)

    def close(self, exit_code: int) -> None:
        """As `mark_stopped`, without a mark: for a leader, which has served nothing itself, and after a Ctrl+C."""
        with self._changed:
            self._state = State.STOPPED
            self._exit_code = exit_code
            if self._patient:  # from here on the watchdog has something to watch
                self._limit = time.monotonic()
            self._changed.notify_all()

    def _watchdog(self, margin: float) -> None:
        """Runs to the end of the process: a thread that a model left behind may hold up even the interpreter's exit."""
        with self._changed:
            while (left := self._limit + margin - time.monotonic()) > 0:
                self._changed.wait(left if left < math.inf else None)  # wait(inf) raises OverflowError
        for callback in self._last_resorts:
            with contextlib.suppress(Exception):
                callback()
        leave(
            self._exit_code,
            f"reference_server: WARNING: still busy after the drain limit, leaving pid={os.getpid()}",
        )


def leave(exit_code: int, message: str = "") -> None:
    """Ends the process within 0.2 s: no `finally`, no joining of threads: a blocked one would never end."""

    def last_words() -> None:
        # The loop may be blocked inside logging, holding its lock, on a full pipe; so this goes around logging, in a
        # thread.
        if message:
            os.write(2, f"{message}\n".encode())
        sys.stderr.flush()
        sys.stdout.flush()

    speaker = threading.Thread(target=last_words, daemon=True)
    with contextlib.suppress(RuntimeError):  # no thread can be started
        speaker.start()
        speaker.join(0.2)
    os._exit(exit_code)
