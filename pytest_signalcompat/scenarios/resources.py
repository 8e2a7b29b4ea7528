"""SC8xx: what is left, and what is said."""

from __future__ import annotations

from .. import checks
from ..live import LiveServer
from ..model import Level, Scenario, Stop
from .common import SHORT, begin_load, seconds_in_flight

HELD = 0.5  # seconds a body is held back after the stop request


async def stop_with_load(live: LiveServer) -> None:
    """With a request in flight where one can be made: that is when shutdown code meets surprises."""
    await live.ready()
    routes = live.server.routes
    request = None
    if routes.slow is not None or routes.post is not None:
        request = await begin_load(live, seconds_in_flight(live, SHORT))
    await live.stop()
    if request is not None:
        await live.pause(HELD)
        request.release.set()
    await live.ended()


SC803 = Scenario(
    code="SC803",
    slug="clean-output",
    level=Level.MUST,
    requirement="it shuts down without a traceback or a complaint of the event loop",
    why="A traceback at every stop hides the one that matters, and tells of clean-up that did not happen.",
    act=stop_with_load,
    checks=(checks.was_asked, checks.has_evidence, checks.clean_output),
    stops=(Stop.TERMINATE,),
)
