"""Stops a reference server at random moments under load and looks for requests that were lost.

    python tests/interop/stops.py --workers 1 --workers 2 --times 200
    python tests/interop/stops.py --on windows --times 20 --seed 3

Sixteen clients send requests on new and on kept connections, at once or in pieces. load.py says what the verdicts are.
"""

from __future__ import annotations

import argparse
import collections
import random
import re
import sys
import threading
import time
from dataclasses import dataclass, replace
from pathlib import Path

from load import BAD, PATIENCE, VERDICTS, Attempt, Load, client
from reference import STOPS, Problem, Reference, install_windows_site, port_is_free, reference

CLIENTS = 16
LATEST_STOP = 0.6  # seconds after the start of the load
EXIT_LIMIT = {"linux": 3.0, "windows": 6.0}
UNHEARD = re.compile(
    "reset (before anything was sent|between two pieces|after 0 bytes)|(connect|send): ConnectionReset"
)
CROSSED = 2  # of 16 clients, by chance; a server that reads requests and leaves would cross most of them
TOLD = 20  # stops between two words of progress
SHOWN = 3  # lines for one stop; the log has them all


# ---------------------------------------------------------------- one stop


@dataclass(frozen=True, kw_only=True)
class Stop:
    how: str
    asked: float
    seconds: float
    in_flight: int
    ready: int  # workers, at the stop
    attempts: tuple[Attempt, ...]
    complaints: tuple[str, ...]


def stop_once(server: Reference, seed: str) -> Stop:
    dice = random.Random(seed)
    how = dice.choice(STOPS[server.place])
    load = Load(server.port, seed)
    threads = [threading.Thread(target=client, args=(load, number), daemon=True) for number in range(CLIENTS)]
    for thread in threads:
        thread.start()
    time.sleep(dice.uniform(0, LATEST_STOP))
    load.stopping.set()
    ready = server.ready
    asked = server.stop(how)
    code, left, ended = server.ended()
    free = port_is_free(server.port)
    load.gone.set()
    for thread in threads:
        thread.join(2 * PATIENCE)
    complaints = []
    if code != 0:
        complaints.append(f"exit code: expected 0, found {code}")
    if left:
        complaints.append(f"processes: expected none left, found {left}")
    if not free:
        complaints.append(f"port {server.port}: expected it to be free, found it taken")
    if ended - asked > EXIT_LIMIT[server.place]:
        complaints.append(f"exit: expected within {EXIT_LIMIT[server.place]:g} s, found {ended - asked:.2f} s")
    if any(thread.is_alive() for thread in threads):
        complaints.append("a client still waits")
    attempts = tuple(judged_late(attempt, asked) if server.place == "windows" else attempt for attempt in load.attempts)
    crossed = sum(attempt.verdict == "crossed" for attempt in attempts)
    if crossed > CROSSED:
        complaints.append(f"crossed: expected {CROSSED} at the most, found {crossed}")
    in_flight = sum(attempt.sent < asked < attempt.ended for attempt in attempts if attempt.sent)
    return Stop(
        how=how,
        asked=asked,
        seconds=ended - asked,
        in_flight=in_flight,
        ready=ready,
        attempts=attempts,
        complaints=tuple(complaints),
    )


def judged_late(attempt: Attempt, asked: float) -> Attempt:
    late = attempt.verdict in BAD and (attempt.opened or attempt.ended) > asked and UNHEARD.match(attempt.detail)
    return replace(attempt, verdict="unserved") if late else attempt


def period(attempt: Attempt, asked: float) -> str:
    if attempt.ended < asked:
        return "before the stop"
    if attempt.sent and attempt.sent < asked:
        return "in flight at the stop"
    if attempt.opened and attempt.opened < asked:
        return "sent later, connected before"
    return "connected later"


# ---------------------------------------------------------------- all stops


