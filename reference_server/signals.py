"""Stop signals beyond graceful.py: from a file of settings, and while it is not yet known which ones are wanted."""

from __future__ import annotations

import signal

from reference_server import graceful
from reference_server.graceful import DEFAULT_SIGNALS, FAMILY, choose


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


class SignalWatch(graceful.SignalWatch):
    def __enter__(self) -> SignalWatch:
        super().__enter__()
        return self

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
