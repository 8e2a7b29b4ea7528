"""The report as JSON (signalcompat-report/1)."""

from __future__ import annotations

import msgspec

from ..matrix import Matrix, report


def render(matrix: Matrix, version: str) -> str:
    return msgspec.json.format(msgspec.json.encode(report(matrix, version)), indent=2).decode() + "\n"
