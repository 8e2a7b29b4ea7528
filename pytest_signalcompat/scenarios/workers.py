"""SC5xx: several processes."""

from __future__ import annotations

from .. import checks
from ..model import Level, Scenario, Stop
from .common import several_workers, stop_with_load

# One worker is busy where a request can be made: a leader that ends the others as soon as the first has left
# (hypercorn's does) would otherwise pass or fail by chance.

SC501 = Scenario(
    code="SC501",
    slug="leader-stops-tree",
    level=Level.MUST,
    requirement="with two workers or more, asking the leader stops every worker by design",
    why="Orchestrators signal one process; workers left behind hold the port, the memory and the accelerator.",
    act=stop_with_load,
    checks=(*checks.stopped_well(), checks.every_worker_stopped, checks.workers_ran),
    needs=("workers",),
    stops=(Stop.TERMINATE,),
    variants=several_workers,
)
