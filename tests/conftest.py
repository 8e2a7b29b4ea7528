"""Where servers run in these tests: on this system, and on Linux also in the Windows Python of the lab."""

from __future__ import annotations

import ast
import os
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pytest_signalcompat.engine import Engine
from pytest_signalcompat.model import Marks, Post, Ready, Routes, Server
from pytest_signalcompat.supervisor.client import Launcher, native, wine

pytest_plugins = ["pytester"]

HERE = Path(__file__).parent
SERVERS = HERE / "servers"
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


def pytest_configure(config: pytest.Config) -> None:
    for name, reason in BY_NATURE.items():
        config.addinivalue_line("markers", f"{name}: {reason}")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    here = {
        "posix": sys.platform != "win32",
        "linux": sys.platform == "linux",
        "windows": sys.platform == "win32",
        "outside_lab": not _in_the_lab(),
    }
    for item in items:
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


def test_server(name: str, **changes: object) -> Server:
    """The description of tests/servers/NAME.py, with every ability declared."""
    fields: dict[str, object] = {
        "name": name,
        "command": (
            *("{python}", f"servers/{name}.py", "--port", "{port}", "--workers", "{workers}"),
            *("--loop", "{loop}", "--drain", "{drain}"),
        ),
        "cwd": str(HERE),
        "ready": Ready(http="/health"),
        "routes": Routes(
            slow="/slow?seconds={seconds}",
            stream="/stream?seconds={seconds}",
            post=Post(path="/predict", body='{"instances": [1, 2, 3]}'),
        ),
        "marks": Marks(started="^started pid=", stopped="^stopped pid="),
        "grace": 6.0,
        "drain": 1.0,
    }
    return Server(**{**fields, **changes})  # type: ignore[arg-type]


test_server.__test__ = False  # type: ignore[attr-defined]


@pytest.fixture(scope="session")
def describe() -> Callable[..., Server]:
    return test_server


def declared_failures(name: str) -> dict[str, set[str]]:
    """The codes a bad server fails, as its docstring says: {"posix": {...}, "windows": {...}}."""
    text = ast.get_docstring(ast.parse((SERVERS / f"{name}.py").read_text(encoding="utf-8"))) or ""
    found = dict(re.findall(r"^(posix|windows):(.*)$", text, re.MULTILINE))
    assert found.keys() == {"posix", "windows"}, f"{name}.py: its docstring must list the codes it fails"
    return {family: set(codes.split()) for family, codes in found.items()}
