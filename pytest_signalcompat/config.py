"""[tool.signalcompat] -> Server. Every mistake is found in one go, and names file, key, what was expected and found."""

from __future__ import annotations

import importlib.util
import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any

import msgspec

from . import paths, placeholders
from .errors import ConfigError
from .model import Declarations, Family, Marks, Ready, Record, Routes, Server, Stop, StopCommand
from .tables import ExitsTable, PresetTable, ServerTable, Settings, StatusTable, StopTable, convert, shown

GRACE = {"docker": 10.0, "cloudrun": 10.0, "k8s": 30.0, "systemd": 90.0}  # seconds; each one's documented default
TABLE = "tool.signalcompat"
DEFAULT_FILE = Path(__file__).parent / "default.toml"

Mistakes = Iterator[tuple[str, str]]  # the key below the server's table, and what was expected and found


class Config(Record):
    """What a configuration file says, resolved. `path` is None where nothing was read from one of the user's."""

    path: Path | None
    servers: tuple[Server, ...]
    usefixtures: tuple[str, ...] = ()
    wine_python: str | None = None


# ---------------------------------------------------------------- reading


def read(path: Path, grace: float | None = None) -> Config | None:
    """The configuration in that file; None if it has no such table. `grace` (seconds) overrides what it says.

    Raises ConfigError with a line for each problem.
    """
    text, document = _load(path)
    table = _inside(document, *TABLE.split("."))
    if table is None:
        return None
    problems: list[str] = []
    settings, entries = _tables(table, problems)
    servers = [
        _server(name, entry, settings, (str(path), _line_of(name, text)), grace, problems)
        for name, entry in entries.items()
        if entry is not None
    ]
    if problems:
        raise ConfigError([f"{path.name}: {problem}" for problem in dict.fromkeys(problems)])
    return Config(path=path, servers=tuple(servers), usefixtures=settings.usefixtures, wine_python=settings.wine_python)


def _load(path: Path) -> tuple[str, dict[str, Any]]:
    try:
        text = path.read_text(encoding="utf-8")
        return text, tomllib.loads(text)
    except OSError as problem:
        raise ConfigError([f"{path}: cannot be read: {problem.strerror}"]) from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as problem:
        raise ConfigError([f"{path}: expected a TOML file, found: {problem}"]) from None


def _inside(document: Any, *names: str) -> Any:
    """What is at that path of names; None if nothing is."""
    for name in names:
        document = document.get(name) if isinstance(document, dict) else None
    return document


def _tables(table: Any, problems: list[str]) -> tuple[Settings, dict[str, ServerTable | None]]:
    """The settings and each server's table; None for one with a wrong shape, so that the others are looked at too."""
    if not isinstance(table, dict):
        problems.append(f"{TABLE}: expected a table, found {shown(table)}")
        return Settings(), {}
    settings = convert({**table, "servers": {}}, Settings, TABLE, problems) or Settings()
    found = table.get("servers", {})
    entries = convert(found, dict[str, ServerTable], f"{TABLE}.servers", problems) or {}
    if not found:
        problems.append(f"{TABLE}.servers: expected one server or more, found none")
    return settings, entries


def _line_of(name: str, text: str) -> int:
    pattern = re.compile(rf"^\[{re.escape(TABLE)}\.servers\.[\"']?{re.escape(name)}[\"']?[\].]")
    return next((number for number, line in enumerate(text.splitlines(), 1) if pattern.match(line)), 1)


# ---------------------------------------------------------------- resolving


def _server(
    name: str,
    table: ServerTable,
    settings: Settings,
    source: tuple[str, int],
    grace: float | None,
    problems: list[str],
) -> Server:
    """A server of the table, resolved; good for use if it adds no problem."""
    key = _key(name)
    preset_name = table.preset or preset_of(table.command)
    preset = presets().get(preset_name or "", PresetTable())
    if grace is None:
        owner, wanted = (key, table.grace) if table.grace is not None else (TABLE, settings.grace)
        grace = grace_seconds(wanted, f"{owner}.grace", problems)
    resolved = {
        "cwd": str((Path(source[0]).parent / (table.cwd or ".")).resolve()),
        "marks": _marks(table.marks, preset.marks),
        "preset": preset_name,
        "exits": _exits(table.exits, preset.exits),
        "stops": _stops(table.stop),
        "grace": grace,
    }
    server = Server(name=name, source=source, **{**_declared(table), **resolved})
    problems += [f"{key}.{what}: {mistake}" for what, mistake in _mistakes(server)]
    return server


def _key(name: str) -> str:
    return f"{TABLE}.servers.{name}"


def _declared(table: Declarations) -> dict[str, Any]:
    return {field: getattr(table, field) for field in Declarations.__struct_fields__}


