"""What people read, letter by letter."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from pytest_signalcompat import reporters
from pytest_signalcompat.engine import Engine
from pytest_signalcompat.matrix import Matrix
from pytest_signalcompat.model import Attempt, Delivery, Line, Outcome, Result, Server, Stop
from pytest_signalcompat.reporters import json as json_reporter
from pytest_signalcompat.reporters import markdown, terminal
from pytest_signalcompat.scenarios.streaming import SC401
from pytest_signalcompat.supervisor.client import native

from .samples import ERROR, EVERY, FAILED, PASSED, SEEN, UNTESTED, WEAK, WINDOWS, with_observation

ALL = Matrix(results=EVERY)


def changed(result: Result, **changes: object) -> Result:
    new: Result = msgspec.structs.replace(result, **changes)
    return new


# ---------------------------------------------------------------- one failure

EXPLAINED = """\
SC301 inflight-completes: connection closed without a response, 0.01 s after SIGTERM
  verdict   FAIL, ending clean: server api on linux (native)
  required  a request begun before the stop request gets its complete response
  asked     SIGTERM to the leader, with GET /slow?seconds=1.5
  expected  a complete 2xx response
  found     connection closed without a response, 0.01 s after SIGTERM
  expected  exit status 0
  found     exit status -15 (SIGTERM)
  when      0.00 start | 0.25 ready | 0.60 in flight begun | 1.12 SIGTERM | 1.13 in flight closed | 1.55 exit -15 \
(SIGTERM) | 1.56 tree gone
  fix       on a stop request keep serving what has begun
  fix       leave with 0
  more      signalcompat explain SC301
  note      a note
  output    last 2 of 2 lines
       0.24  started pid=7
       1.50  stopped pid=7"""

EXPLAINED_LATE = """\
SC203 quit-idle: still running 5 s after SIGQUIT
  verdict   WEAK, ending timeout: server api on linux (native)
  required  asked to quit while idle, it is gone in time
  expected  exit within 5 s
  found     still running 5 s after SIGQUIT
  more      signalcompat explain SC203
  retry     the first attempt was late, so it ran again with nothing else running; this is the second"""

EXPLAINED_ERROR = """\
SC803 clean-output: stop.terminate.command of server 'api' exited with status 3; expected: status 0
  verdict   ERROR, ending none: server api on linux (native)
  required  it shuts down without a traceback
  reason    stop.terminate.command of server 'api' exited with status 3; expected: status 0
              output: no such pid"""

EXPLAINED_CRASH = """\
SC803 clean-output: KeyError: 'model'
  verdict   ERROR, ending none: server api on linux (native)
  required  it shuts down without a traceback
  reason    Traceback (most recent call last):
              File "/srv/scenario.py", line 3, in act
            KeyError: 'model'"""


def test_explain_tells_the_whole_story() -> None:
    assert terminal.explain(FAILED) == EXPLAINED


def test_explain_a_second_run() -> None:
    assert terminal.explain(WEAK) == EXPLAINED_LATE


def test_explain_an_error_of_a_stop_command() -> None:
    assert terminal.explain(ERROR) == EXPLAINED_ERROR


def test_explain_an_error_of_a_scenario() -> None:
    reason = "Traceback (most recent call last):\n  File \"/srv/scenario.py\", line 3, in act\nKeyError: 'model'\n"
    assert terminal.explain(changed(ERROR, reason=reason)) == EXPLAINED_CRASH


def test_explain_tells_the_fix_for_a_server_program_that_is_known() -> None:
    text = terminal.explain(changed(FAILED, preset="uvicorn"))
    fix = "  fix       (uvicorn) uvicorn app:app --timeout-graceful-shutdown 20\n"
    assert text == EXPLAINED.replace("  more ", fix + "  more ")


def test_a_result_says_which_preset_its_server_has() -> None:
    server = Server(name="api", command=("uvicorn", "app:app"), preset="uvicorn")
    engine = Engine(native())
    try:
        result = engine.submit(server, SC401).result()
    finally:
        engine.close()
    assert (result.outcome, result.preset) == (Outcome.UNSUPPORTED, "uvicorn")


def test_explain_tells_no_fix_for_a_program_that_the_page_does_not_know() -> None:
    assert terminal.explain(changed(FAILED, preset="any")) == EXPLAINED


def test_explain_of_a_requirement_without_a_page_names_none() -> None:
    text = terminal.explain(changed(FAILED, code="MY1", preset="uvicorn"))
    assert text == EXPLAINED.replace("  more      signalcompat explain SC301\n", "").replace("SC301", "MY1")


def test_explain_shows_the_newest_output_and_says_what_is_missing() -> None:
    lines = tuple(Line(at=float(number), text=f"line {number}") for number in range(50))
    text = terminal.explain(with_observation(FAILED, msgspec.structs.replace(SEEN, output=lines, dropped=99)))
    assert "\n  output    last 20 of 50 lines, 99 bytes before them not kept\n      30.00  line 30\n" in text
    assert text.endswith("\n      49.00  line 49")


def test_explain_a_server_that_was_silent_and_not_asked() -> None:
    seen = msgspec.structs.replace(
        SEEN,
        output=(Line(at=3.01, text="UserWarning: resource_tracker: There appear to be 5 leaked semaphore objects"),),
        deliveries=(),
        exchanges=(),
        killed=3.0,
        gone=None,
    )
    text = terminal.explain(changed(with_observation(FAILED, seen), case="workers-2"))
    assert text.startswith("SC301[workers-2] inflight-completes: ")
    assert "\n  asked     to start\n" in text
    assert "\n  when      0.00 start | 0.25 ready | 1.55 exit -15 (SIGTERM) | 3.00 killed by the supervisor\n" in text
    assert text.endswith("\n  the server printed nothing")


def test_asked_says_what_each_platform_sends() -> None:
    def asked(**changes: str) -> str:
        delivery = Delivery(**{"stop": Stop.TERMINATE, "what": "SIGTERM", "reach": "leader", "at": 1.0, **changes})  # type: ignore[arg-type]
        return terminal.asked(msgspec.structs.replace(SEEN, deliveries=(delivery,), exchanges=()))

    assert asked() == "SIGTERM to the leader"
    assert asked(reach="group") == "SIGTERM to the group"
    assert asked(what="CTRL_BREAK_EVENT", reach="console") == "CTRL_BREAK_EVENT to its console"
    assert asked(what="nginx -s quit", reach="command") == "nginx -s quit run"


# ---------------------------------------------------------------- all of them

TABLE = """\
                                          api       other
