"""Many results: adding, merging, travelling as text, and the published shape of a report."""

from __future__ import annotations

import json
from pathlib import Path

import jsonschema
import msgspec
import pytest

import pytest_signalcompat
from pytest_signalcompat import matrix
from pytest_signalcompat.matrix import Matrix
from pytest_signalcompat.model import Exit, Line, Outcome, Result
from pytest_signalcompat.reporters import json as json_reporter

from .samples import EVERY, FAILED, PASSED, SEEN, WINDOWS

SCHEMA = Path(pytest_signalcompat.__file__).parent / "report.schema.json"


def changed(result: Result, **changes: object) -> Result:
    new: Result = msgspec.structs.replace(result, **changes)
    return new


def of(*results: Result) -> Matrix:
    found = Matrix()
    for result in results:
        found = found.add(result)
    return found


# ---------------------------------------------------------------- adding and merging


def test_another_requirement_server_or_platform_is_another_result() -> None:
    others = (
        FAILED,
        changed(PASSED, server="other"),
        changed(PASSED, platform=WINDOWS),
        changed(PASSED, platform=changed_platform("wine")),
    )
    assert of(PASSED, *others).results == (PASSED, *others)


def changed_platform(launcher: str) -> object:
    return msgspec.structs.replace(WINDOWS, launcher=launcher)


def test_the_same_again_replaces_the_older_result() -> None:
    again = changed(PASSED, outcome=Outcome.FAIL)
    assert of(PASSED, FAILED, again).results == (FAILED, again)


def test_adding_changes_no_matrix() -> None:
    first = of(PASSED)
    first.add(FAILED)
    assert first.results == (PASSED,)


def test_in_a_merge_the_later_matrix_counts() -> None:
    again = changed(PASSED, outcome=Outcome.FAIL)
    windows = changed(PASSED, platform=WINDOWS)
    assert matrix.merge([of(PASSED, FAILED), of(windows, again)]).results == (FAILED, windows, again)
    assert matrix.merge([]).results == ()


# ---------------------------------------------------------------- as text


@pytest.mark.parametrize("result", EVERY, ids=lambda result: result.outcome)
def test_dump_and_load(result: Result) -> None:
    text = matrix.dump(result)
    assert matrix.load(text) == result
    assert "\n" not in text


def test_what_travels_is_bounded() -> None:
    lines = tuple(Line(at=float(number), text=f"{number} " + "x" * 10_000) for number in range(1000))
    failure = changed_failure("y" * 100_000)
    long = changed(
        FAILED, observation=msgspec.structs.replace(SEEN, output=lines), failures=(failure,), reason="z" * 100_000
    )
    text = matrix.dump(long)
    assert len(text) < 60_000
    kept = matrix.load(text).observation
    assert kept is not None
    assert len(kept.output) == matrix.OUTPUT_LINES
    assert kept.output[-1].text.startswith("999 x")


def changed_failure(actual: str) -> object:
    return msgspec.structs.replace(FAILED.failures[0], actual=actual)


def test_a_text_of_another_shape_is_refused() -> None:
    with pytest.raises(msgspec.ValidationError, match="server"):
        matrix.load("{}")


# ---------------------------------------------------------------- the report


def test_the_report_says_where_and_how_each_ended() -> None:
    report = json.loads(json_reporter.render(of(PASSED, FAILED), "1.2.3"))
    assert report["schema"] == "signalcompat-report/1"
    assert report["environment"] == {
        "os": "linux",
        "platform": "posix",
        "python": "3.11.7",
        "plugin": "1.2.3",
        "launcher": "native",
    }
    passed, failed = report["results"]
    assert (passed["outcome"], passed["ending"], passed["seconds"]) == ("pass", "clean", 1.235)
    assert failed["exit"] == {"status": -15, "signal": "SIGTERM"}
    assert [failure["check"] for failure in failed["failures"]] == ["request completed", "accepted status"]
    assert failed["observation"]["exchanges"][0]["end"] == "closed"


def test_an_unsigned_windows_status_names_no_signal() -> None:
    seen = msgspec.structs.replace(SEEN, platform=WINDOWS, exit=Exit(at=1.55, status=0xC000013A))
    (entry,) = matrix.report(of(changed(PASSED, platform=WINDOWS, observation=seen)), "1").results
    assert entry.exit == matrix.ExitEntry(status=3221225786, signal=None)


def test_the_published_schema_is_that_of_the_code() -> None:
    """Made anew with: python -c "from pytest_signalcompat import matrix; matrix.write_schema()"."""
    assert json.loads(SCHEMA.read_text(encoding="utf-8")) == json.loads(matrix.schema_text())


def test_the_schema_is_a_schema_and_accepts_reports() -> None:
    schema = json.loads(SCHEMA.read_text(encoding="utf-8"))
    jsonschema.Draft202012Validator.check_schema(schema)
    for results in ((), EVERY, (changed(PASSED, platform=None, observation=None),)):
        jsonschema.validate(json.loads(json_reporter.render(of(*results), "1")), schema)


@pytest.mark.parametrize(
    ("key", "value"),
    [("outcome", "green"), ("seconds", "2"), ("failures", None), ("exit", {"status": None})],
)
def test_the_schema_refuses_other_shapes(key: str, value: object) -> None:
    schema = json.loads(SCHEMA.read_text(encoding="utf-8"))
    report = json.loads(json_reporter.render(of(PASSED), "1"))
    report["results"][0][key] = value
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(report, schema)
