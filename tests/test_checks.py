"""The requirements as pure functions, on small observations made by hand: met, not met, not proven."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from pytest_signalcompat import checks
from pytest_signalcompat.checks import CONTROL_C_EXIT
from pytest_signalcompat.engine import _only_late, decide, ending, missing
from pytest_signalcompat.model import (
    Check,
    Delivery,
    Ending,
    Exchange,
    Exit,
    Failure,
    Level,
    Line,
    Marks,
    Observation,
    Outcome,
    Platform,
    PortState,
    Post,
    Process,
    Result,
    Routes,
    Scenario,
    Server,
    Stop,
    StopCommand,
)
from pytest_signalcompat.scenarios import CATALOGUE

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


def asked(stop: Stop = Stop.TERMINATE, at: float = 1.0, what: str = "SIGTERM", reach: str = "leader") -> Delivery:
    return Delivery(stop=stop, what=what, reach=reach, at=at)


def request(**changes: object) -> Exchange:
    """Sent before the stop request at 1.0, answered after it at 1.5."""
    fields: dict[str, object] = {
        "name": "in flight",
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


def newcomer(number: int = 1, **changes: object) -> Exchange:
    """A connection tried while the server drains, served at once."""
    fields = {"name": f"new connection {number}", "path": "/", "begun": 1.2, "connected": 1.2, "sent": 1.2}
    return request(**{**fields, "answered": 1.3, "ended": 1.3, **changes})


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

MET, NOT_MET, UNPROVEN = "met", "not met", "not proven"
Row = tuple[Check, str, dict[str, Any], Server, str]


def rows() -> list[Row]:
    """check, what is special about it, the observation's changes, the server, the verdict."""
    ready, alive, errors = checks.became_ready, checks.stays_alive, checks.starts_without_errors
    in_time, quick = checks.exits_within(), checks.exits_within(0.5)
    status, evidence, left = checks.accepted_status, checks.has_evidence, checks.nothing_left
    design = checks.ended_by_design
    workers, ran = checks.every_worker_stopped, checks.workers_ran
    completed, stream, idle = checks.request_completed, checks.stream_was_open, checks.idle_was_open
    silence, limit, clean = checks.no_silence, checks.cut_at_the_limit, checks.clean_output
    windows: dict[str, Any] = {"platform": WINDOWS, "deliveries": (asked(what="CTRL_BREAK_EVENT"),)}
    cut = (request(end="closed", status=None),)
    cut_late = (request(end="closed", status=None, ended=3.0),)
    refusing = newcomer(end="open", status=None, connected=None, answered=None, ended=None)
    no_mark = server(marks=Marks())
    two = server(workers=2)
    by_pid = server(workers=2, marks=Marks(stopped=r"stopped pid=\d+"))
    pair = (Process(pid=1, name="a"), Process(pid=2, name="b"))
    console: dict[str, Any] = {**windows, "deliveries": (asked(what="CTRL_BREAK_EVENT", reach="console"),)}
    trio = (*pair, Process(pid=3, name="c"))
    both = said("stopped pid=2", "stopped pid=3")
    one_early = both[:1] + said("stopped", at=0.5)
    opened = request(name="stream", path="/stream", end="truncated", answered=0.6)
    return [
        (ready, "ready", {}, SERVER, MET),
        (ready, "never ready", {"ready": None, "ready_detail": "refused", "exit": None}, SERVER, NOT_MET),
        (ready, "left before", {"ready": None, "exit": Exit(at=0.2, status=3)}, SERVER, NOT_MET),
        (alive, "running at the end", {"deliveries": (), "exit": None}, SERVER, MET),
        (
            alive,
            "ended by the supervisor",
            {"deliveries": (), "exit": Exit(at=1.1, status=-9), "killed": 1.0},
            SERVER,
            MET,
        ),
        (alive, "left by itself", UNASKED, SERVER, NOT_MET),
        (errors, "nothing said", {}, SERVER, MET),
        (errors, "a traceback", {"output": said(*TRACEBACK)}, SERVER, NOT_MET),
        (errors, "an error's name in a log line", {"output": said("NotImplementedError: signals")}, SERVER, NOT_MET),
        (errors, "an error in a log line", {"output": said("ERROR AttributeError in a hook")}, SERVER, NOT_MET),
        (errors, "a deprecation", {"output": said("FutureWarning: will raise AttributeError in 3")}, SERVER, MET),
        (errors, "its line of code", {"output": said('  warnings.warn("will raise AttributeError")')}, SERVER, MET),
        (checks.was_asked, "asked", {}, SERVER, MET),
        (checks.was_asked, "gone before", UNASKED, SERVER, NOT_MET),
        (checks.was_asked, "not delivered", {"deliveries": (), "exit": None}, SERVER, NOT_MET),
        (in_time, "exit in time", {}, SERVER, MET),
        (in_time, "exit exactly at the limit", {"exit": Exit(at=6.0, status=0)}, SERVER, MET),
        (in_time, "exit just after the limit", {"exit": Exit(at=6.01, status=0)}, SERVER, NOT_MET),
        (in_time, "still running", HANGING, SERVER, NOT_MET),
        (in_time, "killed at the end of the grace", KILLED, SERVER, NOT_MET),
        (in_time, "never asked", UNASKED, SERVER, MET),
        (quick, "beyond its own limit", {}, SERVER, NOT_MET),
        (quick, "within its own limit", {"exit": Exit(at=1.5, status=0)}, SERVER, MET),
        (
            checks.exits_within(60.0),
            "the grace is the shorter limit",
            {"exit": Exit(at=8.0, status=0)},
            SERVER,
            NOT_MET,
        ),
        (checks.ends_by_itself, "an exit", {}, SERVER, MET),
        (checks.ends_by_itself, "SIGKILL by somebody", {"exit": Exit(at=1.1, status=-9)}, SERVER, NOT_MET),
        (checks.ends_by_itself, "SIGKILL by the supervisor", KILLED, SERVER, MET),
        (status, "0", {}, SERVER, MET),
        (status, "death by the signal sent", {"exit": Exit(at=2.0, status=-15)}, SERVER, MET),
        (status, "death by another signal", {"exit": Exit(at=2.0, status=-2)}, SERVER, NOT_MET),
        (status, "143", {"exit": Exit(at=2.0, status=143)}, SERVER, NOT_MET),
        (
            status,
            "declared",
            {"exit": Exit(at=2.0, status=143)},
            server(exits={"posix": {Stop.TERMINATE: (143,)}}),
            MET,
        ),
        (status, "declared, another one", {}, server(exits={"posix": {Stop.TERMINATE: (143,)}}), NOT_MET),
        (status, "declared for the other family", {}, server(exits={"windows": {Stop.TERMINATE: (3,)}}), MET),
        (status, "declared for another request", {}, server(exits={"posix": {Stop.INTERRUPT: (130,)}}), MET),
        (status, "of a killed server", KILLED, SERVER, MET),
        (status, "Windows: 0", windows, SERVER, MET),
        (status, "Windows: control C exit", {**windows, "exit": Exit(at=2.0, status=CONTROL_C_EXIT)}, SERVER, MET),
        (status, "Windows: 3", {**windows, "exit": Exit(at=2.0, status=3)}, SERVER, NOT_MET),
        (status, "Windows: 15", {**windows, "exit": Exit(at=2.0, status=15)}, SERVER, NOT_MET),
        (
            *(status, "Windows: 3, declared", {**windows, "exit": Exit(at=2.0, status=3)}),
            *(server(exits={"windows": {Stop.TERMINATE: (0, 3)}}), MET),
        ),
        (
            *(status, "a command leaves no signal to die of", {"exit": Exit(at=2.0, status=-15)}),
            *(server(stops={Stop.TERMINATE: StopCommand(command=("ctl", "stop"))}), NOT_MET),
        ),
        (evidence, "its mark", {}, SERVER, MET),
        (evidence, "a mark before the stop", {"output": said("stopped pid=1", at=0.9)}, SERVER, NOT_MET),
        (evidence, "no mark seen", {"output": ()}, SERVER, NOT_MET),
        (evidence, "no mark seen in what was kept", {"output": (), "dropped_until": 1.5}, SERVER, UNPROVEN),
        (evidence, "a response in its place", {"output": (), "exchanges": (request(),)}, SERVER, MET),
        (evidence, "a response, no mark declared", {"output": (), "exchanges": (request(),)}, no_mark, MET),
        (evidence, "one without framing", {"output": (), "exchanges": (request(framed=False),)}, SERVER, NOT_MET),
        (evidence, "an error is no evidence", {"output": (), "exchanges": (request(status=500),)}, SERVER, NOT_MET),
        (
            *(evidence, "a response before the stop is none", {"output": (), "exchanges": (request(ended=0.9),)}),
            *(SERVER, NOT_MET),
        ),
        (evidence, "nothing to see it by", {"output": ()}, no_mark, UNPROVEN),
        (evidence, "still running", HANGING, SERVER, MET),
        (evidence, "killed at the end of the grace", {**KILLED, "output": ()}, SERVER, MET),
        (design, "0 without a sign", {"output": ()}, SERVER, MET),
        (design, "0 without a sign, all were asked", {**console, "output": ()}, SERVER, NOT_MET),
        (design, "0 with a mark, all were asked", console, SERVER, MET),
        (design, "a mark and another status", {"exit": Exit(at=2.0, status=143)}, SERVER, MET),
        (design, "another status without the mark", {"output": (), "exit": Exit(at=2.0, status=-15)}, SERVER, NOT_MET),
        (
            design,
            "another status, no mark declared",
            {"output": (), "exit": Exit(at=2.0, status=-9)},
            no_mark,
            UNPROVEN,
        ),
        (left, "nothing", {}, SERVER, MET),
        (left, "a process", {"gone": None, "survivors": (Process(pid=9, name="worker"),)}, SERVER, NOT_MET),
        (left, "the port", {"port": PortState(number=20000, held_until=3.1)}, SERVER, NOT_MET),
        (left, "the port for too long", {"port": PortState(number=20000, freed=3.2)}, SERVER, NOT_MET),
        (left, "the port for a moment", {"port": PortState(number=20000, freed=3.0)}, SERVER, MET),
        (left, "of a killed server", KILLED, SERVER, MET),
        (workers, "one", {}, SERVER, MET),
        (workers, "both", {"output": both}, two, MET),
        (workers, "one of two", {"processes": pair}, two, NOT_MET),
        (workers, "one of two in what was kept", {"processes": pair, "dropped_until": 1.5}, two, UNPROVEN),
        (workers, "one of two, of which one never ran", {}, two, MET),
        (workers, "one before the stop", {"processes": pair, "output": one_early}, two, NOT_MET),
        (workers, "more than there are", {"output": both}, SERVER, NOT_MET),
        (workers, "no mark declared", {"output": ()}, no_mark, UNPROVEN),
        (workers, "no mark declared, killed", KILLED, no_mark, MET),
        (workers, "each twice", {"processes": trio, "output": both + both}, by_pid, MET),
        (workers, "one of them twice", {"processes": trio, "output": both[:1] * 2}, by_pid, NOT_MET),
        (workers, "both on a line", {"processes": trio, "output": said("stopped pid=2stopped pid=3")}, by_pid, MET),
        (ran, "two", {"processes": pair}, two, MET),
        (ran, "one of two", {}, two, UNPROVEN),
        (completed, "in flight and answered", {"exchanges": (request(),)}, SERVER, MET),
        (completed, "cut", {"exchanges": (request(end="truncated"),)}, SERVER, NOT_MET),
        (completed, "500", {"exchanges": (request(status=500),)}, SERVER, NOT_MET),
        (completed, "500 without framing", {"exchanges": (request(framed=False, status=500),)}, SERVER, NOT_MET),
        (completed, "without framing", {"exchanges": (request(framed=False),)}, SERVER, UNPROVEN),
        (completed, "unanswered", {"exchanges": (request(end="open", status=None, ended=None),)}, SERVER, NOT_MET),
        (completed, "answered before the delivery", {"exchanges": (request(ended=0.99),)}, SERVER, UNPROVEN),
        (completed, "answered at the delivery", {"exchanges": (request(ended=1.0),)}, SERVER, UNPROVEN),
        (completed, "never sent", {"exchanges": (request(sent=None, ended=None, end="refused"),)}, SERVER, UNPROVEN),
        (completed, "leader gone before the answer", {"exchanges": (request(ended=2.2),)}, SERVER, NOT_MET),
        (completed, "answer read just after the exit", {"exchanges": (request(ended=2.05),)}, SERVER, MET),
        (stream, "under way", {"exchanges": (opened,)}, SERVER, MET),
        (stream, "ended before", {"exchanges": (request(name="stream", answered=0.6, ended=0.9),)}, SERVER, UNPROVEN),
        (stream, "no byte of it yet", {"exchanges": (request(name="stream", answered=None),)}, SERVER, UNPROVEN),
        (idle, "open until the stop", {"idle_closed": 1.2}, SERVER, MET),
        (idle, "never closed", {}, SERVER, MET),
        (idle, "closed before", {"idle_closed": 0.8}, SERVER, UNPROVEN),
        (silence, "served", {"exchanges": (request(), newcomer())}, SERVER, MET),
        (silence, "503", {"exchanges": (request(), newcomer(status=503))}, SERVER, MET),
        (silence, "reset", {"exchanges": (request(), newcomer(end="reset", status=None))}, SERVER, MET),
        (
            silence,
            "Windows takes 2 s to refuse",
            {"exchanges": (newcomer(end="refused", connected=None, ended=3.3),)},
            SERVER,
            MET,
        ),
        (silence, "answered within 1 s", {"exchanges": (newcomer(ended=2.19),)}, SERVER, MET),
        (silence, "answered after 2 s", {"exchanges": (newcomer(answered=3.2, ended=3.2),)}, SERVER, NOT_MET),
        (silence, "answered at once, for long", {"exchanges": (newcomer(ended=3.2),)}, SERVER, MET),
        (
            *(
                silence,
                "open until the kill",
                {**HANGING, "exchanges": (newcomer(end="open", status=None, answered=None, ended=None),)},
            ),
            *(SERVER, NOT_MET),
        ),
        (silence, "Windows is still refusing", {**HANGING, **windows, "exchanges": (refusing,)}, SERVER, MET),
        (silence, "not even connected", {**HANGING, "exchanges": (refusing,)}, SERVER, NOT_MET),
        (silence, "left at once", {"exit": Exit(at=1.2, status=0), "exchanges": (newcomer(),)}, SERVER, UNPROVEN),
        (silence, "nobody came", {}, SERVER, UNPROVEN),
        (limit, "at the limit", {"exit": Exit(at=3.0, status=0)}, SERVER, MET),
        (limit, "a timer's slack before it", {"exit": Exit(at=2.91, status=0)}, SERVER, MET),
        (limit, "before it", {"exit": Exit(at=2.85, status=0)}, SERVER, NOT_MET),
        (limit, "5 s after it", {"exit": Exit(at=8.0, status=0)}, SERVER, MET),
        (limit, "more than 5 s after it", {"exit": Exit(at=8.01, status=0)}, SERVER, NOT_MET),
        (limit, "cut before it", {"exchanges": (request(end="closed", status=None),)}, SERVER, NOT_MET),
        (limit, "cut at once, gone at it", {"exit": Exit(at=3.0, status=0), "exchanges": cut}, SERVER, NOT_MET),
        (limit, "cut at it", {"exit": Exit(at=3.2, status=0), "exchanges": cut_late}, SERVER, MET),
        (limit, "refused at once", {"exchanges": (request(status=503),)}, SERVER, NOT_MET),
        (limit, "cut with a response, as uvicorn does", {"exchanges": (request(status=500),)}, SERVER, NOT_MET),
        (limit, "timed out by itself", {"exchanges": (request(status=408),)}, SERVER, UNPROVEN),
        (limit, "answered before the stop", {"exchanges": (request(status=404, ended=0.6),)}, SERVER, UNPROVEN),
        (limit, "answered long before it", {"exchanges": (request(),)}, SERVER, UNPROVEN),
        (limit, "killed", KILLED, SERVER, MET),
        (limit, "no limit declared", {}, server(drain=None), MET),
        (clean, "nothing", {}, SERVER, MET),
        (clean, "a traceback after the stop", {"output": said(*TRACEBACK)}, SERVER, NOT_MET),
        (clean, "a traceback before the stop", {"output": said(*TRACEBACK, at=0.5)}, SERVER, MET),
        (clean, "a traceback after the end by force", {**KILLED, "output": said(*TRACEBACK, at=6.1)}, SERVER, MET),
        (clean, "not all kept", {"dropped": 9, "dropped_until": 1.5}, SERVER, UNPROVEN),
        (clean, "not all kept of what came before the stop", {"dropped": 9, "dropped_until": 0.9}, SERVER, MET),
        (clean, "a pending task", {"output": said("Task was destroyed but it is pending!")}, SERVER, NOT_MET),
        (clean, "never awaited", {"output": said("coroutine 'close' was never awaited")}, SERVER, NOT_MET),
    ]


