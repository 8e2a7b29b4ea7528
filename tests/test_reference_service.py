"""The reference server as a Windows service: installed, started, stopped and removed, under a name of its own."""

from __future__ import annotations

import contextlib
import itertools
import os
import re
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("fastapi", reason="needs the extra `reference`")

import httpx

ROOT = Path(__file__).parent.parent
NUMBERS = itertools.count()

windows = pytest.mark.windows
posix = pytest.mark.posix


def command(*arguments: str) -> tuple[int, str]:
    """Exit code and output of `python -m reference_server service …`."""
    line = [sys.executable, "-m", "reference_server", "service", *arguments]
    ended = subprocess.run(
        line,
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert "Traceback" not in ended.stdout
    return ended.returncode, ended.stdout.strip()


class Service:
    """A service with a name that only this test has."""

    def __init__(self, api: Any, manager: Any, directory: Path) -> None:
        self.name = f"signalcompat-test-{os.getpid()}-{next(NUMBERS)}"
        self.log = directory / "service.log"
        self._api = api
        self._manager = manager

    def do(self, verb: str, *arguments: str) -> tuple[int, str]:
        return command(verb, "--name", self.name, *arguments)

    def install(self, *options: str) -> None:
        how = ("--start", "manual", "--log", str(self.log))
        code, output = self.do("install", *how, "--", "--port", "0", "--test-routes", *options)
        assert (code, output) == (0, f"reference_server: service {self.name}: installed; its log is {self.log}")

    @contextlib.contextmanager
    def handle(self) -> Iterator[Any]:
        handle = self._api.OpenService(self._manager, self.name, self._api.SERVICE_ALL_ACCESS)
        try:
            yield handle
        finally:
            self._api.CloseServiceHandle(handle)

    def state(self) -> dict[str, int]:
        with self.handle() as handle:
            state: dict[str, int] = self._api.QueryServiceStatusEx(handle)
            return state

    @property
    def output(self) -> str:
        return self.log.read_text(encoding="utf-8")

    @property
    def address(self) -> tuple[str, int]:
        return "127.0.0.1", int(re.findall(r"starting on http://127\.0\.0\.1:(\d+)", self.output)[-1])

    def clean(self) -> None:
        import psutil

        with contextlib.suppress(self._api.error), self.handle() as handle:
            if pid := self.state()["ProcessId"]:
                with contextlib.suppress(psutil.NoSuchProcess):
                    psutil.Process(pid).kill()
            self._api.DeleteService(handle)


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    api = pytest.importorskip("win32service", reason="needs pywin32")
    try:
        manager = api.OpenSCManager(None, None, api.SC_MANAGER_CREATE_SERVICE)
    except api.error as error:
        pytest.skip(f"this user may not create services: {error.strerror}")
    made = Service(api, manager, tmp_path)
    try:
        yield made
    finally:
        made.clean()
        api.CloseServiceHandle(manager)


def begin(address: tuple[str, int], path: str) -> socket.socket:
    """A request that is sent; what is sent before a stop is begun."""
    connection = socket.create_connection(address, timeout=60)
    connection.sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
    return connection


def status(connection: socket.socket) -> int:
    """Of the response, which must come completely."""
    with connection, connection.makefile("rb") as stream:
        answer = stream.read()
    head, _, body = answer.partition(b"\r\n\r\n")
    assert f"content-length: {len(body)}".encode() in head.lower()
    return int(head[9:12])


@windows
@pytest.mark.timeout(240)
@pytest.mark.parametrize("workers", [1, 2])
def test_from_install_to_remove(service: Service, workers: int) -> None:
    import psutil
    import win32service as api

    service.install("--workers", str(workers), "--drain-seconds", "20")
    assert service.do("status") == (0, "never started")
    code, output = service.do("start")
    assert code == 0, output
    pid = service.state()["ProcessId"]
    assert f"running pid={pid}" in output
    assert service.do("status") == (0, f"running pid={pid}")

    body = {"inputs": [{"name": "x", "shape": [2], "datatype": "FP32", "data": [1, 2]}]}
    answer = httpx.post("http://{}:{}/v2/models/identity/infer".format(*service.address), json=body)
    assert answer.json()["outputs"][0]["data"] == [1, 2]
    accepted = service.state()["ControlsAccepted"]
    assert accepted == api.SERVICE_ACCEPT_STOP | api.SERVICE_ACCEPT_PRESHUTDOWN

    while service.output.count("ready pid=") < workers:  # it runs as soon as one of them does
        time.sleep(0.1)
    requests = [begin(service.address, f"/{route}?seconds=4") for route in ("slow", "slow", "blocking", "blocking")]
    with service.handle() as handle:
        api.ControlService(handle, api.SERVICE_CONTROL_STOP)
    states = [service.state()]
    while states[-1]["CurrentState"] == api.SERVICE_STOP_PENDING:
        states.append(service.state())
        time.sleep(0.05)
    assert [status(request) for request in requests] == [200] * 4
    checkpoints = [state["CheckPoint"] for state in states[:-1]]
    assert checkpoints == sorted(checkpoints)
    assert len(set(checkpoints)) >= 3, "about one report each second"
    last = states[-1]
    assert last["CurrentState"] == api.SERVICE_STOPPED
    assert last["Win32ExitCode"] == last["ServiceSpecificExitCode"] == 0
    assert service.output.count("ready pid=") == service.output.count("stopped pid=") == workers

    with pytest.raises(OSError):
        socket.create_connection(service.address, timeout=5).close()
    pids = {pid, *map(int, re.findall(r"ready pid=(\d+)", service.output))}
    psutil.wait_procs([psutil.Process(one) for one in pids if psutil.pid_exists(one)], timeout=10)
    assert [one for one in pids if psutil.pid_exists(one)] == []
    assert service.do("remove") == (0, f"reference_server: service {service.name}: removed; its log was left")
    code, output = service.do("status")
    assert code == 1
    assert output == f"reference_server: ERROR: service {service.name}: it is not installed"


@windows
@pytest.mark.timeout(240)
def test_requests_cut_at_the_limit_are_an_exit_code(service: Service) -> None:
    import win32service as api
    import winerror

    service.install("--drain-seconds", "1.5")
    with service.handle() as handle:
        assert api.QueryServiceConfig2(handle, api.SERVICE_CONFIG_PRESHUTDOWN_INFO) == 7300
    assert service.do("start")[0] == 0
    request = begin(service.address, "/blocking?seconds=30")
    code, output = service.do("stop")
    assert status(request) == 503
    assert code == 75
    assert "draining pid=" in output and "stopped (exit code 75)" in output
    state = service.state()
    assert state["Win32ExitCode"] == winerror.ERROR_SERVICE_SPECIFIC_ERROR
    assert state["ServiceSpecificExitCode"] == 75
    assert service.do("status") == (0, "stopped (exit code 75)")


@windows
@pytest.mark.timeout(240)
def test_what_is_refused_is_one_sentence(service: Service) -> None:
    code, output = service.do("install", "--", "--port", "x")
    assert code == 2
    assert "--port: Input should be a valid integer" in output
    assert service.do("stop")[1].endswith("it is not installed"), "nothing is installed with a wrong option"
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        service.install("--port", port)
        code, output = service.do("install")
        assert (code, output) == (1, f"reference_server: ERROR: service {service.name}: it is installed already")
        code, output = service.do("stop")
        assert (code, output) == (1, f"reference_server: ERROR: service {service.name}: it is not running")
        code, output = service.do("start")
    assert code == 3, "the port was taken"
    assert output.splitlines()[-1].endswith("it did not start; its log may say why")
    assert f"cannot listen on 127.0.0.1 port {port}" in service.output
    assert service.do("status") == (0, "stopped (exit code 3)")
    code, output = service.do("start")
    assert code == 0, output
    code, output = service.do("start")
    assert (code, output) == (1, f"reference_server: ERROR: service {service.name}: it is running already")
    assert service.do("stop")[0] == 0


@posix
def test_elsewhere_it_says_what_to_use_instead() -> None:
    code, output = command("install")
    assert code == 2
    assert output.splitlines() == [
        "reference_server: ERROR: service: Windows only; here have systemd or launchd run `python -m reference_server`"
    ]
