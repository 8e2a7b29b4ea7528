"""graceful.py, copied alone beside a plain application, as README says that one may."""

from __future__ import annotations

import ast
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

pytest.importorskip("fastapi", reason="needs the extra `reference`")

from reference_server import graceful
from tests.conftest import PLACES, WINE_PYTHON
from tests.test_reference_server import ROOT, Running, response, status

posix = pytest.mark.posix
EXAMPLE = ROOT / "examples" / "graceful_copy"
SITE = os.environ.get("WINELAB_SITE", "interop")

MORE = """
import asyncio
from contextlib import asynccontextmanager
from fastapi import FastAPI, WebSocket
from fastapi.responses import StreamingResponse

@asynccontextmanager
async def lifespan(app):
    yield
    print("lifespan ended", flush=True)

app = FastAPI(lifespan=lifespan)

@app.get("/healthz")
async def healthz():
    return "ok"

@app.websocket("/echo")
async def echo(socket: WebSocket):
    await socket.accept()
    async for text in socket.iter_text():
        await socket.send_text(text)
    print("echo ended", flush=True)

@app.get("/ticks")
async def ticks(kind: str):
    async def forever():
        while True:
            yield "data: tick\\n\\n"
            await asyncio.sleep(0.05)
    return StreamingResponse(forever(), media_type=kind)
"""

Start = Callable[..., Running]


@pytest.fixture
def start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Start]:
    """A process that has nothing of this project but that file."""
    shutil.copy(graceful.__file__, tmp_path / "graceful.py")
    (tmp_path / "app.py").write_text(MORE)
    started: list[Running] = []

    def start(*options: str) -> Running:
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        code = f"import os, runpy, sys; os.chdir({str(tmp_path)!r}); sys.path[:1] = [{str(tmp_path)!r}]"
        command = [*("app:app", "--port", str(port), "--ready", "/healthz"), *options]
        run = f"sys.argv = ['graceful.py', *{command!r}]; runpy.run_path('graceful.py', run_name='__main__')"
        running = Running("-c", f"{code}; {run}")
        running.port = port
        started.append(running)
        running.wait_for("graceful: INFO: ready pid=")
        return running

    yield start
    for running in started:
        running.__exit__()


@pytest.mark.outside_lab
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("place", PLACES)
def test_a_copy_meets_every_requirement(place: str, tmp_path: Path) -> None:
    environment = dict(os.environ)
    options = []
    if place == "wine":
        environment |= {"WINELAB_SITE": SITE, "SIGNALCOMPAT_WINE_PYTHON": WINE_PYTHON}
        if not os.access(WINE_PYTHON, os.X_OK):
            pytest.skip("no Windows Python under Wine: tools/winelab/winelab install")
        asked = [WINE_PYTHON, "-c", "import fastapi, uvicorn"]
        found = subprocess.run(
            asked, env=environment, stdin=subprocess.DEVNULL, capture_output=True, check=False, timeout=300
        )
        if found.returncode:
            pytest.skip(f"the lab's site {SITE} lacks FastAPI: tests/interop/clients_check.py installs it")
        options = ["--signal-compat-on", "wine"]
    shutil.copytree(EXAMPLE, tmp_path, dirs_exist_ok=True)
    shutil.copy(graceful.__file__, tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["app.py", "graceful.py", "pyproject.toml"]
    command = [
        sys.executable,
        "-m",
        "pytest",
        "--signal-compat",
        *options,
        "pyproject.toml",
        "-q",
        "-p",
        "no:cacheprovider",
    ]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    counts = dict(reversed(found) for found in re.findall(r"(\d+) (passed|failed|errors?)\b", done.stdout))
    assert done.returncode == 0, done.stdout
    assert int(counts["passed"]) >= 8, done.stdout


def test_it_needs_nothing_else_of_this_package() -> None:
    nodes = list(ast.walk(ast.parse(Path(graceful.__file__).read_text(encoding="utf-8"))))
    names = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    names |= {node.module or "relative" for node in nodes if isinstance(node, ast.ImportFrom)}
    assert {name.partition(".")[0] for name in names} - sys.stdlib_module_names == {"uvicorn"}


@posix
@pytest.mark.timeout(60)
def test_websockets_are_closed_with_1012(start: Start) -> None:
    client = pytest.importorskip("websockets.sync.client")
    exceptions = pytest.importorskip("websockets.exceptions")
    running = start("--drain-seconds", "20")
    with client.connect(f"ws://127.0.0.1:{running.port}/echo") as echo:
        echo.send("hello")
        assert echo.recv(timeout=20) == "hello"
        asked = running.stop()
        with pytest.raises(exceptions.ConnectionClosed) as closed:
            echo.recv(timeout=20)
        assert closed.value.rcvd is not None and closed.value.rcvd.code == 1012
    code, output = running.end()
    assert (code, "echo ended" in output, "lifespan ended" in output) == (graceful.EXIT_OK, True, True)
    assert time.monotonic() - asked < 5


@posix
@pytest.mark.timeout(60)
@pytest.mark.parametrize(
    ("kind", "whole", "expected"),
    [("text/event-stream", True, graceful.EXIT_OK), ("application/x-ndjson", False, graceful.EXIT_CUT)],
)
def test_event_streams_end_and_others_are_cut(start: Start, kind: str, whole: bool, expected: int) -> None:
    """To a client a file that ends early looks whole; so only what may end at any moment is ended."""
    running = start("--drain-seconds", "1")
    stream = running.begin(f"/ticks?kind={kind}")
    assert b"tick" in stream.recv(65536) + stream.recv(65536)
    asked = running.stop()
    answer = response(stream)
    assert answer.endswith(b"0\r\n\r\n") is whole
    code, output = running.end()
    assert (code, "lifespan ended" in output) == (expected, True)
    assert 0.5 < time.monotonic() - asked < 3


@posix
@pytest.mark.timeout(60)
def test_readiness_is_the_files_own(start: Start) -> None:
    running = start("--readiness-delay-seconds", "1")
    running.stop(signal.SIGTERM)
    running.wait_for("stop requested")
    answer = response(running.begin("/healthz"))
    assert (status(answer), b"connection: close" in answer) == (503, True)
    assert running.end()[0] == graceful.EXIT_OK


@posix
@pytest.mark.timeout(60)
def test_a_signal_of_elsewhere_is_a_warning(start: Start) -> None:
    running = start("--signals", "SIGBREAK")
    running.stop()
    code, output = running.end()
    assert code == graceful.EXIT_OK
    assert "WARNING: SIGBREAK: not delivered on this platform; SIGTERM is used instead" in output


def test_a_uvicorn_that_has_changed_is_a_clear_error(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    import uvicorn
    from uvicorn.protocols.http.h11_impl import H11Protocol

    for change, part in (
        (lambda: monkeypatch.delattr(H11Protocol, "shutdown"), "has no H11Protocol.shutdown, which graceful.py needs"),
        (lambda: monkeypatch.setattr(uvicorn, "__version__", "0.28.1"), "0.28.1 is too old; expected 0.29 or later"),
        (lambda: monkeypatch.delattr(uvicorn, "Config"), "graceful.py cannot use the uvicorn that is installed"),
    ):
        graceful.check_uvicorn.cache_clear()
        change()
        with pytest.raises(graceful.Unsuitable, match=re.escape(part)):
            graceful.check_uvicorn()
        assert graceful.run("app:app", port=0, signals=()) == graceful.EXIT_START_FAILED
        assert part in caplog.text
        monkeypatch.undo()
    graceful.check_uvicorn.cache_clear()
    graceful.check_uvicorn()
