"""What a process inherits of signals: who is ignored (only SIG_IGN survives exec) and who is blocked. POSIX."""

from __future__ import annotations

import contextlib
import resource
import signal
import sys
from typing import Any

from . import protocol

assert sys.platform != "win32"  # for type checkers, which otherwise look for these functions on Windows

FIXED = (signal.SIGKILL, signal.SIGSTOP)


def reset() -> None:
    """So that neither this process nor the server starts with what a shell, nohup or a careless parent left behind."""
    for number in signal.valid_signals():
        with contextlib.suppress(OSError, ValueError, TypeError):
            if signal.getsignal(number) is signal.SIG_IGN:
                signal.signal(number, signal.SIG_DFL)
    # A client that has gone is an OSError. Popen gives children the default.
    signal.signal(signal.SIGPIPE, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    _, hard = resource.getrlimit(resource.RLIMIT_CORE)
    resource.setrlimit(resource.RLIMIT_CORE, (0, hard))  # SIGQUIT's default action dumps core


class Inherited:
    """What a server is to inherit, in the words of a `spawn`."""

    def __init__(self, request: dict[str, Any]) -> None:
        self.ignored = _signals(request, "ignored")
        self.blocked = _signals(request, "blocked")

    def __bool__(self) -> bool:
        return bool(self.ignored or self.blocked)

    def take_on(self) -> None:
        """In the child, before exec."""
        for number in self.ignored:
            signal.signal(number, signal.SIG_IGN)
        signal.pthread_sigmask(signal.SIG_SETMASK, self.blocked)


def _signals(request: dict[str, Any], start: str) -> list[signal.Signals]:
    found = []
    for name in request.get(start) or ():
        if name not in signal.Signals.__members__:
            raise protocol.StartRefused(start, f"{start}: there is no signal {name!r} on {sys.platform}")
        if (number := signal.Signals[name]) in FIXED:
            raise protocol.StartRefused(start, f"{start}: no process can have {name} {start}")
        found.append(number)
    return found