SC201  terminate-idle             MUST    pass      pass
SC202  interrupt-idle             MUST    UNPROVEN
SC203  quit-idle                  SHOULD  WEAK
SC301  inflight-completes         MUST    FAIL
SC401  endless-stream-is-bounded  MUST    -         -
SC803  clean-output               MUST    ERROR"""

REMARKS = """\
UNPROVEN api SC202 interrupt-idle: exit status 0 0.10 s after SIGINT; expected a sign that the shutdown code ran
WEAK api SC203 quit-idle: still running 5 s after SIGQUIT; expected exit within 5 s
late other SC201 terminate-idle: late at first, passed when run again alone
- SC401 endless-stream-is-bounded not tested: declare routes.stream (api, other)"""


def test_table_and_remarks() -> None:
    results = (*EVERY, changed(PASSED, server="other", attempts=PASSED.attempts * 2), changed(UNTESTED, server="other"))
    matrix = Matrix(results=results)
    assert "\n".join(terminal.table(matrix)) == TABLE
    assert "\n".join(terminal.remarks(matrix)) == REMARKS


def test_a_row_for_each_case_only_where_cases_differ() -> None:
    cases = [changed(PASSED, code="SC901", slug="console-ctrl-c", case=case) for case in ("proactor-1", "selector-1")]
    assert [line.split() for line in terminal.table(Matrix(results=tuple(cases)))[1:]] == [
        ["SC901", "console-ctrl-c", "MUST", "pass"]
    ]
    cases[1] = changed(cases[1], outcome=Outcome.FAIL)
    assert [line.split() for line in terminal.table(Matrix(results=tuple(cases)))[1:]] == [
        ["SC901", "console-ctrl-c", "[proactor-1]", "MUST", "pass"],
        ["SC901", "console-ctrl-c", "[selector-1]", "MUST", "FAIL"],
    ]
    assert "| SC901 console-ctrl-c [selector-1] | **FAIL** |" in markdown.render(Matrix(results=tuple(cases)), "1")


def test_several_starts_are_told_in_order() -> None:
    second = msgspec.structs.replace(SEEN, spawned=3.5)
    text = terminal.explain(changed(FAILED, attempts=(Attempt(starts=(SEEN, second)),)))
    assert "\n  when      0.00 start |" in text
    assert "\n  when      (started 3.50 s after the first) 0.00 start |" in text


def test_every_outcome_has_a_word() -> None:
    assert terminal.WORDS.keys() == set(Outcome)


MARKDOWN = """\
| requirement | api (linux-native-3.11.7) | api (win32-native-3.14.0) |
|---|---|---|
| SC201 terminate-idle | pass | **FAIL** |
| SC202 interrupt-idle | UNPROVEN |  |
| SC203 quit-idle | WEAK |  |
| SC301 inflight-completes | **FAIL** |  |
| SC401 endless-stream-is-bounded | - |  |
| SC803 clean-output | **ERROR** |  |

