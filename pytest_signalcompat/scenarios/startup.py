"""SC1xx: starting."""

from __future__ import annotations

from .. import checks
from ..live import LiveServer
from ..model import Level, Scenario

WATCH = 0.5  # seconds after ready in which a background task's crash shows


async def become_ready(live: LiveServer) -> None:
    await live.ready(settle=WATCH)


SC101 = Scenario(
    code="SC101",
    slug="becomes-ready",
    level=Level.MUST,
    requirement="becomes ready, stays alive, and has no exception in its output",
    why="A server that registers signals in a way its platform lacks dies at the start, or lives on half dead.",
    act=become_ready,
    checks=(checks.became_ready, checks.stays_alive, checks.starts_without_errors),
)
