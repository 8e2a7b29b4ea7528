"""What a user reads: the text of one failure, and the table at the end of a run."""

from __future__ import annotations

from ..checks import describe_status
from ..explain import first_line, page
from ..matrix import Matrix
from ..model import Exchange, Observation, Outcome, Result

LAST_LINES = 20
WORDS = {
    Outcome.PASS: "pass",
    Outcome.FAIL: "FAIL",
    Outcome.WEAK: "WEAK",
    Outcome.UNSUPPORTED: "-",
    Outcome.INCONCLUSIVE: "UNPROVEN",
    Outcome.ERROR: "ERROR",
}


def explain(result: Result) -> str:
    """What was asked, expected and found, when, and what to do; then the server's last output."""
    place = result.platform
    where = f" on {place.system} ({place.launcher})" if place else ""
    headline = result.failures[0].actual if result.failures else _headline(result.reason)
    lines = [f"{result.code} {result.slug}: {headline}"]
    lines.append(f"  verdict   {WORDS[result.outcome]}, ending {result.ending}: server {result.server}{where}")
    lines.append(f"  required  {result.requirement}")
    seen = result.observation
    if seen is not None:
        lines.append(f"  asked     {asked(seen)}")
    fixes: list[str] = []
    for failure in result.failures:
        lines.append(f"  expected  {failure.expected}")
        lines.append(f"  found     {failure.actual}")
        if failure.fix and failure.fix not in fixes:
            fixes.append(failure.fix)
    if seen is not None:
        lines.append(f"  when      {timeline(seen)}")
    lines += [f"  fix       {fix}" for fix in fixes]
    if result.failures:
        lines += _more(result)
    lines += [f"  note      {note}" for note in seen.notes] if seen else []
    if result.attempt > 1:
        lines.append("  note      the first run was too late, so it was run again alone; this is that second run")
    if result.reason:
        lines += ["  reason    " + result.reason.strip().replace("\n", "\n            ")]
    return "\n".join(lines + (_last_output(seen) if seen else []))


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
    variant = f" [{seen.variant}]" if seen.variant else ""
    if first is None:
        return f"to start{variant}"
    reach = {"leader": "to the leader", "group": "to the group", "console": "to its console"}.get(first.reach, "run")
    load = [f"{x.method} {x.path}" for x in seen.exchanges if x.begun <= first.at and not x.name.startswith("new ")]
    return f"{first.what} {reach}{f', with {load[0]}' if load else ''}{variant}"


def timeline(seen: Observation) -> str:
    """Every moment that matters, in order, in seconds from the start."""
    moments = [(0.0, "start")]
    if seen.ready is not None:
        moments.append((seen.ready, "ready"))
    moments += [(delivery.at, delivery.what) for delivery in seen.deliveries]
    for exchange in seen.exchanges:
        if not exchange.name.startswith("new "):
            moments.append((exchange.begun, f"{exchange.name} begun"))
            if exchange.ended is not None:
                moments.append((exchange.ended, f"{exchange.name} {_end(exchange)}"))
    if seen.exit is not None:
        moments.append((seen.exit.at, f"exit {describe_status(seen.platform.family, seen.exit.status)}"))
    if seen.gone is not None:
        moments.append((seen.gone, "tree gone"))
    if seen.killed is not None:
        moments.append((seen.killed, "killed by the supervisor"))
    return " | ".join(f"{at:.2f} {what}" for at, what in sorted(moments, key=lambda moment: moment[0]))


def _end(exchange: Exchange) -> str:
    return f"answered {exchange.status}" if exchange.end == "complete" else exchange.end


def table(matrix: Matrix) -> list[str]:
    """One row a requirement, one column a server."""
    servers = list(dict.fromkeys(result.server for result in matrix.results))
    rows = {(r.code, r.slug, r.level): None for r in sorted(matrix.results, key=lambda r: r.code)}
    found = {(result.server, result.code): result for result in matrix.results}
    slug_width = max((len(slug) for _, slug, _ in rows), default=0)
    widths = [max(len(server), 8) for server in servers]
    head = f"{'':5}  {'':{slug_width}}  {'':6}  " + "  ".join(f"{s:{w}}" for s, w in zip(servers, widths, strict=True))
    lines = [head.rstrip()]
    for code, slug, level in rows:
        cells = [WORDS[found[s, code].outcome] if (s, code) in found else "" for s in servers]
        text = "  ".join(f"{cell:{width}}" for cell, width in zip(cells, widths, strict=True))
        lines.append(f"{code:5}  {slug:{slug_width}}  {level.upper():6}  {text}".rstrip())
    return lines


def in_a_line(result: Result) -> str:
    """What is wrong, found and expected."""
    first = result.failures[0] if result.failures else None
    what = f"{first.actual}; expected {first.expected}" if first else _headline(result.reason)
    return f"{WORDS[result.outcome]} {result.server} {result.code} {result.slug}: {what}"


def remarks(matrix: Matrix) -> list[str]:
    """A line for everything that is neither a pass nor explained as a failure: what was not tested, and why."""
    lines = []
    untested: dict[str, list[str]] = {}
    for result in matrix.results:
        if result.outcome is Outcome.UNSUPPORTED:
            untested.setdefault(f"{result.code} {result.slug} not tested: {result.reason}", []).append(result.server)
        elif result.outcome in (Outcome.WEAK, Outcome.INCONCLUSIVE):
            lines.append(in_a_line(result))
        elif result.outcome is Outcome.PASS and result.attempt > 1:
            lines.append(
                f"late {result.server} {result.code} {result.slug}: too late at first, passed when run again alone"
            )
    return lines + [f"- {what} ({', '.join(servers)})" for what, servers in untested.items()]
