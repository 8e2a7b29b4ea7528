"""The reference server at unlucky moments: nothing that goes wrong may lose a stop, double it or hide how it ended."""

from __future__ import annotations

import asyncio
import contextlib
import math
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

pytest.importorskip("fastapi", reason="needs the extra `reference`")

from reference_server import control, graceful, processes, signals
from reference_server.control import client
from reference_server.graceful import EXIT_CUT, EXIT_INTERRUPTED, EXIT_OK, Lifecycle
from reference_server.models import Parameters, Tensors
from reference_server.models.repository import Repository

from .test_reference_control import await_in_flight
from .test_reference_server import ROOT, Running, server

pytestmark = pytest.mark.timeout(240)  # a process takes seconds to start in the lab
posix = pytest.mark.posix


@posix
@pytest.mark.parametrize("count", [1, 2])
def test_ctrl_c_in_a_drain_is_no_graceful_end(count: int) -> None:
    with server("--signals", "none", workers=count) as running:
        running.begin("/slow?seconds=30")
        await_in_flight(control.default_address(running.port), 1)
        with Running("-m", "reference_server", "drain", "--port", str(running.port), "--wait") as waiting:
            waiting.wait_for('"draining"')
            running.stop(signal.SIGINT)
            code, output = running.end()
            assert waiting.process.wait() == code == EXIT_INTERRUPTED
        assert output.count("stopped pid=") < count, "the kernel may have given one worker no connection"


@posix
def test_ctrl_c_waits_for_no_thread_of_a_model() -> None:
    with server("--signals", "none") as running:
        running.begin("/blocking?seconds=30")
        await_in_flight(control.default_address(running.port), 1)
        asked = running.stop(signal.SIGINT)
        assert running.end()[0] == EXIT_INTERRUPTED
        assert time.monotonic() - asked < 5


def test_a_model_that_fails_to_unload_keeps_no_other_loaded(caplog: pytest.LogCaptureFixture) -> None:
    gone: list[str] = []

    class Model:
        def load(self) -> None: ...

        def predict(self, inputs: Tensors, parameters: Parameters) -> Tensors:
            return inputs

        def unload(self) -> None:
            gone.append("unloaded")
            if len(gone) == 1:
                raise RuntimeError("busy")

    async def life() -> None:
        await repository.load_all()
        await repository.unload_all()

    with ThreadPoolExecutor(1) as executor:
        repository = Repository({"one": Model(), "two": Model()}, executor)
        asyncio.run(life())
    assert len(gone) == 2
    assert [record.message for record in caplog.records] == ["model 'one' failed to unload: RuntimeError: busy"]


@pytest.mark.parametrize("options", [["--drain-seconds", "0"], []])
def test_where_no_request_was_cut_the_exit_code_says_so(options: list[str]) -> None:
    with server(*options) as running:
        assert client.call(control.default_address(running.port), "stop" if options else "force") == EXIT_OK
        code, output = running.end()
        assert (code, "cut" in output.replace("are cut now", "")) == (EXIT_OK, False)


def force(address: str) -> None:
    with pytest.raises(client.Failed):  # the thread that would answer is blocked, too
        client.call(address, "force")


@posix
def test_a_log_that_nobody_reads_holds_up_no_stop() -> None:
    reader, writer = os.pipe()
    command = [sys.executable, "-m", "reference_server", "--port", "0", "--drain-seconds", "30", "--test-routes"]
    with contextlib.ExitStack() as stack:
        stack.callback(os.close, writer)
        log = stack.enter_context(os.fdopen(reader))
        process = stack.enter_context(subprocess.Popen(command, cwd=ROOT, stderr=writer, stdin=subprocess.DEVNULL))
        stack.callback(process.kill)
        said = ""
        while "ready pid=" not in said:
            said += log.readline()
        found = re.search(r":(\d+)\n", said)
        assert found
        os.set_blocking(writer, False)
        with contextlib.suppress(BlockingIOError):
            while True:
                os.write(writer, b"x" * 1024)
        os.set_blocking(writer, True)
        with socket.create_connection(("127.0.0.1", int(found[1]))) as connection:
            connection.sendall(b"GET /slow?seconds=100 HTTP/1.1\r\nHost: x\r\n\r\n")
            address = control.default_address(int(found[1]))
            await_in_flight(address, 1)
            forcing = threading.Thread(target=force, args=(address,))
            forcing.start()
            assert process.wait(8) == EXIT_CUT
            forcing.join()


