"""How much a supervisor adds to the start of a server: `python benchmarks/supervisor_start.py [ROUNDS]`.

Side by side in one run, each round in turn: a bare Popen of the same Python (-I -S) until it says something, a
supervisor from Supervisor.start to its settled hello, and from there to the spawn's answer. Ratios compare machines;
milliseconds do not. Goal, native and on an idle machine: hello within 40 ms.
"""

from __future__ import annotations

import asyncio
import statistics
import subprocess
import sys
import time

from pytest_signalcompat.supervisor.client import Supervisor, native

GOAL = 40.0  # ms


def bare(python: str) -> float:
    begun = time.perf_counter()
    argv = (python, "-I", "-S", "-c", "print('hello', flush=True)")
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        return time.perf_counter() - begun


async def supervised(containment: str | None) -> tuple[float, float]:
    launcher = native(containment)
    begun = time.perf_counter()
    supervisor = await Supervisor.start(launcher)
    try:
        hello = time.perf_counter()
        await supervisor.spawn((launcher.argv[0], "-I", "-S", "-c", ""), None, {})
        return hello - begun, time.perf_counter() - begun
    finally:
        await supervisor.close()


async def main(rounds: int) -> None:
    python = native().argv[0]
    kinds: dict[str, str | None] = {"supervisor": None}
    if sys.platform == "linux":
        kinds |= {"supervisor (session)": "session"}
    seconds: dict[str, list[float]] = {"bare Popen": []}
    for _ in range(rounds):
        seconds["bare Popen"].append(bare(python))
        for name, containment in kinds.items():
            hello, spawned = await supervised(containment)
            seconds.setdefault(f"{name}, hello", []).append(hello)
            seconds.setdefault(f"{name}, hello and spawn", []).append(spawned)
    base = statistics.median(seconds["bare Popen"])
    print(f"{python}, {rounds} rounds\n{'':36}{'median':>10}{'best':>10}{'ratio':>8}")
    for name, each in seconds.items():
        median = statistics.median(each)
        print(f"{name:36}{median * 1e3:7.1f} ms{min(each) * 1e3:7.1f} ms{median / base:8.2f}")
    hello = statistics.median(seconds["supervisor, hello"]) * 1e3
    print(f"goal: hello within {GOAL:g} ms: {'met' if hello <= GOAL else 'not met'} ({hello:.1f} ms)")


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]) if len(sys.argv) > 1 else 30))
