"""How this service stops, beyond what `pytest --signal-compat` tests of every server."""

from collections.abc import Callable

from pytest_signalcompat import SignalServer, Stop


def test_a_prediction_in_flight_is_answered(signal_server: SignalServer) -> None:
    assert signal_server.request("POST", "/predict", json=[1, 2]).json() == {"predictions": [2, 4]}
    held = signal_server.in_flight("/predict", body="[3]", hold=True)
    signal_server.stop()
    held.release()
    seen = signal_server.wait()
    assert held.result().status == 200
    assert seen.exit is not None
    assert seen.survivors == ()
    assert "model unloaded" in signal_server.output


def test_one_instance_stops_while_another_serves(start_signal_server: Callable[..., SignalServer]) -> None:
    old, new = start_signal_server(), start_signal_server()
    slow = old.in_flight("/slow?seconds=1")
    old.stop()
    assert new.request("GET", "/healthz").is_success
    assert slow.result().status == 200


def test_ctrl_c_cuts_a_long_stream_at_the_drain_limit(start_signal_server: Callable[..., SignalServer]) -> None:
    server = start_signal_server("api", drain=1)
    stream = server.in_flight("/stream?seconds=60")
    server.stop(Stop.INTERRUPT)
    assert server.wait().exit is not None
    assert stream.result().end == "truncated"