def run(place: str, workers: int, times: int, seed: int, log: Path) -> bool:
    counts: collections.Counter[tuple[str, str]] = collections.Counter()
    stops, complaints = [], 0
    for number in range(times):
        with reference(place, "--workers", str(workers)) as server:
            if number % 2:  # the others may be stopped while a worker is still starting
                server.wait_ready(workers)
            stop = stop_once(server, f"{seed}/{workers}/{number}")
        stops.append(stop)
        counts.update((period(attempt, stop.asked), attempt.verdict) for attempt in stop.attempts)
        bad = [attempt for attempt in stop.attempts if attempt.verdict in BAD or attempt.verdict == "crossed"]
        texts = [*stop.complaints, *(described(attempt, stop) for attempt in bad)]
        complaints += bool(stop.complaints) or any(attempt.verdict in BAD for attempt in bad)
        for text in texts[:SHOWN]:
            print(f"  stop {number} ({stop.how}, {stop.ready} of {workers} ready): {text}", flush=True)
        if len(texts) > SHOWN:
            print(f"  … and {len(texts) - SHOWN} more")
        if (number + 1) % TOLD == 0:
            print(f"  {number + 1} of {times} stops, {complaints} with a complaint", flush=True)
        if texts:
            title = f"{place}, {workers} workers, seed {seed}, stop {number}"
            with log.open("a") as file:
                lines = (f"{(line.heard - stop.asked) * 1e3:+9.1f} ms {line.text}" for line in server.log)
                print(title, *texts, *lines, sep="\n", file=file)
    print(table(place, workers, seed, stops, counts), flush=True)
    return not complaints


def described(attempt: Attempt, stop: Stop) -> str:
    def since(moment: float) -> str:
        return f"{(moment - stop.asked) * 1e3:+.1f} ms" if moment else "never"

    return (
        f"{attempt.verdict}: {attempt.what} on a {'kept' if attempt.kept else 'new'} connection: {attempt.detail}"
        f" (from the stop: connected {since(attempt.opened)}, sent {since(attempt.sent)},"
        f" ended {since(attempt.ended)}; exit {stop.seconds * 1e3:+.1f} ms)"
    )


def table(place: str, workers: int, seed: int, stops: list[Stop], counts: collections.Counter[tuple[str, str]]) -> str:
    seconds = sorted(stop.seconds for stop in stops)
    wrong = sum(bool(stop.complaints) for stop in stops)
    lines = [
        f"{place}, {workers} worker(s), seed {seed}: {len(stops)} stops, of which"
        f" {sum(stop.in_flight > 0 for stop in stops)} with requests in flight"
        f" ({sum(stop.in_flight for stop in stops)} requests)"
        f" and {sum(stop.ready < workers for stop in stops)} with a worker still starting;"
        f" {wrong} with a wrong exit code, a process left, the port taken or late;"
        f" stop to exit: median {seconds[len(seconds) // 2]:.3f} s, longest {seconds[-1]:.3f} s",
        f"  {'':30}" + "".join(f"{verdict:>10}" for verdict in VERDICTS),
    ]
    for when in ("before the stop", "in flight at the stop", "sent later, connected before", "connected later"):
        lines.append(f"  {when:30}" + "".join(f"{counts[when, verdict]:10}" for verdict in VERDICTS))
    return "\n".join(lines)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--on", choices=list(STOPS), default="linux")
    parser.add_argument("--workers", type=int, action="append", help="repeatable; 1 and 2 if not given")
    parser.add_argument("--times", type=int, default=200)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(10**6))
    parser.add_argument("--log", type=Path, default=Path("stops.log"), help="server logs of stops that lost something")
    options = parser.parse_args()
    if options.on == "windows":
        install_windows_site()
    counts = options.workers or (1, 2)
    results = [run(options.on, workers, options.times, options.seed, options.log) for workers in counts]
    print("none cut" if all(results) else f"FAILED; see {options.log}")
    return 0 if all(results) else 1


if __name__ == "__main__":
    try:
        sys.exit(main())
    except Problem as problem:
        sys.exit(f"stops: {problem}")
