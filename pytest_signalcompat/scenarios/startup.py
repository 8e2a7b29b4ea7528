"""SC1xx: starting."""

from __future__ import annotations

from .. import facts
from ..checks import advice_on_output, became_ready
from ..live.stage import Stage
from ..model import Failure, Level, Observation, Server
from ..output import exceptions
from ..scenario import Scenario, check
from ..statuses import described

WATCH = 0.5  # seconds after ready in which a background task's crash shows
FAULTS = ("NotImplementedError", "AttributeError", "Traceback (most recent call last)")


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
        # A warning may say what a later version will raise; Python shows the line of code that gave it, too.
        said = [line for line in seen.own_output if "Warning" not in line.text and "warnings.warn" not in line.text]
        line = next((line for line in said if any(word in line.text for word in FAULTS)), None)
        if line is None:
            return None
        found = line.text.strip()
    return Failure(expected="no exception in the output", actual=found, fix=advice_on_output(seen))


SC101 = Scenario(
    code="SC101",
    slug="becomes-ready",
    level=Level.MUST,
    requirement="becomes ready, stays alive, and has no exception in its output",
    act=become_ready,
    checks=(became_ready, stays_alive, starts_without_errors),
)
