"""SC1xx: starting."""

from __future__ import annotations

import re

from .. import facts
from ..checks import advice_on_output, became_ready
from ..complaints import complaints
from ..live.stage import Stage
from ..model import Failure, Level, Observation, Server
from ..output import exceptions
from ..scenario import Scenario, check
from ..statuses import described

WATCH = 0.5  # seconds after ready in which a background task's crash shows
NAMED = r"(?:\w+\.)*(?:NotImplementedError|AttributeError)\b"
# An exception's name in a sentence is none: "no uvloop (NotImplementedError), falling back" tells of one that
# was handled. One that was raised is the line itself, as the last of a traceback is, or is logged as ERROR or above.
RAISED = re.compile(rf"^{NAMED}(?::|$)|\b(?:ERROR|CRITICAL|FATAL|EXCEPTION|SEVERE)\b.*?\b{NAMED}")


async def become_ready(stage: Stage) -> None:
    await stage.ready(settle=WATCH)


@check("stays-alive")
def stays_alive(server: Server, seen: Observation) -> Failure | None:
    ready, exit = facts.ready_at(seen), facts.own_exit(seen)
    if exit is None:
        return None
    status = described(seen.platform.family, exit.status)
    return Failure(
        expected="running once it has said it is ready",
        actual=f"exited {exit.at - ready:.2f} s after ready with status {status}",
    )


@check("starts-without-errors")
def starts_without_errors(server: Server, seen: Observation) -> Failure | None:
    """Of a server that became ready; what kept another from it is said by `becomes-ready`."""
    facts.ready_at(seen)
    raised = exceptions(seen.own_output)
    if raised:
        last = raised[-1]
        found = f"{last.type}{': ' + last.text if last.text else ''} at {last.where or 'an unknown place'}"
    else:
        traceback = complaints()["python-traceback"]
        texts = (line.text for line in seen.own_output)
        line = next((text for text in texts if RAISED.search(text) or traceback.matches(text)), None)
        if line is None:
            return None
        found = line.strip()
    return Failure(expected="no exception in the output", actual=found, fix=advice_on_output(seen))


SC101 = Scenario(
    code="SC101",
    slug="becomes-ready",
    level=Level.MUST,
    requirement="becomes ready, stays alive, and has no exception in its output",
    act=become_ready,
    checks=(became_ready, stays_alive, starts_without_errors),
)
