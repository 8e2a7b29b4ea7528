"""A server as PID 1 of a pid namespace of its own, as it is in a container; and root there, in a user namespace. Linux.

What unshare(1) does with --user --map-root-user --pid --fork --mount-proc, but without a process of its own between the
supervisor and the server: the one that makes the namespaces ends at once, and the server, an orphan, becomes a child of
the subreaper. So its pid, its exit status and the tree are the server's own; and when the first process of a namespace
ends, the kernel ends all others in it (pid_namespaces(7)).
"""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Callable
from typing import Any

assert sys.platform != "win32"  # for type checkers, which otherwise look for these functions on Windows

CLONE_NEWNS, CLONE_NEWUSER, CLONE_NEWPID = 0x20000, 0x10000000, 0x20000000
MS_NOSUID, MS_NODEV, MS_NOEXEC, MS_REC, MS_PRIVATE = 2, 4, 8, 0x4000, 0x40000
SWITCHES = ("/proc/sys/user/max_user_namespaces", "/proc/sys/user/max_pid_namespaces")


def likely() -> bool:
    """As far as a look tells (making one takes longer than a supervisor's start). The kernel has the last word."""
    try:
        return os.path.exists("/proc/self/ns/pid") and all(int(open(path).read()) for path in SWITCHES)
    except (OSError, ValueError):
        return False


class Entrance:
    """The way of one child into namespaces of its own. Context manager, in the parent; `enter` is for the child."""

    def __init__(self) -> None:
        self._news, self._report = os.pipe()

    def __enter__(self) -> Entrance:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._news)
        os.close(self._report)

    def enter(self) -> None:
        """Returns in another process: the first of the namespace, and the leader of a session."""
        try:
            _enter(lambda pid: os.write(self._report, b"%d\n" % pid))
        except OSError as problem:
            os.write(self._report, f"{problem.filename}: {problem.strerror}".encode())
            raise

    def news(self) -> tuple[int | None, str]:
        """The pid of the first process, as this process sees it, and what the kernel refused, if it did."""
        os.set_blocking(self._news, False)
        try:
            pid, _, refused = os.read(self._news, 4096).decode().rpartition("\n")
        except BlockingIOError:
            return None, ""
        return int(pid) if pid else None, refused


def _enter(tell: Callable[[int], Any]) -> None:
    libc = ctypes.CDLL(None, use_errno=True)

    def call(what: str, result: int) -> None:
        if result:
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()), what)

    user, group = os.getuid(), os.getgid()
    call("unshare", libc.unshare(CLONE_NEWUSER | CLONE_NEWPID | CLONE_NEWNS))
    for name, text in ("setgroups", "deny"), ("uid_map", f"0 {user} 1"), ("gid_map", f"0 {group} 1"):
        with open(f"/proc/self/{name}", "w") as file:
            file.write(text)
    if pid := os.fork():  # only children are in the new pid namespace
        tell(pid)
        os._exit(0)
    os.setsid()
    # Otherwise it would see the processes of the namespace outside, and others might see its mounts.
    call("mount /", libc.mount(b"none", b"/", None, MS_REC | MS_PRIVATE, None))
    call("mount /proc", libc.mount(b"proc", b"/proc", b"proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, None))
