"""The output of a process, as the selector of posix.py reads it. Reads without waiting: POSIX."""

from __future__ import annotations

import contextlib
import os
import selectors
import sys
from collections.abc import Callable
from typing import IO

assert sys.platform != "win32"  # for type checkers, which otherwise look for these functions on Windows


FULL = 16  # pieces of 64 KiB: the most that a pipe holds (pipe(7), /proc/sys/fs/pipe-max-size)


class Pipe:
    def __init__(self, selector: selectors.BaseSelector, file: IO[bytes] | None, keep: Callable[[bytes], None]) -> None:
        assert file is not None
        self._selector, self._file, self._keep = selector, file, keep
        os.set_blocking(file.fileno(), False)
        selector.register(file.fileno(), selectors.EVENT_READ, lambda _: self.drain(pieces=1))

    def drain(self, pieces: int = FULL) -> None:
        """Reads what is there: one piece (so that requests keep being served), or as much as a pipe can hold."""
        if self._file.closed:
            return
        for _ in range(pieces):
            try:
                data = os.read(self._file.fileno(), 65536)
            except BlockingIOError:
                return
            if not data:
                return self.close()
            self._keep(data)

    def close(self) -> None:
        if not self._file.closed:
            with contextlib.suppress(KeyError):
                self._selector.unregister(self._file.fileno())
            self._file.close()
