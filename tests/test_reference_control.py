"""The control channel of the reference server: stopped and asked without a signal, by its own user alone."""

from __future__ import annotations

import contextlib
import json
import logging
import math
import os
import random
import re
import secrets
import shutil
import socket
import stat
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from multiprocessing.connection import Listener as OtherProgram
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("fastapi", reason="needs the extra `reference`")

from reference_server import control, graceful
from reference_server.control import channel as channel_module
from reference_server.control import client
from reference_server.control.channel import Channel
from reference_server.control.contract import AddressTaken, ControlError, Lines, NotAllowed, Stream, decode, encode
from reference_server.graceful import EXIT_CUT, EXIT_OK, EXIT_START_FAILED, Lifecycle, Policy, State
from reference_server.settings import BadSettings, load

from .test_reference_server import BODY, INFER, ROOT, Running, response, server, status

pytestmark = pytest.mark.timeout(240)  # a process takes seconds to start in the lab
posix = pytest.mark.posix
windows = pytest.mark.windows


@pytest.fixture
def address() -> Iterator[str]:
    """Not in tmp_path, which may be too long for a socket."""
    if sys.platform == "win32":
        yield rf"\\.\pipe\reference_server-test-{secrets.token_hex(8)}"
    else:
        with tempfile.TemporaryDirectory() as directory:
            yield f"{directory}/control.sock"


def exists(address: str) -> bool:
    """Whether there is a socket; a pipe is there as long as its server."""
    return sys.platform != "win32" and Path(address).exists()


def greeted(address: str) -> tuple[Stream, Lines]:
    stream = control.connect(address, soon())
    lines = Lines(stream, 65536)
    assert lines.next(soon()) == b"reference_server/1"
    return stream, lines


def soon() -> float:
    return time.monotonic() + 20


def ask(*arguments: str, **environment: str) -> tuple[int, dict[str, Any], str]:
    """Exit code, answer and complaints of `python -m reference_server ARGUMENTS`."""
    command = [sys.executable, "-m", "reference_server", *arguments]
    done = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, check=False, env={**os.environ, **environment}
    )
    assert "Traceback" not in done.stderr
    return done.returncode, json.loads(done.stdout) if done.stdout else {}, done.stderr.strip()


def controlled(*options: str, workers: int = 1) -> contextlib.AbstractContextManager[Running]:
    """A server that no signal stops."""
    return server("--signals", "none", *options, workers=workers)


# --- Real processes -------------------------------------------------------------------------------------------------


def default(running: Running) -> str:
    return control.default_address(running.port)


def await_in_flight(address: str, count: int) -> dict[str, Any]:
    """Asks without a process of its own, which takes seconds in the lab."""
    while True:
        stream, lines = greeted(address)
        with contextlib.closing(stream):
            stream.send(encode({"command": "status"}), soon())
            answer = decode(lines.next(soon()))
        if answer["in_flight"] == count:
            return answer


@pytest.mark.parametrize("count", [1, 2])
def test_status_and_stop(count: int) -> None:
    with controlled("--drain-seconds", "60", workers=count) as running:
        port = str(running.port)
        upload = running.begin(INFER, BODY, held_back=5)
        await_in_flight(default(running), 1)
        code, answer, complaints = ask("status", "--port", port)
        assert (code, complaints) == (EXIT_OK, "")
        assert (answer["state"], answer["seconds_left"], len(answer["workers"])) == ("ready", None, count)
        assert {worker["state"] for worker in answer["workers"]} == {"ready"}
        ends: list[tuple[int, dict[str, Any], str]] = []
        waiting = threading.Thread(target=lambda: ends.append(ask("stop", "--port", port, "--wait")))
        waiting.start()
        running.wait_for("stop requested by the control channel")
        upload.sendall(BODY[-5:])
        assert status(response(upload)) == 200
        code, output = running.end()
        assert code == EXIT_OK
        # As the processes name themselves: in a venv on Windows the one started here is a launcher with another pid.
        pids = re.findall(r"(stopped|leader) pid=(\d+)", output)
        assert {pid for what, pid in pids if what == "stopped"} == {str(worker["pid"]) for worker in answer["workers"]}
        assert ("stopped" if count == 1 else "leader", str(answer["pid"])) in pids
        assert len(pids) == (1 if count == 1 else count + 1)
        waiting.join()
        assert ends[0][0] == EXIT_OK
        assert ends[0][1]["state"] == "draining"
        assert 50 < ends[0][1]["seconds_left"] <= 60
        assert ask("status", "--port", port)[0] == client.EXIT_NOBODY_THERE
        assert not exists(default(running))


