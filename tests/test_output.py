"""A server's output: lines from pieces, marks, and the exceptions that stand in it."""

from __future__ import annotations

import pytest

from pytest_signalcompat.model import Line
from pytest_signalcompat.output import LONGEST, Log, count, exceptions


def lines(text: str) -> list[Line]:
    return [Line(at=float(number), text=line) for number, line in enumerate(text.splitlines())]


def feed(*pieces: bytes) -> Log:
    log = Log()
    for at, piece in enumerate(pieces):
        log.feed(float(at), piece)
    return log


# ---------------------------------------------------------------- lines


def test_a_line_is_stamped_when_its_end_comes() -> None:
    log = feed(b"one\ntw", b"o", b"\nthree\n")
    assert [(line.at, line.text) for line in log.lines] == [(0.0, "one"), (2.0, "two"), (2.0, "three")]


@pytest.mark.parametrize(
    ("pieces", "expected"),
    [
        ([b"a\r\nb\r\n"], ["a", "b"]),
        ([b"a\r\r\nb\n"], ["a", "b"]),
        ([b"a\r", b"\nb\n"], ["a", "b"]),
        ([b"a\r", b"\r", b"\nb\n"], ["a", "b"]),
        ([b"a\r", b"", b"\nb\n"], ["a", "b"]),
        ([b"a\r", b"\r\n", b"\nb\n"], ["a", "", "b"]),
        ([b"\r 10%", b"\r 20%", b"\rstopped\n"], ["", " 10%", " 20%", "stopped"]),
        ([b"a\n\nb\n"], ["a", "", "b"]),
    ],
)
def test_a_carriage_return_ends_a_line_and_belongs_to_the_line_feed_behind_it(
    pieces: list[bytes], expected: list[str]
) -> None:
    log = feed(*pieces)
    log.finish()
    assert [line.text for line in log.lines] == expected


def test_a_progress_bar_is_read_while_it_moves() -> None:
    """Its last state is whole with the carriage return behind it, not with the line feed that may never come."""
    assert [(line.at, line.text) for line in feed(b"50 %\r", b"99 %\r").lines] == [(0.0, "50 %"), (1.0, "99 %")]


def test_a_mark_behind_a_progress_bar_begins_its_line() -> None:
    assert count("^stopped", feed(b"\r|####| 9/9\rstopped pid=7\n").lines) == 1


def test_the_end_of_the_output_ends_its_last_line() -> None:
    log = feed(b"no newline")
    assert log.lines == []
    log.finish()
    log.finish()
    assert log.lines == [Line(at=0.0, text="no newline")]


def test_characters_may_be_cut_between_two_pieces() -> None:
    encoded = "prêt\n".encode()
    assert [line.text for line in feed(encoded[:3], encoded[3:]).lines] == ["prêt"]


@pytest.mark.parametrize(
    ("raw", "text"),
    [
        (b"\x1b[32mINFO\x1b[0m:     \x1b[1;36mready\x1b[0m", "INFO:     ready"),
        (b"\x1b[2K\x1b[?25l\x1b[>4;1mready", "ready"),
        (b"\x1b]0;a title\x07ready", "ready"),
        (b"\x1b]8;;http://localhost:80/\x1b\\ready\x1b]8;;\x1b\\", "ready"),
        (b"\x1bP1$r0m\x1b\\ready", "ready"),
        (b"\x1b]0;a title without its end, then what was said", "0;a title without its end, then what was said"),
        (b"\x1b(B\x1b[m\x0fready\x1b7\x1b8\x1b=", "ready"),
        (b"from Windows\r", "from Windows"),
        (b"", ""),
        ("fährt herunter".encode(), "fährt herunter"),
        ("fährt herunter".encode("cp1252"), "fährt herunter"),
        (b"\xff\x81 bytes", "\u00ff\ufffd bytes"),
    ],
)
def test_a_line_is_kept_without_colours_and_carriage_return(raw: bytes, text: str) -> None:
    assert feed(raw + b"\n").lines[0].text == text


def test_an_endless_line_is_cut() -> None:
    log = feed(*[b"x" * 1000] * 200, b"\nafter\n")
    assert all(len(line.text) <= LONGEST + 1000 for line in log.lines)
    assert sum(len(line.text) for line in log.lines[:-1]) == 200_000
    assert log.lines[-1].text == "after"


# ---------------------------------------------------------------- marks


def test_count_counts_lines_from_a_moment_on() -> None:
    said = [Line(at=1.0, text="stopped 1"), Line(at=2.0, text="stopped 2, stopped"), Line(at=3.0, text="bye")]
    assert count("stopped", said) == 2
    assert count("stopped", said, since=2.0) == 1
    assert count("stopped", said, since=2.1) == 0
    assert count("^stopped 1$", said) == 1
    assert count(None, said) == 0


# ---------------------------------------------------------------- exceptions

PLAIN = """\
Traceback (most recent call last):
  File "/srv/app/server.py", line 12, in main
    serve()
  File "/srv/app/server.py", line 7, in serve
    raise ValueError("no such model: Iris")
ValueError: no such model: Iris
INFO: after it
"""

