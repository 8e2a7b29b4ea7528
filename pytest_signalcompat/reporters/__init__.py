"""Functions from results to text; each has a test with its exact output.

A format is a module with `render(matrix, version) -> str`, and a line here. It is imported when it is asked for.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from types import MappingProxyType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ..matrix import Matrix

FORMATS: Mapping[str, str] = MappingProxyType({".json": "json", ".md": "markdown"})  # a file's suffix: the module


def render(suffix: str, matrix: Matrix, version: str) -> str:
    """The results in the format of files with that suffix, which is one of FORMATS."""
    text: str = import_module(f".{FORMATS[suffix]}", __name__).render(matrix, version)
    return text
