"""The evidence of a stop by design: from a single process, and from each of several workers."""

from __future__ import annotations

from typing import Any

from pytest_signalcompat import checks
from pytest_signalcompat.config import presets
from pytest_signalcompat.model import Exit, Line, Marks, Process, Reach, Stop
from pytest_signalcompat.statuses import CONTROL_C_EXIT

from ..observations import HANGING, KILLED, WINDOWS, asked, request, said, server
from . import MET, NOT_MET, UNPROVEN, row

evidence, design = checks.has_evidence, checks.ended_by_design
console: dict[str, Any] = {
    "platform": WINDOWS,
    "deliveries": (asked(what="CTRL_BREAK_EVENT", reach=Reach.CONSOLE),),
}
group: dict[str, Any] = {"deliveries": (asked(Stop.INTERRUPT, what="SIGINT", reach=Reach.GROUP),)}
up = said("started pid=1", at=0.2)
no_mark = server(marks=Marks())
only_stopped = server(marks=Marks(stopped="^stopped"))
two = server(workers=2)
two_unmarked = server(workers=2, marks=Marks())
pair = (Process(pid=2, name="worker", parent=1), Process(pid=3, name="worker", parent=1))
tree = (Process(pid=1, name="leader", parent=9), *pair)
wrapped = (Process(pid=8, name="sh -c", parent=9), Process(pid=1, name="leader", parent=8), *pair)
both_up = (Line(at=0.2, text="started pid=2"), Line(at=0.3, text="started pid=3"))
both = said("stopped pid=2", "stopped pid=3")
gunicorn = server(workers=2, marks=presets()["gunicorn"].marks)
booted = said("Booting worker with pid: 2", "Booting worker with pid: 3", at=0.2)
exiting = said("[2026-11-27 13:47:08 +0000] [2] [INFO] Worker exiting (pid: 2)", "Worker exiting (pid: 3)")
finished = said("[2026-11-27 13:46:28 +0000] [2] [INFO] Finished server process [2]", "Finished server process [3]")
by_default = Exit(at=1.01, status=CONTROL_C_EXIT)


def late(*texts: str, at: float = 2.3) -> tuple[Line, ...]:
    return (*up, *(Line(at=at, text=text) for text in texts))


