"""The supervisor of this system, without site-packages: `python -I -S run.py`. Lines in, lines out, see protocol.py.

A file of its own, because the one that Python is given by its path is compiled anew at every start; what it imports is
not. -I leaves this folder off sys.path.
"""

from __future__ import annotations

import importlib
import os
import sys

sys.path.append(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
supervisor = importlib.import_module("supervisor.windows" if sys.platform == "win32" else "supervisor.posix")
del sys.path[-1]

if __name__ == "__main__":
    supervisor.main(sys.argv[1:])
