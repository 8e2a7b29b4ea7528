"""The names that users import: listed here, loaded late, and the only ones that examples and documents use."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

import pytest_signalcompat

ROOT = Path(__file__).parent.parent
PUBLIC = {
    *("Case", "Check", "ConfigError", "Exchange", "Exit", "Failure", "IN_FLIGHT", "InFlight", "KEEP_ALIVE", "Level"),
    *("LiveServer", "Marks", "NEW_CONNECTION", "Need", "NotReady", "Observation", "Outcome", "Post", "Reach", "Ready"),
    *("Result", "Role", "Routes", "STREAM", "Scenario", "Server", "SignalCompatError", "SignalServer", "Stage", "Stop"),
    *("StopCommand", "Unsupported", "__version__", "check", "checks", "facts"),
}


def test_the_public_names() -> None:
    assert set(pytest_signalcompat.__all__) == PUBLIC
    assert set(dir(pytest_signalcompat)) == PUBLIC
    for name in PUBLIC:
        assert getattr(pytest_signalcompat, name) is not None


def test_type_checkers_see_the_same_names() -> None:
    tree = ast.parse(Path(pytest_signalcompat.__file__).read_text(encoding="utf-8"))
    block = next(node for node in tree.body if isinstance(node, ast.If))
    told = {alias.asname for node in block.body if isinstance(node, ast.ImportFrom) for alias in node.names}
    assert told == PUBLIC - {"__version__"}


def test_they_are_loaded_late() -> None:
    code = (
        "import sys, pytest_signalcompat; before = set(sys.modules); pytest_signalcompat.Stop;"
        " print(*sorted(name for name in set(sys.modules) - before if name.startswith('pytest_signalcompat')))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout.split() == ["pytest_signalcompat.model"]


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="module 'pytest_signalcompat' has no attribute 'Sever'"):
        pytest_signalcompat.Sever  # noqa: B018


def test_examples_and_documents_use_public_names_only() -> None:
    sources = {path: path.read_text(encoding="utf-8") for path in (ROOT / "examples").rglob("*.py")}
    for path in ROOT.glob("*.md"):
        blocks = re.findall(r"^```python\n(.*?)^```", path.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)
        sources |= {path.with_suffix(f".{number}"): block for number, block in enumerate(blocks)}
    for path, text in sources.items():
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("pytest_signalcompat"):
                assert node.module == "pytest_signalcompat", path
                assert {alias.name for alias in node.names} <= PUBLIC, path
