"""The two fixtures: servers that are started for an ordinary test and end with it. They need no --signal-compat."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import pytest

from . import options, running

if TYPE_CHECKING:
    from ..model import Server
    from ..sync import SignalServer


@pytest.fixture
def start_signal_server(request: pytest.FixtureRequest) -> Iterator[Callable[..., SignalServer]]:
    """A factory: `start_signal_server()` starts the first configured server, `start_signal_server("api")` that one,
    `start_signal_server(server)` a `Server` of your own. Keywords replace its fields. Ends them all with the test."""
    import msgspec

    from ..sync import SignalServer

    config = request.config
    mine: list[SignalServer] = []
    everyone = running.started(config)

    def start(server: Server | str | None = None, *, wait_ready: bool = True, **changes: Any) -> SignalServer:
        if server is None or isinstance(server, str):
            known = {one.name: one for one in options.declared_servers(config)}
            if server is not None and server not in known:
                raise pytest.UsageError(f"start_signal_server: expected one of {', '.join(known)}; found {server!r}")
            server = known[server or next(iter(known))]
        live = SignalServer(running.engine(config), msgspec.structs.replace(server, **changes), wait_ready)
        mine.append(live)
        everyone.append(live)
        return live

    yield start
    for live in reversed(mine):
        live.close()
        everyone.remove(live)


@pytest.fixture
def signal_server(start_signal_server: Callable[..., SignalServer]) -> SignalServer:
    """The first configured server, started and ready."""
    return start_signal_server()
