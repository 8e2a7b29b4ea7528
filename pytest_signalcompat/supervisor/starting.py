"""How the process of a supervisor is started: on this system, or in a Windows Python under Wine."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path

from ..model import Record

if sys.platform == "win32":
    from .popen_windows import Popen as Popen

    popen = Popen
else:
    Popen = subprocess.Popen[bytes]

    def popen(argv: tuple[str, ...]) -> Popen:
        return subprocess.Popen(
            argv,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # a terminal's Ctrl-C is not for the supervisor
            bufsize=0,
        )


SCRIPT = str(Path(__file__).with_name("run.py"))

# Wine gives a process that Linux started no console of its own, so a Windows process has to start the supervisor.
OUTER = (
    "import subprocess, sys; sys.exit(subprocess.Popen([sys.executable, '-I', '-S', *sys.argv[1:]],"
    " creationflags=subprocess.CREATE_NO_WINDOW, stdin=0, stdout=1, stderr=2).wait())"
)


class Launcher(Record, frozen=True, kw_only=True):
    """How a supervisor is started. Paths are called the same there: to a Windows process on the drive that shows `/`,
    `/work` is a path of that drive."""

    name: str
    argv: tuple[str, ...]
    python: str | None = None  # what {python} means; None: the supervisor's own


def native(containment: str | None = None) -> Launcher:
    """On this system. `containment="session"` forces on Linux what systems without a subreaper use."""
    base = getattr(sys, "_base_executable", None) or sys.executable  # a venv's python.exe is only a launcher
    argv = [base, "-I", "-S", SCRIPT]
    psutil = importlib.util.find_spec("psutil")  # needed where there is no exact containment
    if psutil is not None and psutil.origin is not None:
        argv += ["--psutil", str(Path(psutil.origin).parent.parent)]
    if containment is not None:
        argv += ["--containment", containment]
    return Launcher(name="native", argv=tuple(argv), python=sys.executable)


def wine(python: str) -> Launcher:
    """In the Windows Python that `python`, an executable of this system, starts (`winelab which`)."""
    return Launcher(name="wine", argv=(python, "-c", OUTER, SCRIPT))
