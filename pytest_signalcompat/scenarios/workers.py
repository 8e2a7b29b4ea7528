"""SC5xx: several processes."""

from __future__ import annotations

from .. import checks
from ..model import Level, Scenario, Stop
from .common import idle, several_workers

SC501 = Scenario(
    code="SC501",
    slug="leader-stops-tree",
    level=Level.MUST,
    requirement="with two workers or more, asking the leader stops every worker by design",
    why="Orchestrators signal one process; workers left behind hold the port, the memory and the accelerator.",
    act=idle(Stop.TERMINATE),
    checks=(*checks.stopped_well(), checks.every_worker_stopped, checks.workers_ran),
    needs=("workers",),
    stops=(Stop.TERMINATE,),
    variants=several_workers,
)
