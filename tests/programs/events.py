"""`events.py ROLE [child]`: says which stop requests reach it, and when, on its own perf_counter.

With `child`, another of these is started first. `ROLE ready` is said once all of them listen. End of input ends it; it
then sends itself an interrupt, which proves that one would have been seen, and says how many it got before.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time

role = sys.argv[1]
seen: list[str] = []
STOPS = ("SIGINT", "SIGTERM", "SIGHUP", "SIGQUIT", "SIGBREAK")


def say(text: str) -> None:
    os.write(1, f"{role} {text}\n".encode())


def handle(number: int, _frame: object) -> None:
    at = time.perf_counter_ns()
    name = signal.Signals(number).name
    seen.append(name)
    say(f"got {name} at {at}")


def await_end() -> None:
    sys.stdin.buffer.read()
    ended.set()


ended = threading.Event()
for stop in STOPS:
    if hasattr(signal, stop):
        signal.signal(getattr(signal, stop), handle)
if "child" in sys.argv[2:]:
    again = [sys.executable, "-I", "-S", os.path.abspath(__file__), "child"]
    child = subprocess.Popen(again, stdin=subprocess.PIPE, stdout=1, stderr=subprocess.PIPE)
    assert child.stderr is not None
    child.stderr.readline()
if role == "child":
    os.write(2, b"ready\n")
say("ready")

if role == "bystander":
    threading.Thread(target=await_end, daemon=True).start()
while not ended.is_set():
    time.sleep(0.02)  # a signal's handler runs in this thread, and CTRL_BREAK does not cut short what blocks it
say(f"seen {len(seen)}")
if sys.platform == "win32":
    import ctypes

    ctypes.windll.kernel32.GenerateConsoleCtrlEvent(1, 0)
else:
    os.kill(os.getpid(), signal.SIGINT)
limit = time.monotonic() + 10
while not seen and time.monotonic() < limit:
    time.sleep(0.02)
