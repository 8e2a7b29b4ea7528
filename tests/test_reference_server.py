"""The reference server: what it makes of its settings, and how real processes of it stop."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("fastapi", reason="needs the extra `reference`")


from reference_server import graceful, signals
from reference_server.graceful import EXIT_CUT, EXIT_OK, Lifecycle, Policy, State
from reference_server.settings import BadSettings, load

ROOT = Path(__file__).parent.parent
INFER = "/v2/models/identity/infer"
RESET = (ConnectionResetError, ConnectionAbortedError)  # Windows tells some resets so (WSAECONNABORTED)


# --- Settings and signals -------------------------------------------------------------------------------------------


def test_settings_from_command_line_and_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REFERENCE_SERVER_DRAIN_SECONDS", "3")
    monkeypatch.setenv("REFERENCE_SERVER_PORT", "1")
    settings = load(["--port", "2", "--second-signal", "force"])
    assert (settings.drain_seconds, settings.port) == (3.0, 2)
    assert settings.policy == Policy(3.0, 0.0, "force")


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        (["--signals", "SIGFOO"], ["--signals: ", "unknown signal SIGFOO", "SIGINT", "none"]),
        (["--signals", ""], ["no signal named"]),
        (["--port", "x"], ["--port: ", "integer", "found 'x'"]),
        (["--drain-seconds", "-1"], ["--drain-seconds", "greater than or equal to 0", "found '-1'"]),
        (["--drain-seconds", "inf"], ["--drain-seconds", "finite"]),
        (["--workers", "0", "--second-signal", "no"], ["--workers", "--second-signal", "'auto', 'force' or 'ignore'"]),
    ],
)
def test_setting_errors_name_the_setting(arguments: list[str], parts: list[str]) -> None:
    with pytest.raises(BadSettings) as caught:
        load(arguments)
    for part in parts:
        assert part in str(caught.value)


def test_signals_of_elsewhere_are_a_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (graceful,):
        monkeypatch.setattr(module, "STOP_SIGNALS", ("SIGINT", "SIGBREAK"))
    monkeypatch.setattr(graceful, "USED_INSTEAD", "SIGBREAK")
    choice = graceful.choose("sigterm, SIGINT,SIGQUIT")
    assert choice.names == ("SIGBREAK", "SIGINT")
    assert choice.warning() == "SIGTERM, SIGQUIT: not delivered on this platform; SIGBREAK is used instead"
    assert graceful.choose("none") == graceful.Choice(())


# --- Lifecycle ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("second_signal", "interrupt", "forced"),
    [
        ("auto", False, False),
        ("auto", True, True),
        ("force", False, True),
        ("ignore", True, False),
    ],
)
def test_second_request(monkeypatch: pytest.MonkeyPatch, second_signal: Any, interrupt: bool, forced: bool) -> None:
    monkeypatch.setattr(graceful, "SAME_REQUEST_SECONDS", 0.0)
    heard: list[State] = []
    lifecycle = Lifecycle(Policy(second_signal=second_signal))
    lifecycle.listen(lambda: heard.append(lifecycle.state))
    lifecycle.request_stop("one")
    assert 9 < lifecycle.seconds_left() <= 10
    lifecycle.request_stop("two", interrupt=interrupt)
    assert lifecycle.forced is forced
    assert (lifecycle.seconds_left() == 0) is forced
    assert heard == [State.DRAINING] * (2 if forced else 1)


def test_an_interrupt_passed_on_by_a_wrapper_is_the_same_interrupt() -> None:
    lifecycle = Lifecycle()
    lifecycle.request_stop("SIGINT", interrupt=True)
    lifecycle.request_stop("SIGINT", interrupt=True)
    assert not lifecycle.forced


def test_a_stop_before_ready_is_kept() -> None:
    lifecycle = Lifecycle()
    lifecycle.request_stop("the test")
    lifecycle.mark_ready()
    assert lifecycle.state is State.DRAINING
    heard: list[str] = []
    lifecycle.listen(lambda: heard.append("told"))
    assert heard == ["told"]


def test_outside_the_main_thread_one_warning(caplog: pytest.LogCaptureFixture) -> None:
    def embedded() -> None:
        with signals.SignalWatch(["SIGINT"]) as watch:
            watch.deliver(Lifecycle())

    thread = threading.Thread(target=embedded)
    thread.start()
    thread.join()
    assert [record.message for record in caplog.records] == ["not in the main thread: SIGINT cannot be handled here"]


class ThreadedAccept(asyncio.SelectorEventLoop):
    """Watches no sockets for others, as a Proactor loop does not."""

    def add_reader(self, *_: Any) -> Any:  # type: ignore[override]
        raise NotImplementedError


@pytest.mark.timeout(60)
@pytest.mark.parametrize("loop", [asyncio.SelectorEventLoop, ThreadedAccept])
def test_embedded_in_a_thread_and_no_request_lost(
    monkeypatch: pytest.MonkeyPatch, loop: type[asyncio.AbstractEventLoop]
) -> None:
    from reference_server import http as engine
    from reference_server.app import create_app

    monkeypatch.setattr(graceful, "loop_factory", lambda name: loop)
    lifecycle = Lifecycle()
    codes: list[int] = []
    ends: list[str] = []
    asked: list[float] = []
    served = threading.Event()
    sock = graceful.bind("127.0.0.1", 0)
    address = sock.getsockname()

    def client() -> None:
        """Asks again and again; ends with the first request that is not answered."""
        begun = 0.0
        try:
            while True:
                begun = time.monotonic()
                with socket.create_connection(address, timeout=20) as connection:
                    connection.sendall(b"GET /v1/models HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
                    answer = response(connection)
                    if not answer:
                        raise ConnectionResetError
                    assert status(answer) == 200
                    served.set()
        except ConnectionRefusedError:
            ends.append("refused")
        except Exception as error:
            # Without processes.admit_no_more: in the kernel's queue when the listener closed.
            late = sys.platform != "linux" and asked and begun > asked[0]
            ends.append("refused" if late and isinstance(error, RESET) else repr(error))

    server = threading.Thread(target=lambda: codes.append(engine.serve(lambda: create_app(lifecycle), lifecycle, sock)))
    server.start()
    while lifecycle.state is State.STARTING:
        time.sleep(0.01)
    clients = [threading.Thread(target=client) for _ in range(8)]
    for thread in clients:
        thread.start()
    assert served.wait(20)
    asked.append(time.monotonic())
    lifecycle.request_stop("the test")
    for thread in [*clients, server]:
        thread.join(20)
    assert ends == ["refused"] * 8
    assert codes == [EXIT_OK]
    assert lifecycle.state is State.STOPPED


# --- Real processes -------------------------------------------------------------------------------------------------


class Running:
    """A server process with its output, and raw sockets to it."""

    def __init__(self, *command: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, *command],
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        self.lines: list[str] = []
        self.port = 0
        self._connections: list[socket.socket] = []

    def __enter__(self) -> Running:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.wait()
        assert self.process.stdout is not None
        self.process.stdout.close()
        for connection in self._connections:
            connection.close()

    def wait_for(self, pattern: str, times: int = 1) -> re.Match[str]:
        """Reads output until a line matches; the test's timeout is the limit."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.lines.append(line.rstrip())
            if found := re.search(r"starting on http://127\.0\.0\.1:(\d+)", line):
                self.port = int(found[1])
            if found := re.search(pattern, line):
                times -= 1
                if not times:
                    return found
        raise AssertionError(f"no line with {pattern!r} in the output: {self.lines}")

    def connect(self) -> socket.socket:
        connection = socket.create_connection(("127.0.0.1", self.port), timeout=20)
        self._connections.append(connection)
        return connection

    def begin(self, path: str, body: bytes = b"", held_back: int = 0) -> socket.socket:
        connection = self.connect()
        method = "POST" if body else "GET"
        head = f"{method} {path} HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n"
        connection.sendall(head.encode() + body[: len(body) - held_back])
        return connection

    def stop(self, number: int = signal.SIGTERM) -> float:
        self.process.send_signal(number)
        return time.monotonic()

    def end(self) -> tuple[int, str]:
        """Exit code and whole output."""
        assert self.process.stdout is not None
        rest = self.process.stdout.read()  # ends when the last process that has it is gone
        output = "\n".join([*self.lines, rest])
        code = self.process.wait()
        for bad in ("Traceback", "Exception", "never awaited", "destroyed", "leaked"):
            assert bad not in output
        with contextlib.suppress(ConnectionRefusedError):
            self.connect().close()
            raise AssertionError("the port still accepts connections")
        return code, output


