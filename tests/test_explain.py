"""The explanation pages: what a page must have, and what the parser says of one that has not."""

from __future__ import annotations

import ast
import re
import tomllib

import pytest

from pytest_signalcompat import explain
from pytest_signalcompat.config import presets
from pytest_signalcompat.errors import PageError
from pytest_signalcompat.explain import FOLDER, Page, first_line, page, parse, plain
from pytest_signalcompat.scenario import Scenario
from pytest_signalcompat.scenarios import CATALOGUE

WIDTH = 100 - 6  # columns for code: it is indented where it is shown
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
each_scenario = pytest.mark.parametrize("scenario", CATALOGUE, ids=lambda scenario: scenario.code)


def page_of(scenario: Scenario) -> Page:
    found = page(scenario.code)
    assert found is not None, f"{FOLDER / scenario.code}-{scenario.slug}.md is missing"
    return found


# ---------------------------------------------------------------- the pages there are


def test_each_requirement_has_one_page_and_each_page_a_requirement() -> None:
    wanted = sorted(f"{scenario.code}-{scenario.slug}.md" for scenario in CATALOGUE)
    assert sorted(path.name for path in FOLDER.iterdir()) == wanted


@each_scenario
def test_a_page_is_built_as_all_are(scenario: Scenario) -> None:
    found = page_of(scenario)
    assert found.title == f"{scenario.code} {scenario.slug}"
    for text in (found.why, found.checked, found.evidence, *found.fixes.values()):
        assert text.strip()
    assert "UNPROVEN" in found.evidence
    assert "POSIX" in found.checked and "Windows" in found.checked


@each_scenario
def test_fixes_are_for_programs_that_are_known(scenario: Scenario) -> None:
    assert set(page_of(scenario).fixes) - {"any server", "asyncio", "node"} <= set(presets())


@each_scenario
def test_code_can_be_copied_and_fits(scenario: Scenario) -> None:
    for name, fix in page_of(scenario).fixes.items():
        for language, code in BLOCK.findall(fix):
            if language == "python":
                ast.parse(code)
            elif language == "toml":
                tomllib.loads(code)
            else:
                assert language in ("sh", "js")
            assert max(map(len, code.splitlines())) <= WIDTH, f"{scenario.code}, {name}: a line of code is too long"


@each_scenario
def test_the_first_line_of_a_fix_can_stand_alone(scenario: Scenario) -> None:
    """The failure text shows it: not the first of many lines of code, nor a sentence that introduces some."""
    for name, fix in page_of(scenario).fixes.items():
        code = BLOCK.match(fix)
        assert code is None or code[2].count("\n") == 1, f"{scenario.code}, {name}: begin with a sentence"
        if name in presets():
            assert not first_line(fix).endswith(":"), f"{scenario.code}, {name}"


@each_scenario
def test_a_page_names_no_requirement_that_is_not_there(scenario: Scenario) -> None:
    text = (FOLDER / f"{scenario.code}-{scenario.slug}.md").read_text(encoding="utf-8")
    assert set(re.findall(r"SC\d{3}", text)) <= {other.code for other in CATALOGUE}


@each_scenario
def test_a_page_can_be_printed_in_any_encoding(scenario: Scenario) -> None:
    """A console of Windows may have one that lacks an ellipsis."""
    assert (FOLDER / f"{scenario.code}-{scenario.slug}.md").read_text(encoding="utf-8").isascii()


def test_a_requirement_of_a_user_has_no_page() -> None:
    assert page("MY1") is None
    assert page("SC30") is None
    assert page("*") is None


# ---------------------------------------------------------------- taking a page apart

GOOD = """\
# SC999 never-sleeps

## Why

Because.

## What is checked

All of it.

## Evidence

A line.

## Fix

### uvicorn

```sh
# not a heading
uvicorn app:app
```

Then more.

### gunicorn

Nothing.
"""


def test_parse() -> None:
    assert parse(GOOD) == Page(
        title="SC999 never-sleeps",
        why="Because.",
        checked="All of it.",
        evidence="A line.",
        fixes={"uvicorn": "```sh\n# not a heading\nuvicorn app:app\n```\n\nThen more.", "gunicorn": "Nothing."},
    )
    assert list(parse(GOOD).fixes) == ["uvicorn", "gunicorn"]


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("# SC999 never-sleeps\n", "", "expected the heading '# CODE slug', found '## Why'"),
        ("# SC999 never-sleeps", "# Never sleeps", "expected the heading '# CODE slug', found '# Never sleeps'"),
        ("# SC999", "A page.\n\n# SC999", "expected the heading '# CODE slug' first, found 'A page.'"),
        ("## Evidence", "## Proof", "expected the heading '## Evidence', found '## Proof'"),
        ("## Evidence\n\nA line.\n\n", "", "expected the heading '## Evidence', found '## Fix'"),
        ("## Why\n\nBecause.", "## Why\n", "expected a text below '## Why', found 'none'"),
        ("Nothing.\n", "", "expected a text below '### gunicorn', found 'none'"),
        ("## Fix\n", "## Fix\n\nIt depends.\n", "expected the next heading right below '## Fix', found 'It depends.'"),
        ("### gunicorn", "## Links", "expected the heading '### SERVER', found '## Links'"),
        ("### gunicorn", "### uvicorn", "expected one section for each server, found '### uvicorn twice'"),
        (GOOD[GOOD.index("### uvicorn") :], "", "expected the heading '### SERVER', found 'the end of the page'"),
    ],
)
def test_parse_says_what_is_wrong_and_where(old: str, new: str, said: str) -> None:
    assert old in GOOD
    with pytest.raises(PageError) as raised:
        parse(GOOD.replace(old, new), "SC999-never-sleeps.md")
    assert str(raised.value) == f"SC999-never-sleeps.md: {said}"


def test_a_page_that_is_built_wrong_is_named(tmp_path: object, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(explain, "FOLDER", tmp_path)
    assert page("SC999") is None
    (explain.FOLDER / "SC999-never-sleeps.md").write_text(GOOD.replace("## Why", "## Reasons"), encoding="utf-8")
    with pytest.raises(PageError, match=re.escape("SC999-never-sleeps.md: expected the heading '## Why'")):
        page("SC999")


# ---------------------------------------------------------------- showing one

MARKDOWN = """\
A paragraph that is too long for a line,
and is wrapped.
- An item that is too long, too, and hangs.
- Another.

```python
if code_is_never_wrapped_however_long_it_may_be:

    pass
```
1. An item after a block."""

PLAIN = """\
A paragraph that is too long
for a line, and is wrapped.
- An item that is too long,
  too, and hangs.
- Another.

    if code_is_never_wrapped_however_long_it_may_be:

        pass
1. An item after a block."""


def test_plain() -> None:
    assert plain(MARKDOWN, 28) == PLAIN.splitlines()


def test_plain_breaks_no_flag_and_no_address() -> None:
    assert plain("Use --timeout-graceful-shutdown", 12) == ["Use", "--timeout-graceful-shutdown"]
    assert plain("Declare `drain = 20`\nin seconds", 16) == ["Declare", "`drain = 20` in", "seconds"]


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("\nOne\nparagraph.\n\nAnother.", "One paragraph."),
        ("```sh\nuvicorn app:app\n```\n\nText.", "uvicorn app:app"),
        ("- An item\n  of two lines.\n- Another.", "- An item of two lines."),
    ],
)
def test_first_line(text: str, line: str) -> None:
    assert first_line(text) == line
