"""Needs, cases and checks as values: what applies to a server, how often, and what a check of one's own may rely on."""

from __future__ import annotations

import pytest

from pytest_signalcompat import facts
from pytest_signalcompat.model import (
    Failure,
    Observation,
    Platform,
    Post,
    Role,
    Routes,
    Server,
    Stop,
    StopCommand,
)
from pytest_signalcompat.scenario import Case, Scenario, check, why_not
from pytest_signalcompat.scenarios import CATALOGUE

from .observations import POSIX, SERVER, WINDOWS, request, seen, server

BY_CODE: dict[str, Scenario] = {scenario.code: scenario for scenario in CATALOGUE}
ROOMY = server(grace=8.0)
LOADED = Routes(slow="/slow?s={seconds}", stream="/stream?s={seconds}")
ASKED_BY_COMMAND = {Stop.TERMINATE: StopCommand(command=("ctl", "stop"))}
BOTH = ("x", "{port}", "{workers}", "{loop}")


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
        (
            *("SC701", server(routes=Routes(slow="/slow")), POSIX),
            "declare a grace of 7 s or more, in which overlong-request-bounded can be seen; it is 5 s",
        ),
        ("SC701", server(routes=Routes(slow="/slow"), grace=7.0), POSIX, None),
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
def test_why_not(code: str, declared: Server, platform: Platform, reason: str | None) -> None:
    assert why_not(BY_CODE[code], declared, platform) == reason


@pytest.mark.parametrize(
    ("code", "command", "cases"),
    [
        ("SC201", BOTH, [("", 1, "auto")]),
        ("SC501", BOTH, [("", 2, "auto")]),
        ("SC901", ("x",), [("", 1, "auto")]),
        ("SC901", ("x", "{loop}"), [("proactor-1", 1, "proactor"), ("selector-1", 1, "selector")]),
        ("SC901", ("x", "{workers}"), [("workers-1", 1, "auto"), ("workers-2", 2, "auto")]),
        (
            *("SC901", BOTH),
            [
                *(("proactor-1", 1, "proactor"), ("proactor-2", 2, "proactor")),
                *(("selector-1", 1, "selector"), ("selector-2", 2, "selector")),
            ],
        ),
    ],
)
def test_cases_follow_from_the_declaration(
    code: str, command: tuple[str, ...], cases: list[tuple[str, int, str]]
) -> None:
    found = BY_CODE[code].cases(server(command=command))
    assert [(case.id, case.server.workers, case.server.loop) for case in found] == cases


def test_more_workers_than_two_stay() -> None:
    declared = server(command=BOTH, workers=3)
    assert BY_CODE["SC501"].cases(declared) == (Case(server=declared),)
    assert [case.id for case in BY_CODE["SC901"].cases(declared)] == [
        *("proactor-1", "proactor-3", "selector-1", "selector-3")
    ]


def test_ids_are_usable_in_node_ids() -> None:
    """pytest splits at "::" and brackets; xdist and shells want no spaces."""
    for scenario in CATALOGUE:
        ids = [case.id for case in scenario.cases(server(command=BOTH))]
        assert len(set(ids)) == len(ids)
        assert all(set(id) <= set("abcdefghijklmnopqrstuvwxyz0123456789-") for id in ids)


# ---------------------------------------------------------------- checks of one's own

UPLOAD = Role("upload")


@check("upload-completed")
def upload_completed(server: Server, seen: Observation) -> Failure | None:
    uploads = facts.exchanges(seen, UPLOAD)
    return None if all(map(facts.succeeded, uploads)) else Failure(expected="2xx", actual="not 2xx")


def test_a_check_says_its_id_in_every_failure() -> None:
    failed = upload_completed(SERVER, seen(exchanges=(request(role=UPLOAD, status=500),)))
    missing = upload_completed(SERVER, seen())
    assert failed is not None
    assert missing is not None
    assert (failed.check, failed.unproven) == ("upload-completed", False)
    assert (missing.check, missing.unproven) == ("upload-completed", True)
    assert missing.missing == "an exchange of the role 'upload'"
    assert upload_completed(SERVER, seen(exchanges=(request(role=UPLOAD),))) is None


def test_a_check_judges_each_start_or_the_one_it_is_for() -> None:
    good, bad = seen(exchanges=(request(role=UPLOAD),)), seen(exchanges=(request(role=UPLOAD, status=500),))
    assert upload_completed.of(SERVER, (good, good)) == []
    assert len(upload_completed.of(SERVER, (bad, good, bad))) == 2
    assert upload_completed.on(1).of(SERVER, (bad, good)) == []
    assert len(upload_completed.on(0).of(SERVER, (bad, bad))) == 1
    (missing,) = upload_completed.on(2).of(SERVER, (good, good))
    assert missing.unproven
    (nothing,) = upload_completed.of(SERVER, ())
    assert nothing.unproven


def test_ids_of_checks_are_stable_and_one_name_is_one_check() -> None:
    """They stand in reports and baselines: never changed, only added to."""
    ids = {check.id for scenario in CATALOGUE for check in scenario.checks}
    assert ids >= {
        *("becomes-ready", "stays-alive", "starts-without-errors", "was-asked", "exits-in-time", "ends-by-itself"),
        *("accepted-status", "evidence", "ended-by-design", "nothing-left", "idle-was-open", "request-completed"),
        *(
            "no-silence",
            "stream-was-open",
            "cut-at-the-limit",
            "clean-output",
            "workers-ran",
            "no-crash",
            "exits-after-answer",
        ),
    }


@pytest.mark.parametrize(
    ("code", "least", "changes"),
    [
        ("SC301", 2, {"drain": None}),
        ("SC301", 2, {"drain": 30.0}),
        ("SC301", 1.15, {"drain": 0.3}),
        ("SC301", 4, {"drain": None, "stops": ASKED_BY_COMMAND}),
        ("SC304", 2, {"drain": None}),
        ("SC304", 2, {"drain": 0.3}),
        ("SC401", 1, {"drain": None}),
        ("SC501", 2, {"drain": None, "workers": 2}),
        ("SC501", 1, {"drain": None, "workers": 2, "routes": Routes()}),
        ("SC803", 2, {"drain": None}),
        ("SC803", 1, {"drain": None, "routes": Routes()}),
        ("SC701", 5.8, {"drain": 0.8}),
    ],
)
def test_a_grace_in_which_no_server_could_pass_is_told(code: str, least: float, changes: dict[str, object]) -> None:
    scenario, routes = BY_CODE[code], {"routes": LOADED}
    short, enough = (server(grace=grace, **{**routes, **changes}) for grace in (least - 0.01, least))
    told = f"declare a grace of {least:g} s or more, in which {scenario.slug} can be seen; it is {short.grace:g} s"
    assert why_not(scenario, short, POSIX) == told
    assert why_not(scenario, enough, POSIX) is None


@pytest.mark.parametrize("code", ["SC101", "SC201", "SC202", "SC203", "SC204"])
def test_what_has_nothing_in_flight_needs_no_long_grace(code: str) -> None:
    assert why_not(BY_CODE[code], server(grace=0.5), POSIX) is None
