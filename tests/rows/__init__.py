"""What each check finds in small observations made by hand, a file a family of the catalogue.

A row is a good stop (observations.py, `seen`) with something changed: the check, what is special, the verdict, and the
changes; `server` where it is not the usual one.
"""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple

from pytest_signalcompat.model import Server
from pytest_signalcompat.scenario import Check

from ..observations import SERVER

MET, NOT_MET, UNPROVEN = "met", "not met", "not proven"


class Row(NamedTuple):
    check: Check
    what: str
    verdict: str
    server: Server
    changes: dict[str, Any]

    @property
    def name(self) -> str:
        return f"{self.check.id}: {self.what}"


def row(check: Check, what: str, verdict: str, server: Server = SERVER, **changes: Any) -> Row:
    return Row(check, what, verdict, server, changes)


def every_row() -> list[Row]:
    """Of all the files here."""
    names = sorted(path.stem for path in Path(__file__).parent.glob("*.py") if path.stem != "__init__")
    return [row for name in names for row in import_module(f"{__name__}.{name}").ROWS]
