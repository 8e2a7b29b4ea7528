"""A leader, its child and a grandchild that escaped from both: `tree.py TOKEN [OPTION=VALUE ...]`.

Each says `ROLE pid=N`. Options: `leader=CODE` the leader exits with this code once all have spoken (without it, it
stays and ignores every stop request), `exits=FILE` not before that file exists, `until=FILE` child and grandchild end
when that file exists, `holds=1` both keep the server's output open.
The grandchild leaves as a daemon does: POSIX by a second fork and setsid, its parent being gone; Windows without a
console, in a process group of its own.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time


def say(role: str) -> None:
    """To the server's output; descendants also to the leader. One write, so that lines of several are not mixed."""
    for fd in (1,) if role == "leader" else (1, 2):
        os.write(fd, f"{role} pid={os.getpid()}\n".encode())


def live(until: str | None, holds: bool) -> None:
    os.dup2(os.open(os.devnull, os.O_RDWR), 2)
    if not holds:
        os.dup2(2, 1)
    limit = time.monotonic() + 300
    while time.monotonic() < limit and not (until and os.path.exists(until)):
        time.sleep(0.02)


def main(role: str, token: str, options: dict[str, str]) -> None:
    again = [sys.executable, "-I", "-S", os.path.abspath(__file__)]
    rest = [token, *(f"{key}={value}" for key, value in options.items())]
    for name in ("SIGINT", "SIGTERM", "SIGHUP", "SIGQUIT", "SIGBREAK"):
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.SIG_IGN)
    if role == "leader":
        child = subprocess.Popen([*again, "child", *rest], stdin=subprocess.DEVNULL, stdout=1, stderr=subprocess.PIPE)
        assert child.stderr is not None
        child.stderr.readline()
        child.stderr.readline()
        say(role)
        if "leader" in options:
            while "exits" in options and not os.path.exists(options["exits"]):
                time.sleep(0.02)
            os._exit(int(options["leader"]))
        time.sleep(300)
    elif role == "child":
        if sys.platform == "win32":
            detached = subprocess.DETACHED_PROCESS | subprocess.CREATE_NEW_PROCESS_GROUP
            subprocess.Popen(
                [*again, "grandchild", *rest], creationflags=detached, stdin=subprocess.DEVNULL, stdout=1, stderr=2
            )
        elif (between := os.fork()) == 0:
            os.setsid()
            if os.fork():
                os._exit(0)
            os.execv(sys.executable, [*again, "grandchild", *rest])
        else:
            os.waitpid(between, 0)
    if role != "leader":
        say(role)
        live(options.get("until"), "holds" in options)


if __name__ == "__main__":
    roles = ("leader", "child", "grandchild")
    role, words = (sys.argv[1], sys.argv[2:]) if sys.argv[1] in roles else ("leader", sys.argv[1:])
    main(role, words[0], dict(word.split("=", 1) for word in words[1:]))