CHAINED = """\
Traceback (most recent call last):
  File "/srv/app/db.py", line 3, in connect
    {}["host"]
    ~~^^^^^^^^
KeyError: 'host'

During handling of the above exception, another exception occurred:

Traceback (most recent call last):
  File "/srv/app/server.py", line 9, in <module>
    connect()
  File "/srv/app/db.py", line 5, in connect
    raise RuntimeError("no database")
RuntimeError: no database
"""

GROUP = """\
  + Exception Group Traceback (most recent call last):
  |   File "/srv/app/server.py", line 20, in <module>
  |     asyncio.run(main())
  |   File "/usr/lib/python3.12/asyncio/runners.py", line 194, in run
  |     return runner.run(main)
  |            ^^^^^^^^^^^^^^^^
  | ExceptionGroup: unhandled errors in a TaskGroup (1 sub-exception)
  +-+---------------- 1 ----------------
    | Traceback (most recent call last):
    |   File "/srv/app/worker.py", line 4, in work
    |     raise TimeoutError("model load")
    | TimeoutError: model load
    +------------------------------------
"""

# KServe 0.13.1 on Windows: the deepest frame is asyncio's.
KSERVE = """\
2024-08-14 10:00:00.000 1234 kserve INFO [model_server.py:start():246] Starting uvicorn with 1 workers
Traceback (most recent call last):
  File "C:\\srv\\model.py", line 20, in <module>
    ModelServer(enable_grpc=False).start([model])
  File "C:\\venv\\Lib\\site-packages\\kserve\\model_server.py", line 288, in start
    asyncio.run(servers_task())
  File "C:\\Python311\\Lib\\asyncio\\runners.py", line 190, in run
    return runner.run(main)
           ^^^^^^^^^^^^^^^^
  File "C:\\venv\\Lib\\site-packages\\kserve\\model_server.py", line 268, in serve
    loop.add_signal_handler(
  File "C:\\Python311\\Lib\\asyncio\\events.py", line 582, in add_signal_handler
    raise NotImplementedError
NotImplementedError
"""

FROZEN = """\
Traceback (most recent call last):
  File "/srv/app/server.py", line 2, in load
    importlib.import_module("modle")
  File "/usr/lib/python3.11/importlib/__init__.py", line 126, in import_module
    return _bootstrap._gcd_import(name[level:], package, level)
  File "<frozen importlib._bootstrap>", line 1204, in _gcd_import
ModuleNotFoundError: No module named 'modle'
"""

OWN_NAME = """\
ERROR:    Traceback (most recent call last):
  File "/srv/app/pool.py", line 8, in take
    return self.queue.get_nowait()
  File "/usr/lib/python3.11/queue.py", line 168, in get
    raise Empty
_queue.Empty
"""

ALL_STANDARD = """\
Traceback (most recent call last):
  File "/usr/lib/python3.11/multiprocessing/spawn.py", line 122, in spawn_main
    exitcode = _main(fd, parent_sentinel)
  File "/usr/lib/python3.11/multiprocessing/spawn.py", line 132, in _main
    self = reduction.pickle.load(from_parent)
EOFError: Ran out of input
"""


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param(PLAIN, [("ValueError", "no such model: Iris", "/srv/app/server.py:7 in serve")], id="plain"),
        pytest.param(
            CHAINED,
            [
                ("KeyError", "'host'", "/srv/app/db.py:3 in connect"),
                ("RuntimeError", "no database", "/srv/app/db.py:5 in connect"),
            ],
            id="chained",
        ),
        pytest.param(
            GROUP,
            [
                (
                    *("ExceptionGroup", "unhandled errors in a TaskGroup (1 sub-exception)"),
                    "/srv/app/server.py:20 in <module>",
                ),
                ("TimeoutError", "model load", "/srv/app/worker.py:4 in work"),
            ],
            id="group",
        ),
        pytest.param(
            KSERVE,
            [("NotImplementedError", "", r"C:\venv\Lib\site-packages\kserve\model_server.py:268 in serve")],
            id="kserve",
        ),
        pytest.param(
            FROZEN,
            [("ModuleNotFoundError", "No module named 'modle'", "/srv/app/server.py:2 in load")],
            id="frozen frames",
        ),
        pytest.param(OWN_NAME, [("Empty", "", "/srv/app/pool.py:8 in take")], id="not named like an error"),
        pytest.param(
            ALL_STANDARD,
            [("EOFError", "Ran out of input", "/usr/lib/python3.11/multiprocessing/spawn.py:122 in spawn_main")],
            id="standard library only",
        ),
        pytest.param("INFO: no ValueError here\nValueError: not in a traceback\n", [], id="no traceback"),
    ],
)
def test_exceptions(text: str, expected: list[tuple[str, str, str]]) -> None:
    assert [(found.type, found.text, found.where) for found in exceptions(lines(text))] == expected


def test_a_line_of_another_process_inside_a_traceback_is_no_exception() -> None:
    mixed = PLAIN.replace("    serve()\n", "    serve()\nINFO:     Started server process [7]\n")
    assert [found.type for found in exceptions(lines(mixed))] == ["ValueError"]
