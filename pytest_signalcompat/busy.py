"""How busy this machine is: the share of time in which something that could have run had to wait for a CPU.

Linux tells it (docs.kernel.org, "PSI - Pressure Stall Information"). Elsewhere it is inferred from how late the event
loop of the tests is woken.
"""

from __future__ import annotations

import asyncio
import time

BUSY = 0.2  # from here on a machine makes servers late that would not be late alone
PRESSURE = "/proc/pressure/cpu"
TICK = 0.05  # seconds between two looks at the event loop's lateness
LATE = 0.02  # seconds of lateness that count as busy all through the tick


class Meter:
    """Runs on one event loop, from `run` on. `share(since)` is for a stretch of time that began with `now()`."""

    def __init__(self) -> None:
        self._waited = 0.0  # seconds, where the system does not tell
        self._told = _pressure() is not None

    async def run(self) -> None:
        """Until it is cancelled; does nothing where the system tells."""
        while not self._told:
            begun = time.perf_counter()
            await asyncio.sleep(TICK)
            late = time.perf_counter() - begun - TICK
            self._waited += min(1.0, late / LATE) * (late + TICK)

    def now(self) -> tuple[float, float]:
        waited = _pressure() if self._told else None
        return time.perf_counter(), self._waited if waited is None else waited

    def share(self, since: tuple[float, float]) -> float:
        """Between 0 and 1."""
        now, waited = self.now()
        return min(1.0, max(0.0, waited - since[1]) / max(1e-9, now - since[0]))


def _pressure() -> float | None:
    """Seconds since the start of the system in which some process waited for a CPU; None where nothing tells it."""
    try:
        with open(PRESSURE, encoding="ascii") as file:
            return int(file.readline().rpartition("total=")[2]) / 1e6
    except (OSError, ValueError):
        return None
