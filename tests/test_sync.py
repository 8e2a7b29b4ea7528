"""What the fixtures hand out, with a real server: requests, stop requests, what was seen."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable, Iterator
from typing import Any

import msgspec
import pytest

from pytest_signalcompat.engine import Engine
from pytest_signalcompat.errors import ConfigError, NotReady, SpawnError
from pytest_signalcompat.live.http import Requests
from pytest_signalcompat.live.wire import Running
from pytest_signalcompat.model import Marks, Ready, Server, Stop, StopCommand
from pytest_signalcompat.supervisor.client import native
from pytest_signalcompat.sync import SignalServer

from .selection import described

SECRET = "hunter2-and-more"


@pytest.fixture(scope="module")
def engine() -> Iterator[Engine]:
    """On this system; what differs in the lab is tested beneath."""
    engine = Engine(native())
    yield engine
    engine.close()


@pytest.fixture
def start(engine: Engine) -> Iterator[Callable[..., SignalServer]]:
    started = []

    def start(server: Server | None = None) -> SignalServer:
        started.append(SignalServer(engine, server or described("good")))
        return started[-1]

    yield start
    for server in started:
        server.close()


Start = Callable[..., SignalServer]


# ---------------------------------------------------------------- requests


@pytest.mark.parametrize(
    ("body", "length"),
    [
        (b"\x00\xff\r\n", 4),
        (bytearray(b"abc"), 3),
        ("[1, 2]", 6),
        ("é", 2),
        ({"instances": [1, 2]}, len(json.dumps({"instances": [1, 2]}))),
        ([1], 3),
    ],
    ids=repr,
)
def test_a_body_is_sent_whatever_it_is_made_of(body: Any, length: int, start: Start) -> None:
    """The server sends it back."""
    found = start().in_flight("/predict", body=body).result()
    assert (found.end, found.status, found.received) == ("complete", 200, length)


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ({"path": "/sl ow\n"}, r"path: expected a path of ASCII .*, as '/sl%20ow%0A' is; found '/sl ow\\n'"),
        ({"path": "/ü?a=b"}, r"path: expected .*, as '/%C3%BC\?a=b' is; found '/ü\?a=b'"),
        ({"path": "http://x/slow"}, "path: expected a path that begins with /, found 'http://x/slow'"),
        ({"path": ""}, "path: expected a path that begins with /, found ''"),
        ({"path": "/predict", "body": 3}, "body: expected a string, bytes, or a dict or list for JSON; found 3"),
        ({"path": "/predict", "body": {"x": b""}}, "body: expected what JSON and UTF-8 can hold; found: .*bytes"),
        ({"path": "/predict", "body": "\udc80"}, "body: expected what JSON and UTF-8 can hold; found: .*surrogates"),
    ],
)
def test_what_cannot_be_sent_is_refused_at_once(arguments: dict[str, Any], told: str, start: Start) -> None:
    server = start()
    with pytest.raises(ConfigError, match=told):
        server.in_flight(**arguments)
    server.stop()
    assert server.wait().exchanges == (), "none was begun"


def test_a_mistake_inside_a_request_is_raised_to_who_asks_for_it(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    async def breaks(self: Requests, running: Running, *_: object) -> None:
        await running.release.wait()
        raise LookupError("a mistake in the harness")

    server = start()
    monkeypatch.setattr(Requests, "_converse", breaks)
    request = server.in_flight("/predict", body="{}", hold=True)
    request.release()
    with pytest.raises(LookupError, match="a mistake in the harness"):
        request.result()


# ---------------------------------------------------------------- stop requests


@pytest.mark.posix
@pytest.mark.parametrize("asked", ["SIGTERM", "terminate", Stop.TERMINATE, signal.SIGTERM], ids=repr)
def test_a_stop_request_by_each_of_its_names(asked: Any, start: Start) -> None:
    server = start()
    server.stop(asked)
    delivered = server.wait().delivered
    assert delivered is not None
    assert (delivered.stop, delivered.what) == (Stop.TERMINATE, "SIGTERM")


@pytest.mark.posix
def test_a_stop_that_there_is_not_names_those_that_there_are(start: Start) -> None:
    names = "terminate, interrupt, quit, hangup, SIGTERM, SIGINT, SIGQUIT, SIGHUP"
    with pytest.raises(ConfigError, match=f"stop: expected one of {names}; found 'SIGTREM'"):
        start().stop("SIGTREM")


# ---------------------------------------------------------------- secrets

TALKS = """
import os, time
print('started, and my secret is', os.environ['TOKEN'], flush=True)
time.sleep(60)
"""


def test_no_text_of_a_fixture_holds_a_secret(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SIGNALCOMPAT_TOKEN", SECRET)
    fails = StopCommand(command=("{python}", "-c", "raise SystemExit('no: {env:SIGNALCOMPAT_TOKEN}')"))
    server = described(
        "good",
        command=("{python}", "-c", TALKS, "{port}", "--token={env:SIGNALCOMPAT_TOKEN}"),
        env={"TOKEN": "{env:SIGNALCOMPAT_TOKEN}"},
        ready=Ready(log="^started"),
        marks=Marks(),
        stops={Stop.TERMINATE: fails},
        grace=5.0,
    )
    live = start(server)
    assert "my secret is {env:SIGNALCOMPAT_TOKEN}" in live.output
    live.stop()
    with pytest.raises(Exception, match=r"no: \{env:SIGNALCOMPAT_TOKEN\}") as caught:
        live.wait()
    seen = live._seen()
    assert "{env:SIGNALCOMPAT_TOKEN}" in seen.deliveries[0].what
    assert any("--token={env:SIGNALCOMPAT_TOKEN}" in process.name for process in seen.processes) or os.name == "nt"
    texts = (str(caught.value), live.output, str(seen), repr(seen), msgspec.json.encode(seen).decode())
    assert not [text for text in texts if SECRET in text]


def test_nor_does_what_is_said_of_one_that_never_was(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SIGNALCOMPAT_TOKEN", SECRET)
    given = "{env:SIGNALCOMPAT_TOKEN}"
    with pytest.raises(SpawnError) as nowhere:
        start(described("good", command=("/no/such/program", "{port}", given)))
    assert given in str(nowhere.value)
    assert SECRET not in str(nowhere.value)
    says = "import sys; sys.exit('wrong password ' + sys.argv[1])"
    with pytest.raises(NotReady) as ended:
        start(described("good", command=("{python}", "-c", says, given, "{port}")))
    (note,) = ended.value.__notes__
    assert f"wrong password {given}" in note
    assert SECRET not in note
