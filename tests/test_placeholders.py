"""Placeholders in commands and environments: what each is replaced by, and what is no placeholder."""

from __future__ import annotations

import pytest

from pytest_signalcompat.engine import Engine
from pytest_signalcompat.errors import ConfigError
from pytest_signalcompat.model import Outcome, Server
from pytest_signalcompat.placeholders import Variables, environment, expand, mistakes, templated, values
from pytest_signalcompat.scenarios import CATALOGUE

SERVER = Server(name="api", command=("{python}", "{port}"), workers=3, drain=2.5)
VALUES = values(SERVER, python="/bin/python", port=8000, pid=7)


def variables(declared: dict[str, str], ignore_case: bool = False, **tests: str) -> Variables:
    return Variables(declared=declared, tests=tests, ignore_case=ignore_case)


@pytest.mark.parametrize(
    ("text", "filled"),
    [
        ("{python} {port} {workers} {loop} {drain} {pid}", "/bin/python 8000 3 auto 2.5 7"),
        ("{{port}}", "{8000}"),
        ("${HOME} {message} {} {port:d} {env} {env:} {env:A B} %(port)s", None),
        ("{env:OWN}:{env:OUTER}", "own 8000:outer {port}"),
        ("{env:ProgramFiles(x86)}", "C:\\Programs"),
    ],
)
def test_braces(text: str, filled: str | None) -> None:
    """A declared value may hold placeholders itself; one of the tests' environment is nobody's template."""
    known = Variables(
        declared={"OWN": "own {port}"},
        tests={"OUTER": "outer {port}", "OWN": "no", "ProgramFiles(x86)": "C:\\Programs"},
    )
    assert expand(text, VALUES, known) == (text if filled is None else filled)


def test_what_is_not_there() -> None:
    assert values(Server(name="api", command=()), python="python", port=1, pid=None) == {
        "python": "python",
        "port": "1",
        "workers": "1",
        "loop": "auto",
        "drain": "0",
        "pid": "",
    }


def test_a_variables_own_name_means_the_one_of_the_tests() -> None:
    known = variables({"DB": "{env:DB}", "PATH": "/opt:{env:PATH}", "URL": "db://{env:DB}:{port}"}, DB="x", PATH="/bin")
    assert environment(VALUES, known) == {"DB": "x", "PATH": "/opt:/bin", "URL": "db://x:8000"}
    assert expand("{env:PATH}", VALUES, known) == "/opt:/bin"


@pytest.mark.parametrize("declared", [{}, {"DB": "{env:DB}"}, {"DB": "{env:OTHER}"}])
def test_a_variable_that_is_not_set(declared: dict[str, str]) -> None:
    name = "OTHER" if "OTHER" in declared.get("DB", "") else "DB"
    with pytest.raises(ConfigError, match=rf"^expected an environment variable {name} for {{env:{name}}}, found none$"):
        expand("{env:DB}", VALUES, variables(declared, db="x", other="x"))


@pytest.mark.parametrize("names", [("A", "B"), ("A", "B", "C")])
def test_a_circle(names: tuple[str, ...]) -> None:
    declared = {name: f"{{env:{after}}}" for name, after in zip(names, (*names[1:], names[0]), strict=True)}
    found = " -> ".join((*names, names[0]))
    for fill in (lambda known: environment(VALUES, known), lambda known: expand("{env:A}", VALUES, known)):
        with pytest.raises(ConfigError, match=rf"circle, found {found}$"):
            fill(variables(declared, A="a", B="b", C="c"))


def test_names_of_variables_without_case() -> None:
    """As on Windows, where Path and PATH are one variable. The same spelling goes first."""
    declared = {"Path": "C:\\app;{env:PATH}", "HOME": "{env:UserProfile}"}
    known = variables(declared, ignore_case=True, PATH="C:\\Windows", USERPROFILE="C:\\me", userprofile="other")
    assert environment(VALUES, known) == {"Path": "C:\\app;C:\\Windows", "HOME": "C:\\me"}
    assert expand("{env:PATH} {env:userprofile}", VALUES, known) == "C:\\app;C:\\Windows other"
    with pytest.raises(ConfigError, match=r"circle, found A -> B -> A$"):
        environment(VALUES, variables({"A": "{env:b}", "B": "{env:a}"}, ignore_case=True))


def test_names_of_variables_with_case() -> None:
    declared = {"Path": "{env:PATH}", "PATH": "/opt:{env:PATH}"}
    assert environment(VALUES, variables(declared, PATH="/bin")) == {"Path": "/opt:/bin", "PATH": "/opt:/bin"}


def test_the_platform_of_the_server_says_whether_case_counts(engine: Engine, family: str) -> None:
    says = ("{python}", "-c", "import os; print('it is', os.environ['COPY'])", "{port}")
    server = Server(name="api", command=says, env={"Greeting": "hello", "COPY": "{env:GREETING}"})
    (terminate,) = (scenario for scenario in CATALOGUE if scenario.code == "SC201")
    result = engine.submit(server, terminate).result()
    if family == "windows":
        assert result.observation is not None
        assert "it is hello" in [line.text for line in result.observation.output]
    else:
        assert result.outcome is Outcome.ERROR
        assert result.reason == "expected an environment variable GREETING for {env:GREETING}, found none"


def test_what_a_server_is_told() -> None:
    server = Server(name="api", command=("server", "--port={port}"), env={"WEB_CONCURRENCY": "{workers}"})
    assert templated(server, "port") and templated(server, "workers") and not templated(server, "loop")


@pytest.mark.parametrize(
    "text", ["{message}", "{levelname} {asctime}", "{p}", "{ports.http}", "{PORT}", "{env:PROT}", "{}"]
)
def test_somebody_elses_braces(text: str) -> None:
    assert list(mistakes(Server(name="api", command=(text, "{port}"), env={"FORMAT": text}))) == []


@pytest.mark.parametrize(
    ("word", "near"),
    [("prot", "port"), ("prt:d", "port"), ("worker", "workers"), ("pyton", "python"), ("envs:A", "env")],
)
def test_a_misspelt_placeholder(word: str, near: str) -> None:
    said = f"unknown placeholder {{{word.partition(':')[0]}}}; expected {{{near}}}"
    assert list(mistakes(Server(name="api", command=("{port}", f"{{{word}}}")))) == [("command", said)]
