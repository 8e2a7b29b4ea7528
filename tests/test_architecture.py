"""The rules that keep the parts apart, read from the source."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import pytest_signalcompat

PACKAGE = Path(pytest_signalcompat.__file__).parent
ROOT = PACKAGE.parent
PLUGIN = PACKAGE / "plugin"
POSIX = ("posix", "subreaper", "session", "dispositions", "namespace", "pipe")
WINDOWS = ("windows", "job", "popen_windows")
PLATFORM_FILES = {  # the only ones that may ask which system they run on
    *(f"pytest_signalcompat/supervisor/{name}.py" for name in ("run", "starting", "protocol")),
    *(f"pytest_signalcompat/supervisor/{name}.py" for name in POSIX + WINDOWS),
    *(f"reference_server/{name}.py" for name in ("graceful", "processes", "service")),
    *(f"reference_server/control/{name}.py" for name in ("__init__", "posix", "windows")),
}
SOURCES = sorted(path for name in ("pytest_signalcompat", "reference_server") for path in (ROOT / name).rglob("*.py"))
OURS = [path for path in SOURCES if path.is_relative_to(PACKAGE)]
TESTS_SIDE = ("client", "starting", "popen_windows")
SUPERVISORS = sorted(path for path in (PACKAGE / "supervisor").glob("*.py") if path.stem not in TESTS_SIDE)


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def imports(path: Path) -> Iterator[str]:
    """Absolute module names, wherever in the file they are imported; "relative" for those of the package."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield "relative" if node.level else node.module or ""


def tops(path: Path) -> set[str]:
    return {name.partition(".")[0] for name in imports(path)}


def test_only_the_plugin_imports_pytest() -> None:
    users = [path for path in OURS if tops(path) & {"pytest", "_pytest"}]
    assert users and [name_of(path) for path in users if not path.is_relative_to(PLUGIN)] == []


def test_the_plugin_never_imports_the_server_it_ships_with() -> None:
    assert [name_of(path) for path in OURS if "reference_server" in tops(path)] == []


def test_the_reference_server_stands_alone() -> None:
    others = [path for path in SOURCES if path not in OURS]
    assert [name_of(path) for path in others if tops(path) & {"pytest", "pytest_signalcompat"}] == []


def asks_for_the_system(path: Path) -> bool:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        match node:
            case ast.Attribute(value=ast.Name(id=module), attr=name):
                found = (module, name)
            case ast.ImportFrom(module=str(module), names=[*_, ast.alias(name=name)]):
                found = (module, name)
            case _:
                continue
        if found in {("sys", "platform"), ("os", "name"), ("platform", "system")}:
            return True
    return False


def test_only_few_files_ask_which_system_they_run_on() -> None:
    assert {name_of(path) for path in SOURCES if asks_for_the_system(path)} - PLATFORM_FILES == set()


@pytest.mark.parametrize("path", SUPERVISORS, ids=lambda path: path.stem)
def test_a_supervisor_needs_the_standard_library_only(path: Path) -> None:
    """It is started by its path, without site-packages. psutil is asked for where nothing exact exists."""
    assert tops(path) - sys.stdlib_module_names - {"relative", "psutil"} == set()


def test_nothing_of_the_package_is_imported_before_it_is_needed() -> None:
    """What the plugin's import brings with it: its own files, and of pytest and the standard library nothing heavy."""
    code = (
        "import sys, pytest; before = set(sys.modules); import pytest_signalcompat.plugin;"
        " print(*set(sys.modules) - before)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    new = set(done.stdout.split())
    own = {f"pytest_signalcompat.plugin.{path.stem}" for path in PLUGIN.glob("*.py") if path.stem != "__init__"}
    assert own
    others = {name for name in new - own if name.partition(".")[0] not in sys.stdlib_module_names}
    assert others == {"pytest_signalcompat", "pytest_signalcompat.plugin"}
    assert {name.partition(".")[0] for name in new} & {"asyncio", "concurrent", "tomllib"} == set()


def hooks_called_by_name(path: Path) -> Iterator[str]:
    """`pytest_x(...)` and `self.pytest_x(...)`, but not `config.hook.pytest_x(...)`, which is pytest's own way."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        match node:
            case ast.Call(func=ast.Name(id=name)):
                pass
            case ast.Call(func=ast.Attribute(attr=name, value=owner)) if not ast.unparse(owner).endswith("hook"):
                pass
            case _:
                continue
        if name.startswith("pytest_"):
            yield f"{name_of(path)}:{node.lineno} {name}"


def test_only_pytest_calls_a_hook() -> None:
    assert [found for path in OURS for found in hooks_called_by_name(path)] == []
