"""The complaints: a program that prints each, lines that have one, lines that only mention one."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from pytest_signalcompat.complaints import complaints, found_in

from .complaints import FROM_SOURCES, Missing, call_of, captured, kept, output_of
from .observations import said

SHOWN = captured()
CALLS = sorted({call_of(complaint) for complaint in SHOWN.values()})


def names_in(text: str) -> set[str]:
    return {found.name for found in found_in(said(*text.splitlines()))}


def shown_by(call: tuple[str, ...]) -> set[str]:
    return {name for name, complaint in SHOWN.items() if call_of(complaint) == call}


@pytest.mark.parametrize("name", complaints())
def test_each_says_where_it_was_read_and_seen(name: str) -> None:
    complaint = complaints()[name]
    re.compile(complaint.pattern)
    assert complaint.sources and all(source.startswith("https://") for source in complaint.sources)
    assert complaint.captured == FROM_SOURCES or re.search(r", \S.*\d", complaint.captured), "program and version"
    assert complaint.below is None or complaint.below in complaints()


@pytest.mark.parametrize("call", CALLS, ids=" ".join)
def test_what_a_program_printed_holds_its_complaints(call: tuple[str, ...]) -> None:
    files = kept(call)
    assert files
    for path in files:
        assert shown_by(call) <= names_in(path.read_text(encoding="utf-8")), path.name


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("compiled")


@pytest.mark.timeout(240)
@pytest.mark.posix
@pytest.mark.parametrize("call", CALLS, ids=" ".join)
def test_a_program_still_prints_its_complaints(call: tuple[str, ...], folder: Path) -> None:
    try:
        text = output_of(call, folder)
    except Missing as problem:
        pytest.skip(str(problem))
    assert shown_by(call) <= names_in(text), text


# ---------------------------------------------------------------- from sources

LINES = {
    "aiohttp-unclosed": "2018-03-18 22:08:53,864 456855 MainThread: Unclosed client session",
    "asgi-incomplete": "ERROR:    ASGI callable returned without completing response.",
    "asgi-exception": "ERROR:    Exception in ASGI application",
    "go-data-race": "WARNING: DATA RACE",
    "java-crash": "# A fatal error has been detected by the Java Runtime Environment:",
    "tomcat-leak": (
        "24-Oct-2017 21:18:30.636 WARNING [localhost-startStop-2] The web application [ROOT] appears to have started a"
        " thread named [OkHttp ConnectionPool] but has failed to stop it. This is very likely to create a memory leak."
    ),
    "dotnet-unhandled": "Unhandled exception. System.ObjectDisposedException: Closed.",
    "dotnet-stack": (
        "Unhandled exception. System.ObjectDisposedException: Closed.\n"
        "   at HidSharp.HidStream.Write(Byte[] buffer) in V:\\HidSharp\\HidStream.cs:line 110"
    ),
}


def test_what_no_program_shows_has_a_line_from_its_sources() -> None:
    assert {name for name in complaints() if name not in SHOWN} == LINES.keys()
    for name, text in LINES.items():
        assert name in names_in(text), text


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("python-traceback", "  + Exception Group Traceback (most recent call last):"),
        ("python-traceback", "INFO:root:Traceback (most recent call last):"),
        ("python-traceback", r'{"level": "error", "exc": "Traceback (most recent call last):\n  File \"a.py\""}'),
        ("python-traceback", "╭──────────── Traceback (most recent call last) ────────────╮"),
        ("python-unraisable", "Exception ignored in atexit callback: <function close at 0x7f>"),
        ("python-unraisable", "Exception ignored on threading shutdown:"),
        ("python-never-awaited", "app.py:3: RuntimeWarning: coroutine method 'aclose' of 'lines' was never awaited"),
        ("asyncio-handler", "2016-09-14 18:42:28,511 ERROR asyncio Unclosed connection"),
        ("asyncio-handler", "12:00:00 asyncio - ERROR - Exception in callback close()"),
        ("asyncio-text", "Task was destroyed but it is pending!"),
        ("asyncio-text", "12:00:00 Fatal write error on socket transport"),
        ("asyncio-text", r'{"message": "Task exception was never retrieved\nfuture: <Task>", "level": "error"}'),
        ("go-goroutine", "goroutine 0 gp=0xc000002380 m=0 mp=0x6a1fe0 [idle]:"),
        ("go-goroutine", "goroutine 18 [chan receive, 2 minutes]:"),
        ("node-warning", "(node:7) [UNDICI-EHPA] Warning: a handle was not closed"),
        ("java-stack", "java.lang.IllegalStateException\n\tat app//com.acme.Pool$1.lambda$end$0(Pool.java:12)"),
        ("rust-panic", "thread 'main' panicked at 'no job', src/main.rs:2:5"),
    ],
)
def test_other_forms_of_a_complaint(name: str, text: str) -> None:
    assert name in names_in(text)


@pytest.mark.parametrize(
    "text",
    [
        "INFO: alerts on 'Traceback (most recent call last)' are off",
        "INFO:     exception handlers: KeyboardInterrupt, AttributeError -> 400",
        "KeyboardInterrupt",
        "KeyboardInterrupt received, shutting down",
        "INFO: no Exception ignored in the last hour",
        "INFO:app:Task was destroyed but it is pending!",
        '{"level": "info", "message": "Task was destroyed but it is pending!"}',
        'level=debug msg="fixed: Task exception was never retrieved"',
        "the text 'Task was destroyed but it is pending!' is known",
        "INFO: coroutine 'close' was never awaited",
        "coroutine 'close' was never awaited before version 2",
        "INFO:asyncio:ERROR pages are off",
        "DEBUG:asyncio:Using selector: EpollSelector",
        "ERROR:asyncio_pool:no more room",
        "WARNING:root:ResourceWarnings are on",
        "INFO: Unclosed client session",
        "closed 3 sessions; Unclosed client session: none",
        "INFO: ASGI callable returned without completing response.",
        "don't panic: all is well",
        "2024/01/01 12:00:00 recovered from panic: closed",
        "fatal error: config.h: No such file or directory",
        "SIGQUIT: quitting at once",
        "SIGTERM received, 3 goroutines running",
        "goroutine 18 [running] is waited for",
        "INFO http: panic serving 127.0.0.1: handled",
        "Node.js v20.20.2 is listening",
        "(node:7) [DEP0005] DeprecationWarning: Buffer() is deprecated",
        "(node:7) ExperimentalWarning: The Fetch API is an experimental feature",
        "(Use `node --trace-warnings ...` to show where the warning was created)",
        "    at 12:00 (3 requests left)",
        "looked at /srv/app.js:3:4",
        'INFO: no Exception in thread "main" so far',
        "\tat rest (idle for 3 s)",
        "Unhandled exceptions are sent to Sentry",
        "   at Pool.Close() in the shutdown of the host",
        "thread 'main' stopped",
        "a thread 'main' panicked at 12:00, says the log of yesterday",
        "stopped pid=7",
    ],
)
def test_a_line_that_only_mentions_one_is_none(text: str) -> None:
    assert names_in(text) == set()


def test_what_went_wrong_stands_above_a_stack() -> None:
    lines = said("java.lang.IllegalStateException: pool closed", "\tat Stop.close(Stop.java:4)")
    assert [(found.text, found.number) for found in found_in(lines)] == [
        ("java.lang.IllegalStateException: pool closed", 1)
    ]


def test_a_word_counts_below_its_traceback_only() -> None:
    assert names_in("KeyboardInterrupt\nTraceback (most recent call last):") == {"python-traceback"}
    assert "python-keyboard-interrupt" in names_in("Traceback (most recent call last):\nKeyboardInterrupt")
