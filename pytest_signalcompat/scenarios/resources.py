"""SC8xx: what is left, and what is said."""

from __future__ import annotations

from .. import checks, facts
from ..model import Failure, Level, Observation, Server, Stop
from ..output import exceptions
from ..scenario import Scenario, check
from .common import least_grace_with_load, stop_with_load

DIRTY = ("Traceback (most recent call last)", "Task was destroyed", "was never awaited", "Exception ignored")


@check("clean-output")
def clean_output(server: Server, seen: Observation) -> Failure | None:
    asked = facts.delivery(seen)
    after = [line for line in seen.own_output if line.at >= asked.at]
    dirty = next((line for line in after if any(word in line.text for word in DIRTY)), None)
    if dirty is None:
        if not facts.output_lost(seen):
            return None
        return Failure(
            expected="output after the stop request that can be read to the end",
            actual=f"{seen.dropped} bytes of output, of which some after the stop request, were too many to keep",
            fix="log less while stopping",
            unproven=True,
        )
    raised = exceptions(after)
    first = raised[0] if raised else None
    found = f"{first.type}{': ' + first.text if first.text else ''} at {first.where}" if first else dirty.text.strip()
    return Failure(
        expected="no traceback or asyncio complaint after the stop request",
        actual=found,
        fix="end what was started before the event loop does: cancel tasks and await them, close what is open",
    )


SC803 = Scenario(
    code="SC803",
    slug="clean-output",
    level=Level.MUST,
    requirement="it shuts down without a traceback or a complaint of the event loop",
    act=stop_with_load,
    checks=(checks.became_ready, checks.was_asked, checks.exits_within(), checks.has_evidence, clean_output),
    stops=(Stop.TERMINATE,),
    least_grace=least_grace_with_load,
)
