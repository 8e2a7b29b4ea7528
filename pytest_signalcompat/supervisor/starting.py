"""Which supervisor there is on this system, and how its process is started."""

from __future__ import annotations

import subprocess
import sys

if sys.platform == "win32":
    from .popen_windows import Popen as Popen

    SCRIPT = "windows.py"
    popen = Popen
else:
    SCRIPT = "posix.py"
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