ROWS = (
    row(evidence, "its mark", MET),
    row(evidence, "a mark before the stop", NOT_MET, output=(*up, *said("stopped pid=1", at=0.9))),
    row(evidence, "no mark seen", NOT_MET, output=up),
    row(evidence, "no mark seen, nor its start mark", UNPROVEN, output=()),
    row(evidence, "no mark seen, no start mark declared", NOT_MET, only_stopped, output=()),
    row(evidence, "no mark seen in what was kept", UNPROVEN, output=up, dropped_until=1.5),
    row(evidence, "a mark at the exit", MET, output=late("stopped pid=1", at=2.0)),
    row(evidence, "a mark after the exit", NOT_MET, output=late("stopped pid=1")),
    row(evidence, "a mark after the exit, of a quiet log", NOT_MET, output=said("stopped pid=1", at=2.3)),
    row(evidence, "a mark after the exit, before the end of the tree", NOT_MET, output=late("stopped"), gone=2.5),
    row(evidence, "a mark less than 1 s after the exit", MET, **group, output=late("stopped", at=2.9), gone=None),
    row(evidence, "a mark after the exit, the group was asked", MET, **group, output=late("stopped"), gone=2.4),
    row(evidence, "a mark after the tree", NOT_MET, **group, output=late("stopped", at=2.5), gone=2.4),
    row(evidence, "a mark more than 1 s after the exit", NOT_MET, **group, output=late("stopped", at=3.1), gone=None),
    row(evidence, "a response in its place", MET, output=up, exchanges=(request(),)),
    row(evidence, "a response read just after the exit", MET, output=up, exchanges=(request(ended=2.05),)),
    row(evidence, "a response after the exit", NOT_MET, output=up, exchanges=(request(ended=2.2),)),
    row(evidence, "a response, no mark declared", MET, no_mark, output=(), exchanges=(request(),)),
    row(evidence, "one without framing", NOT_MET, output=up, exchanges=(request(framed=False),)),
    row(evidence, "an error is no evidence", NOT_MET, output=up, exchanges=(request(status=500),)),
    row(evidence, "a redirect is none", NOT_MET, output=up, exchanges=(request(status=302),)),
    row(evidence, "one sent after the stop is none", NOT_MET, output=up, exchanges=(request(sent=1.1),)),
    row(evidence, "a response before the stop is none", NOT_MET, output=up, exchanges=(request(ended=0.9),)),
    row(evidence, "nothing to see it by", UNPROVEN, no_mark, output=()),
    row(evidence, "still running", UNPROVEN, **HANGING),
    row(evidence, "killed at the end of the grace", UNPROVEN, **KILLED, output=()),
    row(evidence, "Windows: the default action", NOT_MET, no_mark, **console, output=(), exit=by_default),
    row(evidence, "two workers: both", MET, two, processes=tree, output=both_up + both),
    row(evidence, "two workers: one", NOT_MET, two, processes=tree, output=both_up + both[:1]),
    row(
        evidence,
        "two workers: one, no start mark declared",
        NOT_MET,
        server(workers=2, marks=only_stopped.marks),
        processes=tree,
        output=both[:1],
    ),
    row(
        evidence,
        "two workers: one and a response",
        NOT_MET,
        two,
        processes=tree,
        output=both_up + both[:1],
        exchanges=(request(),),
    ),
    row(
        evidence,
        "two workers: one and the leader",
        NOT_MET,
        two,
        processes=tree,
        output=both_up + said("stopped pid=2", "stopped pid=1"),
    ),
    row(
        evidence, "two workers and the leader", MET, two, processes=tree, output=both_up + both + said("stopped pid=1")
    ),
    row(
        evidence,
        "two workers: one and the wrapped leader",
        NOT_MET,
        two,
        processes=wrapped,
        output=both_up + said("stopped pid=2", "stopped pid=1", "stopped pid=8"),
    ),
    row(evidence, "two workers: one of them twice", NOT_MET, two, processes=tree, output=both_up + both[:1] * 2),
    row(evidence, "two workers: each twice", MET, two, processes=tree, output=both_up + both + both),
    row(
        evidence,
        "two workers: both on a line",
        MET,
        two,
        processes=tree,
        output=both_up + said("stopped pid=2stopped pid=3"),
    ),
    row(
        evidence,
        "two workers: each names the leader, too",
        MET,
        two,
        processes=tree,
        output=both_up + said("stopped pid=2 (of 1)", "stopped pid=3 (of 1)"),
    ),
    row(evidence, "two workers: one mark without pid", NOT_MET, two, processes=tree, output=both_up + said("stopped")),
    row(
        evidence,
        "two workers: marks without pid",
        MET,
        two,
        processes=tree,
        output=both_up + said("stopped", "stopped"),
    ),
    row(
        evidence,
        "two workers: one before the stop",
        NOT_MET,
        two,
        processes=tree,
        output=both_up + both[:1] + said("stopped pid=3", at=0.5),
    ),
    row(
        evidence,
        "two workers: the second after the leader's exit",
        NOT_MET,
        two,
        processes=tree,
        output=both_up + both[:1] + said("stopped pid=3", at=2.3),
    ),
    row(
        evidence,
        "two workers: one in what was kept",
        UNPROVEN,
        two,
        processes=tree,
        output=both_up + both[:1],
        dropped_until=1.5,
    ),
    row(evidence, "two workers: a quiet log", UNPROVEN, two, processes=tree, output=()),
    row(evidence, "two workers: one not up yet", UNPROVEN, two, processes=tree, output=both_up[:1] + both[:1]),
    row(
        evidence,
        "two workers: one is up, no start mark declared",
        UNPROVEN,
        server(workers=2, marks=only_stopped.marks),
        processes=tree[:2],
        output=both[:1],
    ),
    row(
        evidence,
        "two workers: the only one that is up was killed",
        NOT_MET,
        server(workers=2, marks=only_stopped.marks),
        processes=tree[:2],
        output=(),
    ),
    row(evidence, "two workers: no mark declared", UNPROVEN, two_unmarked, processes=tree, exchanges=(request(),)),
    row(evidence, "gunicorn's own workers", MET, gunicorn, processes=tree, output=booted + exiting),
    row(evidence, "gunicorn's uvicorn workers", MET, gunicorn, processes=tree, output=booted + finished),
    row(evidence, "gunicorn: both lines from each", MET, gunicorn, processes=tree, output=booted + finished + exiting),
    row(
        evidence,
        "gunicorn: both lines from one of two",
        NOT_MET,
        gunicorn,
        processes=tree,
        output=booted + finished[:1] + exiting[:1],
    ),
    row(design, "0 without a sign", MET, output=()),
    row(design, "0 without a sign, all were asked", NOT_MET, **console, output=up),
    row(design, "0 without a sign, the group was asked", NOT_MET, **group, output=up),
    row(design, "0 with a mark, all were asked", MET, **console),
    row(design, "a mark and another status", MET, exit=Exit(at=2.0, status=143)),
    row(design, "another status without the mark", NOT_MET, output=up, exit=Exit(at=2.0, status=-15)),
    row(design, "another status, no mark declared", UNPROVEN, no_mark, output=(), exit=Exit(at=2.0, status=-9)),
)