@contextlib.contextmanager
def server(*options: str, workers: int = 1) -> Iterator[Running]:
    arguments = ["-m", "reference_server", "--port", "0", "--workers", str(workers), "--test-routes", *options]
    with Running(*arguments) as running:
        running.wait_for("ready pid=", workers)
        yield running


def response(connection: socket.socket) -> bytes:
    with connection:
        parts = []
        with contextlib.suppress(*RESET):
            while part := connection.recv(65536):
                parts.append(part)
        return b"".join(parts)


def status(answer: bytes) -> int:
    return int(answer[9:12]) if answer else 0


posix = pytest.mark.posix
BODY = b'{"inputs": [{"name": "x", "datatype": "FP32", "shape": [3], "data": [1, 2, 3]}]}'


@posix
@pytest.mark.timeout(60)
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_idle_stop(number: int) -> None:
    with server() as running:
        idle = running.connect()
        asked = running.stop(number)
        code, output = running.end()
        assert code == EXIT_OK
        assert time.monotonic() - asked < 2
        assert output.count("ready pid=") == output.count("stopped pid=") == 1
        assert response(idle) == b""


@posix
@pytest.mark.timeout(60)
@pytest.mark.parametrize("count", [1, 2])
def test_everything_begun_is_answered(count: int) -> None:
    with server(workers=count) as running:
        slow = [running.begin("/slow?seconds=1") for _ in range(3)]
        blocking = running.begin("/blocking?seconds=1")
        upload = running.begin(INFER, BODY, held_back=5)
        streams = [running.begin("/endless"), running.begin("/stream?seconds=60")]
        short = running.begin("/stream?seconds=1")
        for stream in [*streams, short]:
            assert b"event: tick" in stream.recv(65536) + stream.recv(65536)
        asked = running.stop()
        for stream in streams:
            assert response(stream).endswith(b'event: end\ndata: {"reason": "stopping"}\n\n\r\n0\r\n\r\n')
        assert time.monotonic() - asked < 0.9, "streams without an end, or with a late one, end at once"
        upload.sendall(BODY[-5:])
        answers = [response(connection) for connection in (*slow, blocking, upload)]
        assert [status(answer) for answer in answers] == [200] * 5
        assert response(short).endswith(b'{"reason": "complete"}\n\n\r\n0\r\n\r\n')
        code, output = running.end()
        assert code == EXIT_OK
        assert output.count("stopped pid=") == count


