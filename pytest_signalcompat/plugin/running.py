"""What runs on behalf of this pytest process: one engine, the servers that fixtures started; and the end of both."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from . import options

if TYPE_CHECKING:
    from ..engine import Engine
    from ..sync import SignalServer

ENGINE = pytest.StashKey["Engine"]()
STARTED = pytest.StashKey["list[SignalServer]"]()


def engine(config: pytest.Config) -> Engine:
    """The one engine of this process, made when first needed."""
    found = config.stash.get(ENGINE, None)
    if found is None:
        from ..engine import Engine

        found = config.stash[ENGINE] = Engine(options.launcher(config), options.jobs(config))
    return found


def started(config: pytest.Config) -> list[SignalServer]:
    """The servers that fixtures have started and not yet ended: the fixtures keep the list."""
    return config.stash.setdefault(STARTED, [])


def end(config: pytest.Config) -> None:
    """Ends all of it: started servers, scenarios under way, the engine. Safe to call twice."""
    for live in config.stash.get(STARTED, []):
        live.close()
    found = config.stash.get(ENGINE, None)
    if found is not None:
        found.close()
