"""`signalcompat explain CODE`: why a requirement matters, what is checked, what counts as proof, how to meet it."""

from __future__ import annotations

import argparse
import sys
import textwrap
from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ..explain import Page
    from ..scenario import Scenario

NAME = "explain"
HELP = "explain one requirement: why it matters, what is checked, how to fix a server"
WIDTH = 100  # columns; code is never wrapped
INDENT = "  "


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("code", metavar="CODE", help="a code or a slug: SC301, inflight-completes")
    parser.add_argument("--server", metavar="PROGRAM", help="only the fix for this program: uvicorn, gunicorn, asyncio")


def run(options: argparse.Namespace) -> int:
    from ..explain import page
    from ..scenarios import CATALOGUE

    code = options.code.casefold()
    scenario = next((s for s in CATALOGUE if code in (s.code.casefold(), s.slug)), None)
    if scenario is None:
        return _refuse((s.code for s in CATALOGUE), options.code)
    found = page(scenario.code)
    if options.server is None:
        print("\n".join(_everything(scenario, found)))
        return 0
    fixes = {} if found is None else {name.casefold(): name for name in found.fixes}
    name = fixes.get(options.server.casefold())
    if found is None or name is None:
        return _refuse(fixes.values(), options.server)
    print("\n".join([f"{_title(scenario)}: fix for {name}", "", *_text(found.fixes[name])]))
    return 0


def _refuse(known: Iterable[str], found: str) -> int:
    print(f"signalcompat explain: expected one of {', '.join(known)}; found {found}", file=sys.stderr)
    return 2


def _title(scenario: Scenario) -> str:
    return f"{scenario.code} {scenario.slug} ({scenario.level.upper()})"


def _everything(scenario: Scenario, page: Page | None) -> list[str]:
    lines = [_title(scenario), *_entry("required", scenario.requirement)]
    for heading, text in _sections(page) if page is not None else ():
        lines += ["", heading, *_text(text)]
    return [*lines, "", *_facts(scenario)]


def _sections(page: Page) -> list[tuple[str, str]]:
    texts = [("Why", page.why), ("What is checked", page.checked), ("Evidence", page.evidence)]
    return [*texts, *((f"Fix: {name}", text) for name, text in page.fixes.items())]


def _facts(scenario: Scenario) -> list[str]:
    """What to declare, and the ids of the checks as failures and reports name them."""
    entries = [("declare", need.advice) for need in scenario.needs]
    entries += [("only on", scenario.only)] if scenario.only else []
    entries.append(("checks", ", ".join(check.id for check in scenario.checks)))
    return [line for name, text in entries for line in _entry(name, text)]


def _entry(name: str, text: str) -> list[str]:
    return textwrap.wrap(
        text,
        WIDTH,
        initial_indent=f"{INDENT}{name:10}",
        subsequent_indent=" " * 12,
        break_long_words=False,
        break_on_hyphens=False,
    )


def _text(markdown: str) -> list[str]:
    from ..explain import plain

    return [(INDENT + line).rstrip() for line in plain(markdown, WIDTH - len(INDENT))]
