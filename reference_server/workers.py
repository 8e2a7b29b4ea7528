"""Several serving processes on one listening socket, led by a process that serves nothing itself.

The leader owns the stop signals and the control channel, and passes a stop on through each worker's stdin, a pipe:
`drain`, `stop`, `force`, or its end, which says that the leader is gone. Workers ignore every stop signal, so it does
no harm that a console event (Windows) or a signal to the process group (POSIX: Ctrl+C, systemd) reaches them, too.

A worker that dies is replaced. A first worker that cannot start ends the server with exit code 3. After a stop the
leader waits for its workers: 0 if all ended gracefully, else 75. It kills what is left 0.95 s after the drain limit.
"""

from __future__ import annotations

import contextlib
import functools
import json
import logging
import math
import os
import queue
import shutil
import socket
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from reference_server import processes, reports
from reference_server.changes import Coordinator
from reference_server.control.channel import Channel
from reference_server.graceful import EXIT_CUT, EXIT_INTERRUPTED, EXIT_OK, EXIT_START_FAILED, Lifecycle
from reference_server.reports import Inquiry
from reference_server.settings import Settings
from reference_server.signals import SignalWatch

# A worker is replaced after this long: a worker killed by the event that also stops the leader must not be.
REPLACE_SECONDS: Final = 0.25
REPLACE_FAILED_SECONDS: Final = 2.0
# After the workers' own watchdogs.
LEADER_WATCHDOG_SECONDS: Final = 0.95
# All workers together may take so long to say how they are.
REPORT_SECONDS: Final = 1.0

logger = logging.getLogger("reference_server")


@dataclass(frozen=True, eq=False)
class Worker:
    process: subprocess.Popen[bytes]
    first: bool
    inquiry: Inquiry

    def tell(self, word: str) -> None:
        assert self.process.stdin is not None
        with contextlib.suppress(OSError):  # it is gone already; its exit is reported on its own
            self.process.stdin.write(word.encode() + b"\n")


