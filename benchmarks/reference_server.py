"""V2 inference of the reference server beside KServe's newest: `python benchmarks/reference_server.py`. Linux only.

Both serve an identity model with one process and get the same JSON, an FP32 tensor [1, 64], in short turns. What counts
are the ratios, and of them the one of CPU time, which other work on the machine disturbs least. The load comes from one
thread with an epoll and prepared bytes; its share of the time is printed. Then: start-up to ready, stop when idle
(goal: 50 ms from the signal to the exit), and resident memory up to 100,000 requests (goal: flat).

KServe is installed into an environment of its own, which is used again: `--kserve-python` names another.
"""

from __future__ import annotations

import argparse
import json
import os
import select
import signal
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parent
KSERVE = "kserve==0.21.0"
CONSTRAINTS = HERE.parent / "tests" / "interop" / "constraints" / f"{KSERVE.replace('==', '-')}.txt"
CLIENTS = (1, 16, 64)
THROUGHPUT_GOAL, STOP_GOAL = 2.0, 50.0  # ratio; ms
MANY, MEMORY_STEP = 100_000, 10_000
TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Target:
    name: str
    port: int
    pid: int
    model: str


@dataclass(frozen=True)
class Started:
    process: subprocess.Popen[bytes]
    port: int
    seconds: float  # until it said that it is ready

    def target(self, name: str, model: str = "identity") -> Target:
        return Target(name, self.port, self.process.pid, model)


@dataclass(frozen=True)
class Turn:
    """What a turn of load showed; times in seconds."""

    requests: int
    seconds: float
    latencies: list[float]
    server_cpu: float
    generator_cpu: float


# ---------------------------------------------------------------- load


def request(model: str) -> bytes:
    tensor = {"name": "x", "shape": [1, 64], "datatype": "FP32", "data": [number / 64 for number in range(64)]}
    body = json.dumps({"id": "1", "inputs": [tensor]}).encode()
    path = f"/v2/models/{model}/infer"
    head = f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


