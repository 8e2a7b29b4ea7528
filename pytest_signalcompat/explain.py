"""The explanation pages, scenarios/explain/CODE-slug.md: Markdown with fixed headings, taken apart for the terminal.

A page explains one requirement. `Fix` has a section for each server program; what is true of all programs, or of an
application of one's own, has a section named `any server` or `asyncio`.
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterator
from pathlib import Path

from .errors import PageError
from .model import Record

FOLDER = Path(__file__).parent / "scenarios" / "explain"
TITLE, WHY, CHECKED, EVIDENCE, FIX = "# CODE slug", "## Why", "## What is checked", "## Evidence", "## Fix"
SERVER = "### SERVER"

FENCE = re.compile(r"^ *(```|~~~)")
HEADING = re.compile(r"^#{1,6} ")
CODE = re.compile(r"`[^`]+`")
UNBROKEN = "\0"  # for a space within code
ITEM = re.compile(r"^ *(?:[-*]|\d+\.) +")


class Page(Record):
    """An explanation. Texts are Markdown; `fixes` is by server program, in the page's order."""

    title: str
    why: str
    checked: str
    evidence: str
    fixes: dict[str, str]


def page(code: str) -> Page | None:
    """The page of a requirement; None where it has none, as one of a user's own need not have.

    Raises PageError where it is not built as `parse` says.
    """
    found = path_of(code)
    return None if found is None else parse(found.read_text(encoding="utf-8"), found.name)


def path_of(code: str) -> Path | None:
    return next((path for path in sorted(FOLDER.glob("*.md")) if path.name.startswith(f"{code}-")), None)


# ---------------------------------------------------------------- parsing


def parse(text: str, file: str = "page") -> Page:
    """Takes a page apart: a title, Why, What is checked, Evidence, Fix, and in Fix one section or more.

    Raises PageError naming the file, the heading that was expected and the one that was found.
    """
    sections = _sections(text, file)
    headings = [heading for heading, _ in sections]
    _check_order(headings, file)
    texts = [content for _, content in sections]
    for heading, content in sections:
        if heading in (headings[0], FIX):
            if content:
                raise PageError(file, f"the next heading right below {heading!r}", content.splitlines()[0])
        elif not content:
            raise PageError(file, f"a text below {heading!r}", "none")
    return Page(
        title=headings[0].removeprefix("# "),
        why=texts[1],
        checked=texts[2],
        evidence=texts[3],
        fixes={heading.removeprefix("### "): text for heading, text in sections[5:]},
    )


def _sections(text: str, file: str) -> list[tuple[str, str]]:
    """Headings and what stands below each. A `#` in a block of code is none."""
    found: list[tuple[str, list[str]]] = []
    for line, in_code in _lines(text):
        if HEADING.match(line) and not in_code:
            found.append((line.rstrip(), []))
        elif found:
            found[-1][1].append(line)
        elif line.strip():
            raise PageError(file, f"the heading {TITLE!r} first", line)
    return [(heading, "\n".join(lines).strip("\n")) for heading, lines in found]


def _lines(text: str) -> Iterator[tuple[str, bool]]:
    """Each line, and whether it belongs to a fenced block of code."""
    in_code = False
    for line in text.splitlines():
        fence = FENCE.match(line) is not None
        yield line, in_code or fence
        in_code ^= fence


def _check_order(headings: list[str], file: str) -> None:
    for number, wanted in enumerate((TITLE, WHY, CHECKED, EVIDENCE, FIX, SERVER)):
        found = headings[number] if number < len(headings) else "the end of the page"
        if not _fits(found, wanted):
            raise PageError(file, f"the heading {wanted!r}", found)
    rest = headings[5:]
    for number, heading in enumerate(rest):
        if not _fits(heading, SERVER):
            raise PageError(file, f"the heading {SERVER!r}", heading)
        if heading in rest[:number]:
            raise PageError(file, "one section for each server", f"{heading} twice")


def _fits(heading: str, wanted: str) -> bool:
    if wanted == TITLE:
        return re.fullmatch(r"# [A-Z]+\d+ [a-z0-9-]+", heading) is not None
    if wanted == SERVER:
        return heading.startswith("### ")
    return heading == wanted


# ---------------------------------------------------------------- showing


def plain(markdown: str, width: int) -> list[str]:
    """Lines for a terminal: text is wrapped; code is indented, and neither wrapped nor fenced."""
    lines: list[str] = []
    for block in _blocks(markdown):
        if FENCE.match(block[0]):
            lines += ["    " + line if line else "" for line in block[1:-1]]
        elif block == [""]:
            lines.append("")
        else:
            start = ITEM.match(block[0])
            text = CODE.sub(lambda code: code[0].replace(" ", UNBROKEN), " ".join(line.strip() for line in block))
            hanging = " " * len(start[0]) if start else ""
            wrapped = textwrap.wrap(
                text, width, subsequent_indent=hanging, break_long_words=False, break_on_hyphens=False
            )
            lines += [line.replace(UNBROKEN, " ") for line in wrapped]
    return lines


def first_line(markdown: str) -> str:
    """What a fix says first: its first line of code if it begins with code, else its first paragraph."""
    block = next((block for block in _blocks(markdown) if block != [""]), [""])
    if FENCE.match(block[0]):
        return block[1].strip()
    return " ".join(line.strip() for line in block)


def _blocks(markdown: str) -> Iterator[list[str]]:
    """Blocks of code with their fences, paragraphs, items, and empty lines."""
    block: list[str] = []
    for line, in_code in _lines(markdown):
        inside = bool(block) and FENCE.match(block[0]) is not None
        if block and not inside and (in_code or not line.strip() or ITEM.match(line)):
            yield block
            block = []
        if in_code or line.strip():
            block.append(line)
        else:
            yield [""]
        if inside and FENCE.match(line):
            yield block
            block = []
    if block:
        yield block
