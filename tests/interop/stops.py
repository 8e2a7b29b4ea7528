"""Stops a reference server at random moments under load and looks for requests that were lost.

    python tests/interop/stops.py --workers 1 --workers 2 --times 200
    python tests/interop/stops.py --on windows --times 20 --seed 3

Sixteen clients with blocking sockets send requests on new and on kept connections, at once or in pieces. What became
of each request (and of each connection that was to carry one):

    answered   2xx, complete, and the right content
    503        complete
    refused    no connection was established
    idle       a connection was found closed before anything was sent on it: nothing is lost, a client connects anew
    crossed    the same, but the close and the request met on their way: it had come when `send` returned. No server
               can avoid that and HTTP clients send such a request again (RFC 9112, 9.3.1)
    half sent  closed after a part of the request's head
    cut        anything else, with the moments: reset or closed after the request, truncated, wrong, no answer

"EOF" in a cut says that the server had read everything it got, "reset" that something was unread (a connection that
nobody accepted, or a request that came after the last look at the socket): the kernel tells these apart.
"""

from __future__ import annotations

import argparse
import collections
import json
import random
import select
import socket
import sys
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

from reference import STOPS, Problem, Reference, install_windows_site, port_is_free, reference

CLIENTS = 16
PATIENCE = 10.0  # seconds for one answer
LATEST_STOP = 0.6  # seconds after the start of the load
EXIT_LIMIT = {"linux": 3.0, "windows": 6.0}
VERDICTS = ("answered", "503", "refused", "idle", "crossed", "half sent", "cut")
SHOWN = 3  # lines for one stop; the log has them all
BAD = ("half sent", "cut")


@dataclass(frozen=True, kw_only=True)
class Attempt:
    client: int
    kept: bool  # on a connection that had carried a request before
    what: str
    verdict: str
    detail: str = ""
    opened: float = 0.0  # connection established
    sent: float = 0.0  # before the first byte was given to the kernel
    ended: float = 0.0


@dataclass
class Load:
    """What the clients of one stop share."""

    port: int
    seed: str
    stopping: threading.Event = field(default_factory=threading.Event)
    gone: threading.Event = field(default_factory=threading.Event)
    attempts: list[Attempt] = field(default_factory=list)


@dataclass(frozen=True)
class Request:
    what: str
    content: bytes
    expected: object
    pieces: tuple[int, ...]  # lengths of all pieces but the last
    pauses: tuple[float, ...]  # before each piece


def make_request(dice: random.Random) -> Request:
    if dice.random() < 0.7:
        data = [round(dice.random(), 6) for _ in range(64)]
        tensor = {"name": "x", "datatype": "FP32", "shape": [1, 64], "data": data}
        body = json.dumps({"inputs": [tensor]}).encode()
        head = f"POST /v2/models/identity/infer HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n"
        what, content, expected = "infer", head.encode() + body, data
    else:
        what, content = "slow", b"GET /slow?seconds=0.05 HTTP/1.1\r\nHost: x\r\n\r\n"
        expected = {"slept": 0.05}
    manner = dice.random()
    if manner < 0.6:
        return Request(what, content, expected, (), (0.0,))
    if manner < 0.8:
        return Request(what, content, expected, (), (dice.uniform(0, 0.25),))
    first = dice.randrange(1, len(content))
    return Request(f"{what} in pieces", content, expected, (first,), (0.0, dice.uniform(0, 0.08)))


# ---------------------------------------------------------------- one client


def client(load: Load, number: int) -> None:
    """Sends requests until the listener refuses after a stop, or the server is gone."""
    dice = random.Random(f"{load.seed}/{number}")
    sock, opened, kept = None, 0.0, False
    while not load.gone.is_set():
        request, keeps = make_request(dice), dice.random() < 0.6

        def note(verdict: str, detail: str = "", sent: float = 0.0) -> None:
            attempt = Attempt(
                client=number,
                kept=kept,
                what=request.what,
                verdict=verdict,
                detail=detail,
                opened=opened,
                sent=sent,
                ended=time.monotonic(),
            )
            load.attempts.append(attempt)

        if sock is None:
            kept, opened = False, 0.0
            try:
                sock = socket.create_connection(("127.0.0.1", load.port), timeout=PATIENCE)
            except ConnectionRefusedError:
                if load.stopping.is_set():
                    note("refused")
                    return
                note("cut", "refused before the stop")
                continue
            except OSError as error:
                note("cut", f"connect: {error!r}")
                continue
            opened = time.monotonic()
        alive = exchange(sock, request, kept, note)
        if not alive or not keeps:
            sock.close()
            sock = None
        else:
            kept = True
    if sock is not None:
        sock.close()


