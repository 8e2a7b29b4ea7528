"""What each requirement of the catalogue comes with; a failure says what is missing, with paths."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import pytest_signalcompat
from pytest_signalcompat.scenario import Scenario
from pytest_signalcompat.scenarios import CATALOGUE, FAMILIES

from .rows import every_row
from .selection import BAD_NAMES, breaks, declared_failures

PACKAGE = Path(pytest_signalcompat.__file__).parent
ROOT = Path(__file__).parent.parent


def pieces(scenario: Scenario) -> dict[Path, str]:
    """The files that are this requirement's own, and what each is for."""
    name = FAMILIES[scenario.code[:3]].__name__.rpartition(".")[2]
    page = PACKAGE / "scenarios" / "explain" / f"{scenario.code}-{scenario.slug}.md"
    return {
        PACKAGE / "scenarios" / f"{name}.py": "the scenario",
        page: "its explanation page",
        ROOT / "tests" / "rows" / f"{name}.py": "rows for the checks of its family",
        **{ROOT / "tests" / "servers" / f"{bad}.py": "a server it is broken by" for bad in broken_by(scenario)},
    }


def broken_by(scenario: Scenario) -> list[str]:
    return [name for name in BAD_NAMES if breaks(name) == scenario.code]


@pytest.mark.parametrize("scenario", CATALOGUE, ids=lambda scenario: scenario.code)
def test_nothing_is_missing(scenario: Scenario) -> None:
    missing = []
    for path, what in pieces(scenario).items():
        if not path.exists():
            if what.startswith("rows") and not own_checks(scenario):
                continue
            missing.append(f"{path.relative_to(ROOT)}: {what} is not there")
        else:
            lines = enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
            missing += [
                f"{path.relative_to(ROOT)}:{number}: {what} still says {line.strip()!r}"
                for number, line in lines
                if re.search(r"\bTODO\b", line)
            ]
    if not broken_by(scenario):
        missing.append(f"tests/servers/: no server whose docstring says `breaks: {scenario.code}`")
    rows = {row.check.id for row in every_row()}
    missing += [f"tests/rows/: no row for the check {id!r}" for id in own_checks(scenario) if id not in rows]
    assert not missing, "\n" + "\n".join(missing)


def own_checks(scenario: Scenario) -> list[str]:
    """Those that the scenario's own family defines."""
    family = vars(FAMILIES[scenario.code[:3]])
    mine = [check.id for check in family.values() if type(check).__name__ == "Check"]
    return [check.id for check in scenario.checks if check.id in mine]


@pytest.mark.parametrize("name", BAD_NAMES)
def test_a_bad_server_says_what_it_is_there_for(name: str) -> None:
    listed = set().union(*declared_failures(name).values())
    assert breaks(name) in listed, f"tests/servers/{name}.py: breaks {breaks(name)}, but does not list it as failed"
    assert listed <= {scenario.code for scenario in CATALOGUE}, f"tests/servers/{name}.py: lists unknown codes"


def test_codes_and_slugs_are_used_once() -> None:
    codes = [scenario.code for scenario in CATALOGUE]
    slugs = [scenario.slug for scenario in CATALOGUE]
    assert len(set(codes)) == len(codes)
    assert len(set(slugs)) == len(slugs)
    assert codes == sorted(codes)
    assert all(re.fullmatch(r"SC\d{3}", code) for code in codes)


def test_each_requirement_stands_in_the_file_of_its_hundred() -> None:
    for hundred, family in FAMILIES.items():
        found = {value.code for value in vars(family).values() if isinstance(value, Scenario)}
        assert {code[:3] for code in found} == {hundred}, family.__name__
