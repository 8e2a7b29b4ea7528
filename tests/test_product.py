"""tools/product: compares with the docstrings, and goes on where it was."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from .selection import HERE

ROOT = HERE.parent
DECLARED = "posix:\nwindows:\n"


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A copy whose docstrings may be changed."""
    for name in ("pytest_signalcompat", "tests", "tools"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    return tmp_path


def product(checkout: Path) -> tuple[int, str]:
    command = [sys.executable, checkout / "tools" / "product", "--keep", checkout / "kept", "good"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=checkout)
    assert done.stderr == ""
    return done.returncode, done.stdout


@pytest.mark.outside_lab
@pytest.mark.timeout(240)
def test_what_differs_is_told_and_run_again_and_what_agrees_is_not(checkout: Path) -> None:
    server, kept = checkout / "tests" / "servers" / "good.py", checkout / "kept" / "native" / "good.json"
    right = server.read_text(encoding="utf-8")
    server.write_text(right.replace(DECLARED, "posix: SC202\nwindows: SC202\n"), encoding="utf-8")
    code, said = product(checkout)
    assert code == 1
    assert "good: its docstring declares ['SC202']; different: ['SC202']" in said
    assert "SC202: passes" in said
    assert json.loads(kept.read_text(encoding="utf-8"))["differs"] == ["SC202"]

    server.write_text(right, encoding="utf-8")
    assert product(checkout)[0] == 0
    row = json.loads(kept.read_text(encoding="utf-8"))
    assert row["differs"] == []
    kept.write_text(json.dumps({**row, "seconds": 4321.0}), encoding="utf-8")
    code, said = product(checkout)
    assert code == 0
    assert "4321.0 s" in said, "what was kept"