def exchange(sock: socket.socket, request: Request, kept: bool, note) -> bool:
    """One request; True if the connection may carry another one."""
    rest, sent = request.content, 0.0
    for piece, pause in zip((*request.pieces, len(rest)), request.pauses, strict=True):
        time.sleep(pause)
        if (closed := look(sock)) is not None:
            if sent:
                in_head = len(request.content) - len(rest) < request.content.index(b"\r\n\r\n") + 4
                note("half sent" if in_head else "cut", f"{closed} between two pieces", sent)
            elif closed == "EOF" or kept or pause:
                note("idle", closed)
            else:
                note("cut", f"{closed} just after the connection was established")
            return False
        sent = sent or time.monotonic()
        try:
            sock.sendall(rest[:piece])
        except OSError as error:
            note("crossed" if kept or request.pauses[0] else "cut", f"send: {error!r}", sent)
            return False
        rest = rest[piece:]
    crossed = look(sock) is not None
    try:
        status, headers, body = read_answer(sock)
    except Incomplete as error:
        lost_early = error.got == 0 and crossed and not request.pieces and (kept or request.pauses[0])
        note("crossed" if lost_early else "cut", str(error), sent)
        return False
    note(*judged(request, status, body), sent)
    return headers.get("connection") != "close"


def look(sock: socket.socket) -> str | None:
    """What the kernel knows of the other side's end at this moment, without waiting."""
    if not select.select([sock], [], [], 0)[0]:
        return None
    try:
        return None if sock.recv(1, socket.MSG_PEEK) else "EOF"
    except OSError:
        return "reset"


class Incomplete(Exception):
    def __init__(self, got: int, how: str) -> None:
        super().__init__(f"{how} after {got} bytes of the answer")
        self.got = got


def read_answer(sock: socket.socket) -> tuple[int, dict[str, str], bytes]:
    received = b""
    length: int | None = None
    while length is None or len(received) < length:
        try:
            some = sock.recv(65536)
        except TimeoutError:
            raise Incomplete(len(received), f"nothing more for {PATIENCE:g} s") from None
        except OSError:
            raise Incomplete(len(received), "reset") from None
        if not some:
            raise Incomplete(len(received), "EOF")
        received += some
        if length is None and b"\r\n\r\n" in received:
            head, _, _ = received.partition(b"\r\n\r\n")
            first, *lines = head.decode("latin-1").split("\r\n")
            headers = {name.lower(): value.strip().lower() for name, _, value in (line.partition(":") for line in lines)}
            length = len(head) + 4 + int(headers["content-length"])
    return int(first.split()[1]), headers, received[len(head) + 4 :]


def judged(request: Request, status: int, body: bytes) -> tuple[str, str]:
    if status == 503:
        return "503", body.decode(errors="replace")
    answer = json.loads(body)
    content = answer["outputs"][0]["data"] if "outputs" in answer else answer
    if isinstance(content, list):
        content = [round(value, 6) for value in content]
    if 200 <= status < 300 and content == request.expected:
        return "answered", ""
    return "cut", f"status {status}, {body[:200]!r}"


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
    attempts = tuple(load.attempts)
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
        if texts:
            with log.open("a") as file:
                print(f"{place}, {workers} workers, seed {seed}, stop {number}", *texts, *server.log, sep="\n", file=file)
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
    lines = [
        f"{place}, {workers} worker(s), seed {seed}: {len(stops)} stops, of which"
        f" {sum(stop.in_flight > 0 for stop in stops)} with requests in flight"
        f" ({sum(stop.in_flight for stop in stops)} requests)"
        f" and {sum(stop.ready < workers for stop in stops)} with a worker still starting;"
        f" {sum(bool(stop.complaints) for stop in stops)} with a wrong exit code, a process left, the port taken or late;"
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
    parser.add_argument("--log", type=Path, default=Path("stops.log"), help="the servers' output where something was lost")
    options = parser.parse_args()
    if options.on == "windows":
        install_windows_site()
    results = [run(options.on, workers, options.times, options.seed, options.log) for workers in options.workers or (1, 2)]
    print("none cut" if all(results) else f"FAILED; see {options.log}")
    return 0 if all(results) else 1


if __name__ == "__main__":
    try:
        sys.exit(main())
    except Problem as problem:
        sys.exit(f"stops: {problem}")
