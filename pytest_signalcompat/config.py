"""[tool.signalcompat] -> Server. Every mistake is found in one go, and names file, key, what was expected and found."""

from __future__ import annotations

import importlib.util
import re
import tomllib
from collections.abc import Mapping
from difflib import get_close_matches
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any, get_args, get_origin

import msgspec

from .errors import ConfigError
from .model import PLACEHOLDERS, Declared, Family, Marks, Ready, Record, Routes, Server, Stop, StopCommand

GRACE = {"docker": 10.0, "cloudrun": 10.0, "k8s": 30.0, "systemd": 90.0}  # seconds; sources in docs of each
DEFAULT_GRACE = "k8s"
TABLE = "tool.signalcompat"
MISSPELT = 0.75  # as near to a placeholder is a slip; further away it is somebody else's braces
DEFAULT_FILE = Path(__file__).parent / "default.toml"


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


class ServerTable(Declared):
    command: tuple[str, ...]
    cwd: str | None = None
    env: dict[str, str] = {}  # noqa: RUF012 - msgspec copies it
    ready: Ready = Ready(tcp=True)
    routes: Routes = Routes()
    marks: Marks = Marks()
    exits: ExitsTable = ExitsTable()
    stop: StopTable = StopTable()
    grace: float | str | None = None
    drain: float | None = None
    workers: int = 1
    preset: str | None = None


class PresetTable(Declared):
    programs: tuple[str, ...] = ()
    marks: Marks = Marks()
    exits: ExitsTable = ExitsTable()
    sources: tuple[str, ...] = ()


class Settings(Declared):
    grace: float | str = DEFAULT_GRACE
    usefixtures: tuple[str, ...] = ()
    wine_python: str | None = None
    servers: dict[str, ServerTable] = {}  # noqa: RUF012


class Config(Record):
    """What a configuration file says, resolved. `path` is None when there is no table: the reference server then."""

    path: Path | None
    servers: tuple[Server, ...]
    usefixtures: tuple[str, ...] = ()
    wine_python: str | None = None


# ---------------------------------------------------------------- reading


def read(path: Path, grace: float | None = None) -> Config | None:
    """The configuration in that file; None if it has no such table. `grace` (seconds) overrides what it says.

    Raises ConfigError with a line for each problem.
    """
    try:
        text = path.read_text(encoding="utf-8")
        document = tomllib.loads(text)
    except OSError as problem:
        raise ConfigError([f"{path}: cannot be read: {problem.strerror}"]) from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as problem:
        raise ConfigError([f"{path}: expected a TOML file, found: {problem}"]) from None
    table = document.get("tool", {}).get("signalcompat")
    if table is None:
        return None
    problems: list[str] = []
    settings, entries = _tables(table, problems)
    servers = [
        _server(name, entry, settings, path, _line_of(name, text), grace, problems)
        for name, entry in entries.items()
        if entry is not None
    ]
    if problems:
        raise ConfigError([f"{path.name}: {problem}" for problem in dict.fromkeys(problems)])
    return Config(
        path=path,
        servers=tuple(server for server in servers if server is not None),
        usefixtures=settings.usefixtures,
        wine_python=settings.wine_python,
    )


def _tables(table: Any, problems: list[str]) -> tuple[Settings, dict[str, ServerTable | None]]:
    """The settings and each server's table; None for one with a wrong shape, so that the others are looked at too."""
    if not isinstance(table, dict):
        problems.append(f"{TABLE}: expected a table, found {_shown(table)}")
        return Settings(), {}
    settings = _convert({**table, "servers": {}}, Settings, TABLE, problems) or Settings()
    found = table.get("servers", {})
    entries = _convert(found, dict[str, ServerTable], f"{TABLE}.servers", problems) or {}
    if not found:
        problems.append(f"{TABLE}.servers: expected one server or more, found none")
    return settings, entries


def _line_of(name: str, text: str) -> int:
    pattern = re.compile(rf"^\[{re.escape(TABLE)}\.servers\.[\"']?{re.escape(name)}[\"']?[\].]")
    return next((number for number, line in enumerate(text.splitlines(), 1) if pattern.match(line)), 1)


KINDS: dict[Any, str] = {
    str: "a string",
    str | None: "a string",
    bool: "true or false",
    int: "an integer",
    float: "a number",
    float | None: "a number",
    float | str: "a number or a string",
    float | str | None: "a number or a string",
    tuple[str, ...]: "a list of strings",
    tuple[int, ...] | None: "a list of integers",
    dict[str, str]: "a table of strings",
    dict[str, ServerTable]: "a table of servers",
}


