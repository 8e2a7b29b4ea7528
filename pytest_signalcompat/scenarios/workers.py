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


@check("every-worker-stopped")
def every_worker_stopped(server: Server, seen: Observation) -> Failure | None:
    mark = server.marks.stopped
    facts.exit_of_its_own(seen)
    if workers_ran(server, seen) is not None:
        return None  # there were fewer workers to stop
    if mark is None:
        return Failure(
            expected=f"a sign from each of {server.workers} workers that its shutdown code ran",
            actual="none is declared, and the leader does not tell a worker that stopped from one that was killed",
            fix="declare marks.stopped: a regex for a line that each worker writes at the end of its shutdown",
            unproven=True,
        )
    number = facts.writers(facts.marks_after_stop(mark, seen), seen)
    if number == server.workers:
        return None
    return Failure(
        expected=f"{server.workers} lines like '{mark}', one from each worker",
        actual=f"{number} line{'' if number == 1 else 's'} to say that a worker stopped, of {server.workers}",
        fix="let the leader ask each worker to stop and wait until it has",
        unproven=number < server.workers and facts.output_lost(seen),
    )


# One worker is busy where a request can be made: a leader that ends the others as soon as the first has exited
# (hypercorn's does) would otherwise pass or fail by chance.

SC501 = Scenario(
    code="SC501",
    slug="leader-stops-tree",
    level=Level.MUST,
    requirement="with two workers or more, asking the leader stops every worker by design",
    act=stop_with_load,
    checks=(*checks.stopped_well(), every_worker_stopped, workers_ran),
    needs=(WORKERS,),
    stops=(Stop.TERMINATE,),
    cases=several_workers,
    least_grace=least_grace_with_load,
)
