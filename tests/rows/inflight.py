"""SC3xx."""

from __future__ import annotations

from typing import Any

from pytest_signalcompat.model import Exit
from pytest_signalcompat.scenarios.inflight import no_silence, request_completed

from ..observations import HANGING, WINDOWS, asked, newcomer, request, stream
from . import MET, NOT_MET, UNPROVEN, row

windows: dict[str, Any] = {"platform": WINDOWS, "deliveries": (asked(what="CTRL_BREAK_EVENT"),)}
refusing = newcomer(end="open", status=None, connected=None, answered=None, ended=None)

ROWS = (
    row(request_completed, "in flight and answered", MET, exchanges=(request(),)),
    row(request_completed, "cut", NOT_MET, exchanges=(request(end="truncated"),)),
    row(request_completed, "299", MET, exchanges=(request(status=299),)),
    row(request_completed, "300", UNPROVEN, exchanges=(request(status=300),)),
    row(request_completed, "199", NOT_MET, exchanges=(request(status=199),)),
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
    row(no_silence, "nobody came", UNPROVEN),
)