@pytest.mark.parametrize("count", [1, 2])
def test_a_drain_has_no_limit(count: int) -> None:
    with controlled("--drain-seconds", "0.1", workers=count) as running:
        upload, endless = running.begin(INFER, BODY, held_back=5), running.begin("/endless")
        assert b"event: tick" in endless.recv(65536) + endless.recv(65536)
        await_in_flight(default(running), 2)
        code, answer, _ = ask("drain", "--port", str(running.port))
        assert code == EXIT_OK
        assert (answer["state"], answer["seconds_left"]) == ("draining", None)
        # A leader knows only by asking its workers. The stream may have ended by then: a drain ends streams at once.
        assert answer["in_flight"] in ((1, 2) if count == 1 else (None,))
        assert response(endless).endswith(b'event: end\ndata: {"reason": "stopping"}\n\n\r\n0\r\n\r\n')
        time.sleep(1.0)  # far beyond the limit of a stop
        assert await_in_flight(default(running), 1)["state"] == "draining"
        upload.sendall(BODY[-5:])
        assert status(response(upload)) == 200
        assert running.end()[0] == EXIT_OK


@pytest.mark.parametrize("count", [1, 2])
def test_a_stop_sets_the_limit_of_a_drain(count: int) -> None:
    with controlled("--drain-seconds", "0.5", workers=count) as running:
        port = str(running.port)
        slow = running.begin("/slow?seconds=100")
        await_in_flight(default(running), 1)
        assert ask("drain", "--port", port)[0] == EXIT_OK
        running.wait_for("drain requested by the control channel")
        answer = ask("status", "--port", port)[1]
        assert (answer["state"], answer["in_flight"], answer["seconds_left"]) == ("draining", 1, None)
        code, answer, _ = ask("stop", "--port", port, "--wait")
        assert code == EXIT_CUT
        assert answer["seconds_left"] <= 0.5
        assert status(response(slow)) == 503
        assert running.end()[0] == EXIT_CUT


@pytest.mark.parametrize("count", [1, 2])
def test_force(count: int) -> None:
    with controlled(workers=count) as running:
        slow = running.begin("/slow?seconds=100")
        await_in_flight(default(running), 1)
        assert ask("stop", "--port", str(running.port), "--force", "--wait")[0] == EXIT_CUT
        assert status(response(slow)) == 503
        code, output = running.end()
        assert code == EXIT_CUT
        assert "forced by the control channel" in output


def test_stop_while_starting() -> None:
    with Running("-m", "reference_server", "--port", "0", "--signals", "none") as running:
        running.wait_for(f"control {control.KIND}")
        assert ask("stop", "--port", str(running.port), "--wait")[0] == EXIT_OK
        code, output = running.end()
        assert code == EXIT_OK
        assert "stopped pid=" in output


BLOCKED = """
import sys, time
from fastapi import FastAPI
from reference_server import graceful, logs
from reference_server.control.channel import Channel
from reference_server.http import serve
from reference_server.graceful import WATCHDOG_SECONDS, Lifecycle, Policy

app = FastAPI()

@app.get("/block-the-loop")
async def block() -> None:
    time.sleep(100)

logs.configure()
sock = graceful.bind("127.0.0.1", 0)
print(f"starting on http://127.0.0.1:{sock.getsockname()[1]}", flush=True)
with Channel(sys.argv[1]) as channel:
    lifecycle = Lifecycle(Policy(drain_seconds=0.5), watchdog_seconds=WATCHDOG_SECONDS)
    channel.serve(lifecycle)
    code = serve(lambda: app, lifecycle, sock)
sys.exit(code)
"""


