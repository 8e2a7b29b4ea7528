"""Observations made by hand, and what they are made of: a good stop, and one thing changed."""

from __future__ import annotations

from typing import Any

import msgspec

from pytest_signalcompat.model import (
    IN_FLIGHT,
    KEEP_ALIVE,
    NEW_CONNECTION,
    STREAM,
    Delivery,
    Exchange,
    Exit,
    Line,
    Marks,
    Observation,
    Platform,
    PortState,
    Process,
    Reach,
    Server,
    Stop,
)

POSIX = Platform(
    family="posix",
    system="linux",
    python="3.11.7",
    executable="/usr/bin/python3",
    stops={Stop.TERMINATE: "SIGTERM", Stop.INTERRUPT: "SIGINT", Stop.QUIT: "SIGQUIT", Stop.HANGUP: "SIGHUP"},
    containment="subreaper",
)
WINDOWS = Platform(
    family="windows",
    system="win32",
    python="3.14.0",
    executable=r"C:\Python314\python.exe",
    stops={Stop.TERMINATE: "CTRL_BREAK_EVENT", Stop.INTERRUPT: "CTRL_C_EVENT"},
    containment="job",
)
SERVER = Server(
    name="api",
    command=("{python}", "server.py", "--port", "{port}"),
    marks=Marks(started="^started", stopped="^stopped"),
    grace=5.0,
    drain=2.0,
)


def asked(stop: Stop = Stop.TERMINATE, at: float = 1.0, what: str = "SIGTERM", reach: Reach = Reach.LEADER) -> Delivery:
    return Delivery(stop=stop, what=what, reach=reach, at=at)


def request(**changes: object) -> Exchange:
    """Sent before the stop request at 1.0, answered after it at 1.5."""
    fields: dict[str, object] = {
        "role": IN_FLIGHT,
        "method": "GET",
        "path": "/slow",
        "end": "complete",
        "status": 200,
        "begun": 0.5,
        "connected": 0.5,
        "sent": 0.5,
        "answered": 1.5,
        "ended": 1.5,
        "received": 3,
    }
    return Exchange(**{**fields, **changes})  # type: ignore[arg-type]


def newcomer(**changes: object) -> Exchange:
    """A connection tried while the server drains, served at once."""
    fields = {"role": NEW_CONNECTION, "path": "/", "begun": 1.2, "connected": 1.2, "sent": 1.2}
    return request(**{**fields, "answered": 1.3, "ended": 1.3, **changes})


def idle(**changes: object) -> Exchange:
    """A connection kept open after its answer."""
    return request(role=KEEP_ALIVE, path="/", answered=0.6, ended=0.6, keep_alive=True, **changes)


def stream(**changes: object) -> Exchange:
    """One under way when the stop request came, cut after it."""
    return request(**{"role": STREAM, "path": "/stream", "end": "truncated", "answered": 0.6, **changes})


def seen(**changes: object) -> Observation:
    """A server that was asked at 1.0, said that it stopped, and left at 2.0 with status 0 and nothing behind."""
    fields: dict[str, object] = {
        "platform": POSIX,
        "ready": 0.3,
        "deliveries": (asked(),),
        "output": (Line(at=0.2, text="started pid=1"), Line(at=1.9, text="stopped pid=1")),
        "processes": (Process(pid=1, name="python"),),
        "exit": Exit(at=2.0, status=0),
        "gone": 2.01,
        "port": PortState(number=20000, freed=2.02),
    }
    return Observation(**{**fields, **changes})  # type: ignore[arg-type]


def server(**changes: object) -> Server:
    changed: Server = msgspec.structs.replace(SERVER, **changes)
    return changed


def said(*texts: str, at: float = 1.5) -> tuple[Line, ...]:
    return tuple(Line(at=at, text=text) for text in texts)


TRACEBACK = ("Traceback (most recent call last):", '  File "/srv/app.py", line 3, in stop', "KeyError: 'model'")
KILLED: dict[str, Any] = {"exit": Exit(at=6.1, status=-9), "killed": 6.0, "gone": None}
HANGING: dict[str, Any] = {"exit": None, "killed": 6.0, "gone": None, "port": None}
UNASKED: dict[str, Any] = {"deliveries": (), "exit": Exit(at=0.9, status=1)}
