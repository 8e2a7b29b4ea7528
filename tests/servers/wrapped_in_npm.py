"""Started by a parent that ignores INTERRUPT and waits, as `npm start` and `make serve` do: Ctrl-C in a terminal stops
the server in the foreground group, SIGINT to the parent alone nobody (npm/cli, issue 6547).

breaks: SC207
posix: SC207
windows:
"""

import os
import signal
import subprocess
import sys

from _base import Server, fault, known, main


class WrappedInNpm(Server):
    wrapped = fault(True, instead_of=False)


def wrap() -> int:
    child = subprocess.Popen([sys.executable, *sys.argv], env={**os.environ, "WRAPPED": "yes"})
    for number in known(("SIGINT", "SIGBREAK")):
        signal.signal(number, signal.SIG_IGN)
    if sys.platform != "win32":
        for number in known(("SIGTERM", "SIGQUIT")):
            signal.signal(number, lambda number, _: child.send_signal(number))
    return child.wait()


if __name__ == "__main__":
    if WrappedInNpm.wrapped and "WRAPPED" not in os.environ:
        sys.exit(wrap())
    main(WrappedInNpm)
