"""Functions from results to text, by the suffix of the file that a report is written to.

A format is a module of this package with `render(matrix, version) -> str`, named in FORMATS, and a test with its exact
output.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from types import MappingProxyType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ..matrix import Matrix

FORMATS: Mapping[str, str] = MappingProxyType({".json": "json", ".md": "markdown"})


def suffixes() -> str:
    """For help and messages: `.json or .md`."""
    *others, last = FORMATS
    return f"{', '.join(others)} or {last}" if others else last


def render(suffix: str, matrix: Matrix, version: str) -> str:
    """The report in that format; only its own module is imported."""
    text: str = import_module(f".{FORMATS[suffix]}", __name__).render(matrix, version)
    return text