def test_it_answers_while_the_loop_is_blocked(address: str) -> None:
    with Running("-c", BLOCKED, address) as running:
        running.wait_for("ready pid=")
        running.begin("/block-the-loop")
        await_in_flight(address, 1)
        assert ask("stop", "--control-address", address, "--wait")[0] == EXIT_CUT
        code, output = running.end()
        assert code == EXIT_CUT
        assert "still busy after the drain limit" in output
        assert not exists(address)


IN_A_THREAD = """
import sys, threading
from reference_server.__main__ import main

codes = []
thread = threading.Thread(target=lambda: codes.append(main(sys.argv[1:])))
thread.start()
thread.join()
sys.exit(codes[0])
"""


@pytest.mark.parametrize("count", [1, 2])
def test_in_a_thread_the_channel_alone_stops_it(count: int) -> None:
    with Running("-c", IN_A_THREAD, "--port", "0", "--workers", str(count)) as running:
        running.wait_for("ready pid=", count)
        assert ask("stop", "--port", str(running.port), "--wait")[0] == EXIT_OK
        code, output = running.end()
        assert code == EXIT_OK
        assert output.count("WARNING") == 1
        names = ", ".join(graceful.DEFAULT_SIGNALS)
        where = f"control {control.KIND} {control.default_address(running.port)}"
        assert f"not in the main thread: {names} cannot be handled here; {where} can stop the server" in output


def test_a_killed_server_leaves_nothing_in_the_way(address: str) -> None:
    with controlled("--control-address", address) as running:
        running.begin(INFER, BODY, held_back=5)
        await_in_flight(address, 1)
        with Running("-m", "reference_server", "drain", "--control-address", address, "--wait") as waiting:
            waiting.wait_for('"draining"')
            running.process.kill()
            waiting.wait_for("was killed")
            assert waiting.process.wait() == client.EXIT_KILLED
    assert ask("status", "--control-address", address)[0] == client.EXIT_NOBODY_THERE
    with controlled("--control-address", address):
        assert ask("stop", "--control-address", address, "--wait")[0] == EXIT_OK


def test_a_live_address_is_not_stolen(address: str) -> None:
    with controlled("--control-address", address):
        command = [sys.executable, "-m", "reference_server", "--port", "0", "--control-address", address]
        second = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
        assert second.returncode == EXIT_START_FAILED
        assert second.stderr.splitlines()[-1] == (
            f"reference_server: ERROR: control address {address} belongs to a running server;"
            " choose another --control-address"
        )
        assert ask("stop", "--control-address", address, "--wait")[0] == EXIT_OK


# --- Clients, good and bad, in process ------------------------------------------------------------------------------


class Open:
    """A channel and the lifecycle it obeys."""

    def __init__(self, address: str) -> None:
        self.address = address
        self.lifecycle = Lifecycle(Policy(drain_seconds=5))
        self.lifecycle.mark_ready()
        self.channel = Channel(address)
        self.channel.serve(self.lifecycle)

    def connect(self) -> Stream:
        return control.connect(self.address, time.monotonic() + 20)


@pytest.fixture
def open_channel(address: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Open]:
    monkeypatch.setattr(channel_module, "PATIENCE_SECONDS", 1.0)
    opened = Open(address)
    with opened.channel:
        yield opened
    assert not exists(address)


def refused(stream: Stream, said: bytes) -> bool:
    """Whether the server ends the conversation with no more than a word."""
    with contextlib.closing(stream), contextlib.suppress(OSError):
        stream.send(said, soon())
        return Lines(stream, 1024).next(soon()) == b""
    return True


def garbage(dice: random.Random) -> bytes:
    """What must not stop a server: noise, lines without end, and nonsense."""
    noise = dice.randbytes(dice.choice([1, 30, 1000, 1024, 1025, 50_000]))
    nonsense: Any = dice.choice(
        [*([], 7, None, "stop", {}, {"command": ["stop"]}), *({"command": ""}, {"command": "STOP"}, {"wait": True})]
    )
    return dice.choice(
        [
            noise,
            noise.replace(b"\n", b"") + b"\n",
            b"\n" * dice.randrange(1, 100),
            encode(nonsense),
            b"[" * 900 + b"\n",
            b"\xff\xfe " + b"[" * 900 + b"\n",
        ]
    )


