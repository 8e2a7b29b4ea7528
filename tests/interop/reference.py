"""A reference server as a stranger starts it: on this system, or on the Windows Python of the lab. Linux only.

Nothing here is imported from the project: processes, signals and console events are handled by hand.
"""

from __future__ import annotations

import contextlib
import os
import queue
import re
import signal
import socket
import subprocess
import sys
import threading
import time
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
WINELAB = ROOT / "tools" / "winelab" / "winelab"
WINDOWS_PYTHON = "3.14"
SITE = "interop"
START_LIMIT = 60.0
END_LIMIT = 30.0

STOPS = {"linux": ("SIGTERM", "SIGINT", "SIGQUIT"), "windows": ("break", "interrupt")}


class Problem(Exception):
    """A server could not be started or ended."""


class Line(NamedTuple):
    heard: float  # when, in seconds of this process's monotonic clock
    text: str


class Reference:
    """A started server. `place` is `linux` or `windows`."""

    def __init__(self, place: str, arguments: list[str]) -> None:
        self.place = place
        self.log: list[Line] = []
        self._announced: queue.Queue[str] = queue.Queue()  # lines of the parent on Windows
        self._logged = threading.Condition()
        self._over = False
        self.port = 0
        command = [
            "-m",
            "reference_server",
            "--host",
            "127.0.0.1",
            "--port",
            "0",
            "--test-routes",
            "--model-control",
            *arguments,
        ]
        environment = {name: value for name, value in os.environ.items() if not name.startswith("REFERENCE_SERVER_")}
        if place == "windows":
            interpreter = [windows_python(), str(HERE / "console_parent.py")]
            environment |= {"WINELAB_SITE": SITE, "WINELAB_PATH": str(ROOT)}
        else:
            interpreter = [sys.executable]
        self.process = subprocess.Popen(
            [*interpreter, *command],
            cwd=ROOT,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
            start_new_session=True,
        )
        threading.Thread(target=self._read_log, daemon=True).start()
        threading.Thread(target=self._read_parent, daemon=True).start()

    def _read_log(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            if found := re.search(r"starting on http://127\.0\.0\.1:(\d+)", line):
                self.port = int(found[1])
            with self._logged:
                self.log.append(Line(time.monotonic(), line.rstrip()))
                self._logged.notify_all()

    def _read_parent(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self._announced.put(line.strip())
            if line.startswith("exit "):
                break
        with self._logged:
            self._over = True
            self._logged.notify_all()

    @property
    def ready(self) -> int:
        """How many processes have said that they serve."""
        return sum("ready pid=" in line.text for line in self.log)

    def wait_ready(self, processes: int = 1) -> None:
        with self._logged:
            self._logged.wait_for(lambda: self._over or self.ready >= processes, START_LIMIT)
        if self.ready < processes:
            raise Problem(
                "\n".join([f"ended or not ready within {START_LIMIT:g} s:", *(line.text for line in self.log[-20:])])
            )

    def stop(self, how: str) -> float:
        """Asks the server to stop; the moment just before it was asked."""
        asked = time.monotonic()
        if self.place == "linux":
            os.kill(self.process.pid, getattr(signal, how))
        else:
            assert self.process.stdin is not None
            self.process.stdin.write(how + "\n")
            self.process.stdin.flush()
            if (line := self._announced.get(timeout=END_LIMIT)) != "sent":
                raise Problem(f"console parent: expected 'sent', found {line!r}")
        return asked

    def ended(self) -> tuple[int, list[int], float]:
        """Waits for the end: exit code, pids of what is left of its tree, and when it was gone."""
        if self.place == "linux":
            code = self.process.wait(END_LIMIT)
            return code, session_members(self.process.pid), time.monotonic()
        line = self._announced.get(timeout=END_LIMIT)
        moment = time.monotonic()
        word, code_text, *left = line.split()
        if word != "exit":
            raise Problem(f"console parent: expected 'exit …', found {line!r}")
        return int(code_text), [int(pid) for pid in left], moment

    def close(self) -> None:
        """Ends whatever is left."""
        if self.place == "windows":
            assert self.process.stdin is not None
            with contextlib.suppress(OSError):
                self.process.stdin.close()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(END_LIMIT)
        for pid in {*session_members(self.process.pid), *([self.process.pid] if self.process.poll() is None else [])}:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.process.wait(END_LIMIT)


@contextlib.contextmanager
def reference(place: str, *arguments: str) -> Iterator[Reference]:
    server = Reference(place, list(arguments))
    try:
        server.wait_ready()
        yield server
    finally:
        server.close()


def session_members(session: int) -> list[int]:
    """Living processes of a session: a server's children stay in it, also when their parent is gone."""
    members = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                state, _parent, _group, its_session = (entry / "stat").read_text().rpartition(")")[2].split()[:4]
                if int(its_session) == session and state != "Z":
                    members.append(int(entry.name))
    return members


def port_is_free(port: int) -> bool:
    """Connections in TIME_WAIT may remain (SO_REUSEADDR passes over them), a listener may not."""
    with socket.socket() as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            sock.bind(("127.0.0.1", port))
            sock.listen()
        except OSError:
            return False
    return True


def windows_python() -> str:
    done = subprocess.run([str(WINELAB), "which", WINDOWS_PYTHON], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise Problem(f"the lab is missing: {done.stderr.strip()}")
    return done.stdout.strip()


def install_windows_site() -> None:
    """What the server needs, into a site of the lab's Python; a moment if it is there already."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = [*project["dependencies"], *project["optional-dependencies"]["reference"]]
    windows_python()
    done = subprocess.run([str(WINELAB), "pip", WINDOWS_PYTHON, "--site", SITE, *wanted], check=False, timeout=600)
    if done.returncode != 0:
        raise Problem(f"cannot install into the lab: expected exit status 0 of winelab, found {done.returncode}")
