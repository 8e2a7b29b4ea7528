"""Stop signals, delivered to the lifecycle by a thread of their own, from the first moment of the process to its last.

One way serves every platform and loop: Python's C-level handler writes the signal's number to a socket at once
(`signal.set_wakeup_fd`), and a thread reads it there. Why not the usual ways:
- `loop.add_signal_handler` raises NotImplementedError on every Windows loop, cannot be used before there is a loop,
  and notices nothing while the loop is blocked, so a drain limit could not be kept.
- A handler given to `signal.signal` runs in the main thread, between two bytecodes. A main thread inside a long C
  call does not run it, nor does one in a Windows Selector loop, whose select() no signal wakes
  (https://github.com/python/cpython/issues/101166).
"""

from __future__ import annotations

import contextlib
import logging
import signal
import socket
import threading
from collections.abc import Iterable, Iterator
from types import FrameType, TracebackType
from typing import Any, NamedTuple

from reference_server.lifecycle import DEFAULT_SIGNALS, FAMILY, STOP_SIGNALS, USED_INSTEAD, Lifecycle

# Names that mean a stop on some platform. One of these that is lacking here gets a warning; any other name is an
# error.
KNOWN = frozenset({"SIGTERM", "SIGINT", "SIGQUIT", "SIGHUP", "SIGUSR1", "SIGUSR2", "SIGBREAK"})

logger = logging.getLogger("reference_server")


class Choice(NamedTuple):
    """Signals to handle here, and the names asked for that this platform lacks."""

    names: tuple[str, ...]
    lacking: tuple[str, ...] = ()

    def warning(self) -> str:
        return f"{', '.join(self.lacking)}: not delivered on this platform; {USED_INSTEAD} is used instead"


def choose(text: str) -> Choice:
    """Reads `SIGTERM,SIGINT` or `none`. ValueError names what this platform has."""
    asked = [name.strip().upper() for name in text.split(",") if name.strip()]
    if asked == ["NONE"]:
        return Choice(())
    unknown = [name for name in asked if name not in KNOWN]
    if unknown or not asked:
        what = f"unknown signal {', '.join(unknown)}" if unknown else "no signal named"
        raise ValueError(f"{what}; this platform has {', '.join(STOP_SIGNALS)}, or none")
    here = [name if name in STOP_SIGNALS else USED_INSTEAD for name in asked]
    return Choice(tuple(dict.fromkeys(here)), tuple(name for name in asked if name not in STOP_SIGNALS))


def spell(value: object) -> str:
    """The text form, for `choose`, of a text, a list, or a table with one of these for each platform.

    ValueError for everything else, and for unknown names, also in the list of another platform.
    """
    if isinstance(value, dict):
        if unknown := value.keys() - {"windows", "posix"}:
            raise ValueError(f"unknown platform {', '.join(sorted(unknown))}; expected windows, posix")
        texts = {family: spell(names) for family, names in value.items()}
        return texts.get(FAMILY, ",".join(DEFAULT_SIGNALS))
    if isinstance(value, list) and all(isinstance(name, str) for name in value):
        value = ",".join(value)
    if not isinstance(value, str):
        raise ValueError("expected names of signals, or none")
    choose(value)
    return value


class SignalWatch:
    """Holds the stop signals of the process from `with` on; a signal that comes before `deliver` is kept for it.

    In a thread that is not the main one Python allows no handlers: `deliver` says so, and nothing else happens.
    On leaving, what was there before is restored; `silence` instead leaves the signals ignored, for a process about
    to exit.
    """

    def __init__(self, names: Iterable[str]) -> None:
        self._names = tuple(names)
        self._reader, self._writer = socket.socketpair()
        self._writer.setblocking(False)  # set_wakeup_fd demands it
        self._before: dict[int, Any] = {}
        self._relaying = False
        self._delivering = False
        self._silenced = False
        self._possible = threading.current_thread() is threading.main_thread()

    def __enter__(self) -> SignalWatch:
        if not self._possible:
            return self
        for name in self._names:
            self._take(signal.Signals[name])
        if self._names:
            self._arm()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._before:
            signal.set_wakeup_fd(-1)
        for number in list(self._before):
            self._give_back(number)
        self._writer.close()  # the reading thread sees the end and leaves
        if not self._delivering:
            self._reader.close()

    def _take(self, number: signal.Signals) -> None:
        self._before[number] = signal.signal(number, self._handle)

    def _give_back(self, number: int) -> None:
        before = self._before.pop(number)
        if not self._silenced:
            # None: installed by C code, which Python cannot install again.
            signal.signal(number, signal.SIG_DFL if before is None else before)

    def _arm(self) -> None:
        signal.set_wakeup_fd(self._writer.fileno(), warn_on_full_buffer=False)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        """Nothing is left to do for the main thread, except while something else has the wakeup descriptor."""
        if self._relaying:
            with contextlib.suppress(BlockingIOError):
                self._writer.send(bytes([number]))

    @contextlib.contextmanager
    def relaying(self) -> Iterator[None]:
        """For code that takes the wakeup descriptor away, as a Proactor loop does when it is made; afterwards it is
        ours again.

        https://github.com/python/cpython/blob/3.14/Lib/asyncio/proactor_events.py (BaseProactorEventLoop.__init__)
        """
        self._relaying = True
        try:
            yield
        finally:
            if self._before:
                self._arm()
            self._relaying = False

    def narrow(self, names: tuple[str, ...]) -> None:
        """Handles exactly `names` from now on. A signal that came before and is none of them is raised again."""
        self._names = names
        if not self._possible:
            return
        chosen = {signal.Signals[name] for name in names}
        with self.relaying():  # so that a signal of this moment reaches either us or the handler of before, and once
            signal.set_wakeup_fd(-1)
            dropped = [number for number in self._before if number not in chosen]
            for number in dropped:
                self._give_back(number)
            for number in chosen - set(self._before):
                self._take(number)
        for number in set(self._pending()):
            if number in dropped:
                signal.raise_signal(signal.Signals(number))
            else:
                self._writer.send(bytes([number]))

    def _pending(self) -> bytes:
        self._reader.setblocking(False)
        try:
            return self._reader.recv(64)
        except BlockingIOError:
            return b""
        finally:
            self._reader.setblocking(True)

    def deliver(self, lifecycle: Lifecycle, *, instead: object = None) -> None:
        """From now on, and for signals that came before, requests a stop, on a daemon thread.

        `instead` is what else can stop the server, for the warning where there can be no handlers.
        """
        if self._names and not self._possible:
            names = ", ".join(self._names)
            besides = f"; {instead} can stop the server" if instead else ""
            logger.warning("not in the main thread: %s cannot be handled here%s", names, besides)
        self._delivering = True
        threading.Thread(target=self._read, args=(lifecycle,), name="stop-signals", daemon=True).start()

    def _read(self, lifecycle: Lifecycle) -> None:
        with self._reader:
            while numbers := self._reader.recv(64):
                for number in numbers:
                    # The descriptor tells of every signal that has a Python handler, also those of others.
                    if number in self._before:
                        name = signal.Signals(number).name
                        lifecycle.request_stop(name, interrupt=name == "SIGINT")

    def silence(self) -> None:
        """The server is done: a late signal must not turn its exit code into a death by signal.

        When the interpreter ends it gives handled signals back to their default action, but leaves ignored ones alone
        (https://github.com/python/cpython/blob/3.14/Modules/signalmodule.c, _PySignal_Fini).
        """
        for number in self._before:
            signal.signal(number, signal.SIG_IGN)
        self._silenced = True
