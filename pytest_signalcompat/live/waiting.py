"""Waiting for the first of several things, and closing to the end."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable


async def first(*awaitables: Awaitable[object], limit: float | None = None) -> None:
    """Until one of them is done (its exception is raised) or the limit is over; the others are cancelled."""
    tasks = [asyncio.ensure_future(awaitable) for awaitable in awaitables]
    try:
        done, _ = await asyncio.wait(tasks, timeout=limit, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
    finally:
        for task in tasks:
            task.cancel()


async def shielded(close: Callable[[], Awaitable[None]]) -> None:
    """Closing goes to its end even when this task is cancelled meanwhile."""
    closing = asyncio.ensure_future(close())
    while not closing.done():
        try:
            await asyncio.shield(closing)
        except asyncio.CancelledError:
            continue
