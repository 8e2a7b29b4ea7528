"""Where there is no subreaper: a tree as far as psutil can see it.

Its members are whoever carries this tree's environment variable, is in the server's session, or descends from it.
"""

from __future__ import annotations

import contextlib
import os
import sys
from typing import Any

from .containment import CLEANER, COMMAND_VARIABLE, Commands, Member

assert sys.platform != "win32"  # for type checkers, which otherwise look for these functions on Windows

POLL = 0.02  # seconds; nothing tells of an exit that this process is not the parent of
TREE_VARIABLE = "SIGNALCOMPAT_TREE"


class Session:
    name = "session"
    adopts = False

    def __init__(self, psutil_folder: str, token: str) -> None:
        sys.path.insert(0, psutil_folder)
        import psutil

        del sys.path[0]
        self.environment = {TREE_VARIABLE: token}
        self._psutil = psutil
        self._token = token

    def poll(self) -> float | None:
        return POLL

    def members(self, leader: int, commands: Commands | None) -> list[Member]:
        found = []
        for process in self._processes(leader, commands):
            with contextlib.suppress(self._psutil.Error, OSError):
                found.append((process.pid, process.ppid(), self._command_line(process)[:300]))
        return found

    def empty(self, leader: int, commands: Commands | None, no_children: bool) -> bool:
        return not self._processes(leader, commands)

    def kill(self, leader: int, commands: Commands | None, sparing: bool) -> None:
        for process in self._processes(leader, commands):
            with contextlib.suppress(self._psutil.Error, OSError):
                if not sparing or CLEANER not in self._command_line(process):
                    process.kill()

    def _processes(self, leader: int, commands: Commands | None) -> list[Any]:
        """Those of the tree, without those of the commands; with None also these."""
        ours: dict[int, Any] = {}
        theirs: dict[int, Any] = {}
        for process in self._psutil.process_iter():
            with contextlib.suppress(self._psutil.Error, OSError):
                if process.pid == os.getpid():
                    continue
                session, environment = os.getsid(process.pid), self._environment(process)
                if session in (commands or ()) or environment.get(COMMAND_VARIABLE) == self._token:
                    group = theirs
                elif session == leader or environment.get(TREE_VARIABLE) == self._token:
                    group = ours
                else:
                    continue
                if process.status() != self._psutil.STATUS_ZOMBIE or process.num_threads() > 1:
                    group[process.pid] = process
        for group in (ours, theirs):
            for process in list(group.values()):
                with contextlib.suppress(self._psutil.Error, OSError):
                    group.update({child.pid: child for child in process.children(recursive=True)})
        if commands is None:
            return list({**ours, **theirs}.values())
        return [process for pid, process in ours.items() if pid not in theirs]

    def _environment(self, process: Any) -> dict[str, str]:
        with contextlib.suppress(self._psutil.Error, OSError):  # somebody else's
            return dict(process.environ())
        return {}

    def _command_line(self, process: Any) -> str:
        # A zombie, or one whose first thread has ended; or somebody else's.
        with contextlib.suppress(self._psutil.ZombieProcess, self._psutil.AccessDenied):
            return " ".join(process.cmdline())
        return ""
