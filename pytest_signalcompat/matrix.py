"""Many results: how they travel, how they are stored, and what a stored report looks like (signalcompat-report/1)."""

from __future__ import annotations

import inspect
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Literal

import msgspec

from .checks import NAMES
from .model import Ending, Failure, Level, Observation, Outcome, Record, Result

SCHEMA: Literal["signalcompat-report/1"] = "signalcompat-report/1"
OUTPUT_LINES = 60  # of the newest lines a report keeps
OUTPUT_WIDTH = 400  # characters of each
TEXT_WIDTH = 8000  # characters of a reason, and of what a failure says it found


class Environment(Record):
    """Where the servers ran."""

    os: str
    platform: str
    python: str
    plugin: str
    launcher: str


class ExitEntry(Record):
    status: int
    signal: str | None = None


class Entry(Record):
    """One result, as a report holds it."""

    server: str
    code: str
    slug: str
    level: Level
    outcome: Outcome
    ending: Ending
    failures: tuple[Failure, ...]
    reason: str
    seconds: float
    attempt: int
    exit: ExitEntry | None
    observation: Observation | None


class Report(Record):
    schema: Literal["signalcompat-report/1"]
    environment: Environment
    results: tuple[Entry, ...]


class Matrix(Record):
    """Results of one or several runs. Adding the same server, code and platform again replaces the older result."""

    results: tuple[Result, ...] = ()

    def add(self, result: Result) -> Matrix:
        kept = tuple(old for old in self.results if _key(old) != _key(result))
        return Matrix(results=(*kept, result))


def _key(result: Result) -> tuple[str, str, str, str]:
    place = result.platform
    return (result.server, result.code, place.system if place else "", place.launcher if place else "")


def merge(matrices: Iterable[Matrix]) -> Matrix:
    """All results of several matrices; the later one counts where two have the same key."""
    merged = Matrix()
    for matrix in matrices:
        for result in matrix.results:
            merged = merged.add(result)
    return merged


def dump(result: Result) -> str:
    """A result as JSON text, bounded in size: it travels through pytest's reports and xdist."""
    return msgspec.json.encode(_bounded(result)).decode()


def load(text: str) -> Result:
    """The inverse of `dump`. Raises msgspec.ValidationError."""
    return msgspec.json.decode(text, type=Result)


def _bounded(result: Result) -> Result:
    seen = result.observation
    failures = tuple(msgspec.structs.replace(f, actual=f.actual[:TEXT_WIDTH]) for f in result.failures)
    result = msgspec.structs.replace(result, failures=failures, reason=result.reason[:TEXT_WIDTH])
    if seen is None:
        return result
    lines = tuple(
        msgspec.structs.replace(line, text=line.text[:OUTPUT_WIDTH]) if len(line.text) > OUTPUT_WIDTH else line
        for line in seen.output[-OUTPUT_LINES:]
    )
    return msgspec.structs.replace(result, observation=msgspec.structs.replace(seen, output=lines))


def report(matrix: Matrix, plugin: str) -> Report:
    """What `--signal-compat-report FILE.json` holds."""
    place = next((result.platform for result in matrix.results if result.platform), None)
    environment = Environment(
        os=place.system if place else "unknown",
        platform=place.family if place else "unknown",
        python=place.python if place else "unknown",
        plugin=plugin,
        launcher=place.launcher if place else "unknown",
    )
    return Report(schema=SCHEMA, environment=environment, results=tuple(_entry(r) for r in matrix.results))


def _entry(result: Result) -> Entry:
    seen = result.observation
    status = seen.exit.status if seen and seen.exit else None
    return Entry(
        server=result.server,
        code=result.code,
        slug=result.slug,
        level=result.level,
        outcome=result.outcome,
        ending=result.ending,
        failures=result.failures,
        reason=result.reason,
        seconds=round(result.seconds, 3),
        attempt=result.attempt,
        exit=None if status is None else ExitEntry(status=status, signal=NAMES.get(-status)),
        observation=seen,
    )


def json_schema() -> dict[str, Any]:
    """The JSON Schema of a report, published as report.schema.json beside this file."""
    schema: dict[str, Any] = _in_order(msgspec.json.schema(Report))
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": SCHEMA, **schema}


def _in_order(schema: Any) -> Any:
    """msgspec lists a union's members in any order, and takes docstrings as they are: indented before Python 3.13."""
    if isinstance(schema, str):
        return inspect.cleandoc(schema)
    if isinstance(schema, dict):
        inner = {key: _in_order(value) for key, value in schema.items()}
        return {**inner, "anyOf": sorted(inner["anyOf"], key=repr)} if "anyOf" in inner else inner
    return [_in_order(entry) for entry in schema] if isinstance(schema, list) else schema


def schema_text() -> str:
    """What report.schema.json holds."""
    return msgspec.json.format(msgspec.json.encode(json_schema()), indent=2).decode() + "\n"


def write_schema() -> None:
    """Run after a change of the records: python -c "from pytest_signalcompat import matrix; matrix.write_schema()"."""
    (Path(__file__).parent / "report.schema.json").write_text(schema_text(), encoding="utf-8", newline="\n")
