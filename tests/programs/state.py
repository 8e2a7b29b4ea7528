"""Says in one line of JSON what this process was started with, then sleeps (not with `own`). POSIX."""

from __future__ import annotations

import json
import os
import resource
import signal
import sys
import time

numbers = sorted(signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP})
# CPython ignores these two itself, before any program runs.
own = (signal.SIGPIPE, getattr(signal, "SIGXFSZ", signal.SIGPIPE))
state = {
    "pid": os.getpid(),
    "session": os.getsid(0),
    "group": os.getpgid(0),
    "ignored": [n for n in numbers if n not in own and signal.getsignal(n) is signal.SIG_IGN],
    "blocked": sorted(signal.pthread_sigmask(signal.SIG_BLOCK, ())),
    "core": resource.getrlimit(resource.RLIMIT_CORE)[0],
}
print(json.dumps(state), flush=True)
if "own" not in sys.argv:
    time.sleep(300)
