"""SC8xx."""

from __future__ import annotations

from typing import Any

from pytest_signalcompat.model import Exit, Line, Marks, Process, Reach
from pytest_signalcompat.scenarios.resources import clean_output, load_was_open, shut_down

from ..observations import HANGING, KILLED, TRACEBACK, asked, request, said, server, stream
from . import MET, NOT_MET, UNPROVEN, row

START, END = said("started pid=1", at=0.2), said("stopped pid=1", at=1.9)
ONE_PIECE = (*TRACEBACK, "started pid=1", "stopped pid=1")
LEFT = (Process(pid=9, name="worker"),)
no_mark = server(marks=Marks())
quiet = server(marks=Marks(stopped="^stopped"))
by_console: dict[str, Any] = {"deliveries": (asked(reach=Reach.CONSOLE),)}


def last(*texts: str) -> tuple[Line, ...]:
    """Said after the stop request, by a server whose start was heard."""
    return START + said(*texts) + END


ROWS = (
    row(load_was_open, "nothing under way", MET),
    row(load_was_open, "a request in flight", MET, exchanges=(request(),)),
    row(load_was_open, "the second one", MET, exchanges=(request(answered=0.6, ended=0.6), request())),
    row(load_was_open, "a stream", MET, exchanges=(stream(),)),
    row(load_was_open, "a request that ended before", UNPROVEN, exchanges=(request(answered=0.6, ended=0.6),)),
    row(load_was_open, "a stream that ended by itself", UNPROVEN, exchanges=(stream(end="complete", ended=0.9),)),
    row(shut_down, "idle, status 0 without a mark", MET, no_mark),
    row(shut_down, "idle, ended by the signal", UNPROVEN, no_mark, exit=Exit(at=2.0, status=-15)),
    row(shut_down, "idle, ended by the signal, the mark is missing", NOT_MET, output=START, exit=Exit(at=2, status=-9)),
    row(shut_down, "idle, all were asked, without a mark", UNPROVEN, no_mark, **by_console),
    row(shut_down, "a request was answered", MET, no_mark, exchanges=(request(),)),
    row(shut_down, "a request was cut, status 0", UNPROVEN, no_mark, exchanges=(request(end="truncated"),)),
    row(shut_down, "never shut down", UNPROVEN, **HANGING),
    row(clean_output, "nothing", MET),
    row(clean_output, "a traceback after the stop", NOT_MET, output=last(*TRACEBACK)),
    row(clean_output, "a traceback before the stop", MET, output=said(*TRACEBACK, at=0.5)),
    row(clean_output, "a traceback after the end by force", MET, **KILLED, output=said(*TRACEBACK, at=6.1)),
    row(clean_output, "not all kept", UNPROVEN, dropped=9, dropped_until=1.5),
    row(clean_output, "not all kept of what came before the stop", MET, dropped=9, dropped_until=0.9),
    row(clean_output, "a pending task", NOT_MET, output=last("Task was destroyed but it is pending!")),
    row(clean_output, "never awaited", NOT_MET, output=last("coroutine 'close' was never awaited")),
    row(clean_output, "the loop's exception handler", NOT_MET, output=last("ERROR:asyncio:Unclosed client session")),
    row(clean_output, "a panic", NOT_MET, output=last("panic: close of closed channel")),
    row(clean_output, "a word of it in a log line", MET, output=last("INFO: Task was destroyed but it is pending!")),
    row(clean_output, "all in one piece at the exit", UNPROVEN, quiet, output=said(*ONE_PIECE, at=1.99)),
    row(clean_output, "the same, its start mark declared", UNPROVEN, output=said(*ONE_PIECE, at=1.99)),
    row(
        *(clean_output, "one stream in one piece, another heard before", UNPROVEN),
        output=said("INFO: hello", at=0.2) + said(*ONE_PIECE, at=1.99),
    ),
    row(clean_output, "in one piece, behind the stop mark", NOT_MET, output=said("stopped pid=1", *TRACEBACK, at=1.99)),
    row(clean_output, "in one piece, of the end", NOT_MET, output=said("started pid=1", "panic: closed", at=1.99)),
    row(
        *(clean_output, "in one piece, interrupted", NOT_MET),
        output=said(*TRACEBACK[:2], "KeyboardInterrupt", "started pid=1", at=1.99),
    ),
    row(clean_output, "a silent server long before its exit", NOT_MET, quiet, output=said(*TRACEBACK, at=1.2)),
    row(clean_output, "a silent server that says more", NOT_MET, quiet, output=said(*TRACEBACK, at=1.8) + END),
    row(clean_output, "silent, still running", NOT_MET, quiet, **HANGING, output=said(*TRACEBACK)),
    row(clean_output, "a process left", UNPROVEN, gone=None, survivors=LEFT, killed=3.1),
)
