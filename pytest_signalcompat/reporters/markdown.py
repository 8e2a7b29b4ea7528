"""The table as Markdown, one column a server and platform; for pull requests and documents."""

from __future__ import annotations

from ..matrix import Matrix
from ..model import Outcome, Result
from .terminal import WORDS, in_a_line

BAD = (Outcome.FAIL, Outcome.WEAK, Outcome.INCONCLUSIVE, Outcome.ERROR)


def render(matrix: Matrix, version: str) -> str:
    columns = list(dict.fromkeys(_column(result) for result in matrix.results))
    codes = sorted({(result.code, result.slug) for result in matrix.results})
    found = {(_column(result), result.code): result for result in matrix.results}
    lines = [
        "| requirement | " + " | ".join(columns) + " |",
        "|---|" + "---|" * len(columns),
    ]
    for code, slug in codes:
        cells = [_cell(found.get((column, code))) for column in columns]
        lines.append(f"| {code} {slug} | " + " | ".join(cells) + " |")
    bad = [f"- {in_a_line(result)}" for result in matrix.results if result.outcome in BAD]
    if bad:
        lines += ["", *bad]
    return "\n".join(lines) + f"\n\npytest-signalcompat {version}\n"


def _column(result: Result) -> str:
    return f"{result.server} ({result.platform.system})" if result.platform else result.server


def _cell(result: Result | None) -> str:
    if result is None:
        return ""
    word = WORDS[result.outcome]
    return f"**{word}**" if result.outcome in (Outcome.FAIL, Outcome.ERROR) else word
