"""What may stand in braces in a server's commands and environment: `{python}`, `{port}`, … and `{env:NAME}`.

`{env:NAME}` is a variable as the server sees it: the one its table declares, or else the one of the tests. In the value
of a declared variable its own name means the one of the tests: `PATH = "/opt/app/bin:{env:PATH}"`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from difflib import get_close_matches
from graphlib import CycleError, TopologicalSorter
from typing import Literal, get_args

from .errors import ConfigError
from .model import Record, Server

Placeholder = Literal["python", "port", "workers", "loop", "drain", "pid"]
NAMES: tuple[Placeholder, ...] = get_args(Placeholder)
ENV = "env"
FILLED = re.compile(rf"\{{(?:({'|'.join(NAMES)})|{ENV}:([^{{}}\s]+))\}}")
LOOKALIKE = re.compile(r"\{(\w+)(?::[^{}\s]+)?\}")
MISSPELT = 0.75  # get_close_matches: as near to a placeholder is a slip; less near it is somebody else's braces


class Variables(Record):
    """Where `{env:NAME}` is looked up: what the server's table declares, and the environment of the tests."""

    declared: Mapping[str, str]
    tests: Mapping[str, str]
    ignore_case: bool = False  # of names, as on Windows; the platform is the server's


def values(server: Server, *, python: str, port: int, pid: int | None) -> dict[Placeholder, str]:
    """What the placeholders stand for in one start of a server."""
    return {
        "python": python,
        "port": str(port),
        "workers": str(server.workers),
        "loop": server.loop,
        "drain": f"{server.drain or 0:g}",
        "pid": str(pid or ""),
    }


def expand(text: str, values: Mapping[Placeholder, str], variables: Variables, inside: tuple[str, ...] = ()) -> str:
    """Fills placeholders; a declared variable's value may hold placeholders itself. Unknown braces stay as they are.

    `inside` names the declared variables whose values are being filled, the innermost last.
    Raises ConfigError where a variable is not set, or leads back to itself.
    """

    def value(match: re.Match[str]) -> str:
        return values[match[1]] if match[1] else _variable(match[2], values, variables, inside)  # type: ignore[index]

    return FILLED.sub(value, text)


def environment(values: Mapping[Placeholder, str], variables: Variables) -> dict[str, str]:
    """The declared variables, filled. Raises ConfigError as `expand` does."""
    return {name: expand(text, values, variables, (name,)) for name, text in variables.declared.items()}


def _variable(name: str, values: Mapping[Placeholder, str], variables: Variables, inside: tuple[str, ...]) -> str:
    declared = _lookup(name, variables.declared, variables.ignore_case)
    if declared is not None and declared not in inside[-1:]:
        if declared in inside:
            raise ConfigError([_circle((*inside[inside.index(declared) :], declared))])
        return expand(variables.declared[declared], values, variables, (*inside, declared))
    found = _lookup(name, variables.tests, variables.ignore_case)
    if found is None:
        raise ConfigError([_unset(name)])
    return variables.tests[found]


def _lookup(name: str, names: Mapping[str, str], ignore_case: bool) -> str | None:
    """The name as it is spelt there, the same spelling first."""
    if name in names:
        return name
    return next((other for other in names if ignore_case and other.upper() == name.upper()), None)


def _unset(name: str) -> str:
    return f"expected an environment variable {name} for {{{ENV}:{name}}}, found none"


def _circle(names: Iterable[str]) -> str:
    return f"expected variables that do not refer to each other in a circle, found {' -> '.join(names)}"


# ---------------------------------------------------------------- before a start


def templated(server: Server, name: Placeholder) -> bool:
    """Whether the command or the environment passes this on to the server."""
    return any(f"{{{name}}}" in text for text in (*server.command, *server.env.values()))


def mistakes(server: Server) -> Iterator[tuple[str, str]]:
    """What is wrong wherever it runs: key and text, for each word like a placeholder and each circle of variables."""
    for key, texts in _texts(server).items():
        for word in LOOKALIKE.findall(" ".join(texts)):
            near = get_close_matches(word, (*NAMES, ENV), 1, MISSPELT)
            if near and word not in (*NAMES, ENV):
                yield key, f"unknown placeholder {{{word}}}; expected {{{near[0]}}}"
    for circle in _circles(server.env):
        yield ENV, _circle(circle)


def unset(server: Server, tests: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """Key and text for each variable that is neither declared nor set for the tests.

    The server's platform is unknown before a start: a name that differs in case only is found by `expand`.
    """
    for key, texts in _texts(server).items():
        declared = {name: "" for name in server.env if key != f"{ENV}.{name}"}
        for name in dict.fromkeys(_references(" ".join(texts))):
            if all(_lookup(name, names, ignore_case=True) is None for names in (declared, tests)):
                yield key, _unset(name)


def taken(server: Server, tests: Mapping[str, str]) -> dict[str, str]:
    """The variables of the tests that the server is given by `{env:NAME}`, and their values."""
    found: dict[str, str] = {}
    for key, texts in _texts(server).items():
        declared = {name: "" for name in server.env if key != f"{ENV}.{name}"}
        for name in _references(" ".join(texts)):
            known = _lookup(name, tests, ignore_case=True)
            if known is not None and name not in declared:
                found[name] = tests[known]
    return found


def _texts(server: Server) -> dict[str, tuple[str, ...]]:
    """What is filled, by the key that holds it."""
    return {
        "command": server.command,
        **{f"stop.{stop}.command": command.command for stop, command in server.stops.items()},
        **{f"{ENV}.{name}": (value,) for name, value in server.env.items()},
    }


def _references(text: str) -> list[str]:
    return [name for _, name in FILLED.findall(text) if name]


def _circles(declared: Mapping[str, str]) -> Iterator[list[str]]:
    graph = {
        name: [other for other in _references(text) if other in declared and other != name]
        for name, text in declared.items()
    }
    while True:
        try:
            TopologicalSorter(graph).prepare()
        except CycleError as problem:
            circle = problem.args[1][::-1]
            yield circle
            for name in circle:
                graph.pop(name, None)
        else:
            return