def _name(row: Row) -> str:
    name = row[0].__name__
    return f"{name}: {row[1]}"


@pytest.mark.parametrize("row", rows(), ids=_name)
def test_check(row: Row) -> None:
    check, _, changes, declared, verdict = row
    failure = check(declared, seen(**changes))
    found = MET if failure is None else UNPROVEN if failure.inconclusive else NOT_MET
    assert found == verdict, failure
    assert failure is None or (failure.check and failure.expected and failure.actual)


def test_every_check_has_rows_for_both_verdicts() -> None:
    used = {check.__name__ for scenario in CATALOGUE for check in scenario.checks}
    verdicts: dict[str, set[str]] = {}
    for check, _, _, _, verdict in rows():
        verdicts.setdefault(check.__name__, set()).add(verdict)
    assert used <= verdicts.keys()
    assert [name for name in used if verdicts[name] == {MET} or MET not in verdicts[name]] == []


# ---------------------------------------------------------------- what the texts say


def told(check: Check, declared: Server = SERVER, **changes: object) -> Failure:
    failure = check(declared, seen(**changes))
    assert failure is not None
    return failure


def test_a_failed_start_names_the_exception_its_place_and_the_way_out() -> None:
    output = said(
        "Traceback (most recent call last):",
        '  File "C:\\venv\\Lib\\site-packages\\kserve\\model_server.py", line 268, in serve',
        "    loop.add_signal_handler(",
        '  File "C:\\Python311\\Lib\\asyncio\\events.py", line 582, in add_signal_handler',
        "NotImplementedError",
    )
    failure = told(checks.became_ready, ready=None, platform=WINDOWS, output=output, exit=Exit(at=0.8, status=1))
    assert failure.actual == (
        "exited 0.8 s after the start with status 1;"
        r" NotImplementedError at C:\venv\Lib\site-packages\kserve\model_server.py:268 in serve"
    )
    assert failure.fix == checks.FIX_ADD_SIGNAL_HANDLER
    assert not failure.timing


