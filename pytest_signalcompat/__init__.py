"""A conformance test for how a server stops. `pytest --signal-compat` runs it; see README.md and ARCHITECTURE.md.

The map of the package, in the order in which a run passes through it:
  plugin/        options, items, fixtures, summary (the only room that imports pytest)
  config.py      [tool.signalcompat] -> Server; tables.py is its shape, placeholders.py fills commands,
                 paths.py looks at those of requests
  engine.py      schedules cases and turns what was seen into a Result
  scenario.py    what a requirement is made of; scenarios/ is the catalogue, one file a family
  live/          a started server: its life, the requests to it, what is seen of its end
  supervisor/    the process that owns a server; one file an operating system
  facts.py       questions to an observation; checks.py and the families ask them
  verdict.py     from what was seen to an outcome; statuses.py knows exit statuses
  masking.py     takes secrets out of what was seen; timeline.py tells it in ten lines
  matrix.py      results, collected and stored; reporters/ turn them into text
  sync.py        what the fixtures hand to ordinary tests
  cli/           the command `signalcompat`
  model.py       the frozen data that all of these pass on; errors.py what can go wrong

What users import is listed below and loaded when it is first asked for: `from pytest_signalcompat import Server, Stop`.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from . import checks as checks
    from . import facts as facts
    from .errors import ConfigError as ConfigError
    from .errors import NotReady as NotReady
    from .errors import SignalCompatError as SignalCompatError
    from .errors import Unsupported as Unsupported
    from .live.server import LiveServer as LiveServer
    from .live.stage import Stage as Stage
    from .model import IN_FLIGHT as IN_FLIGHT
    from .model import KEEP_ALIVE as KEEP_ALIVE
    from .model import NEW_CONNECTION as NEW_CONNECTION
    from .model import STREAM as STREAM
    from .model import Exchange as Exchange
    from .model import Exit as Exit
    from .model import Failure as Failure
    from .model import Level as Level
    from .model import Marks as Marks
    from .model import Observation as Observation
    from .model import Outcome as Outcome
    from .model import Post as Post
    from .model import Reach as Reach
    from .model import Ready as Ready
    from .model import Result as Result
    from .model import Role as Role
    from .model import Routes as Routes
    from .model import Server as Server
    from .model import Stop as Stop
    from .model import StopCommand as StopCommand
    from .scenario import Case as Case
    from .scenario import Check as Check
    from .scenario import Need as Need
    from .scenario import Scenario as Scenario
    from .scenario import check as check
    from .sync import InFlight as InFlight
    from .sync import SignalServer as SignalServer

__version__ = "0.1.0"

_HOMES = {
    "errors": ("ConfigError", "NotReady", "SignalCompatError", "Unsupported"),
    "live.server": ("LiveServer",),
    "live.stage": ("Stage",),
    "model": (
        *("IN_FLIGHT", "KEEP_ALIVE", "NEW_CONNECTION", "STREAM", "Exchange", "Exit", "Failure", "Level", "Marks"),
        *("Observation", "Outcome", "Post", "Reach", "Ready", "Result", "Role", "Routes", "Server", "Stop"),
        "StopCommand",
    ),
    "scenario": ("Case", "Check", "Need", "Scenario", "check"),
    "sync": ("InFlight", "SignalServer"),
}
_MODULES = ("checks", "facts")
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}
__all__ = ["__version__", *_MODULES, *_HOME_OF]


def __getattr__(name: str) -> Any:
    """Loads a public name. Importing the package itself imports nothing but the standard library."""
    if name in _MODULES:
        return import_module(f".{name}", __name__)
    if name not in _HOME_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(f".{_HOME_OF[name]}", __name__), name)
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
