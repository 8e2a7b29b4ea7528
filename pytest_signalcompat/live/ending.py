"""What is seen of a server's end: when tree and port were free, what survived, and the end by force of what is left."""

from __future__ import annotations

import asyncio
from contextlib import suppress

from ..facts import GONE_WITHIN
from ..model import PortState, Process, Record
from ..supervisor.client import Supervisor
from . import probes
from .wire import Clock

KILL_LIMIT = 7.0  # seconds for a forced end; longer than the supervisor's own limit
PORT_PAUSE = 0.05  # seconds between attempts on a port that is still held


class End(Record):
    """When the tree was empty, or else who survived and when the kill began (seconds of perf_counter)."""

    gone: float | None = None
    survivors: tuple[Process, ...] = ()
    killed: float | None = None
    port: PortState | None = None


async def see(supervisor: Supervisor, port: int, clock: Clock, left_at: float | None) -> End:
    """Waits for tree and port as long as the requirement allows, then ends what is left.

    `left_at`: when the leader exited, on `clock`; None if it is still running.
    """
    gone, state = None, None
    if left_at is not None:
        watching = asyncio.create_task(_watch_port(port, clock, left_at + GONE_WITHIN))
        with suppress(TimeoutError):
            left = max(0.01, left_at + GONE_WITHIN - clock())
            gone = await asyncio.wait_for(asyncio.shield(supervisor.gone), left)
        state = await watching
    if gone is not None:
        return End(gone=gone, port=state)
    survivors = await supervisor.tree()
    killed = await supervisor.kill()
    with suppress(TimeoutError):
        await asyncio.wait_for(asyncio.shield(supervisor.gone), KILL_LIMIT)
    return End(survivors=survivors, killed=killed, port=state)


async def _watch_port(port: int, clock: Clock, until: float) -> PortState:
    """The first refused attempt says that the port is free; its start counts, as Windows takes 2 s to refuse."""
    while True:
        begun = clock()
        accepted, _ = await probes.tcp(port)
        if not accepted:
            return PortState(number=port, freed=begun)
        if clock() > until:
            return PortState(number=port)
        await asyncio.sleep(PORT_PAUSE)