def _marks(table: Marks, preset: Marks) -> Marks:
    """What is declared goes before what the preset knows."""
    return Marks(**{what: getattr(table, what) or getattr(preset, what) for what in Marks.__struct_fields__})


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


def _number(wanted: float | str) -> str:
    return repr(wanted) if isinstance(wanted, str) else f"{wanted:g}"


def grace_seconds(wanted: float | str, key: str, problems: list[str]) -> float:
    """Seconds of a grace period given as a number or as a profile's name."""
    with_number = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*s?\s*", str(wanted))
    seconds = float(with_number[1]) if with_number else GRACE.get(str(wanted), 0.0)
    if seconds <= 0:
        problems.append(f"{key}: expected seconds or one of {', '.join(GRACE)}, found {_number(wanted)}")
    return seconds


# ---------------------------------------------------------------- checks


def check_variables(servers: Iterable[Server], tests: Mapping[str, str]) -> None:
    """Raises ConfigError with a line for each `{env:NAME}` that names no variable of the server nor of the tests.

    Apart from `read`, for a configuration can be read, and its other servers tested, where a variable is not set.
    """
    problems = [
        f"{_file_of(server)}{_key(server.name)}.{what}: {mistake}"
        for server in servers
        for what, mistake in placeholders.unset(server, tests)
    ]
    if problems:
        raise ConfigError(problems)


def _file_of(server: Server) -> str:
    return f"{Path(server.source[0]).name}: " if server.source else ""


def _mistakes(server: Server) -> Mistakes:
    if server.preset is not None and server.preset not in presets():
        yield "preset", f"expected one of {', '.join(presets())}, found {server.preset!r}"
    yield from _command_mistakes(server)
    yield from placeholders.mistakes(server)
    yield from _ready_mistakes(server.ready)
    yield from _route_mistakes(server.routes)
    for what in Marks.__struct_fields__:
        yield from _regex_mistakes(f"marks.{what}", getattr(server.marks, what))
    if server.workers < 1:
        yield "workers", f"expected 1 or more, found {server.workers}"
    if server.drain is not None and not server.drain > 0:
        yield "drain", f"expected more than 0 seconds, found {server.drain:g}"


def _command_mistakes(server: Server) -> Mistakes:
    commands = {"command": server.command}
    commands |= {f"stop.{stop}.command": declared.command for stop, declared in server.stops.items()}
    for key, command in commands.items():
        if not command or not all(command):
            yield key, f"expected a program and its arguments, found {list(command)}"
        elif key == "command" and not placeholders.templated(server, "port"):
            yield key, f"expected {{port}} in it, or in env: each start uses a fresh port; found {list(command)}"


def _ready_mistakes(ready: Ready) -> Mistakes:
    ways = [name for name in ("http", "tcp", "log") if getattr(ready, name)]
    if len(ways) != 1:
        yield "ready", f"expected one of http, tcp, log, found {' and '.join(ways) or 'none of them'}"
    if ready.http is not None and (mistake := paths.mistake(ready.http)):
        yield "ready.http", mistake
    yield from _regex_mistakes("ready.log", ready.log)


def _route_mistakes(routes: Routes) -> Mistakes:
    declared = {"slow": routes.slow, "stream": routes.stream, "post.path": routes.post.path if routes.post else None}
    for key, path in declared.items():
        if path is not None and (mistake := paths.mistake(path)):
            yield f"routes.{key}", mistake


def _regex_mistakes(key: str, pattern: str | None) -> Mistakes:
    try:
        re.compile(pattern or "")
    except re.error as problem:
        yield key, f"expected a regular expression, found {pattern!r}: {problem}"


# ---------------------------------------------------------------- presets and the default


@cache
def presets() -> dict[str, PresetTable]:
    """What is known of server programs, by name (presets.toml)."""
    document = tomllib.loads((Path(__file__).parent / "presets.toml").read_text(encoding="utf-8"))
    return msgspec.convert(document, dict[str, PresetTable])


def preset_of(command: tuple[str, ...]) -> str | None:
    """The preset of the program a command starts: `uvicorn …`, `python -m uvicorn …`, `path/uvicorn.EXE …`."""
    names = (
        [re.sub(r"\.(exe|cmd|bat|com)$", "", command[0].lower().replace("\\", "/").rpartition("/")[2])]
        if command
        else []
    )
    names += [after for before, after in pairwise(command) if before == "-m"][:1]
    return next((name for name, preset in presets().items() if set(names) & set(preset.programs)), None)


def default(root: Path, grace: float | None = None) -> Config:
    """The reference server, as default.toml beside this file describes it, started in `root`.

    Raises ConfigError saying what to install when its packages are missing.
    """
    needed = ("reference_server", "fastapi", "uvicorn", "numpy", "prometheus_client", "pydantic_settings")
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