def test_a_missing_signal_has_its_own_advice() -> None:
    output = said("AttributeError: module 'signal' has no attribute 'SIGQUIT'")
    assert told(checks.starts_without_errors, output=output).fix == checks.FIX_MISSING_SIGNAL


def test_a_server_that_hangs_is_told_with_its_open_requests() -> None:
    open_request = request(end="open", status=None, ended=None)
    failure = told(checks.exits_within(), **HANGING, exchanges=(open_request,))
    assert failure.actual == "still running 5 s after SIGTERM, with open: in flight"
    assert failure.timing


@pytest.mark.parametrize(
    ("family", "number", "text"),
    [
        ("posix", 0, "0"),
        ("posix", -15, "-15 (SIGTERM)"),
        ("posix", -64, "-64 (signal)"),
        ("posix", 143, "143"),
        ("windows", 3, "3"),
        ("windows", CONTROL_C_EXIT, "0xC000013A (STATUS_CONTROL_C_EXIT)"),
        ("windows", 0xC0000409, "0xC0000409 (NTSTATUS)"),
    ],
)
def test_describe_status(family: str, number: int, text: str) -> None:
    assert checks.describe_status(family, number) == text  # type: ignore[arg-type]


def test_only_lateness_is_marked_as_timing() -> None:
    """Such a run is repeated alone; anything else counts at once."""
    late = [told(checks.exits_within(), **HANGING), told(checks.cut_at_the_limit, exit=Exit(at=8.5, status=0))]
    wrong = [told(checks.accepted_status, exit=Exit(at=2.0, status=1)), told(checks.cut_at_the_limit)]
    assert [failure.timing for failure in late + wrong] == [True, True, False, False]


