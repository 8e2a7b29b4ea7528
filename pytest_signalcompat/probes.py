"""Readiness, as an orchestrator sees it: one fresh connection each time."""

from __future__ import annotations

import asyncio
import time

from .ports import HOST
from .wire import Connection, Steps

ANSWER_LIMIT = 2.0  # seconds for one probe


async def http(port: int, path: str) -> tuple[bool, str]:
    """Whether GET answers 2xx, and what was found."""
    try:
        async with asyncio.timeout(ANSWER_LIMIT), Connection(HOST, port) as connection:
            await connection.connect()
            steps = Steps(begun=time.perf_counter())
            await connection.send_head("GET", path, 0)
            await connection.end_request()
            await connection.receive(steps)
    except TimeoutError:
        return False, f"GET {path} on port {port}: no answer within {ANSWER_LIMIT:g} s"
    except OSError as problem:
        return False, f"GET {path} on port {port}: {type(problem).__name__}"
    if steps.status is None:
        return False, f"GET {path} on port {port}: {steps.detail}"
    return 200 <= steps.status < 300, f"GET {path} on port {port}: status {steps.status}"


async def tcp(port: int) -> tuple[bool, str]:
    """Whether a connection is accepted."""
    try:
        async with asyncio.timeout(ANSWER_LIMIT), Connection(HOST, port) as connection:
            await connection.connect()
    except OSError as problem:
        return False, f"connection to port {port}: {type(problem).__name__}"
    return True, f"connection to port {port}: accepted"
