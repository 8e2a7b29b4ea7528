"""Ignores and blocks signals, as a careless parent does. Prints what state.py says as its child, then supervised."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys

from pytest_signalcompat.supervisor.client import native
from tests.programs import HERE, program, said, supervised


async def main(containment: str) -> None:
    async with supervised(native(containment)) as supervisor:
        await supervisor.spawn(program(supervisor, "state"), None, {})
        print((await said(supervisor, r"\{.*\}\n")).group(), end="", flush=True)


if __name__ == "__main__":
    for ignored in (signal.SIGINT, signal.SIGQUIT, signal.SIGCHLD, signal.SIGUSR1):
        signal.signal(ignored, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGTERM, signal.SIGHUP, signal.SIGCHLD))
    subprocess.run([sys.executable, "-I", "-S", str(HERE / "state.py"), "own"], restore_signals=False, check=True)
    asyncio.run(main(sys.argv[1]))
