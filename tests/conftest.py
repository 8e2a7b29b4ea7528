"""Where servers run in these tests: on this system, and on Linux also in the Windows Python of the lab."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pytest_signalcompat.engine import Engine
from pytest_signalcompat.model import Server
from pytest_signalcompat.supervisor.client import Launcher, native, wine

from .selection import SERVERS as SERVERS
from .selection import breaks as breaks
from .selection import codes_to_run as codes_to_run
from .selection import declared_failures as declared_failures
from .selection import described

pytest_plugins = ["pytester"]

LAB = Path(os.environ.get("WINELAB_HOME", Path.home() / ".cache" / "winelab"))
WINE_PYTHON = os.environ.get("SIGNALCOMPAT_WINE_PYTHON", str(LAB / "bin" / "python3.14"))
INSTALL_LAB = "no Windows Python under Wine: tools/winelab/winelab install"

# Tests that are about one system by nature. Everything else runs on every system, and in the lab.
BY_NATURE = {
    "posix": "sessions, signals and dispositions exist on POSIX only",
    "linux": "child subreapers and /proc exist on Linux only",
    "windows": "consoles and job objects exist on Windows only",
    "outside_lab": "run from Linux on the same Windows Python, by the wine launcher; Wine starts processes slowly",
}

# Files whose tests are marked `once`: what they are about differs little from Python to Python. So are the tests that
# are `outside_lab`. What stays is what Pythons did change: processes, signals, event loops. See tox.ini.
ONCE = {
    *(f"test_{name}" for name in ("architecture", "checks", "cli", "config", "matrix", "output", "plugin", "product")),
    *("test_masking", "test_reporters", "test_servers", "test_timeline"),
    *(f"test_reference_{name}" for name in ("clients", "control", "protocol", "service", "unlucky")),
}


def pytest_configure(config: pytest.Config) -> None:
    for name, reason in BY_NATURE.items():
        config.addinivalue_line("markers", f"{name}: {reason}")
    config.addinivalue_line("markers", "once: one Python is enough: see ONCE in tests/conftest.py")


@pytest.hookimpl(tryfirst=True)  # before -m selects
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    here = {
        "posix": sys.platform != "win32",
        "linux": sys.platform == "linux",
        "windows": sys.platform == "win32",
        "outside_lab": not _in_the_lab(),
    }
    for item in items:
        if item.path.stem in ONCE or item.get_closest_marker("outside_lab"):
            item.add_marker("once")
        for name, reason in BY_NATURE.items():
            if item.get_closest_marker(name) and not here[name]:
                item.add_marker(pytest.mark.skip(reason=reason))


def _in_the_lab() -> bool:
    """Whether this very process runs under Wine (its ntdll says so)."""
    if sys.platform != "win32":
        return False
    import ctypes

    return hasattr(ctypes.windll.ntdll, "wine_get_version")


def _launcher(name: str) -> Launcher:
    if name == "native":
        return native()
    if name not in PLACES:
        pytest.skip(f"SIGNALCOMPAT_TEST_PLACES leaves out {name}")
    if not os.access(WINE_PYTHON, os.X_OK):
        pytest.skip(INSTALL_LAB)
    return wine(WINE_PYTHON)


# Set SIGNALCOMPAT_TEST_PLACES=native to leave the lab out.
PLACES = os.environ.get("SIGNALCOMPAT_TEST_PLACES", "native wine" if sys.platform == "linux" else "native").split()


@pytest.fixture(scope="session", params=PLACES)
def launcher(request: pytest.FixtureRequest) -> Launcher:
    """Both platforms, where this machine has both."""
    return _launcher(request.param)


@pytest.fixture(scope="session")
def engine(launcher: Launcher) -> Iterator[Engine]:
    engine = Engine(launcher)
    yield engine
    engine.close()


@pytest.fixture(scope="session")
def family(launcher: Launcher) -> str:
    """posix or windows: the platform of the servers."""
    return "windows" if launcher.name == "wine" or sys.platform == "win32" else "posix"


@pytest.fixture(scope="session")
def describe() -> Callable[..., Server]:
    """The table of a server under tests/servers/, with changes."""
    return described
