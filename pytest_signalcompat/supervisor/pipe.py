"""The output of a process, as the selector of posix.py reads it. Reads without waiting: POSIX."""

from __future__ import annotations

import contextlib
import os
import selectors
import sys
from collections.abc import Callable
from typing import IO

assert sys.platform != "win32"  # for type checkers, which otherwise look for these functions on Windows


class Pipe:
    def __init__(self, selector: selectors.BaseSelector, file: IO[bytes] | None, keep: Callable[[bytes], None]) -> None:
        assert file is not None
        self._selector, self._file, self._keep = selector, file, keep
        os.set_blocking(file.fileno(), False)
        selector.register(file.fileno(), selectors.EVENT_READ, lambda _: self.drain(once=True))

    def drain(self, once: bool = False) -> None:
        """Reads what is there: one piece (so that requests keep being served), or until the pipe is empty."""
        if self._file.closed:
            return
        while True:
            try:
                data = os.read(self._file.fileno(), 65536)
            except BlockingIOError:
                return
            if not data:
                return self.close()
            self._keep(data)
            if once:
                return

    def close(self) -> None:
        if not self._file.closed:
            with contextlib.suppress(KeyError):
                self._selector.unregister(self._file.fileno())
            self._file.close()
