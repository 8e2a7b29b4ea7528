"""What posix.py has to know of how a tree is held together: `subreaper.py` and `session.py` each do it in their way.

A stop command and what it starts are no part of the server's tree. They are told apart by the command's session and,
once they have left that or it has ended, by an environment variable.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Protocol

# multiprocessing (and loky, made after it) has a process that unlinks the named semaphores and shared memory of its
# users once all of them have ended, however: it reads a pipe that they hold. Killed with them, it leaves those behind.
CLEANER = "resource_tracker import main"  # in its command line: Lib/multiprocessing/resource_tracker.py
COMMAND_VARIABLE = "SIGNALCOMPAT_COMMAND"  # in a stop command's environment, its value a token of this supervisor
NOBODY = -1  # in place of a pid

Member = tuple[int, int, str]  # pid, the parent's, command line
Commands = Collection[int]  # the pids, and so the sessions, of the stop commands that run


class Containment(Protocol):
    name: str
    environment: dict[str, str]  # for everything that is started
    adopts: bool  # whether an orphan becomes a child of this process

    def poll(self) -> float | None:
        """How often (seconds) to ask whether the tree is gone; None where each end of a process is an event."""

    def members(self, leader: int, commands: Commands | None) -> list[Member]:
        """The leader and all its descendants that run; with None in place of the commands also these."""

    def empty(self, leader: int, commands: Commands | None, no_children: bool) -> bool:
        """Whether there are no members, given whether waitpid said ECHILD."""

    def kill(self, leader: int, commands: Commands | None, sparing: bool) -> None:
        """One round of SIGKILL for the members, `sparing` cleaners or not; repeated until nothing is left."""