def answer_length(port: int, content: bytes) -> int:
    """Of the whole answer, head and body; it is the same each time."""
    with socket.create_connection(("127.0.0.1", port), timeout=10) as sock:
        sock.sendall(content)
        received = b""
        while b"\r\n\r\n" not in received:
            received += sock.recv(65536)
        head, _, _ = received.partition(b"\r\n\r\n")
        if not head.startswith(b"HTTP/1.1 200"):
            raise SystemExit(f"port {port}: expected 200, found {received!r}")
        [length] = [line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
        return len(head) + 4 + int(length.split(b":")[1])


def load(target: Target, clients: int, *, seconds: float = float("inf"), requests: int = 10**9) -> Turn:
    """Each client sends its next request when it has the answer to the last, on a connection of its own."""
    content = request(target.model)
    length = answer_length(target.port, content)
    poll = select.epoll()
    socks: dict[int, socket.socket] = {}
    sent: dict[int, float] = {}
    missing: dict[int, int] = {}
    for _ in range(clients):
        sock = socket.create_connection(("127.0.0.1", target.port))
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        poll.register(sock.fileno(), select.EPOLLIN)
        socks[sock.fileno()] = sock
    latencies: list[float] = []
    cpu, mine = cpu_seconds(target.pid), time.thread_time()
    clock = time.perf_counter
    begun = now = clock()
    for number, sock in socks.items():
        missing[number], sent[number] = length, clock()
        sock.send(content)
    while now - begun < seconds and len(latencies) < requests:
        for number, _ in poll.poll():
            got = len(socks[number].recv(65536))
            missing[number] -= got
            now = clock()
            if missing[number] == 0:
                latencies.append(now - sent[number])
                missing[number], sent[number] = length, now
                socks[number].send(content)
            elif not got or missing[number] < 0:
                raise SystemExit(f"{target.name}: expected answers of {length} bytes, found another")
    for sock in socks.values():
        sock.close()
    return Turn(len(latencies), now - begun, latencies, cpu_seconds(target.pid) - cpu, time.thread_time() - mine)


def cpu_seconds(pid: int) -> float:
    user, system = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[11:13]
    return (int(user) + int(system)) / TICKS


def resident_megabytes(pid: int) -> float:
    [line] = [line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("VmRSS")]
    return int(line.split()[1]) / 1024


# ---------------------------------------------------------------- servers


@contextmanager
def started(command: list[str]) -> Iterator[Started]:
    """A ready server. `{port}` in its command is a free port."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port = sock.getsockname()[1]
    begun = time.perf_counter()
    argv = [part.format(port=port) for part in command]
    process = subprocess.Popen(argv, cwd=HERE.parent, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        while not is_ready(port):
            if process.poll() is not None:
                raise SystemExit(f"{' '.join(argv)} ended with {process.returncode}")
            time.sleep(0.002)
        yield Started(process, port, time.perf_counter() - begun)
    finally:
        process.kill()
        process.wait()


def is_ready(port: int) -> bool:
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=5) as sock:
            sock.sendall(b"GET /v2/health/ready HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            return sock.recv(64).startswith(b"HTTP/1.1 200")
    except OSError:
        return False


def stop_seconds(process: subprocess.Popen[bytes]) -> float:
    begun = time.perf_counter()
    process.send_signal(signal.SIGTERM)
    process.wait()
    return time.perf_counter() - begun


def kserve_python(given: Path | None) -> Path:
    if given:
        return given
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "signalcompat-interop"
    home = cache / KSERVE.replace("==", "-")
    if not (home / ".complete").exists():
        print(f"installing {KSERVE} into {home}", flush=True)
        python = str(home / "bin" / "python")
        subprocess.run(["uv", "venv", "--quiet", "--clear", "--python", sys.executable, str(home)], check=True)
        install = ["uv", "pip", "install", "--quiet", "--python", python, KSERVE, "--constraints", str(CONSTRAINTS)]
        subprocess.run(install, check=True)
        (home / ".complete").write_text(CONSTRAINTS.read_text())
    return home / "bin" / "python"


# ---------------------------------------------------------------- report


def side_by_side(targets: list[Target], rounds: int, seconds: float) -> None:
    ours, others = targets[0].name, [target.name for target in targets[1:]]
    print(f"\n{'':26}{'clients':>8}{'requests/s':>12}{'p50':>10}{'p99':>10}{'CPU/request':>13}{'generator':>11}")
    for clients in CLIENTS:
        turns: dict[str, list[Turn]] = {target.name: [] for target in targets}
        for target in targets:
            load(target, clients, seconds=0.3)
        for _ in range(rounds):
            for target in targets:
                turns[target.name].append(load(target, clients, seconds=seconds))
        for name, each in turns.items():
            print(f"{name:26}{clients:8}{row(each)}", flush=True)
        for other in others:
            throughput = statistics.median(rate(a) / rate(b) for a, b in zip(turns[ours], turns[other], strict=True))
            cpu = cpu_per_request(turns[other]) / cpu_per_request(turns[ours])
            verdict = "met" if throughput >= THROUGHPUT_GOAL else "not met"
            print(
                f"  {ours} / {other}: throughput {throughput:.2f} (goal {THROUGHPUT_GOAL:g}: {verdict}),"
                f" CPU time a request 1 / {cpu:.2f}"
            )


def rate(turn: Turn) -> float:
    return turn.requests / turn.seconds


def cpu_per_request(turns: list[Turn]) -> float:
    return sum(turn.server_cpu for turn in turns) / sum(turn.requests for turn in turns)


def row(turns: list[Turn]) -> str:
    latencies = sorted(latency for turn in turns for latency in turn.latencies)
    p50, p99 = (latencies[int(len(latencies) * part)] * 1e3 for part in (0.5, 0.99))
    generator = sum(turn.generator_cpu for turn in turns) / sum(turn.seconds for turn in turns)
    rates = statistics.median(rate(turn) for turn in turns)
    return f"{rates:12.0f}{p50:7.2f} ms{p99:7.2f} ms{cpu_per_request(turns) * 1e3:10.3f} ms{generator:11.0%}"


def starts_and_stops(commands: dict[str, list[str]], rounds: int) -> None:
    starts: dict[str, list[float]] = {name: [] for name in commands}
    stops: dict[str, list[float]] = {name: [] for name in commands}
    for _ in range(rounds):
        for name, command in commands.items():
            with started(command) as server:
                starts[name].append(server.seconds * 1e3)
                time.sleep(0.3)  # idle
                stops[name].append(stop_seconds(server.process) * 1e3)
    print(f"\n{'':26}{'start to ready':>24}{'idle stop':>24}     median (best) of {rounds}")
    for name in commands:
        shown = [f"{statistics.median(each):.0f} ({min(each):.0f}) ms" for each in (starts[name], stops[name])]
        print(f"{name:26}{shown[0]:>24}{shown[1]:>24}")
    median = statistics.median(stops["reference server"])
    print(f"  goal: idle stop within {STOP_GOAL:g} ms: {'met' if median <= STOP_GOAL else 'not met'} ({median:.0f} ms)")


def memory(target: Target, requests: int) -> None:
    shown = [f"{resident_megabytes(target.pid):.1f}"]
    for _ in range(0, requests, MEMORY_STEP):
        load(target, 16, requests=min(MEMORY_STEP, requests))
        shown.append(f"{resident_megabytes(target.pid):.1f}")
    print(f"\n{target.name}: resident MB before and after each of {MEMORY_STEP:,} requests: {', '.join(shown)}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--seconds", type=float, default=0.6, help="of load in each turn")
    parser.add_argument("--requests", type=int, default=MANY, help="for the memory")
    parser.add_argument("--kserve-python", type=Path)
    options = parser.parse_args()
    commands = {
        "reference server": [sys.executable, "-m", "reference_server", "--port", "{port}"],
        KSERVE: [str(kserve_python(options.kserve_python)), str(HERE / "kserve_identity.py"), "{port}"],
    }
    with started(commands["reference server"]) as ours, started(commands[KSERVE]) as theirs:
        targets = [theirs.target(f"{KSERVE} {model}", model) for model in ("identity", "passthrough")]
        side_by_side([ours.target("reference server"), *targets], options.rounds, options.seconds)
    starts_and_stops(commands, min(options.rounds, 5))
    with started(commands["reference server"]) as ours:
        memory(ours.target("reference server"), options.requests)


if __name__ == "__main__":
    main()
