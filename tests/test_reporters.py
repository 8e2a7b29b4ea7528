"""What people read, letter by letter."""

from __future__ import annotations

import json

import msgspec

from pytest_signalcompat.matrix import Matrix
from pytest_signalcompat.model import Delivery, Line, Outcome, Result, Stop
from pytest_signalcompat.reporters import json as json_reporter
from pytest_signalcompat.reporters import markdown, terminal

from .samples import ERROR, EVERY, FAILED, PASSED, SEEN, UNTESTED, WEAK, WINDOWS

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
  note      the first run was too late, so it was run again alone; this is that second run"""

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


def test_explain_shows_the_newest_output_and_says_what_is_missing() -> None:
    lines = tuple(Line(at=float(number), text=f"line {number}") for number in range(50))
    text = terminal.explain(changed(FAILED, observation=msgspec.structs.replace(SEEN, output=lines, dropped=99)))
    assert "\n  output    last 20 of 50 lines, 99 bytes before them not kept\n      30.00  line 30\n" in text
    assert text.endswith("\n      49.00  line 49")


def test_explain_a_server_that_was_silent_and_not_asked() -> None:
    seen = msgspec.structs.replace(
        SEEN,
        output=(Line(at=3.01, text="UserWarning: resource_tracker: There appear to be 5 leaked semaphore objects"),),
        deliveries=(),
        exchanges=(),
        variant="workers=2",
        killed=3.0,
        gone=None,
    )
    text = terminal.explain(changed(FAILED, observation=seen))
    assert "\n  asked     to start [workers=2]\n" in text
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
late other SC201 terminate-idle: too late at first, passed when run again alone
- SC401 endless-stream-is-bounded not tested: declare routes.stream (api, other)"""


def test_table_and_remarks() -> None:
    results = (*EVERY, changed(PASSED, server="other", attempt=2), changed(UNTESTED, server="other"))
    matrix = Matrix(results=results)
    assert "\n".join(terminal.table(matrix)) == TABLE
    assert "\n".join(terminal.remarks(matrix)) == REMARKS


def test_every_outcome_has_a_word() -> None:
    assert terminal.WORDS.keys() == set(Outcome)


MARKDOWN = """\
| requirement | api (linux) | api (win32) |
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

pytest-signalcompat 1.2.3
"""


def test_markdown() -> None:
    windows = changed(PASSED, platform=WINDOWS, outcome=Outcome.FAIL, reason="!")
    assert markdown.render(Matrix(results=(*EVERY, windows)), "1.2.3") == MARKDOWN


JSON = """\
{
  "schema": "signalcompat-report/1",
  "environment": {
    "os": "linux",
    "platform": "posix",
    "python": "3.11.7",
    "plugin": "1.2.3",
    "launcher": "native"
  },
  "results": [
    {
      "server": "api",
      "code": "SC401",
      "slug": "endless-stream-is-bounded",
      "level": "must",
      "outcome": "unsupported",
      "ending": "none",
      "failures": [],
      "reason": "declare routes.stream",
      "seconds": 0.0,
      "attempt": 1,
      "exit": null,
      "observation": null
    }
  ]
}
"""


def test_json() -> None:
    assert json_reporter.render(Matrix(results=(UNTESTED,)), "1.2.3") == JSON


def test_json_of_nothing() -> None:
    assert json.loads(json_reporter.render(Matrix(), "1"))["results"] == []
