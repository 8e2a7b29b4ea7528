"""The table as Markdown, a column a server (and environment, if there are several); for pull requests and documents."""

from __future__ import annotations

from ..matrix import Matrix, environment_id
from ..model import Outcome
from .terminal import WORDS, columns_of, in_a_line, rows_of

BAD = (Outcome.FAIL, Outcome.WEAK, Outcome.UNPROVEN, Outcome.ERROR)


def render(matrix: Matrix, version: str) -> str:
    columns = columns_of(matrix)
    lines = [
        "| requirement | " + " | ".join(columns) + " |",
        "|---|" + "---|" * len(columns),
    ]
    for (code, case, slug, _), found in rows_of(matrix).items():
        cells = [_cell(found.get(column)) for column in columns]
        lines.append(f"| {code} {slug}{f' [{case}]' if case else ''} | " + " | ".join(cells) + " |")
    bad = [f"- {in_a_line(result)}" for result in matrix.results if result.outcome in BAD]
    if bad:
        lines += ["", *bad]
    places = ", ".join(dict.fromkeys(environment_id(result.platform) for result in matrix.results))
    return "\n".join(lines) + f"\n\npytest-signalcompat {version}{f' on {places}' if places else ''}\n"


def _cell(outcome: Outcome | None) -> str:
    if outcome is None:
        return ""
    return f"**{WORDS[outcome]}**" if outcome in (Outcome.FAIL, Outcome.ERROR) else WORDS[outcome]