@pytest.mark.skipif(sys.platform != "linux", reason="prlimit")
def test_a_leader_without_descriptors_goes_on() -> None:
    import resource

    with server(workers=2) as running:
        leader = running.process.pid
        victim = int(re.findall(r"ready pid=(\d+)", "\n".join(running.lines))[0])
        before = resource.prlimit(leader, resource.RLIMIT_NOFILE)
        resource.prlimit(leader, resource.RLIMIT_NOFILE, (0, before[1]))
        os.kill(victim, signal.SIGKILL)
        running.wait_for("cannot start a worker")
        resource.prlimit(leader, resource.RLIMIT_NOFILE, before)
        running.wait_for("ready pid=")
        running.stop()
        assert running.end()[0] == EXIT_OK


def test_a_listener_handed_over_is_for_no_child_of_a_model() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs, graceful.bind("127.0.0.1", 0) as listener:
        listener.listen()
        processes.hand_over(listener, ours, os.getpid())
        with processes.take_over(theirs) as taken:
            assert taken.getsockname() == listener.getsockname()
            assert not taken.get_inheritable()


@posix
def test_a_signal_while_the_host_gets_its_signals_back(monkeypatch: pytest.MonkeyPatch) -> None:
    heard: list[int] = []
    set_wakeup_fd = signal.set_wakeup_fd

    def unlucky(descriptor: int, **options: bool) -> int:
        signal.raise_signal(signal.SIGUSR2)
        before = set_wakeup_fd(descriptor, **options)
        signal.raise_signal(signal.SIGUSR1)
        return before

    handlers = {
        number: signal.signal(number, lambda got, _: heard.append(got)) for number in (signal.SIGUSR1, signal.SIGUSR2)
    }
    try:
        with signals.SignalWatch(["SIGUSR1", "SIGUSR2"]) as watch:
            monkeypatch.setattr(signal, "set_wakeup_fd", unlucky)
            watch.narrow(())
            monkeypatch.undo()
        assert sorted(heard) == [signal.SIGUSR1, signal.SIGUSR2]
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)


def test_a_listener_whose_loop_is_closed_keeps_no_stop_from_the_others() -> None:
    loop = asyncio.new_event_loop()
    heard: list[str] = []
    lifecycle = Lifecycle()
    lifecycle.listen(lambda: loop.call_soon_threadsafe(heard.append, "never"))
    lifecycle.listen(lambda: heard.append("told"))
    loop.close()
    lifecycle.request_stop("the test")
    assert heard == ["told"]
    assert lifecycle.seconds_left() < math.inf


STUBBORN = """
import threading
from reference_server.graceful import Lifecycle, Policy

lifecycle = Lifecycle(Policy(drain_seconds=0.1), watchdog_seconds=0.1)
lifecycle.at_last_resort(lambda: 1 / 0)
lifecycle.request_stop("the test")
threading.Event().wait(10)
"""


def test_the_limit_holds_where_a_last_resort_fails() -> None:
    with Running("-c", STUBBORN) as running:
        assert running.process.wait(20) == EXIT_CUT


THREADLESS = """
import resource, sys, threading
from reference_server import logs
from reference_server.graceful import EXIT_OK, Lifecycle, Policy

logs.configure()
lifecycle = Lifecycle(Policy(drain_seconds=0.2), watchdog_seconds=0.2)
lifecycle.mark_ready()
with open("/proc/self/statm") as file:
    size = int(file.read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (size, size))
try:
    threading.Thread(target=print).start()
except RuntimeError:
    print("no threads", flush=True)
lifecycle.request_stop("the test")
threading.Event().wait(20)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="RLIMIT_AS")
def test_the_limit_holds_where_no_thread_can_be_started() -> None:
    with Running("-c", THREADLESS) as running:
        running.wait_for("no threads")
        asked = time.monotonic()
        assert running.process.wait(15) == EXIT_CUT
        assert time.monotonic() - asked < 5
