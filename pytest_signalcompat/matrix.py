"""Many results: how they travel, how they are stored, and what a stored report looks like (signalcompat-report/2).

From this version on the report is only added to.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Literal

import msgspec

from .model import Attempt, Ending, Failure, Level, Observation, Outcome, Platform, Record, Result

SCHEMA: Literal["signalcompat-report/2"] = "signalcompat-report/2"
NOWHERE = "unknown"  # the environment of a result whose supervisor never said where it is
OUTPUT_LINES = 60  # of the newest lines a report keeps
OUTPUT_WIDTH = 400  # characters of each
TEXT_WIDTH = 8000  # characters of a reason, and of what a failure says it found


class Environment(Record):
    """Where servers ran."""

    os: str
    platform: str
    python: str
    launcher: str
    plugin: str


class Target(Record):
    """A server as a report knows it."""

    preset: str | None = None


class Entry(Record):
    """One result, as a report holds it. `blocked_by`: the code whose failure kept this one from being judged."""

    environment: str
    server: str
    code: str
    case: str
    slug: str
    level: Level
    outcome: Outcome
    ending: Ending
    blocked_by: str | None
    failures: tuple[Failure, ...]
    reason: str
    attempts: tuple[Attempt, ...]
    seconds: float


class Report(Record):
    """Environments and servers by the names that results refer to them by."""

    schema: Literal["signalcompat-report/2"]
    environments: dict[str, Environment]
    servers: dict[str, Target]
    results: tuple[Entry, ...]


class Matrix(Record):
    """Results of one or several runs. Adding the same server, code, case and environment again replaces the older."""

    results: tuple[Result, ...] = ()

    def add(self, result: Result) -> Matrix:
        kept = tuple(old for old in self.results if _key(old) != _key(result))
        return Matrix(results=(*kept, result))


def _key(result: Result) -> tuple[str, str, str, str]:
    return (result.server, result.code, result.case, environment_id(result.platform))


def environment_id(place: Platform | None) -> str:
    """The name of a result's environment: `linux-native-3.11.7`."""
    return f"{place.system}-{place.launcher}-{place.python}" if place else NOWHERE


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
    replace = msgspec.structs.replace
    return replace(
        result,
        failures=tuple(replace(failure, actual=failure.actual[:TEXT_WIDTH]) for failure in result.failures),
        reason=result.reason[:TEXT_WIDTH],
        attempts=tuple(
            replace(attempt, starts=tuple(_shortened(seen) for seen in attempt.starts)) for attempt in result.attempts
        ),
    )


def _shortened(seen: Observation) -> Observation:
    """With the newest of its output only."""
    lines = tuple(
        msgspec.structs.replace(line, text=line.text[:OUTPUT_WIDTH]) if len(line.text) > OUTPUT_WIDTH else line
        for line in seen.output[-OUTPUT_LINES:]
    )
    return msgspec.structs.replace(seen, output=lines)


def report(matrix: Matrix, plugin: str) -> Report:
    """What `--signal-compat-report FILE.json` holds."""
    results = matrix.results
    return Report(
        schema=SCHEMA,
        environments={environment_id(result.platform): _environment(result.platform, plugin) for result in results},
        servers={result.server: Target(preset=result.preset) for result in results},
        results=tuple(_entry(result) for result in results),
    )


def _environment(place: Platform | None, plugin: str) -> Environment:
    if place is None:
        return Environment(os=NOWHERE, platform=NOWHERE, python=NOWHERE, launcher=NOWHERE, plugin=plugin)
    return Environment(
        os=place.system,
        platform=place.family,
        python=place.python,
        launcher=place.launcher,
        plugin=plugin,
    )


def _entry(result: Result) -> Entry:
    return Entry(
        environment=environment_id(result.platform),
        server=result.server,
        code=result.code,
        case=result.case,
        slug=result.slug,
        level=result.level,
        outcome=result.outcome,
        ending=result.ending,
        blocked_by=result.blocked_by,
        failures=result.failures,
        reason=result.reason,
        attempts=result.attempts,
        seconds=round(result.seconds, 3),
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