@posix
@pytest.mark.timeout(60)
@pytest.mark.parametrize("count", [1, 2])
def test_past_the_limit_requests_are_cut(count: int) -> None:
    with server("--drain-seconds", "1", workers=count) as running:
        connections = [running.begin("/slow?seconds=30"), running.begin("/blocking?seconds=30")]
        connections.append(running.begin(INFER, BODY, held_back=5))
        time.sleep(0.2)  # not synchronisation: a request half a second old is as good
        asked = running.stop()
        code, output = running.end()
        assert code == EXIT_CUT
        assert 0.9 < time.monotonic() - asked < 2.0
        assert output.count("stopped pid=") < count, "the kernel may have given one worker no connection"
        answers = [response(connection) for connection in connections]
        assert [status(answer) for answer in answers] == [503] * 3
        assert all(
            answer.endswith(b'{"error": "the server stopped before this request was done"}') for answer in answers
        )


@posix
@pytest.mark.timeout(60)
def test_second_terminate_is_ignored_second_interrupt_forces() -> None:
    with server() as running:
        slow = running.begin("/slow?seconds=30")
        time.sleep(0.2)
        running.stop(signal.SIGTERM)
        running.wait_for("stop requested by SIGTERM")
        time.sleep(graceful.SAME_REQUEST_SECONDS)
        running.stop(signal.SIGTERM)
        running.wait_for("ignored")
        asked = running.stop(signal.SIGINT)
        code, _ = running.end()
        assert code == EXIT_CUT
        assert time.monotonic() - asked < 2
        assert status(response(slow)) == 503


@posix
@pytest.mark.timeout(60)
def test_readiness_flips_before_the_listener_closes() -> None:
    with server("--readiness-delay-seconds", "0.7") as running:
        running.stop()
        running.wait_for("stop requested")
        answer = response(running.begin("/v2/health/ready"))
        assert status(answer) == 503
        assert b"connection: close" in answer
        assert status(response(running.begin("/v1/models"))) == 200
        assert running.end()[0] == EXIT_OK


@posix
@pytest.mark.timeout(60)
def test_stop_while_starting() -> None:
    with Running("-m", "reference_server", "--port", "0") as running:
        running.wait_for("starting on")
        running.stop()
        code, output = running.end()
        assert code == EXIT_OK
        assert "stopped pid=" in output


