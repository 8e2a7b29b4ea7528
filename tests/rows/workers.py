"""SC5xx."""

from __future__ import annotations

from pytest_signalcompat.config import presets
from pytest_signalcompat.model import Marks, Process
from pytest_signalcompat.scenarios.workers import every_worker_stopped, workers_ran

from ..observations import KILLED, said, server
from . import MET, NOT_MET, UNPROVEN, row

no_mark = server(marks=Marks())
two = server(workers=2)
by_pid = server(workers=2, marks=Marks(stopped=r"stopped pid=\d+"))
pair = (Process(pid=1, name="a"), Process(pid=2, name="b"))
trio = (*pair, Process(pid=3, name="c"))
gunicorn = server(workers=2, marks=presets()["gunicorn"].marks)
exiting = said("[2026-11-27 13:47:08 +0000] [2] [INFO] Worker exiting (pid: 2)", "Worker exiting (pid: 3)")
finished = said("[2026-11-27 13:46:28 +0000] [2] [INFO] Finished server process [2]", "Finished server process [3]")
both = said("stopped pid=2", "stopped pid=3")
one_early = both[:1] + said("stopped", at=0.5)

ROWS = (
    row(every_worker_stopped, "one", MET),
    row(every_worker_stopped, "both", MET, two, output=both),
    row(every_worker_stopped, "one of two", NOT_MET, two, processes=pair),
    row(every_worker_stopped, "one of two in what was kept", UNPROVEN, two, processes=pair, dropped_until=1.5),
    row(every_worker_stopped, "one of two, of which one never ran", MET, two),
    row(every_worker_stopped, "one before the stop", NOT_MET, two, processes=pair, output=one_early),
    row(every_worker_stopped, "more than there are", NOT_MET, output=both),
    row(every_worker_stopped, "no mark declared", UNPROVEN, no_mark, output=()),
    row(every_worker_stopped, "no mark declared, killed", UNPROVEN, no_mark, **KILLED),
    row(every_worker_stopped, "each twice", MET, by_pid, processes=trio, output=both + both),
    row(every_worker_stopped, "one of them twice", NOT_MET, by_pid, processes=trio, output=both[:1] * 2),
    row(every_worker_stopped, "both on a line", MET, by_pid, processes=trio, output=said("stopped pid=2stopped pid=3")),
    row(every_worker_stopped, "gunicorn's own workers", MET, gunicorn, processes=trio, output=exiting),
    row(every_worker_stopped, "gunicorn's uvicorn workers", MET, gunicorn, processes=trio, output=finished),
    row(every_worker_stopped, "both lines from each", MET, gunicorn, processes=trio, output=finished + exiting),
    row(
        every_worker_stopped,
        "both lines from one of two",
        NOT_MET,
        gunicorn,
        processes=trio,
        output=finished[:1] + exiting[:1],
    ),
    row(workers_ran, "two", MET, two, processes=pair),
    row(workers_ran, "one of two", UNPROVEN, two),
)