def test_garbage(open_channel: Open, caplog: pytest.LogCaptureFixture) -> None:
    dice = random.Random(20240229)
    for _ in range(int(os.environ.get("REFERENCE_FUZZ", 300))):
        if dice.random() < 0.1:
            open_channel.connect().close()  # not even listening
            continue
        stream, _ = greeted(open_channel.address)
        said = garbage(dice)
        if b"\n" in said or len(said) > 1024:
            assert refused(stream, said), said
        else:
            stream.send(said, soon())  # half a line, and gone
            stream.close()
    assert open_channel.lifecycle.state is State.READY
    assert client.call(open_channel.address, "status") == EXIT_OK
    assert [thread.name for thread in threading.enumerate()].count("control-client") <= 1
    warnings = [record.message for record in caplog.records if record.levelno >= logging.WARNING]
    assert 1 <= len(warnings) <= 1 + 120 / channel_module.QUIET_SECONDS
    assert all("\n" not in text and len(text) < 200 for text in warnings)


def test_many_clients_at_once_get_their_turn(open_channel: Open) -> None:
    codes: list[int] = []
    threads = [
        threading.Thread(target=lambda: codes.append(client.call(open_channel.address, "status"))) for _ in range(200)
    ]
    open_channel.channel._places.acquire()  # so that they come while others are served
    for thread in threads:
        thread.start()
    open_channel.channel._places.release()
    for thread in threads:
        thread.join(30)
    assert codes == [EXIT_OK] * 200


def test_slow_clients_hold_up_nobody(open_channel: Open, caplog: pytest.LogCaptureFixture) -> None:
    streams = [open_channel.connect() for _ in range(channel_module.CLIENTS - 1)]
    for stream in streams:
        stream.send(b"slow", soon())
    begun = time.monotonic()
    assert client.call(open_channel.address, "status") == EXIT_OK
    assert time.monotonic() - begun < 0.9, "one place is free"
    others: list[Stream] = []
    connecting = threading.Thread(target=lambda: others.extend(open_channel.connect() for _ in range(10)))
    connecting.start()
    connecting.join(30)
    assert client.call(open_channel.address, "status") == EXIT_OK, "all places are taken, for a while"
    assert "nothing complete within 1 s" in caplog.text
    for stream in [*streams, *others]:
        stream.close()


