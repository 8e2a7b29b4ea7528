"""What a user reads: the text of one failure, and the table at the end of a run."""

from __future__ import annotations

from ..explain import first_line, page
from ..matrix import Matrix, environment_id
from ..model import NEW_CONNECTION, Level, Observation, Outcome, Result
from ..timeline import timeline

LAST_LINES = 20
WORDS = {
    Outcome.PASS: "pass",
    Outcome.FAIL: "FAIL",
    Outcome.WEAK: "WEAK",
    Outcome.UNSUPPORTED: "-",
    Outcome.UNPROVEN: "UNPROVEN",
    Outcome.BLOCKED: "blocked",
    Outcome.ERROR: "ERROR",
}


def explain(result: Result) -> str:
    """What was asked, expected and found, when, and what to do; then the server's last output."""
    place = result.platform
    where = f" on {place.system} ({place.launcher})" if place else ""
    headline = result.failures[0].actual if result.failures else _headline(result.reason)
    lines = [f"{result.name} {result.slug}: {headline}"]
    lines.append(f"  verdict   {WORDS[result.outcome]}, ending {result.ending}: server {result.server}{where}")
    lines.append(f"  required  {result.requirement}")
    starts = result.attempts[-1].starts if result.attempts else ()
    lines += [f"  asked     {asked(seen)}" for seen in starts]
    for failure in result.failures:
        lines.append(f"  expected  {failure.expected}")
        lines.append(f"  found     {failure.actual}")
    lines += [f"  when      {_beginning(seen)}{timeline(seen)}" for seen in starts]
    lines += [f"  fix       {fix}" for fix in dict.fromkeys(failure.fix for failure in result.failures) if fix]
    lines += _more(result) if result.failures else []
    lines += [f"  note      {note}" for seen in starts for note in seen.notes]
    if len(result.attempts) > 1:
        lines.append(
            "  retry     the first attempt was late, so it ran again with nothing else running; this is the second"
        )
    if result.reason:
        lines += ["  reason    " + result.reason.strip().replace("\n", "\n            ")]
    return "\n".join(lines + (_last_output(starts[-1]) if starts else []))


def _beginning(seen: Observation) -> str:
    return f"(started {seen.spawned:.2f} s after the first) " if seen.spawned else ""


def _more(result: Result) -> list[str]:
    """What the explanation page says first about this server program, and how to read all of it."""
    found = page(result.code)
    if found is None:
        return []
    fix = found.fixes.get(result.preset or "")
    known = [f"  fix       ({result.preset}) {first_line(fix)}"] if fix else []
    return [*known, f"  more      signalcompat explain {result.code}"]


def _headline(reason: str) -> str:
    """The line that says most: a traceback's last, any other text's first."""
    lines = reason.strip().splitlines() or [""]
    return lines[-1 if lines[0].startswith("Traceback") else 0]


def _last_output(seen: Observation) -> list[str]:
    lines = seen.own_output
    shown = lines[-LAST_LINES:]
    if not shown:
        return ["  the server printed nothing"]
    dropped = f", {seen.dropped} bytes before them not kept" if seen.dropped else ""
    head = f"  output    last {len(shown)} of {len(lines)} lines{dropped}"
    return [head, *(f"    {line.at:7.2f}  {line.text}" for line in shown)]


def asked(seen: Observation) -> str:
    """The stop request and what was under way when it came."""
    first = seen.delivered
    if first is None:
        return "to start"
    reach = {"leader": "to the leader", "group": "to the group", "console": "to its console"}.get(first.reach, "run")
    load = [f"{x.method} {x.path}" for x in seen.exchanges if x.begun <= first.at and x.role != NEW_CONNECTION]
    more = f" and {len(load) - 1} more" if len(load) > 1 else ""
    return f"{first.what} {reach}{f', with {load[0]}{more}' if load else ''}"


def table(matrix: Matrix) -> list[str]:
    """One row a requirement, one column a server; a row a case where the cases of a requirement differ."""
    columns, cells = columns_of(matrix), rows_of(matrix)
    names = {(code, case): f"{slug}{f' [{case}]' if case else ''}" for code, case, slug, _ in cells}
    slug_width = max((len(name) for name in names.values()), default=0)
    widths = [max(len(column), 8) for column in columns]
    head = f"{'':5}  {'':{slug_width}}  {'':6}  " + "  ".join(f"{c:{w}}" for c, w in zip(columns, widths, strict=True))
    lines = [head.rstrip()]
    for (code, case, _, level), found in cells.items():
        words = [WORDS[found[column]] if column in found else "" for column in columns]
        text = "  ".join(f"{word:{width}}" for word, width in zip(words, widths, strict=True))
        lines.append(f"{code:5}  {names[code, case]:{slug_width}}  {level.upper():6}  {text}".rstrip())
    return lines


Row = tuple[str, str, str, Level]  # code, case, slug, level


def columns_of(matrix: Matrix) -> list[str]:
    return list(dict.fromkeys(column_of(matrix, result) for result in matrix.results))


def column_of(matrix: Matrix, result: Result) -> str:
    """The server; with its environment where there are several."""
    several = len({environment_id(other.platform) for other in matrix.results}) > 1
    return f"{result.server} ({environment_id(result.platform)})" if several else result.server


def rows_of(matrix: Matrix) -> dict[Row, dict[str, Outcome]]:
    """The outcome by column of each row, in the order of codes and cases."""
    rows: dict[Row, dict[str, Outcome]] = {}
    for code in sorted({result.code for result in matrix.results}):
        mine = [result for result in matrix.results if result.code == code]
        said: dict[str, set[Outcome]] = {}
        for result in mine:
            said.setdefault(column_of(matrix, result), set()).add(result.outcome)
        alike = all(len(outcomes) == 1 for outcomes in said.values())
        for result in mine:
            row = (code, "" if alike else result.case, result.slug, result.level)
            rows.setdefault(row, {})[column_of(matrix, result)] = result.outcome
    return rows


def in_a_line(result: Result) -> str:
    """What is wrong, found and expected."""
    first = result.failures[0] if result.failures else None
    what = f"{first.actual}; expected {first.expected}" if first else _headline(result.reason)
    return f"{WORDS[result.outcome]} {result.server} {result.name} {result.slug}: {what}"


def remarks(matrix: Matrix) -> list[str]:
    """A line for everything that is neither a pass nor explained as a failure: what was not tested, and why."""
    lines = []
    untested: dict[str, dict[str, None]] = {}
    for result in matrix.results:
        if result.outcome is Outcome.BLOCKED:
            what = f"blocked: {result.server} never became ready, see {result.blocked_by}"
            untested.setdefault(what, {})[result.name] = None
        elif result.outcome is Outcome.UNSUPPORTED:
            what = f"{result.code} {result.slug} not tested: {result.reason}"
            untested.setdefault(what, {})[result.server] = None
        elif result.outcome in (Outcome.WEAK, Outcome.UNPROVEN):
            lines.append(in_a_line(result))
        elif result.outcome is Outcome.PASS and len(result.attempts) > 1:
            lines.append(
                f"late {result.server} {result.name} {result.slug}: late at first, passed when run again alone"
            )
    return lines + [f"- {what} ({', '.join(servers)})" for what, servers in untested.items()]
