"""`python -m reference_server`: see `--help`. Exit codes are listed in lifecycle.py."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable

from reference_server import logs
from reference_server.lifecycle import (
    DEFAULT_SIGNALS,
    EXIT_BAD_SETTING,
    EXIT_INTERRUPTED,
    EXIT_START_FAILED,
    WATCHDOG_SECONDS,
    Lifecycle,
)
from reference_server.signals import SignalWatch, choose

Attend = Callable[[Lifecycle, tuple[str, int]], None]

logger = logging.getLogger("reference_server")


def main(arguments: list[str]) -> int:
    if arguments[:1] == ["service"]:
        from reference_server import service

        return service.main(arguments)
    logs.configure()
    # Before the slow imports below: a stop that comes meanwhile is kept until somebody can obey it.
    with SignalWatch(DEFAULT_SIGNALS) as watch:
        try:
            code = run(arguments, watch)
        except KeyboardInterrupt:
            code = EXIT_INTERRUPTED
        watch.silence()
    from reference_server.worker import finish

    return finish(code)


def run(arguments: list[str], watch: SignalWatch, attend: Attend | None = None) -> int:
    """The server's life; returns the exit code. `attend` gets its lifecycle and address before it serves."""
    from reference_server import settings as configuration
    from reference_server import worker, workers

    try:
        settings = configuration.load(arguments)
    except configuration.BadSettings as error:
        for line in str(error).splitlines():
            logger.error("%s", line)
        return EXIT_BAD_SETTING
    choice = choose(settings.signals)
    if choice.lacking:
        logger.warning("%s", choice.warning())
    watch.narrow(choice.names)
    try:
        sock = workers.bind(settings.host, settings.port)
    except OSError as error:
        logger.error("cannot listen on %s port %d: %s", settings.host, settings.port, error.strerror or error)
        return EXIT_START_FAILED
    host, port = sock.getsockname()[:2]
    logger.info("starting on http://%s:%d", f"[{host}]" if ":" in host else host, port)
    if settings.workers > 1:
        leader = workers.Leader(settings, sock, watch)
        if attend:
            attend(leader.lifecycle, (host, port))
        return leader.run()
    lifecycle = Lifecycle(settings.policy, watchdog_seconds=WATCHDOG_SECONDS)
    if attend:
        attend(lifecycle, (host, port))
    watch.deliver(lambda number: lifecycle.request_stop(number.name, interrupt=number.name == "SIGINT"))
    return worker.serve_models(settings, lifecycle, sock, watch=watch)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
