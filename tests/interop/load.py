"""Load for stops.py: clients with blocking sockets, and a verdict for each of their requests.

    answered   2xx, complete, and the right content
    503        complete
    refused    no connection was established
    idle       a connection was found closed before anything was sent on it: nothing is lost, a client connects anew
    crossed    the same, but the close and the request met on their way: nothing was heard of the request, and the end
               came at once. No server can avoid that, and HTTP clients send such a request again (RFC 9112, 9.3.1)
    half sent  closed after a part of the request's head
    unserved   Windows only: a connection made after the stop, reset with nothing heard. Closing a listening socket
               resets what the system has queued for it since the last accept, and there nothing can be done about that
    cut        anything else, with the moments: reset or closed after the request, truncated, wrong, no answer

"EOF" in a cut says that the server had read everything it got, "reset" that something was unread (a connection that
nobody accepted, or a request that came after the last look at the socket): the kernel tells these apart.
"""

from __future__ import annotations

import json
import random
import select
import socket
import threading
import time
from dataclasses import dataclass, field

PATIENCE = 10.0  # seconds for one answer
CROSSING = 0.05  # seconds from a request to the end of its connection
VERDICTS = ("answered", "503", "refused", "idle", "crossed", "half sent", "unserved", "cut")
BAD = ("half sent", "cut")


@dataclass(frozen=True, kw_only=True)
class Attempt:
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
    pieces: tuple[int, ...]  # where to cut it
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


@dataclass
class Connection:
    sock: socket.socket
    opened: float
    kept: bool = False  # has carried a request
    sent: float = 0.0  # of the request that it carries


class Lost(Exception):
    """No complete answer: the verdict, and how."""

    def __init__(self, verdict: str, how: str) -> None:
        super().__init__(how)
        self.verdict = verdict


def client(load: Load, number: int) -> None:
    """Sends requests until the listener refuses after a stop, or the server is gone."""
    dice = random.Random(f"{load.seed}/{number}")
    connection: Connection | None = None
    while not load.gone.is_set():
        request, keeps, alive = make_request(dice), dice.random() < 0.6, False
        try:
            connection = connection or connect(load)
            verdict, detail, alive = exchange(connection, request)
        except Lost as lost:
            verdict, detail = lost.verdict, str(lost)
        load.attempts.append(
            Attempt(
                kept=connection is not None and connection.kept,
                what=request.what,
                verdict=verdict,
                detail=detail,
                opened=connection.opened if connection else 0.0,
                sent=connection.sent if connection else 0.0,
                ended=time.monotonic(),
            )
        )
        if verdict == "refused":
            return
        if connection and alive and keeps:
            connection.kept, connection.sent = True, 0.0
        elif connection:
            connection.sock.close()
            connection = None


def connect(load: Load) -> Connection:
    try:
        sock = socket.create_connection(("127.0.0.1", load.port), timeout=PATIENCE)
    except ConnectionRefusedError:
        if load.stopping.is_set():
            raise Lost("refused", "") from None
        raise Lost("cut", "refused before the stop") from None
    except OSError as error:
        raise Lost("cut", f"connect: {error!r}") from None
    return Connection(sock, time.monotonic())


def exchange(connection: Connection, request: Request) -> tuple[str, str, bool]:
    """Verdict and detail of one request, and whether the connection may carry another one."""
    # A connection on which nothing was going on may be closed by either side.
    was_idle = connection.kept or request.pauses[0] > 0
    send(connection, request, was_idle)
    try:
        status, headers, body = read_answer(connection.sock)
    except Incomplete as error:
        at_once = time.monotonic() - connection.sent < CROSSING
        crossed = was_idle and not request.pieces and at_once and error.got == 0
        raise Lost("crossed" if crossed else "cut", str(error)) from None
    return *judged(request, status, body), headers.get("connection") != "close"


def send(connection: Connection, request: Request, was_idle: bool) -> None:
    head = request.content.index(b"\r\n\r\n") + 4
    ends = (*request.pieces, len(request.content))
    for begin, end, pause in zip((0, *request.pieces), ends, request.pauses, strict=True):
        time.sleep(pause)
        closed = look(connection.sock)
        if closed and begin:
            raise Lost("half sent" if begin < head else "cut", f"{closed} between two pieces")
        if closed:
            raise Lost("idle" if was_idle else "cut", f"{closed} before anything was sent")
        connection.sent = connection.sent or time.monotonic()
        try:
            connection.sock.sendall(request.content[begin:end])
        except OSError as error:
            raise Lost("crossed" if was_idle and not begin else "cut", f"send: {error!r}") from None


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
            pairs = (line.partition(":") for line in lines)
            headers = {name.lower(): value.strip().lower() for name, _, value in pairs}
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
