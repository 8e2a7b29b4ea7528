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
from pytest_signalcompat.model import Line, Outcome, Result
from pytest_signalcompat.reporters import json as json_reporter

from .samples import EVERY, FAILED, PASSED, SEEN, WINDOWS, with_observation

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


def test_another_requirement_case_server_or_environment_is_another_result() -> None:
    others = (
        FAILED,
        changed(PASSED, case="selector-2"),
        changed(PASSED, server="other"),
        changed(PASSED, platform=WINDOWS),
        changed(PASSED, platform=msgspec.structs.replace(WINDOWS, launcher="wine")),
        changed(PASSED, platform=msgspec.structs.replace(WINDOWS, python="3.11.9")),
    )
    assert of(PASSED, *others).results == (PASSED, *others)


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
    seen = msgspec.structs.replace(SEEN, output=lines)
    long = changed(with_observation(FAILED, seen), failures=(failure,), reason="z" * 100_000)
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
    case = changed(PASSED, code="SC901", case="selector-2", platform=WINDOWS)
    report = json.loads(json_reporter.render(of(PASSED, FAILED, case), "1.2.3"))
    assert report["schema"] == "signalcompat-report/2"
    assert report["environments"] == {
        "linux-native-3.11.7": {
            "os": "linux",
            "platform": "posix",
            "python": "3.11.7",
            "launcher": "native",
            "plugin": "1.2.3",
        },
        "win32-native-3.14.0": {
            "os": "win32",
            "platform": "windows",
            "python": "3.14.0",
            "launcher": "native",
            "plugin": "1.2.3",
        },
    }
    assert report["servers"] == {"api": {"preset": None}}
    passed, failed, windows = report["results"]
    assert (passed["outcome"], passed["ending"], passed["seconds"]) == ("pass", "clean", 1.235)
    assert (passed["environment"], windows["environment"]) == ("linux-native-3.11.7", "win32-native-3.14.0")
    assert (passed["case"], windows["case"]) == ("", "selector-2")
    assert [failure["check"] for failure in failed["failures"]] == ["request-completed", "accepted-status"]
    (start,) = failed["attempts"][0]["starts"]
    assert start["exit"] == {"at": 1.55, "status": -15}
    assert start["exchanges"][0]["role"] == "in flight"
    assert start["exchanges"][0]["end"] == "closed"


PUBLISHED = {  # of signalcompat-report/2, as it was first published: nothing is ever taken away
    "Report": ("schema", "environments", "servers", "results"),
    "Environment": ("os", "platform", "python", "launcher", "plugin"),
    "Target": ("preset",),
    "Entry": (
        *("environment", "server", "code", "case", "slug", "level", "outcome", "ending", "blocked_by", "failures"),
        *("reason", "attempts", "seconds"),
    ),
    "Failure": ("expected", "actual", "fix", "check", "unproven", "missing", "timing"),
    "Attempt": ("starts", "seconds", "busy"),
    "Observation": (
        *("platform", "spawned", "workers", "ready", "ready_detail", "deliveries", "exchanges", "processes", "output"),
        *("dropped", "dropped_until", "exit", "gone", "survivors", "port", "killed", "notes"),
    ),
    "Delivery": ("stop", "what", "reach", "at"),
    "Exchange": (
        *("role", "method", "path", "begun", "end", "connected", "sent", "answered", "ended", "status", "received"),
        *("keep_alive", "framed", "closed", "detail"),
    ),
}


def test_the_report_is_only_added_to() -> None:
    records = json.loads(SCHEMA.read_text(encoding="utf-8"))["$defs"]
    missing = {
        f"{record}.{field}"
        for record, fields in PUBLISHED.items()
        for field in fields
        if field not in records.get(record, {}).get("properties", {})
    }
    assert not missing


def test_the_published_schema_is_that_of_the_code() -> None:
    """Made anew with: python -c "from pytest_signalcompat import matrix; matrix.write_schema()"."""
    assert json.loads(SCHEMA.read_text(encoding="utf-8")) == json.loads(matrix.schema_text())


def test_the_schema_is_a_schema_and_accepts_reports() -> None:
    schema = json.loads(SCHEMA.read_text(encoding="utf-8"))
    jsonschema.Draft202012Validator.check_schema(schema)
    for results in ((), EVERY, (changed(with_observation(PASSED, None), platform=None),)):
        jsonschema.validate(json.loads(json_reporter.render(of(*results), "1")), schema)


@pytest.mark.parametrize(
    ("key", "value"),
    [("outcome", "green"), ("seconds", "2"), ("failures", None), ("attempts", [{}])],
)
def test_the_schema_refuses_other_shapes(key: str, value: object) -> None:
    schema = json.loads(SCHEMA.read_text(encoding="utf-8"))
    report = json.loads(json_reporter.render(of(PASSED), "1"))
    report["results"][0][key] = value
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(report, schema)