# ---------------------------------------------------------------- judging


def test_proof_comes_before_what_lacks_it() -> None:
    observation = seen(exchanges=(request(ended=0.9),), exit=Exit(at=2.0, status=1))
    found = checks.judge((checks.request_completed, checks.accepted_status), SERVER, observation)
    assert [failure.check for failure in found] == ["accepted status", "request completed"]


def test_a_server_that_was_never_ready_has_one_failure() -> None:
    observation = seen(ready=None, deliveries=(), exit=Exit(at=0.2, status=1))
    assert [failure.check for failure in checks.judge(checks.stopped_well(), SERVER, observation)] == ["becomes ready"]


def test_a_good_stop_has_no_failure() -> None:
    for scenario in CATALOGUE:
        if scenario.code in ("SC101", "SC304", "SC401", "SC501", "SC701"):
            continue  # these want more of an observation than that of a stop with one request in flight
        assert checks.judge(scenario.checks, SERVER, seen(exchanges=(request(),))) == (), scenario.code


PROVEN = Failure(check="a", expected="b", actual="c")
LATE = Failure(check="a", expected="b", actual="c", timing=True)
LACKING = Failure(check="a", expected="b", actual="c", inconclusive=True)


@pytest.mark.parametrize(
    ("level", "failures", "outcome"),
    [
        (Level.MUST, (), Outcome.PASS),
        (Level.MUST, (PROVEN,), Outcome.FAIL),
        (Level.MUST, (PROVEN, LACKING), Outcome.FAIL),
        (Level.MUST, (LACKING,), Outcome.INCONCLUSIVE),
        (Level.SHOULD, (), Outcome.PASS),
        (Level.SHOULD, (PROVEN,), Outcome.WEAK),
        (Level.MAY, (PROVEN,), Outcome.WEAK),
        (Level.SHOULD, (LACKING,), Outcome.INCONCLUSIVE),
    ],
)
def test_decide(level: Level, failures: tuple[Failure, ...], outcome: Outcome) -> None:
    assert decide(level, failures) is outcome


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, Ending.CLEAN),
        ({"exit": Exit(at=2.0, status=-15)}, Ending.CLEAN),
        ({"exit": Exit(at=2.0, status=1)}, Ending.CRASH),
        (UNASKED, Ending.CRASH),
        ({"gone": None, "survivors": (Process(pid=9, name="worker"),)}, Ending.LEAK),
        ({"port": PortState(number=20000, held_until=3.1)}, Ending.LEAK),
        (HANGING, Ending.TIMEOUT),
        (KILLED, Ending.TIMEOUT),
        ({"deliveries": (), "exit": None, "killed": 1.0}, Ending.FORCED),
        ({"deliveries": (), "exit": Exit(at=1.1, status=-9), "killed": 1.0}, Ending.FORCED),
    ],
)
def test_ending(changes: dict[str, object], expected: Ending) -> None:
    assert ending(SERVER, seen(**changes)) is expected


