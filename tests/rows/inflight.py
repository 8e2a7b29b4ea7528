"""SC3xx."""

from __future__ import annotations

from typing import Any

from pytest_signalcompat.model import Delivery, Exit, Reach, Stop
from pytest_signalcompat.scenarios.inflight import exits_after_answer, no_silence, request_completed

from ..observations import HANGING, WINDOWS, asked, newcomer, request, stream
from . import MET, NOT_MET, UNPROVEN, row

windows: dict[str, Any] = {"platform": WINDOWS, "deliveries": (asked(what="CTRL_BREAK_EVENT"),)}
cut = request(end="closed", status=None)


def ctl(done: float) -> Delivery:
    return Delivery(stop=Stop.TERMINATE, what="ctl stop", reach=Reach.COMMAND, at=1.0, done=done)


refusing = newcomer(end="open", status=None, connected=None, answered=None, ended=None)

ROWS = (
    row(request_completed, "in flight and answered", MET, exchanges=(request(),)),
    row(request_completed, "cut", NOT_MET, exchanges=(request(end="truncated"),)),
    row(request_completed, "299", MET, exchanges=(request(status=299),)),
    row(request_completed, "300", UNPROVEN, exchanges=(request(status=300),)),
    row(request_completed, "199", NOT_MET, exchanges=(request(status=199),)),
    row(request_completed, "not understood", UNPROVEN, exchanges=(request(end="not-understood", status=None),)),
    row(request_completed, "422, the mistake of the table", UNPROVEN, exchanges=(request(status=422),)),
    row(request_completed, "499", UNPROVEN, exchanges=(request(status=499),)),
    row(
        request_completed,
        "unanswered when the harness ended the server",
        UNPROVEN,
        **HANGING,
        exchanges=(request(end="open", status=None, ended=None),),
    ),
    row(
        request_completed,
        "cut by the end that the harness made",
        UNPROVEN,
        **HANGING,
        exchanges=(request(end="truncated", ended=6.01),),
    ),
    row(request_completed, "500", NOT_MET, exchanges=(request(status=500),)),
    row(request_completed, "a redirect", UNPROVEN, exchanges=(request(status=307),)),
    row(request_completed, "sent at the delivery", MET, exchanges=(request(sent=1.0),)),
    row(request_completed, "sent after the delivery", UNPROVEN, exchanges=(request(sent=1.1),)),
    row(request_completed, "none of that role", UNPROVEN, exchanges=(newcomer(), stream())),
    row(request_completed, "500 without framing", NOT_MET, exchanges=(request(framed=False, status=500),)),
    row(request_completed, "without framing", UNPROVEN, exchanges=(request(framed=False),)),
    row(request_completed, "unanswered", NOT_MET, exchanges=(request(end="open", status=None, ended=None),)),
    row(request_completed, "answered before the delivery", UNPROVEN, exchanges=(request(ended=0.99),)),
    row(request_completed, "answered at the delivery", UNPROVEN, exchanges=(request(ended=1.0),)),
    row(request_completed, "never sent", UNPROVEN, exchanges=(request(sent=None, ended=None, end="refused"),)),
    row(request_completed, "leader gone before the answer", NOT_MET, exchanges=(request(ended=2.2),)),
    row(request_completed, "answer read just after the exit", MET, exchanges=(request(ended=2.05),)),
    row(
        request_completed,
        "one of three cut",
        NOT_MET,
        exchanges=(request(), request(end="closed", status=None), request()),
    ),
    row(
        request_completed,
        "one unproven, one cut",
        NOT_MET,
        exchanges=(request(ended=0.9), request(end="reset", status=None)),
    ),
    row(request_completed, "one answered before", MET, exchanges=(request(), request(ended=0.9))),
    row(request_completed, "all answered before", UNPROVEN, exchanges=(request(ended=0.8), request(ended=0.9))),
    row(request_completed, "one refused", UNPROVEN, exchanges=(request(), request(status=422, ended=0.9))),
    row(request_completed, "three answered", MET, exchanges=(request(), request(ended=1.7), request(ended=1.9))),
    row(exits_after_answer, "at once", MET, exchanges=(request(ended=1.9),)),
    row(exits_after_answer, "5 s after it", MET, exit=Exit(at=6.5, status=0), exchanges=(request(),)),
    row(exits_after_answer, "more than 5 s after it", NOT_MET, exit=Exit(at=6.51, status=0), exchanges=(request(),)),
    row(exits_after_answer, "before it, and it was cut", UNPROVEN, exchanges=(request(end="closed", status=None),)),
    row(exits_after_answer, "answered before the stop", UNPROVEN, exchanges=(request(ended=0.9),)),
    row(exits_after_answer, "ended by force less than 5 s after it", MET, **HANGING, exchanges=(request(),)),
    row(exits_after_answer, "still running", NOT_MET, **{**HANGING, "killed": 6.6}, exchanges=(request(),)),
    row(exits_after_answer, "not ended yet", UNPROVEN, exit=None, exchanges=(request(),)),
    row(exits_after_answer, "no request", UNPROVEN),
    row(no_silence, "served", MET, exchanges=(request(), newcomer())),
    row(no_silence, "503", MET, exchanges=(request(), newcomer(status=503))),
    row(no_silence, "reset", MET, exchanges=(request(), newcomer(end="reset", status=None))),
    row(
        no_silence, "Windows takes 2 s to refuse", MET, exchanges=(newcomer(end="refused", connected=None, ended=3.3),)
    ),
    row(no_silence, "answered within 1 s", MET, exchanges=(newcomer(ended=2.19),)),
    row(no_silence, "answered after 2 s", NOT_MET, exchanges=(newcomer(answered=3.2, ended=3.2),)),
    row(no_silence, "answered at once, for long", MET, exchanges=(newcomer(ended=3.2),)),
    row(
        no_silence,
        "open until the kill",
        NOT_MET,
        **HANGING,
        exchanges=(newcomer(end="open", status=None, answered=None, ended=None),),
    ),
    row(no_silence, "Windows is still refusing", MET, **HANGING, **windows, exchanges=(refusing,)),
    row(no_silence, "not even connected", NOT_MET, **HANGING, exchanges=(refusing,)),
    row(no_silence, "left at once", UNPROVEN, exit=Exit(at=1.2, status=0), exchanges=(newcomer(),)),
    row(no_silence, "gone before anybody came", UNPROVEN, exit=Exit(at=1.02, status=0)),
    row(
        no_silence,
        "gone as soon as the command had ended",
        UNPROVEN,
        deliveries=(ctl(done=1.9),),
        exchanges=(newcomer(),),
    ),
    row(no_silence, "a command that waits for the exit", MET, deliveries=(ctl(done=2.1),), exchanges=(newcomer(),)),
    row(no_silence, "a quick command", MET, deliveries=(ctl(done=1.1),), exchanges=(newcomer(),)),
    row(no_silence, "nobody came", UNPROVEN),
)