def test_complaints_are_counted(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    complaints = channel_module.Complaints()
    for _ in range(5):
        complaints.about("this")
    monkeypatch.setattr(channel_module, "QUIET_SECONDS", 0.0)
    complaints._quiet_until = -math.inf
    complaints.about("that")
    assert [record.message for record in caplog.records] == ["control: this", "control: that (4 more before)"]


def test_a_second_stop_is_a_second_signal(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(graceful, "SAME_REQUEST_SECONDS", 0.0)
    for choice, forced in (("auto", False), ("ignore", False), ("force", True)):
        opened = Open(address)
        opened.lifecycle.policy = Policy(second_signal=choice)  # type: ignore[arg-type]
        with opened.channel:
            assert client.call(address, "stop") == client.call(address, "stop") == EXIT_OK
            assert opened.lifecycle.forced is forced


def test_what_is_no_reference_server(address: str, capsys: pytest.CaptureFixture[str]) -> None:
    with OtherProgram(address) as other:

        def talk() -> None:
            with other.accept() as connection:
                with contextlib.suppress(OSError):  # the client may have seen whose it is, and left
                    connection.send_bytes(b"hello\n")

        thread = threading.Thread(target=talk)
        thread.start()
        code = client.main(["stop", "--control-address", address])
        thread.join()
    said = capsys.readouterr().err
    if code == client.EXIT_NOT_ALLOWED:  # a pipe without an owner, as in the lab
        assert f"control address {address}: expected a pipe of this user, its owner is unknown" in said
    else:
        assert code == client.EXIT_NO_ANSWER
        assert f"reference_server stop: {address}: not the answer of a reference server" in said


def test_a_client_reads_the_servers_own_settings(
    open_channel: Open, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "server.toml"
    file.write_text(f"workers = 2\ncontrol-address = '{open_channel.address}'\n")
    assert client.main(["status", "--config", str(file)]) == EXIT_OK
    monkeypatch.setenv("REFERENCE_SERVER_CONTROL_ADDRESS", open_channel.address)
    assert client.main(["status"]) == EXIT_OK
    monkeypatch.delenv("REFERENCE_SERVER_CONTROL_ADDRESS")
    monkeypatch.setenv("REFERENCE_SERVER_PORT", "http")
    capsys.readouterr()
    assert client.main(["status"]) == graceful.EXIT_BAD_SETTING
    expected = "reference_server status: REFERENCE_SERVER_PORT: expected a port from 1 to 65535; found 'http'\n"
    assert capsys.readouterr().err == expected


# --- Files and addresses --------------------------------------------------------------------------------------------


@posix
def test_only_the_owner_may_connect(open_channel: Open, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert stat.S_IMODE(Path(open_channel.address).stat().st_mode) == 0o600
    monkeypatch.delenv("XDG_RUNTIME_DIR", raising=False)
    with Channel(control.default_address(1)) as channel:
        assert stat.S_IMODE(Path(control.default_address(1)).parent.stat().st_mode) == 0o700
        with pytest.raises(AddressTaken):
            Channel(control.default_address(1))
        assert str(channel) == f"control socket /tmp/reference_server-{os.geteuid()}/1.sock"


@posix
def test_the_runtime_directory_is_preferred_and_the_client_finds_both(
    address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("XDG_RUNTIME_DIR", raising=False)
    fallback = control.default_address(2)
    runtime = Path(address).parent
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(runtime))
    assert control.default_address(2) == str(runtime / "reference_server" / "2.sock")
    with Channel(fallback):
        assert control.find_address(2) == fallback
    with Channel(control.default_address(2)):
        assert control.find_address(2) == control.default_address(2) != fallback
        assert stat.S_IMODE((runtime / "reference_server").stat().st_mode) == 0o700
    runtime.chmod(0o755)
    assert control.default_address(2) == fallback, "what others may enter is no runtime directory"


@windows
def test_only_the_user_has_access(open_channel: Open) -> None:
    import win32security

    wanted = win32security.DACL_SECURITY_INFORMATION | win32security.OWNER_SECURITY_INFORMATION
    found = win32security.GetNamedSecurityInfo(open_channel.address, win32security.SE_FILE_OBJECT, wanted)
    access, owner = found.GetSecurityDescriptorDacl(), found.GetSecurityDescriptorOwner()
    assert [access.GetAce(number)[2] for number in range(access.GetAceCount())] == [owner]
    assert win32security.ConvertSidToStringSid(owner) != "S-1-1-0"


@windows
def test_a_pipe_of_another_user_is_not_believed(open_channel: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    import win32security

    from reference_server.control import windows as platform

    everyone = win32security.ConvertStringSidToSid("S-1-1-0")
    monkeypatch.setattr(platform, "_me", lambda: everyone)
    with pytest.raises(NotAllowed, match="its owner is S-1-5"):
        control.connect(open_channel.address, soon())


@posix
def test_what_is_in_the_way_of_a_socket(address: str, tmp_path: Path) -> None:
    Path(address).write_text("precious")
    with pytest.raises(ControlError, match="expected a socket or nothing"):
        Channel(address)
    assert Path(address).read_text() == "precious"
    Path(address).unlink()
    with OtherProgram(address), pytest.raises(AddressTaken):
        Channel(address)
    with pytest.raises(ControlError, match=r"cannot make control socket .*: No such file"):
        Channel(str(tmp_path / "nowhere" / "control.sock"))


STRANGER = """
import os, socket, sys
os.setgid(int(sys.argv[1]))
os.setuid(int(sys.argv[1]))
os.umask(0)
{what}
print("done", flush=True)
sys.stdin.read()
"""
FORGES = """
os.mkdir(sys.argv[2], 0o777)
listener = socket.socket(socket.AF_UNIX)
listener.bind(sys.argv[2] + "/8765.sock")
listener.listen()
print("done", flush=True)
while True:
    connection, _ = listener.accept()
    connection.sendall(b'reference_server/1\\n{"state": "draining"}\\n{"exit_code": 0}\\n')
    connection.close()
"""
VICTIM = """
import locale, os, sys
from reference_server.control import client
client._options("status", [])  # what is imported late, of a Python that others may not read
os.setgid(int(sys.argv[1]))
os.setuid(int(sys.argv[1]))
sys.exit(client.main(sys.argv[2:]))
"""


class Users:
    """Two that nobody is, for one test."""

    def __init__(self) -> None:
        self.victim, self.stranger = random.SystemRandom().sample(range(2_000_000, 2_000_000_000), 2)
        self.directory = Path(f"/tmp/reference_server-{self.victim}")

    @contextlib.contextmanager
    def stranger_does(self, what: str, *arguments: str) -> Iterator[None]:
        code = STRANGER.format(what=what)
        command = [sys.executable, "-c", code, str(self.stranger), *arguments]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
            try:
                assert process.stdout is not None and process.stdout.readline() == "done\n"
                yield
            finally:
                process.kill()

    def victim_asks(self, *arguments: str) -> tuple[int, str]:
        command = [sys.executable, "-c", VICTIM, str(self.victim), *arguments]
        environment = {name: value for name, value in os.environ.items() if name != "XDG_RUNTIME_DIR"}
        done = subprocess.run(
            command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=60, env=environment
        )
        assert done.stdout == ""
        return done.returncode, done.stderr


@pytest.fixture
def users() -> Iterator[Users]:
    if sys.platform != "linux" or os.geteuid() != 0:
        pytest.skip("needs root, to be two other users")
    users = Users()
    yield users
    for path in (users.directory, Path(f"{users.directory}.real")):
        if path.is_symlink():
            path.unlink()
        elif path.exists():
            shutil.rmtree(path)


def test_a_stranger_who_was_there_first_forges_no_stop(users: Users) -> None:
    stop = ("stop", "--wait", "--port", "8765")
    with users.stranger_does(FORGES, str(users.directory)):
        code, said = users.victim_asks(*stop)
        assert (code, "expected a directory of this user alone, of mode 0700" in said) == (77, True), said
        address = f"{users.directory}/8765.sock"
        aside = f"{users.directory}.real"
        users.directory.rename(aside)
        code, said = users.victim_asks("stop", "--wait", "--control-address", f"{aside}/8765.sock")
        assert (code, f"{aside}/8765.sock: expected a socket of this user" in said) == (77, True), said
        users.directory.symlink_to(aside)
        assert users.victim_asks(*stop)[0] == 77
        os.chown(f"{aside}/8765.sock", users.victim, users.victim)  # as if it had been put there by a race
        code, said = users.victim_asks("stop", "--wait", "--control-address", f"{aside}/8765.sock")
        assert (code, f"at its other end is a process of user {users.stranger}" in said) == (77, True), said
        assert address not in said


def test_a_pipe_of_a_stranger_hangs_no_client(users: Users) -> None:
    what = "os.mkdir(sys.argv[2], 0o777); os.mkfifo(sys.argv[2] + '/8765.sock')"
    with users.stranger_does(what, str(users.directory)):
        assert users.victim_asks("status", "--port", "8765")[0] == 77
        assert users.victim_asks("status", "--control-address", f"{users.directory}/8765.sock")[0] == 77


def test_a_server_obeys_no_stranger(users: Users, open_channel: Open, caplog: pytest.LogCaptureFixture) -> None:
    """Also where somebody has opened the file to all."""
    Path(open_channel.address).parent.chmod(0o755)
    Path(open_channel.address).chmod(0o666)
    what = (
        "sock = socket.socket(socket.AF_UNIX); sock.connect(sys.argv[2]);"
        ' sock.sendall(b\'{"command": "stop"}\\n\'); assert not sock.recv(100)'
    )
    with users.stranger_does(f"try:\n    {what}\nexcept ConnectionError: pass", open_channel.address):
        assert open_channel.lifecycle.state is State.READY
    assert f"at its other end is a process of user {users.stranger}" in caplog.text
    assert client.call(open_channel.address, "status") == EXIT_OK


@posix
def test_a_directory_of_others_is_not_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from reference_server.control import posix as platform

    tmp_path.chmod(0o755)
    monkeypatch.setattr(platform, "_directories", lambda: iter([tmp_path]))
    with pytest.raises(ControlError, match="of this user alone, of mode 0700"):
        Channel(str(tmp_path / "1.sock"))


@posix
def test_what_killed_servers_left_is_removed_by_the_next(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from reference_server.control import posix as platform

    monkeypatch.setattr(platform, "_directories", lambda: iter([Path(address).parent]))
    running = Open(control.default_address(1))
    with running.channel:
        left = Path(control.default_address(2))
        with socket.socket(socket.AF_UNIX) as killed:
            killed.bind(str(left))
        with Channel(control.default_address(3)):
            assert not left.exists()
            assert client.call(running.address, "status") == EXIT_OK


def test_many_starting_at_once_only_one_gets_the_address(address: str) -> None:
    got: list[Channel] = []
    refused: list[str] = []

    def start() -> None:
        try:
            got.append(Channel(address))
        except AddressTaken as error:
            refused.append(str(error))

    threads = [threading.Thread(target=start) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (len(got), len(refused)) == (1, 7)
    got[0].close()


# --- Lifecycle ------------------------------------------------------------------------------------------------------


def test_a_drain_is_a_stop_without_a_limit() -> None:
    heard: list[float] = []
    lifecycle = Lifecycle(Policy(drain_seconds=5, readiness_delay_seconds=3))
    lifecycle.listen(lambda: heard.append(lifecycle.seconds_left()))
    lifecycle.request_drain("one")
    assert lifecycle.state is State.DRAINING
    lifecycle.request_drain("two")
    assert heard == [math.inf]
    lifecycle.request_stop("three")
    assert 7.5 < heard[1] <= 8, "the rest of the delay, and the drain"
    lifecycle.request_drain("four")
    assert len(heard) == 2, "a limit stays"
    assert not lifecycle.forced


def test_after_a_forced_drain_no_stop_gives_time_back() -> None:
    lifecycle = Lifecycle()
    lifecycle.request_drain("one")
    lifecycle.force("two")
    lifecycle.request_stop("three")
    assert (lifecycle.seconds_left(), lifecycle.forced) == (0, True)


# --- Settings -------------------------------------------------------------------------------------------------------

File = Callable[[str], str]


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> File:
    """Writes a settings file, and returns its name."""
    monkeypatch.chdir(tmp_path)

    def write(text: str) -> str:
        Path("server.toml").write_text(text, encoding="utf-8")
        return "server.toml"

    return write


def test_the_command_line_wins_over_environment_over_file(file: File, monkeypatch: pytest.MonkeyPatch) -> None:
    name = file('drain-seconds = 1\nport = 1\nworkers = 3\nsignals = ["SIGINT"]')
    monkeypatch.setenv("REFERENCE_SERVER_CONFIG", name)
    monkeypatch.setenv("REFERENCE_SERVER_DRAIN_SECONDS", "2")
    monkeypatch.setenv("REFERENCE_SERVER_PORT", "2")
    settings = load(["--port", "3"])
    assert (settings.port, settings.drain_seconds, settings.workers) == (3, 2, 3)
    assert (settings.signals, settings.host) == ("SIGINT", "127.0.0.1")
    assert load(["--config", file("workers = 4")]).workers == 4


@pytest.mark.parametrize(
    ("text", "signals"),
    [
        ('signals = ["SIGTERM", "SIGINT"]', "SIGTERM,SIGINT"),
        ('signals = "none"', "none"),
        ('[signals]\nwindows = ["SIGBREAK"]\nposix = ["SIGBREAK"]', "SIGBREAK"),
        ('signals = { windows = "none", posix = "none" }', "none"),
        ("[signals]", ",".join(graceful.DEFAULT_SIGNALS)),
    ],
)
def test_signals_as_list_or_table(file: File, text: str, signals: str) -> None:
    assert load(["--config", file(text)]).signals == signals


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("drain-secs = 1", ["server.toml: unknown key drain-secs; expected one of", " drain-seconds,"]),
        ("config = 'more.toml'", ["unknown key config"]),
        ("drain-seconds = 'x'", ["server.toml: drain-seconds: ", "valid number", "found 'x'"]),
        ("port = ", ["server.toml: expected a TOML file: Invalid value"]),
        ("signals = ['SIGFOO']", ["server.toml: signals: unknown signal SIGFOO; this platform has SIG", "['SIGFOO']"]),
        ("[signals]\nwindows = ['SIGFOO']\nposix = ['SIGFOO']", ["unknown signal SIGFOO"]),
        ("[signals]\nlinux = ['SIGTERM']", ["unknown platform linux; expected windows, posix"]),
        ("signals = [1]", ["server.toml: signals: expected names of signals, or none; found [1]"]),
        ("signals = []", ["no signal named"]),
        ("control = 'yes'", ["server.toml: control: ", "'auto', 'pipe', 'socket' or 'none'", "found 'yes'"]),
    ],
)
def test_mistakes_in_a_file(file: File, text: str, parts: list[str]) -> None:
    with pytest.raises(BadSettings) as caught:
        load(["--config", file(text)])
    for part in parts:
        assert part in str(caught.value)


def test_mistakes_name_where_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    other = {"pipe": "socket", "socket": "pipe"}[control.KIND]
    with pytest.raises(
        BadSettings, match=f"--control: this platform has no control {other}; expected auto, {control.KIND}"
    ):
        load(["--control", other])
    with pytest.raises(BadSettings, match="--control-address: expected"):
        load(["--control-address", "x" * 300])
    with pytest.raises(BadSettings, match=r"nowhere\.toml: cannot read the file: No such file"):
        load(["--config", "nowhere.toml"])
    monkeypatch.setenv("REFERENCE_SERVER_WORKERS", "many")
    with pytest.raises(BadSettings, match=r"REFERENCE_SERVER_WORKERS: .*found 'many'"):
        load([])
    assert load(["--workers", "2"]).workers == 2
    monkeypatch.setenv("REFERENCE_SERVER_PROT", "1")
    with pytest.raises(BadSettings, match="REFERENCE_SERVER_PROT: unknown variable; expected one of"):
        load(["--workers", "2"])


def test_variables_of_a_kubernetes_service_are_no_mistakes(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("SERVICE_HOST", "SERVICE_PORT", "SERVICE_PORT_HTTP", "PORT_8080_TCP", "PORT_8080_TCP_ADDR"):
        monkeypatch.setenv(f"REFERENCE_SERVER_{name}", "10.0.0.1")
    assert load([]).port == 8080
    monkeypatch.setenv("REFERENCE_SERVER_PORT", "tcp://10.0.0.1:80")
    assert load([]).port == 8080
    assert load(["--port", "9"]).port == 9
    assert client.main(["status"]) in (EXIT_OK, client.EXIT_NOBODY_THERE)


@posix
@pytest.mark.parametrize("options", [["--signals", "none"], []])
def test_an_address_asked_for_is_had_or_an_error(options: list[str]) -> None:
    lost = "/proc/nowhere/control.sock"
    code, _, complaints = ask("--port", "0", "--control-address", lost, *options)
    assert code == EXIT_START_FAILED
    assert f"ERROR: cannot make control socket {lost}: No such file or directory" in complaints


@posix
def test_without_a_place_for_it_signals_are_enough(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    from reference_server.__main__ import _open_channel
    from reference_server.control import posix as platform

    tmp_path.chmod(0o755)
    monkeypatch.setattr(platform, "_directories", lambda: iter([tmp_path]))
    assert _open_channel(load([]), 1, needed=False) is None
    assert [record.message for record in caplog.records] == [
        f"no control channel: control directory {tmp_path}: expected a directory of this user alone, of mode 0700"
    ]
    with pytest.raises(ControlError):
        _open_channel(load([]), 1, needed=True)
