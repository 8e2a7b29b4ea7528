"""What the servers under tests/servers/ say of themselves, and which requirements are worth running against them.

A server's docstring ends with lines of `key: value`:

    breaks: SC701              the requirement it is there for
    posix: SC301 SC701         every requirement it fails there: that one, and what follows from it
    windows: SC301 SC701
    drain: 2                   where the usual table of a test server (`described`) does not fit it
    grace: 7
"""

from __future__ import annotations

import ast
import os
import re
from concurrent.futures import Future
from functools import cache
from pathlib import Path
from typing import Any

from msgspec.structs import replace

from pytest_signalcompat.engine import Engine
from pytest_signalcompat.model import Marks, Outcome, Platform, Post, Ready, Result, Routes, Server
from pytest_signalcompat.scenario import Scenario
from pytest_signalcompat.scenarios import CATALOGUE

HERE = Path(__file__).parent
SERVERS = HERE / "servers"
NAMES = tuple(sorted(path.stem for path in SERVERS.glob("*.py") if not path.stem.startswith("_")))
BAD_NAMES = tuple(name for name in NAMES if name != "good")
FAMILIES = ("posix", "windows")
NOT_MET = frozenset({Outcome.FAIL, Outcome.WEAK, Outcome.UNPROVEN})
EVERYTHING = os.environ.get("SIGNALCOMPAT_TEST_PRODUCT") == "1"  # each requirement against each server


@cache
def declared(name: str) -> dict[str, str]:
    text = ast.get_docstring(ast.parse((SERVERS / f"{name}.py").read_text(encoding="utf-8"))) or ""
    found = dict(re.findall(r"^(breaks|posix|windows|drain|grace):[ ]*(.*)$", text, re.MULTILINE))
    wanted = set[str]() if name.startswith("_") else {*FAMILIES} if name == "good" else {"breaks", *FAMILIES}
    assert wanted <= found.keys(), f"{name}.py: its docstring must have lines with {', '.join(sorted(wanted))}"
    return found


def declared_failures(name: str) -> dict[str, set[str]]:
    """The codes a server fails: {"posix": {...}, "windows": {...}}."""
    return {family: set(declared(name)[family].split()) for family in FAMILIES}


def breaks(name: str) -> str:
    """The code a bad server is there for."""
    return declared(name)["breaks"]


def codes_to_run(name: str, everything: bool = EVERYTHING) -> set[str]:
    """Of a bad server what it fails anywhere, and the hundred that its `breaks` belongs to; of the good one all.

    What fails on one platform only is run on the other too, where it has to pass.
    """
    if everything or name == "good":
        return {scenario.code for scenario in CATALOGUE}
    hundred = {scenario.code for scenario in CATALOGUE if scenario.code[:3] == breaks(name)[:3]}
    return hundred.union(*declared_failures(name).values())


def described(program: str, **changes: Any) -> Server:
    """The table of tests/servers/PROGRAM.py, with every ability declared."""
    fields: dict[str, Any] = {
        "name": program,
        "command": (
            *("{python}", f"servers/{program}.py", "--port", "{port}", "--workers", "{workers}"),
            *("--loop", "{loop}", "--drain", "{drain}"),
        ),
        "cwd": str(HERE),
        "ready": Ready(http="/health"),
        "routes": Routes(
            slow="/slow?seconds={seconds}",
            stream="/stream?seconds={seconds}",
            post=Post(path="/predict", body='{"instances": [1, 2, 3]}'),
        ),
        "marks": Marks(started="^started pid=", stopped="^stopped pid="),
        "grace": float(declared(program).get("grace", "4")),
        "drain": float(declared(program).get("drain", "1")),
    }
    return Server(**{**fields, **changes})


def submit_all(
    engine: Engine,
    server: Server,
    scenarios: tuple[Scenario, ...] = CATALOGUE,
    expected: frozenset[str] = frozenset(),
) -> list[Future[Result]]:
    """Every case, beside each other, as far as the engine has room. What is `expected` to fail is not tried again."""
    return [
        engine.submit(case.server, scenario, case.id, retry=scenario.code not in expected)
        for scenario in scenarios
        for case in scenario.cases(with_room(server, scenario))
    ]


def run_all(
    engine: Engine,
    server: Server,
    scenarios: tuple[Scenario, ...] = CATALOGUE,
    expected: frozenset[str] = frozenset(),
) -> list[Result]:
    return [future.result() for future in submit_all(engine, server, scenarios, expected)]


def with_room(server: Server, scenario: Scenario) -> Server:
    """With the grace that the scenario needs to be seen in, where that is more."""
    return replace(server, grace=max(server.grace, scenario.least_grace(server)))


def failed(results: list[Result]) -> set[str]:
    return {result.code for result in results if result.outcome in NOT_MET}


def lacks_here(scenario: Scenario, platform: Platform) -> bool:
    """Whether it is about another platform, or a stop request that this one has not."""
    return scenario.only not in (None, platform.family) or not set(scenario.stops) <= platform.stops.keys()
