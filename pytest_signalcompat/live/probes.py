"""Readiness, as an orchestrator sees it: one fresh connection each time."""

from __future__ import annotations

import asyncio

from ..model import Role
from .ports import HOST
from .wire import Connection, Running

ANSWER_LIMIT = 2.0  # seconds for one probe
PROBE = Role("probe")


async def http(port: int, path: str) -> tuple[bool, str]:
    """Whether GET answers 2xx, and what was found."""
    where = f"GET {path} on port {port}"
    try:
        async with asyncio.timeout(ANSWER_LIMIT), Connection(HOST, port) as connection:
            await connection.connect()
            running = Running(PROBE, "GET", path)
            await connection.send_head("GET", path, 0)
            await connection.end_request()
            await connection.receive(running)
    except TimeoutError:
        return False, f"{where}: no answer within {ANSWER_LIMIT:g} s"
    except OSError as problem:
        return False, f"{where}: {type(problem).__name__}"
    status = running.fact.status
    if status is None:
        return False, f"{where}: {running.fact.detail}"
    return 200 <= status < 300, f"{where}: status {status}"


async def tcp(port: int) -> tuple[bool, str]:
    """Whether a connection is accepted."""
    try:
        async with asyncio.timeout(ANSWER_LIMIT), Connection(HOST, port) as connection:
            await connection.connect()
    except OSError as problem:
        return False, f"connection to port {port}: {type(problem).__name__}"
    return True, f"connection to port {port}: accepted"