def _convert(value: Any, kind: Any, path: str, problems: list[str]) -> Any:
    """Like msgspec.convert, but goes on after a mistake. Returns None for what is wrong."""
    options = [option for option in (get_args(kind) or (kind,)) if option is not type(None)]
    if len(options) == 1 and isinstance(options[0], type) and issubclass(options[0], msgspec.Struct):
        return _convert_table(value, options[0], path, problems)
    if get_origin(kind) is dict and isinstance(value, dict):
        inner = get_args(kind)[1]
        return {name: _convert(entry, inner, f"{path}.{name}", problems) for name, entry in value.items()}
    try:
        return msgspec.convert(value, kind)
    except msgspec.ValidationError:
        problems.append(f"{path}: expected {KINDS[kind]}, found {_shown(value)}")
        return None


def _convert_table(value: Any, kind: type[msgspec.Struct], path: str, problems: list[str]) -> Any:
    if not isinstance(value, dict):
        problems.append(f"{path}: expected a table, found {_shown(value)}")
        return None
    fields = {field.encode_name: field for field in msgspec.structs.fields(kind)}
    for unknown in (name for name in value if name not in fields):
        near = get_close_matches(unknown, fields, 1)
        known = f"{near[0]!r}" if near else f"one of {', '.join(fields)}"
        problems.append(f"{path}.{unknown}: unknown key; expected {known}")
    for name, field in fields.items():
        if field.required and name not in value:
            problems.append(f"{path}.{name}: missing; expected {KINDS[field.type]}")
    before = len(problems)
    given = {
        fields[name].name: _convert(entry, fields[name].type, f"{path}.{name}", problems)
        for name, entry in value.items()
        if name in fields
    }
    return (
        kind(**given)
        if len(problems) == before and all(f.name in given or not f.required for f in fields.values())
        else None
    )


def _shown(value: Any) -> str:
    text = repr(value)
    return f"{type(value).__name__} {text if len(text) <= 60 else text[:57] + '...'}"


# ---------------------------------------------------------------- resolving


def _server(
    name: str, table: ServerTable, settings: Settings, path: Path, line: int, grace: float | None, problems: list[str]
) -> Server | None:
    key = f"{TABLE}.servers.{name}"
    before = len(problems)
    preset_name = table.preset or preset_of(table.command)
    if table.preset is not None and table.preset not in presets():
        problems.append(f"{key}.preset: expected one of {', '.join(presets())}, found {table.preset!r}")
    preset = presets().get(preset_name or "", PresetTable())
    _check_command(key, table, problems)
    _check_placeholders(key, table, problems)
    _check_ready(key, table.ready, problems)
    marks = Marks(
        started=table.marks.started or preset.marks.started,
        stopped=table.marks.stopped or preset.marks.stopped,
    )
    for what in ("started", "stopped"):
        _check_regex(f"{key}.marks.{what}", getattr(marks, what), problems)
    seconds = grace
    if seconds is None:
        owner, wanted = (key, table.grace) if table.grace is not None else (TABLE, settings.grace)
        seconds = grace_seconds(wanted, f"{owner}.grace", problems)
    if table.workers < 1:
        problems.append(f"{key}.workers: expected 1 or more, found {table.workers}")
    if table.drain is not None and table.drain <= 0:
        problems.append(f"{key}.drain: expected more than 0 seconds, found {table.drain:g}")
    if len(problems) > before:
        return None
    return Server(
        name=name,
        command=table.command,
        cwd=str((path.parent / (table.cwd or ".")).resolve()),
        env=table.env,
        ready=table.ready,
        routes=table.routes,
        marks=marks,
        exits=_exits(table.exits, preset.exits),
        stops=_stops(table.stop),
        grace=seconds,
        drain=table.drain,
        workers=table.workers,
        preset=preset_name,
        source=(str(path), line),
    )


def _check_command(key: str, table: ServerTable, problems: list[str]) -> None:
    if not table.command or not all(table.command):
        problems.append(f"{key}.command: expected a program and its arguments, found {list(table.command)}")
    elif not any("{port}" in text for text in (*table.command, *table.env.values())):
        problems.append(
            f"{key}.command: expected {{port}} in it, or in env: the port is chosen anew for every start;"
            f" found {list(table.command)}"
        )
    for stop, command in _stops(table.stop).items():
        if not command.command or not all(command.command):
            problems.append(
                f"{key}.stop.{stop}.command: expected a program and its arguments, found {list(command.command)}"
            )


