"""How an observation prints itself."""

from __future__ import annotations

from pytest_signalcompat.model import Line, Process

from .observations import HANGING, newcomer, request, seen


def test_an_assertion_shows_its_timeline_on_one_line() -> None:
    assert repr(seen(exchanges=(request(),))) == (
        "<Observation: 0.00 start | 0.30 ready | 0.50 in flight begun | 1.00 SIGTERM | 1.50 in flight answered 200"
        " | 2.00 exit 0 | 2.01 tree gone>"
    )


def test_printed_it_has_what_a_reader_asks_first() -> None:
    assert str(seen(exchanges=(request(end="reset", status=None, detail="ConnectionResetError"), newcomer()))) == (
        "Observation on linux: 0.00 start | 0.30 ready | 0.50 in flight begun | 1.00 SIGTERM | 1.50 in flight reset"
        " | 2.00 exit 0 | 2.01 tree gone\n"
        "  requests: GET /slow: reset (ConnectionResetError)\n"
        "  output: last 2 of 2 lines\n"
        "     0.20  started pid=1\n"
        "     1.90  stopped pid=1"
    )


def test_however_much_was_seen_it_prints_ten_lines() -> None:
    everything = seen(
        ready=None,
        ready_detail="no\nanswer",
        exchanges=(request(detail="two\nlines"),) * 20,
        survivors=(Process(pid=3, name="a\nb"),) * 20,
        notes=("a\nnote",) * 20,
        output=tuple(Line(at=0.1 * number, text="x" * 999) for number in range(99)),
        **HANGING,
    )
    first, *rest = str(everything).splitlines()
    assert first.endswith("6.00 killed by the supervisor")
    assert len(rest) == 9
    assert max(map(len, rest)) == 160
