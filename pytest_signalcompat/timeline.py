"""An observation in words: its moments on one line, and the ten lines that it prints."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby
from operator import itemgetter

from .model import NEW_CONNECTION, Exchange, Observation
from .statuses import described

LAST_LINES = 4  # of the output
WIDTH = 160  # characters of a line


def timeline(seen: Observation) -> str:
    """Every moment that matters, in order, in seconds from the start."""
    moments = [(0.0, "start")]
    if seen.ready is not None:
        moments.append((seen.ready, "ready"))
    moments += [(delivery.at, delivery.what) for delivery in seen.deliveries]
    for exchange in seen.exchanges:
        if exchange.role != NEW_CONNECTION:
            moments.append((exchange.begun, f"{exchange.role} begun"))
            if exchange.ended is not None:
                moments.append((exchange.ended, f"{exchange.role} {_end(exchange)}"))
    if seen.exit is not None:
        moments.append((seen.exit.at, f"exit {described(seen.platform.family, seen.exit.status)}"))
    if seen.gone is not None:
        moments.append((seen.gone, "tree gone"))
    if seen.killed is not None:
        moments.append((seen.killed, "killed by the supervisor"))
    return " | ".join(f"{at:.2f} {what}" for at, what in _together(sorted(moments, key=itemgetter(0))))


def _together(moments: list[tuple[float, str]]) -> Iterator[tuple[float, str]]:
    """What happens several times in a row is told once, with its number and the time of the first."""
    for what, same in groupby(moments, key=itemgetter(1)):
        times = [at for at, _ in same]
        yield times[0], what if len(times) == 1 else f"{what} (x{len(times)})"


def _end(exchange: Exchange) -> str:
    return f"answered {exchange.status}" if exchange.end == "complete" else exchange.end


def summary(seen: Observation) -> str:
    """At most ten lines: when what happened, what was asked, what is left, the last of the output."""
    lines = [f"Observation on {seen.platform.system}: {timeline(seen)}"]
    if seen.ready is None:
        lines.append(f"  not ready: {seen.ready_detail or 'it was not waited for'}")
    shown = [exchange for exchange in seen.exchanges if exchange.role != NEW_CONNECTION]
    if shown:
        ends = (f"{one.method} {one.path}: {_end(one)}{f' ({one.detail})' if one.detail else ''}" for one in shown)
        lines.append(f"  requests: {'; '.join(ends)}")
    if seen.survivors:
        lines.append(f"  survivors: {', '.join(f'{one.pid} {one.name}' for one in seen.survivors)}")
    if seen.notes:
        lines.append(f"  notes: {'; '.join(seen.notes)}")
    last = seen.output[-LAST_LINES:]
    lines.append(f"  output: last {len(last)} of {len(seen.output)} lines" if last else "  it printed nothing")
    lines += [f"  {line.at:7.2f}  {line.text}" for line in last]
    head, *rest = (" ".join(line.splitlines()) for line in lines)
    return "\n".join([head, *(line if len(line) <= WIDTH else line[: WIDTH - 3] + "..." for line in rest)])