class Leader:
    """Starts, replaces and stops the workers. Everything happens in `run`, one event after another."""

    def __init__(
        self, settings: Settings, sock: socket.socket, watch: SignalWatch, channel: Channel | None = None
    ) -> None:
        self._settings = settings
        self._sock = sock
        self._events: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._workers: set[Worker] = set()
        self._changes = Coordinator(self._workers)
        self._missing: list[float] = []  # when to start a replacement, on the monotonic clock
        self._exit_code = EXIT_OK
        self._told: set[str] = set()
        self._metrics = ""
        self.lifecycle = Lifecycle(settings.policy, watchdog_seconds=LEADER_WATCHDOG_SECONDS)
        self.lifecycle.in_flight = None  # the workers know, and `status` asks them
        self.lifecycle.at_last_resort(self._kill)
        self.lifecycle.listen(lambda: self._events.put(None))
        watch.deliver(self.lifecycle, instead=channel)
        if channel is not None:
            channel.serve(self.lifecycle, self.status)

    def run(self) -> int:
        with tempfile.TemporaryDirectory(prefix="reference_server-metrics-", ignore_cleanup_errors=True) as directory:
            self._metrics = directory
            self.lifecycle.at_last_resort(lambda: shutil.rmtree(directory, ignore_errors=True))
            return self._run()

    def _run(self) -> int:
        try:
            for _ in range(self._settings.workers):
                if not self.lifecycle.stopping:
                    self._try_to_start(first=True)
            while self._workers or not self.lifecycle.stopping:
                self._handle(self._next_event())
        except KeyboardInterrupt:
            self.lifecycle.close(EXIT_INTERRUPTED)
            raise
        self.lifecycle.close(self._exit_code)
        logger.info("leader pid=%d ends: exit code %d", os.getpid(), self._exit_code)
        return self._exit_code

    def status(self) -> dict[str, Any]:
        """From any thread. The server is ready as soon as one worker is."""
        deadline = time.monotonic() + REPORT_SECONDS
        said = []
        for worker in sorted(self._workers.copy(), key=lambda worker: worker.process.pid):
            report = worker.inquiry.ask(max(0.01, deadline - time.monotonic()))
            said.append(report or {"pid": worker.process.pid, "state": "silent", "in_flight": None})
        summary = reports.summary(self.lifecycle)
        if not self.lifecycle.stopping and any(report["state"] == "ready" for report in said):
            summary["state"] = "ready"
        in_flight = sum(report["in_flight"] or 0 for report in said)
        return {**summary, "in_flight": in_flight, "workers": said}

    def _next_event(self) -> Callable[[], None] | None:
        wait = max(0.0, min(self._missing) - time.monotonic()) if self._missing else None
        try:
            return self._events.get(timeout=wait)
        except queue.Empty:
            return None

    def _handle(self, event: Callable[[], None] | None) -> None:
        if event is not None:
            event()
        if self.lifecycle.stopping:
            self._sock.close()
            self._missing.clear()
            limited = self.lifecycle.seconds_left() < math.inf
            self._tell_all("force" if self.lifecycle.forced else "stop" if limited else "drain")
            return
        due = [moment for moment in self._missing if moment <= time.monotonic()]
        for moment in due:
            self._missing.remove(moment)
            self._try_to_start(first=False)

    def _tell_all(self, word: str) -> None:
        if word not in self._told:
            self._told.add(word)
            for worker in self._workers:
                worker.tell(word)

    def _loaded(self, worker: Worker) -> None:
        if not self.lifecycle.stopping and worker in self._workers:
            worker.inquiry.give(lambda through: processes.hand_over(self._sock, through, worker.process.pid))

    def _ended(self, worker: Worker) -> None:
        self._workers.discard(worker)
        self._changes.done(worker)
        with contextlib.suppress(OSError):
            for file in Path(self._metrics).glob(f"gauge_live*_{worker.process.pid}.db"):
                file.unlink()  # its requests are none in flight any more
        code = worker.process.returncode
        assert worker.process.stdin is not None
        worker.process.stdin.close()
        worker.inquiry.close()
        if self.lifecycle.stopping:
            if code != EXIT_OK and self._exit_code == EXIT_OK and not processes.killed_by_console(code):
                self._exit_code = EXIT_CUT
        elif worker.first and code == EXIT_START_FAILED:
            self._fail()
        else:
            delay = REPLACE_FAILED_SECONDS if code == EXIT_START_FAILED else REPLACE_SECONDS
            logger.warning("worker pid=%d died (exit code %d); it is replaced", worker.process.pid, code)
            self._missing.append(time.monotonic() + delay)

    def _fail(self) -> None:
        self._exit_code = EXIT_START_FAILED
        self.lifecycle.request_stop("a worker that could not start")

    def _try_to_start(self, *, first: bool) -> None:
        try:
            self._start(first=first)
        except OSError as error:  # the system has no process or no descriptor left
            logger.warning("cannot start a worker: %s", error)
            if first:
                self._fail()
            else:
                self._missing.append(time.monotonic() + REPLACE_FAILED_SECONDS)

    def _start(self, *, first: bool) -> None:
        """OSError where there can be no such process."""
        inquiry = Inquiry()
        try:
            with processes.holding_signals_back():
                process = processes.spawn(inquiry.theirs)
        except OSError:
            inquiry.close()
            raise
        worker = Worker(process, first, inquiry)
        with contextlib.suppress(OSError):  # Windows cannot share a socket with a process that is gone already
            reports = processes.ticket(inquiry.theirs, process.pid)
            worker.tell(
                json.dumps(
                    {
                        "settings": self._settings.model_dump(mode="json"),
                        "reports": reports,
                        "metrics": self._metrics,
                        "unloaded": sorted(self._changes.unloaded),
                    }
                )
            )
        self._workers.add(worker)
        loaded = functools.partial(self._events.put, functools.partial(self._loaded, worker))

        def heard(message: dict[str, Any]) -> None:
            self._events.put(lambda: self._changes.heard(worker, message))

        threading.Thread(target=inquiry.listen, args=(loaded, heard), name="reports", daemon=True).start()
        threading.Thread(target=self._await, args=(worker,), daemon=True).start()

    def _await(self, worker: Worker) -> None:
        worker.process.wait()
        self._events.put(functools.partial(self._ended, worker))

    def _kill(self) -> None:
        for worker in list(self._workers):
            worker.process.kill()