- UNPROVEN api SC202 interrupt-idle: exit status 0 0.10 s after SIGINT; expected a sign that the shutdown code ran
- WEAK api SC203 quit-idle: still running 5 s after SIGQUIT; expected exit within 5 s
- FAIL api SC301 inflight-completes: connection closed without a response, 0.01 s after SIGTERM; expected a complete \
2xx response
- ERROR api SC803 clean-output: stop.terminate.command of server 'api' exited with status 3; expected: status 0
- FAIL api SC201 terminate-idle: !

pytest-signalcompat 1.2.3 on linux-native-3.11.7, win32-native-3.14.0
"""


def test_markdown() -> None:
    windows = changed(PASSED, platform=WINDOWS, outcome=Outcome.FAIL, reason="!")
    assert markdown.render(Matrix(results=(*EVERY, windows)), "1.2.3") == MARKDOWN


JSON = """\
{
  "schema": "signalcompat-report/2",
  "environments": {
    "linux-native-3.11.7": {
      "os": "linux",
      "platform": "posix",
      "python": "3.11.7",
      "launcher": "native",
      "plugin": "1.2.3"
    }
  },
  "servers": {
    "api": {
      "preset": null
    }
  },
  "results": [
    {
      "environment": "linux-native-3.11.7",
      "server": "api",
      "code": "SC401",
      "case": "",
      "slug": "endless-stream-is-bounded",
      "level": "must",
      "outcome": "unsupported",
      "ending": "none",
      "blocked_by": null,
      "failures": [],
      "reason": "declare routes.stream",
      "attempts": [],
      "seconds": 0.0
    }
  ]
}
"""


def test_json() -> None:
    assert json_reporter.render(Matrix(results=(UNTESTED,)), "1.2.3") == JSON


def test_json_of_nothing() -> None:
    assert json.loads(json_reporter.render(Matrix(), "1"))["results"] == []


# ---------------------------------------------------------------- which formats there are


def test_the_suffix_picks_the_format() -> None:
    assert reporters.render(".md", ALL, "1") == markdown.render(ALL, "1")
    assert reporters.render(".json", ALL, "1") == json_reporter.render(ALL, "1")
    assert reporters.suffixes() == ".json or .md"


def test_every_format_can_be_rendered_and_no_other_is_there() -> None:
    assert all(reporters.render(suffix, ALL, "1").endswith("\n") for suffix in reporters.FORMATS)
    folder = Path(reporters.__file__).parent
    assert {path.stem for path in folder.glob("*.py")} == {"__init__", "terminal", *reporters.FORMATS.values()}


def test_help_and_messages_name_every_format(pytester: pytest.Pytester) -> None:
    text = pytester.runpytest_subprocess("--help").stdout.str()
    assert f"write results: {reporters.suffixes()} (repeatable)" in " ".join(text.split())
    refused = pytester.runpytest_subprocess("--signal-compat", "--signal-compat-report", "report.xml")
    refused.stderr.fnmatch_lines(f"*expected a file ending in {reporters.suffixes()}; found report.xml")


def test_a_format_is_imported_when_it_is_wanted() -> None:
    code = "import sys; from pytest_signalcompat import reporters; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    ours = {name for name in done.stdout.split() if name.startswith("pytest_signalcompat")}
    assert ours == {"pytest_signalcompat", "pytest_signalcompat.reporters"}