@pytest.mark.parametrize(
    ("failures", "ending", "again"),
    [
        ((), Ending.CLEAN, False),
        ((LATE,), Ending.CLEAN, True),
        ((LATE, LACKING), Ending.CLEAN, True),
        ((LATE, PROVEN), Ending.CLEAN, False),
        ((LATE, PROVEN), Ending.TIMEOUT, True),
        ((LACKING,), Ending.TIMEOUT, False),
    ],
)
def test_only_late(failures: tuple[Failure, ...], ending: Ending, again: bool) -> None:
    result = Result(
        server="api",
        code="SC301",
        slug="inflight-completes",
        level=Level.MUST,
        outcome=Outcome.FAIL,
        ending=ending,
        failures=failures,
    )
    assert _only_late(result) is again


# ---------------------------------------------------------------- what does not apply

BY_CODE: dict[str, Scenario] = {scenario.code: scenario for scenario in CATALOGUE}


@pytest.mark.parametrize(
    ("code", "declared", "platform", "reason"),
    [
        ("SC201", SERVER, POSIX, None),
        ("SC301", SERVER, POSIX, "declare routes.slow or routes.post"),
        ("SC301", server(routes=Routes(post=Post(path="/predict"))), POSIX, None),
        ("SC401", SERVER, POSIX, "declare routes.stream"),
        (
            *("SC701", server(drain=None), POSIX),
            "declare drain, the server's own drain limit in seconds and routes.slow or routes.post",
        ),
        ("SC501", SERVER, POSIX, "declare workers = 2, with {workers} in the command"),
        ("SC501", server(workers=2), POSIX, None),
        ("SC501", server(command=("x", "{port}", "{workers}")), POSIX, None),
        ("SC203", SERVER, POSIX, None),
        ("SC203", SERVER, WINDOWS, "windows has no quit request (it has CTRL_BREAK_EVENT, CTRL_C_EVENT)"),
        ("SC203", server(stops={Stop.QUIT: StopCommand(command=("ctl",))}), WINDOWS, None),
        ("SC901", SERVER, WINDOWS, None),
        ("SC901", SERVER, POSIX, "console-ctrl-c is about windows only"),
    ],
)
def test_missing(code: str, declared: Server, platform: Platform, reason: str | None) -> None:
    assert missing(declared, BY_CODE[code], platform) == reason