SERVE = """
import asyncio, contextlib, sys, time
from fastapi import FastAPI
from reference_server import graceful, logs
from reference_server.http import serve
from reference_server.graceful import WATCHDOG_SECONDS, Lifecycle, Policy
from reference_server.signals import SignalWatch

@contextlib.asynccontextmanager
async def lifespan(app):
    print("hook entered", flush=True)
    {hook}
    yield

app = FastAPI(lifespan=lifespan)

@app.get("/block-the-loop")
async def block() -> None:
    time.sleep(60)

logs.configure()
lifecycle = Lifecycle(Policy(drain_seconds=1), watchdog_seconds=WATCHDOG_SECONDS)
sock = graceful.bind("127.0.0.1", 0)
print(f"starting on http://127.0.0.1:{{sock.getsockname()[1]}}", flush=True)
with SignalWatch(["SIGTERM", "SIGINT"]) as watch:
    watch.deliver(lifecycle)
    code = serve(lambda: app, lifecycle, sock, watch=watch)
    watch.silence()
sys.exit(code)
"""


@posix
@pytest.mark.timeout(60)
def test_stop_in_a_startup_hook() -> None:
    with Running("-c", SERVE.format(hook="await asyncio.sleep(60)")) as running:
        running.wait_for("hook entered")
        asked = running.stop()
        code, output = running.end()
        assert code == EXIT_OK
        assert "ready pid=" not in output
        assert time.monotonic() - asked < 2


@posix
@pytest.mark.timeout(60)
def test_a_failing_startup_hook_fails_the_start() -> None:
    with Running("-c", SERVE.format(hook="raise RuntimeError('no weights')")) as running:
        assert running.process.stdout is not None
        output = running.process.stdout.read()
        assert running.process.wait() == 3
        assert "no weights" in output
        assert "failed to start pid=" in output


@posix
@pytest.mark.timeout(60)
def test_the_limit_holds_while_the_loop_is_blocked() -> None:
    with Running("-c", SERVE.format(hook="pass")) as running:
        running.wait_for("ready pid=")
        running.begin("/block-the-loop")
        time.sleep(0.3)
        asked = running.stop()
        code, output = running.end()
        assert code == EXIT_CUT
        assert 0.9 < time.monotonic() - asked < 2.5
        assert "still busy after the drain limit" in output


@posix
@pytest.mark.timeout(60)
def test_workers_survive_a_signal_to_the_whole_group() -> None:
    with server(workers=2) as running:
        slow = running.begin("/slow?seconds=0.7")
        time.sleep(0.2)
        os.killpg(running.process.pid, signal.SIGTERM)
        os.killpg(running.process.pid, signal.SIGINT)
        assert status(response(slow)) == 200
        code, output = running.end()
        assert code == EXIT_OK
        assert output.count("stopped pid=") == 2


@posix
@pytest.mark.timeout(60)
def test_metrics_are_those_of_all_workers_and_leave_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whichever worker is asked."""
    for name in ("TMPDIR", "TEMP", "TMP"):  # a folder that no other server uses
        monkeypatch.setenv(name, str(tmp_path))

    def scrape() -> str:
        connection = running.connect()
        connection.sendall(b"GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        return response(connection).decode()

    with server(workers=3) as running:
        assert list(tmp_path.glob("reference_server-metrics-*"))
        for _ in range(20):
            answer = running.begin(INFER, BODY)
            assert status(answer.recv(65536)) == 200
        wanted = [
            'reference_server_requests_total{model="identity",route="/v2/models/{model}/infer",status="200"} 20.0',
            'reference_server_state{state="ready"} 3.0',
            'reference_server_model_ready{model="iris"} 1.0',
        ]
        for _ in range(5):  # what others count and are is a moment old
            while not all(line in (found := scrape()) for line in wanted):
                assert found.count("reference_server_requests_total{") < 9
        running.stop()
        assert running.end()[0] == EXIT_OK
    assert not list(tmp_path.glob("reference_server-metrics-*"))


PICKY = """
import os
class Model:
    def load(self):
        try:
            os.rename({flag!r}, {flag!r} + ".taken")
        except FileNotFoundError:
            return
        raise RuntimeError("no room")
    def unload(self): pass
    def predict(self, inputs, parameters): return inputs
