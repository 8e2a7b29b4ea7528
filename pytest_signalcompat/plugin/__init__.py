"""The pytest plugin, wired together: pytest finds its hooks and fixtures here, by their names.

  hooks.py      hooks that a conftest.py may implement
  options.py    what the command line says, and the configuration it leads to
  target.py     where that configuration is
  session.py    a run with --signal-compat: which items there are, what is started ahead, the table at the end
  session_fixtures.py   what `usefixtures` names, wherever its conftest is
  items.py      one item a requirement, and how its outcome is shown
  fixtures.py   servers for ordinary tests, with or without --signal-compat
  running.py    the engine and the started servers of this process, and the end of both

Without `--signal-compat` it imports nothing but the standard library and pytest, and prints nothing.
"""

from __future__ import annotations

import pytest

from . import hooks, running
from .fixtures import signal_server, start_signal_server
from .items import MARKERS, pytest_report_teststatus
from .options import pytest_addoption
from .session import SignalCompat

__all__ = [
    "pytest_addhooks",
    "pytest_addoption",
    "pytest_configure",
    "pytest_report_teststatus",
    "pytest_unconfigure",
    "signal_server",
    "start_signal_server",
]


def pytest_addhooks(pluginmanager: pytest.PytestPluginManager) -> None:
    pluginmanager.add_hookspecs(hooks)


def pytest_configure(config: pytest.Config) -> None:
    for name, text in MARKERS.items():
        config.addinivalue_line("markers", f"{name}: {text}")
    if config.getoption("signal_compat"):
        config.pluginmanager.register(SignalCompat(config), "signalcompat-session")


def pytest_unconfigure(config: pytest.Config) -> None:
    running.end(config)
