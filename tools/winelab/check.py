"""The facts of Windows that the lab must show before a verdict from it is believed.

`winelab check`, or on Windows `python tools/winelab/check.py`. One line a fact and a closing line; exit 1
if a fact does not hold.
"""

import asyncio
import ctypes
import os
import signal
import subprocess
import sys
import time
from ctypes import wintypes
from typing import IO, Any

from jobs import (
    ABNORMAL_EXIT_PROCESS,
    ACTIVE_PROCESS_ZERO,
    EXIT_PROCESS,
    NEW_PROCESS,
    PROCESS_ALL_ACCESS,
    alive,
    assign,
    completion_port,
    k32,
    kill_on_close_job,
    members,
    messages,
    need,
    open_process,
)

# A venv's python.exe is a launcher: the Python is its child. Here each process must be the next one's parent.
PYTHON: str = getattr(sys, "_base_executable", sys.executable)

CTRL_C, CTRL_BREAK = 0, 1
CONTROL_C_EXIT = 0xC000013A
STILL_RUNNING = "still running"

TELL = """
import signal, sys, time
def handler(number, frame):
    print('got', signal.Signals(number).name, flush=True)
    sys.exit(7)
signal.signal(signal.SIGINT, handler)
signal.signal(signal.SIGBREAK, handler)
print('ready', flush=True)
for _ in range(100):
    time.sleep(.05)
"""
DEFAULT = """
import signal, time
signal.signal(signal.SIGINT, signal.SIG_DFL)
print('ready', flush=True)
time.sleep(5)
"""
NEST = f"""
import signal, subprocess, sys
signal.signal(signal.SIGBREAK, lambda number, frame: None)
child = subprocess.Popen([sys.executable, '-c', {TELL!r}], stdout=subprocess.PIPE)
child.stdout.readline()
print('ready', flush=True)
print('child', child.wait())
sys.exit(7)
"""
RAISE = "import signal; signal.signal(signal.SIGBREAK, signal.SIG_DFL); signal.raise_signal(signal.SIGBREAK)"
HOLD = "import sys; print('ready', flush=True); sys.exit(int(sys.stdin.readline() or 0))"
CONSOLE = """
import ctypes
pids = (ctypes.c_uint32 * 64)()
print(*pids[:ctypes.windll.kernel32.GetConsoleProcessList(pids, 64)])
"""

held: list[str] = []
failed: list[str] = []
swallow = ctypes.WINFUNCTYPE(wintypes.BOOL, wintypes.DWORD)(lambda event: 1)


def check(name: str, actual: object, expected: object) -> None:
    good = actual == expected
    (held if good else failed).append(name)
    print(f"ok    {name}" if good else f"WRONG {name}: expected {expected!r}, got {actual!r}", flush=True)


def python(code: str, flags: int = 0, stdin: int | None = None) -> subprocess.Popen[bytes]:
    return subprocess.Popen([PYTHON, "-c", code], stdin=stdin, stdout=subprocess.PIPE, creationflags=flags)


def pipe(stream: IO[bytes] | None) -> IO[bytes]:
    assert stream is not None
    return stream


def start(code: str, flags: int = 0, stdin: int | None = None) -> subprocess.Popen[bytes]:
    process = python(code, flags, stdin)
    line = pipe(process.stdout).readline().strip()
    assert line == b"ready", line
    return process


def ending(process: subprocess.Popen[bytes], seconds: float = 8) -> tuple[str, object]:
    try:
        out, _ = process.communicate(timeout=seconds)
        return out.decode().strip(), process.returncode & 0xFFFFFFFF
    except subprocess.TimeoutExpired:
        process.kill()
        return process.communicate()[0].decode().strip(), STILL_RUNNING


def event_loops() -> None:
    for loop_type in (asyncio.ProactorEventLoop, asyncio.SelectorEventLoop):
        loop = loop_type()
        try:
            loop.add_signal_handler(signal.SIGINT, print)
            outcome = "installed"
        except NotImplementedError:
            outcome = "NotImplementedError"
        check(f"{loop_type.__name__}.add_signal_handler", outcome, "NotImplementedError")
        loop.close()


def consoles() -> None:
    """In a process that CREATE_NO_WINDOW gave a console of its own: the events here reach nobody else."""
    own = python(CONSOLE)
    same = {int(pid) for pid in ending(own)[0].split()}
    check("a child shares the console of its parent", {os.getpid(), own.pid} <= same, True)
    check("this console is not the one of its parent", os.getppid() in same, False)
    other = python(CONSOLE, subprocess.CREATE_NO_WINDOW)
    apart = {int(pid) for pid in ending(other)[0].split()}
    check("CREATE_NO_WINDOW gives a child another console", apart & same, set())
    k32.SetConsoleCtrlHandler(None, 0)
    k32.SetConsoleCtrlHandler(swallow, 1)
    for event, name in ((CTRL_C, "SIGINT"), (CTRL_BREAK, "SIGBREAK")):
        process = start(TELL)
        k32.GenerateConsoleCtrlEvent(event, 0)
        check(f"{name} reaches its Python handler", ending(process), (f"got {name}", 7))
        process = start(DEFAULT)
        k32.GenerateConsoleCtrlEvent(event, 0)
        check(f"{name} with the default handler ends in 0xC000013A", ending(process), ("", CONTROL_C_EXIT))
    groups()
    raised = subprocess.run([PYTHON, "-c", RAISE], check=False).returncode
    check("raise_signal(SIGBREAK) with SIG_DFL ends in 3", raised, 3)
    lost = 0
    for _ in range(40):
        process = start(TELL)
        k32.GenerateConsoleCtrlEvent(CTRL_BREAK, 0)
        lost += ending(process) != ("got SIGBREAK", 7)
    check("of 40 CTRL_BREAK events, lost", lost, 0)


