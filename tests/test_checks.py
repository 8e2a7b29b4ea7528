"""What each check finds in small observations made by hand: met, not met, not proven."""

from __future__ import annotations

from typing import Any

import pytest

from pytest_signalcompat import checks
from pytest_signalcompat.model import (
    IN_FLIGHT,
    KEEP_ALIVE,
    NEW_CONNECTION,
    STREAM,
    Exit,
    Failure,
    Marks,
    Observation,
    PortState,
    Process,
    Reach,
    Role,
    Server,
    Stop,
    StopCommand,
)
from pytest_signalcompat.scenario import Check
from pytest_signalcompat.scenarios import CATALOGUE
from pytest_signalcompat.scenarios.idle import idle_was_open
from pytest_signalcompat.scenarios.inflight import no_silence, request_completed
from pytest_signalcompat.scenarios.resources import clean_output
from pytest_signalcompat.scenarios.startup import starts_without_errors, stays_alive
from pytest_signalcompat.scenarios.streaming import stream_was_open
from pytest_signalcompat.scenarios.timing import cut_at_the_limit
from pytest_signalcompat.scenarios.workers import every_worker_stopped, workers_ran
from pytest_signalcompat.statuses import CONTROL_C_EXIT, described

from .observations import (
    HANGING,
    KILLED,
    POSIX,
    SERVER,
    TRACEBACK,
    UNASKED,
    WINDOWS,
    asked,
    idle,
    newcomer,
    request,
    said,
    seen,
    server,
    stream,
)

MET, NOT_MET, UNPROVEN = "met", "not met", "not proven"
Row = tuple[Check, str, dict[str, Any], Server, str]


