"""What runs in a Windows service: the server, with the service control manager instead of signals.

The manager starts an ordinary python.exe and passes on what concerns the service: a stop (SERVICE_CONTROL_STOP) and the
shutdown of the system (SERVICE_CONTROL_PRESHUTDOWN, which allows time for it) start the drain. It is told
START_PENDING until the server is ready, RUNNING, STOP_PENDING while it drains, and STOPPED: with 0 after a graceful
stop, else with the exit code (graceful.py) as service-specific error. Checkpoints of a pending state grow, as long as
this process is alive.

A service has no console. Its log, and whatever it and its workers print, goes to a file. The event log would take
messages only, each needing a message file registered for the service.
"""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import servicemanager
import win32service

from reference_server import logs
from reference_server.graceful import EXIT_OK, EXIT_START_FAILED, STOP_SIGNALS, Lifecycle, State, leave

# https://learn.microsoft.com/windows/win32/debug/system-error-codes
NO_ERROR: Final = 0
ERROR_CALL_NOT_IMPLEMENTED: Final = 120
ERROR_SERVICE_SPECIFIC_ERROR: Final = 1066
# How often a starting server is asked whether it accepts connections.
ASK_SECONDS: Final = 0.2
# How often a pending state is reported, and how soon at the latest the next report is to be expected.
PULSE_SECONDS: Final = 1.0
HINT_MILLISECONDS: Final = 5000
# The way of a service; none goes back.
ORDER: Final = (
    win32service.SERVICE_START_PENDING,
    win32service.SERVICE_RUNNING,
    win32service.SERVICE_STOP_PENDING,
    win32service.SERVICE_STOPPED,
)
PENDING: Final = (win32service.SERVICE_START_PENDING, win32service.SERVICE_STOP_PENDING)
STOPS: Final = {
    win32service.SERVICE_CONTROL_STOP: "SERVICE_CONTROL_STOP",
    win32service.SERVICE_CONTROL_PRESHUTDOWN: "SERVICE_CONTROL_PRESHUTDOWN",
}
ACCEPTED: Final = win32service.SERVICE_ACCEPT_STOP | win32service.SERVICE_ACCEPT_PRESHUTDOWN

logger = logging.getLogger("reference_server")


class Service:
    """What pywin32 makes and runs (`SvcRun`) in a thread of its own when the manager has started the service."""

    def __init__(self, name: str, log: str, options: list[str]) -> None:
        self._name = name
        self._log = log
        self._options = options
        self._lifecycle: Lifecycle | None = None
        self._lock = threading.Lock()
        self._state = ORDER[0]
        self._checkpoint = 0
        self._handle = servicemanager.RegisterServiceCtrlHandler(name, self.control, True)

    def control(self, control: int, event: int, data: object) -> int:
        """Called by the manager, on a thread that must return soon."""
        if control in STOPS and self._lifecycle is not None:
            self._lifecycle.request_stop(STOPS[control])
        elif control != win32service.SERVICE_CONTROL_INTERROGATE:
            return ERROR_CALL_NOT_IMPLEMENTED
        return NO_ERROR

    def SvcRun(self) -> None:  # the name is pywin32's
        threading.Thread(target=self._pulse, name="pulse", daemon=True).start()
        code = EXIT_START_FAILED
        try:
            _log_to(Path(self._log))
            logs.configure()
            code = self._serve()
        except SystemExit as error:  # an option that settings.py does not know
            code = int(error.code or EXIT_OK)
        except Exception as error:
            logger.exception("service %s failed", self._name)
            servicemanager.LogErrorMsg(f"service {self._name} failed: {error}")
        # Not by returning: pywin32 would report that all is well, whatever has been reported before.
        self._stopped(code)
        leave(code)

    def _serve(self) -> int:
        from reference_server.__main__ import run
        from reference_server.signals import SignalWatch

        logger.info("service %s starts, %s", self._name, time.strftime("%Y-%m-%d %H:%M:%S %z"))
        with SignalWatch(()) as watch:
            return run([*self._options, "--signals", "none"], watch, self._attend)

    def _attend(self, lifecycle: Lifecycle, address: tuple[str, int]) -> None:
        self._lifecycle = lifecycle
        lifecycle.listen(lambda: self._report(win32service.SERVICE_STOP_PENDING))
        lifecycle.at_last_resort(lambda: self._stopped(lifecycle.exit_code))
        threading.Thread(target=self._await_ready, args=(lifecycle, address), name="ready", daemon=True).start()

    def _await_ready(self, lifecycle: Lifecycle, address: tuple[str, int]) -> None:
        """A server is ready when it accepts connections (graceful.py); a leader's lifecycle does not tell."""
        while lifecycle.wait(State.STARTING, ASK_SECONDS) is State.STARTING and not _accepts(address):
            pass
        self._report(win32service.SERVICE_RUNNING)  # nothing is reported where a stop came first

    def _pulse(self) -> None:
        while True:
            if self._state in PENDING:
                self._report(self._state)
            time.sleep(PULSE_SECONDS)

    def _stopped(self, code: int) -> None:
        self._report(win32service.SERVICE_STOPPED, code)

    def _report(self, state: int, code: int = EXIT_OK) -> None:
        with self._lock:
            known = ORDER.index(self._state)
            if ORDER.index(state) < known or self._state == win32service.SERVICE_STOPPED:
                return
            pending = state in PENDING
            self._checkpoint = self._checkpoint + 1 if pending else 0
            self._state = state
            status: Any = (
                win32service.SERVICE_WIN32_OWN_PROCESS,
                state,
                ACCEPTED if self._lifecycle and ORDER.index(state) < 2 else 0,
                ERROR_SERVICE_SPECIFIC_ERROR if code else NO_ERROR,
                code,
                self._checkpoint,
                HINT_MILLISECONDS if pending else 0,
            )
            win32service.SetServiceStatus(self._handle, status)


def _accepts(address: tuple[str, int]) -> bool:
    host, port = address
    here = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # Windows does not connect to "any address"
    with contextlib.suppress(OSError), socket.create_connection((here, port), timeout=5):
        return True
    return False


def _log_to(path: Path) -> None:
    """Standard output and error, for this process and its workers."""
    path.parent.mkdir(parents=True, exist_ok=True)
    number = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    for standard in (1, 2):
        os.dup2(number, standard)
    os.close(number)
    sys.stdout = sys.stderr = os.fdopen(2, "w", 1, "utf-8", "backslashreplace", closefd=False)


def host(name: str, log: str, options: list[str]) -> None:
    """The main thread of the service's process: it belongs to the manager until the service has stopped.

    The manager gives it 30 s to get there, so nothing slow is imported before.
    """
    for stop in STOP_SIGNALS:  # a user who logs off is a console event, and services get it
        signal.signal(signal.Signals[stop], signal.SIG_IGN)
    servicemanager.Initialize(name, None)
    servicemanager.PrepareToHostSingle(lambda arguments: Service(name, log, options))
    dispatch: Callable[[], None] = servicemanager.StartServiceCtrlDispatcher
    dispatch()
