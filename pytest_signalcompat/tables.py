"""The tables of a configuration file, and how they are read: every mistake in the shape of one is found in one go."""

from __future__ import annotations

from difflib import get_close_matches
from types import NoneType, UnionType
from typing import Any, Literal, TypeGuard, Union, get_args, get_origin

import msgspec

from .model import Declarations, Declared, Marks, StopCommand


class StatusTable(Declared):
    terminate: tuple[int, ...] | None = None
    interrupt: tuple[int, ...] | None = None
    quit: tuple[int, ...] | None = None
    hangup: tuple[int, ...] | None = None


class ExitsTable(StatusTable):
    posix: StatusTable = StatusTable()
    windows: StatusTable = StatusTable()


class StopTable(Declared):
    terminate: StopCommand | None = None
    interrupt: StopCommand | None = None
    quit: StopCommand | None = None
    hangup: StopCommand | None = None


class ServerTable(Declarations, kw_only=True):
    """What a server's table has besides `Declarations`: what a `Server` holds in another form."""

    exits: ExitsTable = ExitsTable()
    stop: StopTable = StopTable()
    grace: float | str | None = None


class PresetTable(Declared):
    programs: tuple[str, ...] = ()
    marks: Marks = Marks()
    exits: ExitsTable = ExitsTable()
    sources: tuple[str, ...] = ()


class Settings(Declared):
    grace: float | str = "k8s"
    usefixtures: tuple[str, ...] = ()
    wine_python: str | None = None
    servers: dict[str, ServerTable] = {}  # noqa: RUF012 - msgspec copies it


# ---------------------------------------------------------------- reading


def convert(value: Any, kind: Any, key: str, problems: list[str]) -> Any:
    """Like msgspec.convert, but goes on after a mistake. Returns None for what is wrong."""
    options = _options(kind)
    if len(options) == 1 and _is_table(options[0]):
        return _convert_table(value, options[0], key, problems)
    if get_origin(kind) is dict and isinstance(value, dict):
        inner = get_args(kind)[1]
        return {name: convert(entry, inner, f"{key}.{name}", problems) for name, entry in value.items()}
    try:
        return msgspec.convert(value, kind)
    except msgspec.ValidationError:
        problems.append(f"{key}: expected {words(kind)}, found {shown(value)}")
        return None


def _convert_table(value: Any, kind: type[msgspec.Struct], key: str, problems: list[str]) -> Any:
    if not isinstance(value, dict):
        problems.append(f"{key}: expected a table, found {shown(value)}")
        return None
    fields = {field.encode_name: field for field in msgspec.structs.fields(kind)}
    for unknown in (name for name in value if name not in fields):
        near = get_close_matches(unknown, fields, 1)
        known = f"{near[0]!r}" if near else f"one of {', '.join(fields)}"
        problems.append(f"{key}.{unknown}: unknown key; expected {known}")
    before = len(problems)  # a table with an unknown key is read all the same, so that the rest of it is checked
    for name, field in fields.items():
        if field.required and name not in value:
            problems.append(f"{key}.{name}: missing; expected {words(field.type)}")
    given = {
        fields[name].name: convert(entry, fields[name].type, f"{key}.{name}", problems)
        for name, entry in value.items()
        if name in fields
    }
    return kind(**given) if len(problems) == before else None


def shown(value: Any) -> str:
    text = repr(value)
    return f"{type(value).__name__} {text if len(text) <= 60 else text[:57] + '...'}"


# ---------------------------------------------------------------- types in words

WORDS = {str: "a string", bool: "true or false", int: "an integer", float: "a number"}
UNIONS = (Union, UnionType)  # two types until Python 3.14: Optional[X] and X | None


def words(kind: Any) -> str:
    """What a key of this type takes: "a number or a string", "a list of integers", "a table of servers"."""
    return " or ".join(_words(option) for option in _options(kind))


def _words(kind: Any) -> str:
    inner = get_args(kind)
    if get_origin(kind) is Literal:
        return " or ".join(map(repr, inner))
    if get_origin(kind) is tuple:
        return f"a list of {_several(inner[0])}"
    if get_origin(kind) is dict:
        return f"a table of {_several(inner[1])}"
    return "a table" if _is_table(kind) else WORDS[kind]


def _several(kind: Any) -> str:
    return (kind.__name__.removesuffix("Table").lower() if _is_table(kind) else WORDS[kind].split()[-1]) + "s"


def _options(kind: Any) -> list[Any]:
    """The members of a union without None; the type itself if it is no union."""
    members = get_args(kind) if get_origin(kind) in UNIONS else (kind,)
    return [member for member in members if member is not NoneType]


def _is_table(kind: Any) -> TypeGuard[type[msgspec.Struct]]:
    return isinstance(kind, type) and issubclass(kind, msgspec.Struct)