"""


@posix
@pytest.mark.timeout(120)
def test_models_are_loaded_and_unloaded_in_every_worker_or_in_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    flag = tmp_path / "one of them fails"
    (tmp_path / "zoo.py").write_text(PICKY.format(flag=str(flag)))
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))

    def ask(method: str, path: str) -> bytes:
        connection = running.connect()
        connection.sendall(f"{method} {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
        return response(connection)

    def change(what: str) -> bytes:
        return ask("POST", f"/v2/repository/models/m/{what}")

    def everywhere() -> set[int]:
        return {status(ask("GET", "/v2/models/m/ready")) for _ in range(30)}

    with server("--model-control", "--model", "m=zoo:Model", workers=3) as running:
        pids = re.findall(r"ready pid=(\d+)", "\n".join(running.lines))
        assert (status(change("unload")), everywhere()) == (200, {404})
        os.kill(int(pids[0]), signal.SIGKILL)
        running.wait_for("ready pid=")
        assert everywhere() == {404}, "the one that takes its place, too"
        flag.touch()
        refused = change("load")
        assert (status(refused), b"failed to load: RuntimeError: no room" in refused) == (503, True)
        assert everywhere() == {404}, "undone"
        assert (status(ask("GET", "/v2/health/ready")), status(change("load")), everywhere()) == (200, 200, {200})
        running.stop()
        assert running.end()[0] == EXIT_OK


SLOW_IMPORT = """
import sys, time

class Finder:
    def find_spec(self, name, path=None, target=None):
        if name == "fastapi" and "reference_server.worker" in sys.orig_argv:
            print("importing", flush=True)
            time.sleep(60)

sys.meta_path.insert(0, Finder())
"""


@posix
@pytest.mark.timeout(60)
def test_workers_that_still_import_leave_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "sitecustomize.py").write_text(SLOW_IMPORT)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with Running("-m", "reference_server", "--port", "0", "--workers", "2") as running:
        running.wait_for("importing", 2)
        asked = running.stop()
        code, output = running.end()
        assert code == EXIT_OK
        assert time.monotonic() - asked < 2
        assert output.count("stopped pid=") == 2


PROGRAM = """
import signal
default = (signal.SIG_DFL, signal.default_int_handler)
heeded = [signal.getsignal(number) in default for number in (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT)]
print("heeds", heeded, "blocks", signal.pthread_sigmask(signal.SIG_BLOCK, ()))
"""
STARTS_A_PROGRAM = f"""
import subprocess, sys
class Model:
    def load(self): pass
    def unload(self): pass
    def predict(self, inputs, parameters):
        subprocess.run([sys.executable, "-c", {PROGRAM!r}], check=True)
        return inputs
"""


@posix
@pytest.mark.timeout(60)
@pytest.mark.parametrize("workers", [1, 2])
def test_programs_that_a_model_starts_heed_signals(
    workers: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "zoo.py").write_text(STARTS_A_PROGRAM)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with server("--model", "m=zoo:Model", workers=workers) as running:
        assert status(response(running.begin("/v2/models/m/infer", BODY))) == 200
        running.stop()
        code, output = running.end()
        assert code == EXIT_OK
        assert "heeds [True, True, True] blocks set()" in output


@posix
@pytest.mark.timeout(60)
def test_a_dead_worker_is_replaced_and_orphans_leave() -> None:
    with server(workers=2) as running:
        pids = [int(pid) for pid in re.findall(r"ready pid=(\d+)", "\n".join(running.lines))]
        os.kill(pids[0], signal.SIGKILL)
        running.wait_for(f"worker pid={pids[0]} died")
        running.wait_for("ready pid=")
        killed = running.stop(signal.SIGKILL)
        _, output = running.end()  # reads until the last worker is gone
        assert time.monotonic() - killed < 1
        assert output.count("the leader is gone") == 2


@pytest.mark.timeout(60)
def test_a_taken_port_is_a_failed_start() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        command = [sys.executable, "-m", "reference_server", "--port", str(port)]
        ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert ended.returncode == 3
    assert f"cannot listen on 127.0.0.1 port {port}" in ended.stderr
    assert "Traceback" not in ended.stderr


@pytest.mark.timeout(60)
def test_an_unknown_signal_is_an_error() -> None:
    command = [sys.executable, "-m", "reference_server", "--signals", "SIGFOO"]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert ended.returncode == 2
    assert len(ended.stderr.splitlines()) == 1
    assert "unknown signal SIGFOO; this platform has" in ended.stderr


@posix
@pytest.mark.timeout(60)
def test_a_signal_of_another_platform_is_one_warning() -> None:
    with server("--signals", "SIGBREAK,SIGINT") as running:
        running.stop(signal.SIGTERM)
        code, output = running.end()
        assert code == EXIT_OK
        assert output.count("WARNING") == 1
        assert "WARNING: SIGBREAK: not delivered on this platform; SIGTERM is used instead" in output


@posix
@pytest.mark.timeout(60)
def test_signals_none_leaves_the_default_action() -> None:
    with server("--signals", "none") as running:
        running.stop(signal.SIGTERM)
        assert running.end()[0] == -signal.SIGTERM