def rows() -> list[Row]:
    """check, what is special about it, the observation's changes, the server, the verdict."""
    ready, alive, errors = checks.became_ready, stays_alive, starts_without_errors
    in_time, quick = checks.exits_within(), checks.exits_within(0.5)
    status, evidence, left = checks.accepted_status, checks.has_evidence, checks.nothing_left
    design = checks.ended_by_design
    workers, ran = every_worker_stopped, workers_ran
    completed, streaming, kept = request_completed, stream_was_open, idle_was_open
    silence, limit, clean = no_silence, cut_at_the_limit, clean_output
    windows: dict[str, Any] = {"platform": WINDOWS, "deliveries": (asked(what="CTRL_BREAK_EVENT"),)}
    cut = (request(end="closed", status=None),)
    waiting = (request(end="open", status=None, answered=None, ended=None),)
    late = (request(end="closed", status=None, sent=1.1, ended=3.1),)
    cut_late = (request(end="closed", status=None, ended=3.0),)
    refusing = newcomer(end="open", status=None, connected=None, answered=None, ended=None)
    no_mark = server(marks=Marks())
    two = server(workers=2)
    by_pid = server(workers=2, marks=Marks(stopped=r"stopped pid=\d+"))
    pair = (Process(pid=1, name="a"), Process(pid=2, name="b"))
    console: dict[str, Any] = {**windows, "deliveries": (asked(what="CTRL_BREAK_EVENT", reach=Reach.CONSOLE),)}
    trio = (*pair, Process(pid=3, name="c"))
    both = said("stopped pid=2", "stopped pid=3")
    one_early = both[:1] + said("stopped", at=0.5)
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
        (in_time, "never asked", UNASKED, SERVER, UNPROVEN),
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
        (checks.ends_by_itself, "SIGKILL by the supervisor", KILLED, SERVER, UNPROVEN),
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
        (status, "of a killed server", KILLED, SERVER, UNPROVEN),
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
        (evidence, "a redirect is none", {"output": (), "exchanges": (request(status=302),)}, SERVER, NOT_MET),
        (
            evidence,
            "one sent after the stop is none",
            {"output": (), "exchanges": (request(sent=1.1),)},
            SERVER,
            NOT_MET,
        ),
        (
            *(evidence, "a response before the stop is none", {"output": (), "exchanges": (request(ended=0.9),)}),
            *(SERVER, NOT_MET),
        ),
        (evidence, "nothing to see it by", {"output": ()}, no_mark, UNPROVEN),
        (evidence, "still running", HANGING, SERVER, UNPROVEN),
        (evidence, "killed at the end of the grace", {**KILLED, "output": ()}, SERVER, UNPROVEN),
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
        (left, "the port", {"port": PortState(number=20000, freed=None)}, SERVER, NOT_MET),
        (left, "the port for too long", {"port": PortState(number=20000, freed=3.2)}, SERVER, NOT_MET),
        (left, "the port for a moment", {"port": PortState(number=20000, freed=3.0)}, SERVER, MET),
        (left, "of a killed server", KILLED, SERVER, UNPROVEN),
        (workers, "one", {}, SERVER, MET),
        (workers, "both", {"output": both}, two, MET),
        (workers, "one of two", {"processes": pair}, two, NOT_MET),
        (workers, "one of two in what was kept", {"processes": pair, "dropped_until": 1.5}, two, UNPROVEN),
        (workers, "one of two, of which one never ran", {}, two, MET),
        (workers, "one before the stop", {"processes": pair, "output": one_early}, two, NOT_MET),
        (workers, "more than there are", {"output": both}, SERVER, NOT_MET),
        (workers, "no mark declared", {"output": ()}, no_mark, UNPROVEN),
        (workers, "no mark declared, killed", KILLED, no_mark, UNPROVEN),
        (workers, "each twice", {"processes": trio, "output": both + both}, by_pid, MET),
        (workers, "one of them twice", {"processes": trio, "output": both[:1] * 2}, by_pid, NOT_MET),
        (workers, "both on a line", {"processes": trio, "output": said("stopped pid=2stopped pid=3")}, by_pid, MET),
        (ran, "two", {"processes": pair}, two, MET),
        (ran, "one of two", {}, two, UNPROVEN),
        (completed, "in flight and answered", {"exchanges": (request(),)}, SERVER, MET),
        (completed, "cut", {"exchanges": (request(end="truncated"),)}, SERVER, NOT_MET),
        (completed, "500", {"exchanges": (request(status=500),)}, SERVER, NOT_MET),
        (completed, "a redirect", {"exchanges": (request(status=307),)}, SERVER, NOT_MET),
        (completed, "sent after the delivery", {"exchanges": (request(sent=1.1),)}, SERVER, UNPROVEN),
        (completed, "none of that role", {"exchanges": (newcomer(), stream())}, SERVER, UNPROVEN),
        (completed, "500 without framing", {"exchanges": (request(framed=False, status=500),)}, SERVER, NOT_MET),
        (completed, "without framing", {"exchanges": (request(framed=False),)}, SERVER, UNPROVEN),
        (completed, "unanswered", {"exchanges": (request(end="open", status=None, ended=None),)}, SERVER, NOT_MET),
        (completed, "answered before the delivery", {"exchanges": (request(ended=0.99),)}, SERVER, UNPROVEN),
        (completed, "answered at the delivery", {"exchanges": (request(ended=1.0),)}, SERVER, UNPROVEN),
        (completed, "never sent", {"exchanges": (request(sent=None, ended=None, end="refused"),)}, SERVER, UNPROVEN),
        (completed, "leader gone before the answer", {"exchanges": (request(ended=2.2),)}, SERVER, NOT_MET),
        (completed, "answer read just after the exit", {"exchanges": (request(ended=2.05),)}, SERVER, MET),
        (streaming, "under way", {"exchanges": (stream(),)}, SERVER, MET),
        (streaming, "ended before", {"exchanges": (stream(end="complete", ended=0.9),)}, SERVER, UNPROVEN),
        (streaming, "no byte of it yet", {"exchanges": (stream(answered=None),)}, SERVER, UNPROVEN),
        (streaming, "begun after the stop", {"exchanges": (stream(sent=1.1, answered=1.2),)}, SERVER, UNPROVEN),
        (kept, "open until the stop", {"exchanges": (idle(closed=1.2),)}, SERVER, MET),
        (kept, "never closed", {"exchanges": (idle(),)}, SERVER, MET),
        (kept, "closed before", {"exchanges": (idle(closed=0.8),)}, SERVER, UNPROVEN),
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
        (limit, "at the limit", {"exit": Exit(at=3.0, status=0), "exchanges": waiting}, SERVER, MET),
        (limit, "a timer's slack before it", {"exit": Exit(at=2.91, status=0), "exchanges": waiting}, SERVER, MET),
        (limit, "before it", {"exit": Exit(at=2.85, status=0), "exchanges": waiting}, SERVER, NOT_MET),
        (limit, "5 s after it", {"exit": Exit(at=8.0, status=0), "exchanges": waiting}, SERVER, MET),
        (limit, "more than 5 s after it", {"exit": Exit(at=8.01, status=0), "exchanges": waiting}, SERVER, NOT_MET),
        (limit, "cut before it", {"exchanges": (request(end="closed", status=None),)}, SERVER, NOT_MET),
        (limit, "cut at once, gone at it", {"exit": Exit(at=3.0, status=0), "exchanges": cut}, SERVER, NOT_MET),
        (limit, "cut at it", {"exit": Exit(at=3.2, status=0), "exchanges": cut_late}, SERVER, MET),
        (limit, "refused at once", {"exchanges": (request(status=503),)}, SERVER, NOT_MET),
        (limit, "cut with a response, as uvicorn does", {"exchanges": (request(status=500),)}, SERVER, NOT_MET),
        (limit, "timed out by itself", {"exchanges": (request(status=408),)}, SERVER, UNPROVEN),
        (limit, "answered before the stop", {"exchanges": (request(status=404, ended=0.6),)}, SERVER, UNPROVEN),
        (limit, "answered long before it", {"exchanges": (request(),)}, SERVER, UNPROVEN),
        (limit, "killed", {**KILLED, "exchanges": waiting}, SERVER, UNPROVEN),
        (limit, "sent after the stop", {"exit": Exit(at=3.2, status=0), "exchanges": late}, SERVER, UNPROVEN),
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
    name = row[0].id
    return f"{name}: {row[1]}"


