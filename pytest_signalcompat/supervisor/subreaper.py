"""Linux: a tree that nobody can leave.

Orphans become children of this process (prctl(2), PR_SET_CHILD_SUBREAPER): waitpid(-1) failing with ECHILD *is* "the
tree is gone". Exact, and free of pid reuse: a direct child's pid stays taken until this process has waited for it, and
only direct children are signalled.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import sys
from collections.abc import Iterator

from .containment import CLEANER, COMMAND_VARIABLE, Commands, Member

assert sys.platform != "win32"  # for type checkers, which otherwise look for these functions on Windows

PR_SET_CHILD_SUBREAPER = 36

Table = dict[int, list[tuple[int, int]]]


class Subreaper:
    name = "subreaper"
    adopts = True

    def __init__(self, token: str) -> None:
        self.environment: dict[str, str] = {}
        self._mark = f"\0{COMMAND_VARIABLE}={token}\0".encode()
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0):
            raise OSError(ctypes.get_errno(), "prctl(PR_SET_CHILD_SUBREAPER)")

    def poll(self) -> float | None:
        return None

    def members(self, leader: int, commands: Commands | None) -> list[Member]:
        children = _table()
        found, queue = [], [(pid, os.getpid()) for pid in self._children(children, commands)]
        while queue:
            pid, parent = queue.pop(0)
            queue += ((child, pid) for child, _ in children.get(pid, ()))
            with contextlib.suppress(OSError):
                found.append((pid, parent, _command_line(pid)[:300]))
        return found

    def empty(self, leader: int, commands: Commands | None, no_children: bool) -> bool:
        return no_children or (commands is not None and not self.members(leader, commands))

    def kill(self, leader: int, commands: Commands | None, sparing: bool) -> None:
        # Parents first: their children then become ours, and a parent that respawns is dead before its children.
        for pid in self._children(_table(), commands):
            with contextlib.suppress(OSError):
                if not sparing or CLEANER not in _command_line(pid):
                    os.kill(pid, signal.SIGKILL)

    def _children(self, table: Table, commands: Commands | None) -> Iterator[int]:
        """Those of this process. What a command started has the command as ancestor, or is an orphan and here."""
        for pid, session in table.get(os.getpid(), ()):
            if commands is None or not (pid in commands or session in commands or self._of_a_command(pid)):
                yield pid

    def _of_a_command(self, pid: int) -> bool:
        with contextlib.suppress(OSError), open(f"/proc/{pid}/environ", "rb") as file:
            return self._mark in b"\0" + file.read()
        return False


def _table() -> Table:
    """(pid, session) of running processes by parent. proc(5): the command's name may hold spaces and brackets,
    so split behind the last ')'. A process whose first thread has ended is Z too, but has other threads."""
    children: Table = {}
    for entry in os.listdir("/proc"):
        if not entry.isdigit():
            continue
        with contextlib.suppress(OSError), open(f"/proc/{entry}/stat", "rb") as file:
            fields = file.read().rpartition(b")")[2].split()
            state, parent, session, threads = fields[0], int(fields[1]), int(fields[3]), int(fields[17])
            if state != b"Z" or threads > 1:
                children.setdefault(parent, []).append((int(entry), session))
    return children


def _command_line(pid: int) -> str:
    with open(f"/proc/{pid}/cmdline", "rb") as file:
        return file.read().replace(b"\0", b" ").decode("utf-8", "replace").strip()
