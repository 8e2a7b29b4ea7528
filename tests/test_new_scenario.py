"""tools/new-scenario: in an old family and in a new one, all that is wrong afterwards is what has to be filled in."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from .selection import HERE

ROOT = HERE.parent
pytestmark = pytest.mark.outside_lab


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    for name in ("pytest_signalcompat", "tests", "tools"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    return tmp_path


def run(checkout: Path, *command: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(checkout), "PYTHONDONTWRITEBYTECODE": "1"}
    return subprocess.run(
        [sys.executable, *command], capture_output=True, text=True, cwd=checkout, env=environment, encoding="utf-8"
    )


@pytest.mark.parametrize(("code", "family"), [("SC302", "inflight"), ("SC602", "repeat"), ("SC505", "workers")])
def test_only_what_is_to_be_filled_in_is_wrong(code: str, family: str, checkout: Path) -> None:
    made = run(checkout, "tools/new-scenario", code, "a-new-slug", "--family", family, "--broken-by", "does_it_wrong")
    assert made.returncode == 0, made.stderr
    tests = ["tests/test_catalogue.py", "tests/test_explain.py", "tests/test_scenario.py"]
    done = run(checkout, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:xdist", *tests)
    wrong = [line.partition(" - ")[0] for line in done.stdout.splitlines() if line.startswith(("FAILED", "ERROR"))]
    assert wrong, done.stdout
    assert all(line.startswith("FAILED") for line in wrong), done.stdout
    hundred = code[:3]
    assert all(f"[{hundred}" in line for line in wrong), done.stdout
    assert "TODO" in done.stdout


def test_what_is_taken_is_refused(checkout: Path) -> None:
    for code, slug, family, broken_by in (
        ("SC301", "a-new-slug", "inflight", "does_it_wrong"),
        ("SC302", "inflight-completes", "inflight", "does_it_wrong"),
        ("SC302", "a-new-slug", "idle", "does_it_wrong"),
        ("SC302", "a-new-slug", "inflight", "good"),
    ):
        done = run(checkout, "tools/new-scenario", code, slug, "--family", family, "--broken-by", broken_by)
        assert done.returncode == 2, (code, slug, family, broken_by)
