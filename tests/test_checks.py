"""What each check finds in small observations made by hand: met, not met, not proven."""

from __future__ import annotations

import pytest

from pytest_signalcompat import checks
from pytest_signalcompat.model import (
    IN_FLIGHT,
    KEEP_ALIVE,
    NEW_CONNECTION,
    STREAM,
    Exit,
    Failure,
    Observation,
    Process,
    Role,
    Server,
)
from pytest_signalcompat.scenario import Check
from pytest_signalcompat.scenarios import CATALOGUE
from pytest_signalcompat.scenarios.idle import idle_was_open
from pytest_signalcompat.scenarios.inflight import no_silence, request_completed
from pytest_signalcompat.scenarios.startup import starts_without_errors
from pytest_signalcompat.scenarios.streaming import stream_was_open
from pytest_signalcompat.scenarios.timing import cut_at_the_limit
from pytest_signalcompat.statuses import CONTROL_C_EXIT, described

from .observations import (
    HANGING,
    POSIX,
    SERVER,
    WINDOWS,
    idle,
    newcomer,
    request,
    said,
    seen,
    stream,
)
from .rows import MET, NOT_MET, UNPROVEN, Row, every_row


@pytest.mark.parametrize("row", every_row(), ids=lambda row: row.name)
def test_check(row: Row) -> None:
    failure = row.check(row.server, seen(**row.changes))
    found = MET if failure is None else UNPROVEN if failure.unproven else NOT_MET
    assert found == row.verdict, failure
    assert failure is None or (failure.check and failure.expected and failure.actual)


def test_every_check_has_rows_for_both_verdicts() -> None:
    used = {check.id for scenario in CATALOGUE for check in scenario.checks}
    verdicts: dict[str, set[str]] = {}
    for row in every_row():
        verdicts.setdefault(row.check.id, set()).add(row.verdict)
    assert used <= verdicts.keys()
    assert [id for id in used if verdicts[id] == {MET} or MET not in verdicts[id]] == []


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


def test_any_other_attribute_error_has_none() -> None:
    output = said("AttributeError: module 'queue' has no attribute 'SIGQUIT'")
    assert (
        told(checks.became_ready, ready=None, output=output, exit=Exit(at=0.8, status=1)).fix == "see the output below"
    )


def test_late_and_hanging_are_told_with_seconds_and_what_was_open() -> None:
    assert told(checks.exits_within(0.5), exit=Exit(at=2.25, status=0)).actual == "exited 1.25 s after SIGTERM"
    open_ones = (request(ended=2.0), request(role=STREAM, ended=6.5), request(role=KEEP_ALIVE, ended=0.6))
    assert told(checks.exits_within(), **HANGING, exchanges=open_ones).actual.endswith("with open: stream")


def test_what_the_harness_cut_is_not_told_as_the_servers_doing() -> None:
    cut = request(end="truncated", ended=6.01)
    found = told(request_completed, **HANGING, exchanges=(cut,))
    assert found.actual.startswith("unanswered when the harness ended the server")
    assert not found.fix


def test_a_server_that_hangs_is_told_with_its_open_requests() -> None:
    open_request = request(end="open", status=None, ended=None)
    failure = told(checks.exits_within(), **HANGING, exchanges=(open_request,))
    assert failure.actual == "still running 5 s after SIGTERM, with open: in flight"
    assert failure.timing


def test_what_became_of_a_request_is_told_with_its_distance_from_the_stop() -> None:
    assert told(request_completed, exchanges=(request(end="truncated", ended=1.5),)).actual == (
        "cut after 3 bytes of its response, 0.50 s after SIGTERM"
    )
    early = told(request_completed, exchanges=(request(ended=0.75),))
    assert early.actual == "GET /slow ended 0.25 s before it (complete, status 200, 0.25 s before SIGTERM)"
    at_once = told(request_completed, exchanges=(request(end="closed", status=None, ended=1.0),))
    assert "connection closed without a response, 0.00 s after SIGTERM" in at_once.actual
    late = told(request_completed, exchanges=(request(sent=1.25),))
    assert late.actual == "GET /slow was sent 0.25 s after it (complete, status 200, 0.50 s after SIGTERM)"


def test_survivors_are_named() -> None:
    left = tuple(Process(pid=pid, name=f"worker {pid} " + "x" * 99) for pid in range(1, 8))
    found = told(checks.nothing_left, gone=None, survivors=left).actual
    assert found.startswith("left running: 1 worker 1 xxx")
    assert found.count("worker") == 5
    assert max(len(name) for name in found.removeprefix("left running: ").split(", ")) == len("1 ") + 80
    assert told(checks.nothing_left, gone=None).actual == "left running: a process that ended meanwhile"


@pytest.mark.parametrize(
    ("family", "number", "text"),
    [
        ("posix", 0, "0"),
        ("posix", -15, "-15 (SIGTERM)"),
        ("posix", -64, "-64 (signal)"),
        ("posix", 143, "143 (128 + SIGTERM of the leader, a wrapper)"),
        ("posix", 1, "1"),
        ("windows", 0xFFFFFFF1, "0xFFFFFFF1 (-15)"),
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
