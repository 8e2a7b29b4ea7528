"""What runtimes and servers print when a shutdown goes wrong (complaints.toml), and where it stands in an output."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import msgspec

from .model import Declared, Line, Record

# A level below WARNING, as log formats write it: `INFO:`, `[info]`, `level=info`, `"level": "info"`.
QUOTED = re.compile(
    r"\b(?:TRACE|DEBUG|INFO|NOTICE)\b|\[(?i:trace|debug|info|notice)\s*\]"
    r"|\b(?i:level|severity|levelname)\"?\s*[=:]\s*\"?(?i:trace|debug|info|notice)\b"
)


class Complaint(Declared, kw_only=True):
    """One kind of line. The head of complaints.toml says what the fields mean."""

    runtime: str
    pattern: str
    sources: tuple[str, ...]
    captured: str
    logged: bool = False
    below: str | None = None
    above: bool = False
    final: bool = False

    def matches(self, text: str) -> bool:
        return re.search(self.pattern, text) is not None and not (self.logged and QUOTED.search(text))


class Found(Record):
    """A complaint in an output: the number of its line there, and the text that says what went wrong."""

    name: str
    number: int
    text: str
    final: bool


@cache
def complaints() -> dict[str, Complaint]:
    document = tomllib.loads((Path(__file__).parent / "complaints.toml").read_text(encoding="utf-8"))
    return msgspec.convert(document, dict[str, Complaint])


def found_in(lines: Sequence[Line]) -> list[Found]:
    """Every complaint of the lines, in order."""
    found: list[Found] = []
    above, names = "", set[str]()
    for number, line in enumerate(lines):
        for name, complaint in complaints().items():
            if (complaint.below is None or complaint.below in names) and complaint.matches(line.text):
                names.add(name)
                text = (above if complaint.above and above else line.text).strip()
                found.append(Found(name=name, number=number, text=text, final=complaint.final))
        above = line.text if line.text.strip() else above
    return found
