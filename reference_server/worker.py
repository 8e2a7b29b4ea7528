"""One serving process: on its own, or as a worker, to which its leader (workers.py) speaks through stdin."""

from __future__ import annotations

import gc
import json
import logging
import os
import sys
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, BinaryIO

from reference_server import logs, processes, reports
from reference_server.changes import Changes
from reference_server.graceful import (
    EXIT_CUT,
    EXIT_INTERRUPTED,
    EXIT_OK,
    EXIT_START_FAILED,
    WATCHDOG_SECONDS,
    Lifecycle,
    leave,
)
from reference_server.settings import Settings
from reference_server.signals import SignalWatch

if TYPE_CHECKING:
    from reference_server.graceful import Listener

logger = logging.getLogger("reference_server")


def serve_models(
    settings: Settings,
    lifecycle: Lifecycle,
    listener: Listener,
    *,
    watch: SignalWatch | None = None,
    changes: Changes | None = None,
) -> int:
    """Serves the reference models in this process; returns the exit code, for `finish`."""
    # Here, since the leader needs neither FastAPI nor uvicorn nor NumPy.
    from reference_server.app import create_app
    from reference_server.http import serve
    from reference_server.named import ModelError, find, read

    try:
        models = find(map(read, settings.model))
    except ModelError as error:
        logger.error("%s", error)
        lifecycle.mark_stopped(EXIT_START_FAILED)
        return EXIT_START_FAILED

    def make() -> Any:
        return create_app(
            lifecycle,
            models,
            blocking_threads=settings.blocking_threads,
            limits=settings.limits,
            changes=changes,
            test_routes=settings.test_routes,
            model_control=settings.model_control,
        )

    return serve(make, lifecycle, listener, loop=settings.loop, watch=watch, limits=settings.limits)


def finish(code: int) -> int:
    """The last act of a process that has served."""
    if code in (EXIT_CUT, EXIT_INTERRUPTED):
        leave(code)  # a model's thread may still be busy, and the interpreter would wait for it
    # What is left is the end of the interpreter, whose last collections would look at every object once more: 0.15 s.
    gc.freeze()
    return code


def work() -> int:
    """The worker's whole life; its exit code is that of a server of its own."""
    processes.ignore_stop_signals()
    logs.configure()
    orders = _take_over_stdin()
    boot = orders.readline()
    if not boot.endswith(b"\n"):
        return EXIT_CUT  # the leader died first
    message = json.loads(boot)
    os.environ[processes.METRICS_DIRECTORY] = message["metrics"]
    settings = Settings(**message["settings"])
    lifecycle = Lifecycle(settings.policy, watchdog_seconds=WATCHDOG_SECONDS)
    beginning = threading.Lock()  # taken once: by the main thread to serve, or by a stop that came before that
    reporter = reports.Reporter(processes.redeem(message["reports"]), lifecycle)
    changes = Changes(reporter.say, message["unloaded"])
    hears = orders, lifecycle, beginning, changes
    threading.Thread(target=_obey, args=hears, name="orders", daemon=True).start()
    threading.Thread(target=reporter.answer, args=(processes.take_over,), name="reports", daemon=True).start()
    from reference_server import app, http, named  # noqa: F401 - takes a second, on a busy machine many

    beginning.acquire()
    return finish(serve_models(settings, lifecycle, reporter.want_listener, changes=changes))


def _obey(orders: BinaryIO, lifecycle: Lifecycle, beginning: threading.Lock, changes: Changes) -> None:
    deeds: dict[bytes, Callable[[], None]] = {
        b"drain\n": lambda: lifecycle.request_drain("the leader"),
        b"stop\n": lambda: lifecycle.request_stop("the leader"),
        b"force\n": lambda: lifecycle.force("forced by the leader"),
    }
    while line := orders.readline():
        if line.startswith(b"{") and line.endswith(b"\n"):
            changes.order(json.loads(line))
            continue
        if (deed := deeds.get(line)) is None:
            break
        deed()
        if beginning.acquire(blocking=False):  # still importing, and nothing can interrupt that
            lifecycle.mark_stopped(EXIT_OK)
            leave(EXIT_OK)
    leave(EXIT_CUT, f"reference_server: WARNING: the leader is gone, leaving pid={os.getpid()}")


def _take_over_stdin() -> BinaryIO:
    """The pipe on a descriptor that no child process of a model inherits, and an empty stdin in its place.

    Unbuffered: a daemon thread blocked in a buffered reader of stdin makes the interpreter abort at its end.
    """
    orders = os.fdopen(os.dup(0), "rb", buffering=0)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    return orders


if __name__ == "__main__":
    sys.exit(work())
