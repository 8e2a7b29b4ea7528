"""The console script, as a program of its own."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import pytest_signalcompat
from pytest_signalcompat import cli
from pytest_signalcompat.cli import explain, init
from pytest_signalcompat.config import read
from pytest_signalcompat.explain import Page, page
from pytest_signalcompat.scenarios import CATALOGUE

ROOT = Path(pytest_signalcompat.__file__).parent.parent


def signalcompat(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    code = f"import sys; sys.path.insert(0, {str(ROOT)!r}); from pytest_signalcompat.cli import main; sys.exit(main())"
    command = [sys.executable, "-c", code, *arguments]
    return subprocess.run(command, capture_output=True, text=True, encoding="utf-8", cwd=cwd, timeout=60)


def test_list_has_a_line_for_each_requirement(tmp_path: Path) -> None:
    done = signalcompat("list", cwd=tmp_path)
    lines = done.stdout.splitlines()
    assert (done.returncode, len(lines)) == (0, len(CATALOGUE))
    assert "SC203  SHOULD  quit-idle                   asked to quit while idle, it is gone in time" in lines


@pytest.mark.parametrize("name", ["SC701", "sc701", "overlong-request-bounded"])
def test_explain_tells_one_requirement(name: str, tmp_path: Path) -> None:
    done = signalcompat("explain", name, cwd=tmp_path)
    assert done.returncode == 0
    lines = done.stdout.splitlines()
    assert lines[:5] == [
        "SC701 overlong-request-bounded (MUST)",
        "  required  a request longer than the declared drain limit is cut at that limit, and the server",
        "            exits",
        "",
        "Why",
    ]
    headings = [line for line in lines[1:] if line and not line.startswith(" ")]
    assert headings[:4] == ["Why", "What is checked", "Evidence", "Fix: any server"]
    assert headings[4:] == [f"Fix: {name}" for name in list(page_of("SC701").fixes)[1:]]
    assert "      uvicorn app:app --timeout-graceful-shutdown 20" in lines
    assert lines[-4:] == [
        "",
        "  declare   drain, the server's own drain limit in seconds",
        "  declare   routes.slow or routes.post",
        "  checks    becomes-ready, was-asked, exits-in-time, ends-by-itself, cut-at-the-limit, nothing-left",
    ]


def page_of(code: str) -> Page:
    found = page(code)
    assert found is not None
    return found


FIX = """\
SC203 quit-idle (SHOULD): fix for gunicorn

  gunicorn passes: SIGQUIT is its quick shutdown. Requests in flight are cut by it; SIGTERM is the
  graceful one.
"""


@pytest.mark.parametrize("server", ["gunicorn", "Gunicorn"])
def test_explain_tells_one_fix(server: str, tmp_path: Path) -> None:
    done = signalcompat("explain", "SC203", "--server", server, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (0, FIX)


def test_explain_of_a_server_without_a_fix_names_those_that_have_one(tmp_path: Path) -> None:
    done = signalcompat("explain", "SC501", "--server", "nginx", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    known = "any server, uvicorn, hypercorn, gunicorn, granian, kserve"
    assert done.stderr == f"signalcompat explain: expected one of {known}; found nginx\n"


def test_explain_says_where_a_requirement_is_tested(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["explain", "SC901"]) == 0
    assert "\n  only on   windows\n" in capsys.readouterr().out


def test_every_requirement_can_be_explained(capsys: pytest.CaptureFixture[str]) -> None:
    for scenario in CATALOGUE:
        assert cli.main(["explain", scenario.code]) == 0
    assert all(len(line) <= explain.WIDTH for line in capsys.readouterr().out.splitlines())


def test_explain_of_an_unknown_code_names_the_known_ones(tmp_path: Path) -> None:
    done = signalcompat("explain", "SC999", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("signalcompat explain: expected one of SC101, SC201, ")
    assert done.stderr.endswith("; found SC999\n")


def test_the_package_can_be_run(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "pytest_signalcompat", "list"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, env=environment, timeout=60)
    assert (done.returncode, done.stdout) == (0, signalcompat("list", cwd=tmp_path).stdout)


def test_without_a_command_the_commands_are_told(tmp_path: Path) -> None:
    done = signalcompat(cwd=tmp_path)
    assert done.returncode == 2
    assert "the following arguments are required: COMMAND" in done.stderr


@pytest.mark.parametrize("installed", [*init.PROGRAMS, None])
def test_init_prints_a_table_that_can_be_read(
    installed: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: name if name == installed else None)
    assert cli.main(["init"]) == 0
    file = tmp_path / "pyproject.toml"
    file.write_text(capsys.readouterr().out, encoding="utf-8")
    found = read(file)
    assert found is not None
    (server,) = found.servers
    assert server.preset == installed
    assert server.marks.stopped is not None, "the shutdown could not be seen"
    assert ("{drain}" in " ".join(server.command)) == (installed is not None)


def test_every_line_of_the_table_may_be_uncommented(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: name if name == "uvicorn" else None)
    file = tmp_path / "pyproject.toml"
    file.write_text(re.sub(r"^# (?=[a-z.]+ = )", "", init.table(), flags=re.MULTILINE), encoding="utf-8")
    found = read(file)
    assert found is not None
    routes = found.servers[0].routes
    assert routes.slow and routes.stream and routes.post


def test_init_writes_nothing_unless_asked(tmp_path: Path) -> None:
    done = signalcompat("init", cwd=tmp_path)
    assert done.stdout.startswith("[tool.signalcompat]\n")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("before", [None, '[project]\nname = "app"\n', '[project]\nname = "app"'])
def test_init_write_appends_to_the_file(before: str | None, tmp_path: Path) -> None:
    file = tmp_path / "pyproject.toml"
    if before is not None:
        file.write_text(before, encoding="utf-8")
    done = signalcompat("init", "--write", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    text = file.read_text(encoding="utf-8")
    assert text.startswith((before or "").rstrip("\n") + ("\n\n" if before else "") + "[tool.signalcompat]\n")
    assert read(file) is not None


def test_init_write_changes_no_table_of_yours(tmp_path: Path) -> None:
    file = tmp_path / "pyproject.toml"
    mine = '[tool.signalcompat.servers.api]\ncommand = ["server", "{port}"]\n'
    file.write_text(mine, encoding="utf-8")
    done = signalcompat("init", "--write", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (1, "")
    assert "expected pyproject.toml without [tool.signalcompat], found one" in done.stderr
    assert file.read_text(encoding="utf-8") == mine