@pytest.mark.parametrize("row", rows(), ids=_name)
def test_check(row: Row) -> None:
    check, _, changes, declared, verdict = row
    failure = check(declared, seen(**changes))
    found = MET if failure is None else UNPROVEN if failure.unproven else NOT_MET
    assert found == verdict, failure
    assert failure is None or (failure.check and failure.expected and failure.actual)


def test_every_check_has_rows_for_both_verdicts() -> None:
    used = {check.id for scenario in CATALOGUE for check in scenario.checks}
    verdicts: dict[str, set[str]] = {}
    for check, _, _, _, verdict in rows():
        verdicts.setdefault(check.id, set()).add(verdict)
    assert used <= verdicts.keys()
    assert [name for name in used if verdicts[name] == {MET} or MET not in verdicts[name]] == []


@pytest.mark.parametrize("check", {check.id: check for scenario in CATALOGUE for check in scenario.checks}.values())
def test_no_check_passes_by_looking_at_nothing(check: Check) -> None:
    """A server that was never ready, never asked, never exited, and to which no request was made."""
    nothing = Observation(platform=POSIX, ready_detail="nothing was seen")
    failure = check(SERVER, nothing)
    assert failure is not None
    assert failure.unproven or check.id == "becomes-ready"


@pytest.mark.parametrize(
    ("check", "role"),
    [
        (request_completed, IN_FLIGHT),
        (cut_at_the_limit, IN_FLIGHT),
        (stream_was_open, STREAM),
        (idle_was_open, KEEP_ALIVE),
        (no_silence, NEW_CONNECTION),
    ],
)
def test_an_exchange_of_another_role_is_no_subject(check: Check, role: Role) -> None:
    others = (
        request(role=Role("slow request")),
        *(x for x in (request(), stream(), idle(), newcomer()) if x.role != role),
    )
    failure = check(SERVER, seen(exchanges=others))
    assert failure is not None
    assert (failure.unproven, failure.missing) == (True, f"an exchange of the role {role!r}")


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
    assert told(starts_without_errors, output=output).fix == checks.FIX_MISSING_SIGNAL


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
    assert described(family, number) == text  # type: ignore[arg-type]


def test_only_lateness_is_marked_as_timing() -> None:
    """Such a run is repeated alone; anything else counts at once."""
    waiting = request(end="open", status=None, answered=None, ended=None)
    late = [
        told(checks.exits_within(), **HANGING),
        told(cut_at_the_limit, exit=Exit(at=8.5, status=0), exchanges=(waiting,)),
    ]
    wrong = [told(checks.accepted_status, exit=Exit(at=2.0, status=1)), told(cut_at_the_limit, exchanges=(waiting,))]
    assert [failure.timing for failure in late + wrong] == [True, True, False, False]
