"""`python -m reference_server`: see `--help`. Exit codes are listed in graceful.py.

`python -m reference_server COMMAND …` does something else, see COMMANDS.
"""

from __future__ import annotations

import contextlib
import importlib
import logging
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from reference_server import logs
from reference_server.graceful import (
    DEFAULT_SIGNALS,
    EXIT_BAD_SETTING,
    EXIT_INTERRUPTED,
    EXIT_START_FAILED,
    WATCHDOG_SECONDS,
    Lifecycle,
    choose,
)
from reference_server.signals import SignalWatch

if TYPE_CHECKING:
    from reference_server.control.channel import Channel
    from reference_server.settings import Settings

# The first word of a command line, and the module whose `main` gets all of it.
COMMANDS: Final = {
    "status": "reference_server.control.client",
    "stop": "reference_server.control.client",
    "drain": "reference_server.control.client",
    "service": "reference_server.service",
}
Attend = Callable[[Lifecycle, tuple[str, int]], None]

logger = logging.getLogger("reference_server")


def main(arguments: list[str]) -> int:
    if arguments and arguments[0] in COMMANDS:
        code: int = importlib.import_module(COMMANDS[arguments[0]]).main(arguments)
        return code
    return serve(arguments)


def serve(arguments: list[str]) -> int:
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
    from reference_server import graceful, worker, workers
    from reference_server import settings as configuration
    from reference_server.control.contract import ControlError

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
        sock = graceful.bind(settings.host, settings.port)
    except OSError as error:
        logger.error("cannot listen on %s port %d: %s", settings.host, settings.port, error.strerror or error)
        return EXIT_START_FAILED
    host, port = sock.getsockname()[:2]
    logger.info("starting on http://%s:%d", f"[{host}]" if ":" in host else host, port)
    try:
        # Where it was asked for, or is the only way to stop the server, there is no server without it.
        asked_for = settings.control != "auto" or settings.control_address
        needed = bool(asked_for) or not (choice.names or attend)
        channel = _open_channel(settings, port, needed=needed)
    except ControlError as error:
        sock.close()
        logger.error("%s", error)
        return EXIT_START_FAILED
    with channel or contextlib.nullcontext():
        if settings.workers > 1:
            leader = workers.Leader(settings, sock, watch, channel)
            if attend:
                attend(leader.lifecycle, (host, port))
            return leader.run()
        lifecycle = Lifecycle(settings.policy, watchdog_seconds=WATCHDOG_SECONDS)
        if attend:
            attend(lifecycle, (host, port))
        watch.deliver(lifecycle, instead=channel)
        if channel:
            channel.serve(lifecycle)
        return worker.serve_models(settings, lifecycle, sock, watch=watch)


def _open_channel(settings: Settings, port: int, *, needed: bool) -> Channel | None:
    """Raises ControlError. One that is not needed may be lacking, where there is no place for its files; but an address
    that another server has is a mistake.
    """
    from reference_server import control
    from reference_server.control.channel import Channel
    from reference_server.control.contract import AddressTaken, ControlError

    if settings.control == "none":
        return None
    try:
        return Channel(settings.control_address or control.default_address(port))
    except AddressTaken:
        raise
    except ControlError as error:
        if needed:
            raise
        logger.warning("no control channel: %s", error)
        return None


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