def _check_placeholders(key: str, table: ServerTable, problems: list[str]) -> None:
    filled = {
        "command": table.command,
        **{f"stop.{stop}.command": command.command for stop, command in _stops(table.stop).items()},
        **{f"env.{name}": (value,) for name, value in table.env.items()},
    }
    known = (*PLACEHOLDERS, "env")
    for name, texts in filled.items():
        for word in re.findall(r"\{(\w+)(?::\w+)?\}", " ".join(texts)):
            near = get_close_matches(word, known, 1, MISSPELT)
            if near and word not in known:
                problems.append(f"{key}.{name}: expected {{{near[0]}}} or other braces, found {{{word}}}")


def _check_regex(key: str, pattern: str | None, problems: list[str]) -> None:
    try:
        re.compile(pattern or "")
    except re.error as problem:
        problems.append(f"{key}: expected a regular expression, found {pattern!r}: {problem}")


def _check_ready(key: str, table: Ready, problems: list[str]) -> None:
    ways = [name for name in ("http", "tcp", "log") if getattr(table, name)]
    if len(ways) != 1:
        problems.append(f"{key}.ready: expected one of http, tcp, log, found {' and '.join(ways) or 'none of them'}")
    if table.http is not None and not table.http.startswith("/"):
        problems.append(f"{key}.ready.http: expected a path that begins with /, found {table.http!r}")
    _check_regex(f"{key}.ready.log", table.log, problems)


def _number(wanted: float | str) -> str:
    return repr(wanted) if isinstance(wanted, str) else f"{wanted:g}"


def grace_seconds(wanted: float | str, key: str, problems: list[str]) -> float:
    """Seconds of a grace period given as a number or as a profile's name."""
    with_number = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*s?\s*", str(wanted))
    seconds = float(with_number[1]) if with_number else GRACE.get(str(wanted), 0.0)
    if seconds <= 0:
        problems.append(f"{key}: expected seconds or one of {', '.join(GRACE)}, found {_number(wanted)}")
    return seconds


def _exits(table: ExitsTable, preset: ExitsTable) -> dict[Family, dict[Stop, tuple[int, ...]]]:
    """A platform's own list goes before the general one, and what is declared before what the preset knows."""
    sources: dict[Family, tuple[StatusTable, ...]] = {
        "posix": (table.posix, table, preset.posix, preset),
        "windows": (table.windows, table, preset.windows, preset),
    }
    return {family: _first_declared(tables) for family, tables in sources.items()}


def _first_declared(tables: tuple[StatusTable, ...]) -> dict[Stop, tuple[int, ...]]:
    found: dict[Stop, tuple[int, ...]] = {}
    for table in reversed(tables):
        found.update({stop: codes for stop in Stop if (codes := getattr(table, stop)) is not None})
    return found


def _stops(table: StopTable) -> dict[Stop, StopCommand]:
    commands: Mapping[Stop, StopCommand | None] = {stop: getattr(table, stop) for stop in Stop}
    return {stop: command for stop, command in commands.items() if command is not None}


# ---------------------------------------------------------------- presets and the default


@cache
def presets() -> dict[str, PresetTable]:
    """What is known of server programs, by name (presets.toml)."""
    document = tomllib.loads((Path(__file__).parent / "presets.toml").read_text(encoding="utf-8"))
    return msgspec.convert(document, dict[str, PresetTable])


def preset_of(command: tuple[str, ...]) -> str | None:
    """The preset of the program a command starts: `uvicorn …`, `python -m uvicorn …`, `path/uvicorn.exe …`."""
    names = [Path(command[0].replace("\\", "/")).name.removesuffix(".exe")] if command else []
    names += [after for before, after in pairwise(command) if before == "-m"][:1]
    return next((name for name, preset in presets().items() if set(names) & set(preset.programs)), None)


def default(root: Path, grace: float | None = None) -> Config:
    """The reference server, as default.toml beside this file describes it, started in `root`.

    Raises ConfigError saying what to install when its packages are missing.
    """
    needed = ("reference_server", "fastapi", "uvicorn", "numpy", "pydantic_settings")
    lacking = [name for name in needed if importlib.util.find_spec(name) is None]
    if lacking:
        raise ConfigError(
            [
                f"no [{TABLE}] table was found, and the bundled reference server lacks {', '.join(lacking)}; expected"
                " either a table (`signalcompat init` prints one) or: pip install 'pytest-signalcompat[reference]'"
            ]
        )
    bundled = read(DEFAULT_FILE, grace)
    assert bundled is not None
    servers = tuple(msgspec.structs.replace(server, cwd=str(root)) for server in bundled.servers)
    return Config(path=None, servers=servers)