def groups() -> None:
    process = start(TELL, subprocess.CREATE_NEW_PROCESS_GROUP)
    k32.GenerateConsoleCtrlEvent(CTRL_C, 0)
    time.sleep(0.5)
    check("CREATE_NEW_PROCESS_GROUP masks CTRL_C", process.poll(), None)
    k32.GenerateConsoleCtrlEvent(CTRL_BREAK, 0)
    check("CREATE_NEW_PROCESS_GROUP does not mask CTRL_BREAK", ending(process), ("got SIGBREAK", 7))
    leader, bystander = start(TELL, subprocess.CREATE_NEW_PROCESS_GROUP), start(TELL)
    os.kill(leader.pid, signal.CTRL_BREAK_EVENT)
    check("os.kill(leader, CTRL_BREAK_EVENT) reaches that group", ending(leader), ("got SIGBREAK", 7))
    time.sleep(0.5)
    check("and nobody else", bystander.poll(), None)
    os.kill(bystander.pid, signal.CTRL_BREAK_EVENT)
    check("a pid that leads no group means everybody", ending(bystander), ("got SIGBREAK", 7))
    nested, bystander = start(NEST, subprocess.CREATE_NEW_PROCESS_GROUP), start(TELL)
    os.kill(nested.pid, signal.CTRL_BREAK_EVENT)
    check("a group reaches the leader's children", ending(nested), ("child 7", 7))
    check("and nobody else then", bystander.poll(), None)
    bystander.kill()
    check("Popen.kill ends in 1", ending(bystander)[1], 1)


def job_messages() -> None:
    job = kill_on_close_job()
    port = completion_port(job)
    process = start(HOLD, stdin=subprocess.PIPE)
    assign(job, open_process(process.pid, PROCESS_ALL_ACCESS))
    check("the job lists the process assigned to it", members(job), {process.pid})
    ending(process)
    got = messages(port, ACTIVE_PROCESS_ZERO)
    life = [(NEW_PROCESS, process.pid), (EXIT_PROCESS, process.pid), (ACTIVE_PROCESS_ZERO, 0)]
    check("a job's port says new process, exit, nobody left", got, life)
    check("then the job lists nobody", members(job), set())

    process = start(HOLD, stdin=subprocess.PIPE)
    handle = open_process(process.pid, PROCESS_ALL_ACCESS)
    assign(job, handle)
    need(k32.TerminateProcess(handle, CONTROL_C_EXIT), "TerminateProcess")
    check("TerminateProcess: its code arrives whole", ending(process)[1], CONTROL_C_EXIT)
    told = [message for message, pid in messages(port, ACTIVE_PROCESS_ZERO) if pid == process.pid]
    exits = (EXIT_PROCESS, ABNORMAL_EXIT_PROCESS)  # Wine says 7 for every exit status, Windows 8 for this one
    check("the port says that a process ended in 0xC000013A", [m in exits for m in told], [False, True])


def own_job() -> None:
    """In a process that joins a job, as a supervisor does: descendants are members from birth."""
    job = kill_on_close_job()
    port = completion_port(job)
    assign(job, wintypes.HANDLE(k32.GetCurrentProcess()))
    process = start(HOLD, subprocess.CREATE_NEW_PROCESS_GROUP, stdin=subprocess.PIPE)
    both = {os.getpid(), process.pid}
    check("a process that joined a job and its child are listed", both <= members(job), True)
    inner = kill_on_close_job()
    assign(inner, open_process(process.pid, PROCESS_ALL_ACCESS))
    check("jobs nest: the child is in a second one", members(inner), {process.pid})
    check("and still in the first", process.pid in members(job), True)
    ending(process)
    mine = [message for message, pid in messages(port, EXIT_PROCESS) if pid == process.pid]
    check("the first job's port says the child's birth and exit", mine, [NEW_PROCESS, EXIT_PROCESS])
    check("the child is listed no more", process.pid in members(job), False)
    k32.CloseHandle(inner)
    sleeper = subprocess.Popen([PYTHON, "-c", "import time; time.sleep(60)"])
    print(f"sleeper {sleeper.pid}", flush=True)
    time.sleep(60)


def relay(process: subprocess.Popen[bytes], until: bytes = b"\0") -> bytes:
    """Passes on and counts what another process checked; returns the line that begins with `until`."""
    for line in pipe(process.stdout):
        if line.startswith(until):
            return line
        text = line.decode().rstrip()
        print(text, flush=True)
        if text.startswith(("ok    ", "WRONG ")):
            (held if text.startswith("ok") else failed).append(text[6:])
    return b""


def again(part: str, flags: int = 0) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [PYTHON, os.path.abspath(__file__), part],
        creationflags=flags,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )


def main() -> int:
    print(sys.version)
    event_loops()
    private = again("consoles", subprocess.CREATE_NO_WINDOW)
    relay(private)
    check("nothing leaves the private console, and its process ends by itself", private.wait(), 0)
    job_messages()
    owner = again("own_job", subprocess.CREATE_NO_WINDOW)
    sleeper = int(relay(owner, b"sleeper").split()[1])
    check("a sleeper in the job runs", alive(sleeper), True)
    owner.kill()
    owner.wait()
    deadline = time.monotonic() + 5
    while alive(sleeper) and time.monotonic() < deadline:
        time.sleep(0.05)
    check("and is gone once the job's owner was killed", alive(sleeper), False)
    print(f"{len(held)} facts hold, {len(failed)} do not", *failed, sep="\n  ", flush=True)
    return 1 if failed else 0


PARTS: dict[str, Any] = {"consoles": consoles, "own_job": own_job}

if __name__ == "__main__":
    sys.exit(PARTS[sys.argv[1]]() if sys.argv[1:] else main())
