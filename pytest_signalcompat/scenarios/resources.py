"""SC8xx: what is left, and what is said."""

from __future__ import annotations

from .. import checks
from ..model import Level, Scenario, Stop
from .common import stop_with_load

SC803 = Scenario(
    code="SC803",
    slug="clean-output",
    level=Level.MUST,
    requirement="it shuts down without a traceback or a complaint of the event loop",
    why="A traceback at every stop hides the one that matters, and tells of clean-up that did not happen.",
    act=stop_with_load,
    checks=(checks.was_asked, checks.exits_within(), checks.has_evidence, checks.clean_output),
    stops=(Stop.TERMINATE,),
)
