"""Values that come by `{env:NAME}` are secrets: what leaves the engine or a fixture says `{env:NAME}` in their place.

Verdicts are reached before: a mark may hold such a value.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

from msgspec.structs import replace

from .errors import SignalCompatError
from .model import Attempt, Delivery, Exchange, Failure, Line, Observation, Process, Record, Result

R = TypeVar("R", bound=Record)
Secrets = Mapping[str, str]  # what is said in its place, by the value

LEAST = 4  # characters; a shorter value stands in any text by chance
TEXTS: Mapping[type[Record], tuple[str, ...]] = {  # what a server, a command or a check may have put a value into
    Delivery: ("what",),
    Exchange: ("path", "detail"),
    Failure: ("expected", "actual", "fix"),
    Line: ("text",),
    Observation: ("ready_detail", "notes", "deliveries", "exchanges", "processes", "output", "survivors"),
    Process: ("name",),
    Attempt: ("starts",),
    Result: ("reason", "failures", "attempts"),
}


def secrets(values: Mapping[str, str]) -> Secrets:
    """Of variables and their values. A value of several lines is masked line by line, too, as output comes; and as
    Python writes it in a list."""
    found: dict[str, str] = {}
    for name, value in values.items():
        for part in (value, *value.splitlines()):
            for spelt in (part, repr(part)[1:-1]):
                if len(spelt.strip()) >= LEAST:
                    found.setdefault(spelt, f"{{env:{name}}}")
    return dict(sorted(found.items(), key=lambda pair: len(pair[0]), reverse=True))


def masked(record: R, secrets: Secrets) -> R:
    """The record with its texts, without them."""
    fields = TEXTS[type(record)] if secrets else ()
    changes = {field: _masked(getattr(record, field), secrets) for field in fields}
    return replace(record, **changes) if changes else record


def _masked(value: Any, secrets: Secrets) -> Any:
    if isinstance(value, tuple):
        return tuple(_masked(one, secrets) for one in value)
    return in_text(value, secrets) if isinstance(value, str) else masked(value, secrets)


def in_text(text: str, secrets: Secrets) -> str:
    for secret, name in secrets.items():
        text = text.replace(secret, name)
    return text


def in_error(problem: SignalCompatError, secrets: Secrets) -> None:
    """Changes its text."""
    problem.args = tuple(in_text(part, secrets) if isinstance(part, str) else part for part in problem.args)


def in_command_line(process: Process, secrets: Secrets) -> Process:
    """Also where the supervisor cut the line in the middle of one."""
    name = in_text(process.name, secrets)
    for secret, instead in secrets.items():
        for length in range(len(secret) - 1, LEAST - 1, -1):
            if name.endswith(secret[:length]):
                return replace(process, name=name[:-length] + instead)
    return replace(process, name=name)
