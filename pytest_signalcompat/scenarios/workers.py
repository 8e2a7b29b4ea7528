"""SC5xx: several processes."""

from __future__ import annotations

from .. import checks, facts
from ..model import Failure, Level, Observation, Server, Stop
from ..scenario import Scenario, check
from .common import WORKERS, least_grace_with_load, several_workers, stop_with_load


@check("workers-ran")
def workers_ran(server: Server, seen: Observation) -> Failure | None:
    facts.delivery(seen)
    if len(seen.processes) >= server.workers:
        return None
    return Failure(
        expected=f"at least {server.workers} processes before the stop request",
        actual=f"{len(seen.processes)}",
        fix="pass {workers} in the command",
        unproven=True,
    )


# One worker is busy where a request can be made: a leader that ends the others as soon as the first has exited
# (hypercorn's does) would otherwise pass or fail by chance.

SC501 = Scenario(
    code="SC501",
    slug="leader-stops-tree",
    level=Level.MUST,
    requirement="with two workers or more, asking the leader stops every worker by design",
    act=stop_with_load,
    checks=(*checks.stopped_well(), workers_ran),
    needs=(WORKERS,),
    stops=(Stop.TERMINATE,),
    cases=several_workers,
    least_grace=least_grace_with_load,
)
