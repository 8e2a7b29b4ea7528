"""pytest with the plugin, as a user runs it: in a process of its own, with real servers."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import textwrap
import time
import xml.etree.ElementTree as ET
from collections.abc import Callable, Iterable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import psutil
import pytest

from pytest_signalcompat.scenarios import CATALOGUE

SERVERS = Path(__file__).parent / "servers"
PLUGIN = "pytest_signalcompat.plugin"
PLUGIN_FILES = ("hooks", "options", "target", "session", "items", "fixtures", "session_fixtures", "running")
LIMIT = 60  # seconds that a scenario waits which is to be cut short
CLEARED_WITHIN = 5.0  # seconds from the end of pytest to the end of everything it started


def table(name: str, program: str = "good", **more: str) -> str:
    """A server's table; `more` are further keys, as TOML text."""
    command = ("{python}", (SERVERS / f"{program}.py").as_posix(), "--port", "{port}", "--drain", "{drain}")
    keys = {
        "command": json.dumps(command),
        "ready": '{ http = "/health" }',
        "drain": "1",
        "routes": '{ slow = "/slow?seconds={seconds}" }',
        "marks": '{ stopped = "^stopped pid=" }',
        **more,
    }
    return f"[tool.signalcompat.servers.{name}]\n" + "".join(f"{key} = {text}\n" for key, text in keys.items())


API = "[tool.signalcompat]\ngrace = 8\n" + table("api")

# Scenarios of a user's own: what the catalogue has none for.
CONFTEST = f"""
import asyncio
from pathlib import Path
from pytest_signalcompat import engine
from pytest_signalcompat import Check, Failure, Level, Scenario

engine.BUSY = 0.0  # what is late here is late on a machine that is busy

def times(name):
    "How often this was called, over all processes."
    with Path(name).open("a") as file:
        file.write("x")
    return Path(name).stat().st_size

async def ready(stage):
    await stage.ready(settle=0)

async def waits(stage):
    await stage.ready(settle=0)
    await asyncio.sleep({LIMIT})

async def waits_for_two(stage):
    await stage.ready(settle=0)
    while len(list(Path().glob("pid-*"))) < 2:
        await asyncio.sleep(0.05)

async def breaks(stage):
    await stage.ready(settle=0)
    raise LookupError("a scenario's own mistake")

def bad(**more):
    return Failure(expected="good", actual="bad", **more)

def first_late(server, seen):
    return bad(timing=True) if times("late") == 1 else None

def first_bad(server, seen):
    return bad() if times("bad") == 1 else None

def always_bad(server, seen):
    times("always")
    return bad()

def scenario(code, slug, act, *judges, level=Level.MUST):
    checks = tuple(Check(id="bad", judge=judge) for judge in judges or (lambda server, seen: None,))
    return Scenario(code=code, slug=slug, level=level, requirement=slug, act=act, checks=checks)

def pytest_signalcompat_scenarios(config):
    return [
        scenario("X001", "waits", waits),
        scenario("X002", "fails", waits_for_two, always_bad),
        scenario("X003", "breaks", breaks),
        scenario("X004", "weak", ready, always_bad, level=Level.SHOULD),
        scenario("X005", "late", ready, first_late),
        scenario("X006", "always-late", ready, lambda server, seen: bad(timing=True)),
        scenario("X007", "unproven", ready, lambda server, seen: bad(unproven=True), level=Level.SHOULD),
        scenario("X008", "bad-once", ready, first_bad),
        scenario("X009", "bad", ready, always_bad),
    ]
"""

# A server that tells which processes there are: its own and its supervisor's.
TRACED = """
import http.server, os, pathlib, sys

class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()

pathlib.Path(f"pid-{os.getpid()}").write_text(str(os.getppid()))
http.server.ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
"""

Run = Callable[..., pytest.RunResult]


@pytest.fixture
def run(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> Run:
    """pytest in a process of its own; with --signal-compat unless `on` is false."""
    for name in ("PYTEST_ADDOPTS", "PYTEST_XDIST_WORKER", "PYTEST_XDIST_WORKER_COUNT", "PYTEST_XDIST_TESTRUNUID"):
        monkeypatch.delenv(name, raising=False)

    def run(*arguments: str, on: bool = True) -> pytest.RunResult:
        return pytester.runpytest_subprocess(*(["--signal-compat"] if on else []), *arguments, timeout=100)

    return run


@pytest.fixture
def dry_run(run: Run, pytester: pytest.Pytester) -> Run:
    """In this process, which is quicker: for what starts no server. `run` has cleaned the environment."""

    def dry_run(*arguments: str) -> pytest.RunResult:
        return pytester.runpytest_inprocess("--signal-compat", *arguments)

    return dry_run


@pytest.fixture
def project(pytester: pytest.Pytester) -> Callable[..., Path]:
    """Writes pyproject.toml, and more files by name."""

    def project(text: str = API, conftest: str | None = None, **tests: str) -> Path:
        (pytester.path / "pyproject.toml").write_text(text, encoding="utf-8")
        if conftest is not None:
            pytester.makeconftest(conftest)
        if tests:
            pytester.makepyfile(**tests)
        return pytester.path

    return project


def ids(result: pytest.RunResult) -> list[str]:
    """What --co -q listed."""
    return [line for line in result.outlines if "::" in line]


def codes(result: pytest.RunResult) -> list[str]:
    return [line.rpartition("::")[2] for line in ids(result)]


def report(path: Path) -> list[dict[str, Any]]:
    results: list[dict[str, Any]] = json.loads((path / "out.json").read_text(encoding="utf-8"))["results"]
    return results


# ---------------------------------------------------------------- without --signal-compat


def test_off_it_says_nothing_and_loads_nothing(
    run: Run, project: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Compared with pytest alone, which imports asyncio on Python 3.14."""
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    test = """
        import sys
        from pathlib import Path
        def test_modules():
            with Path("modules").open("a") as file:
                print(*sys.modules, file=file)
        """
    path = project(test_modules=test)
    run(on=False).assert_outcomes(passed=1)
    result = run("-p", PLUGIN, on=False)
    result.assert_outcomes(passed=1)
    assert "signal" not in result.stdout.str() + result.stderr.str()
    without, with_it = (set(line.split()) for line in (path / "modules").read_text().splitlines())
    more = with_it - without
    assert {name for name in more if name.partition(".")[0] not in sys.stdlib_module_names} == {
        f"pytest_signalcompat{name}"
        for name in ("", ".reporters", ".plugin", *(f".plugin.{file}" for file in PLUGIN_FILES))
    }
    assert not more & {"asyncio", "concurrent.futures", "tomllib", "subprocess"}


def test_off_the_configuration_is_not_even_read(run: Run, project: Callable[..., Path]) -> None:
    project("[tool.signalcompat]\nnonsense = true\n", test_it="def test_it(): pass")
    run(on=False).assert_outcomes(passed=1)


# ---------------------------------------------------------------- items


def test_items_are_children_of_the_configuration_file(dry_run: Run, project: Callable[..., Path]) -> None:
    project(API + table("other"))
    expected = [f"pyproject.toml::{server}::{scenario.code}" for server in ("api", "other") for scenario in CATALOGUE]
    assert ids(dry_run("--co", "-q")) == expected


CASES = """
from msgspec.structs import replace
from pytest_signalcompat import Case, Level, Scenario, checks

def cases(server):
    return tuple(Case(id=id, server=replace(server, workers=2)) for id in ("selector-2", "proactor-2"))

async def act(stage):
    await stage.ready(settle=0)

def pytest_signalcompat_scenarios(config):
    options = {"level": Level.MUST, "requirement": "x", "act": act, "checks": (checks.became_ready,)}
    return [Scenario(code="X301", slug="x", cases=cases, **options)]
"""


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("pyproject.toml::api::X301[selector-2]",), ["X301[selector-2]"]),
        (("pyproject.toml::api::X301",), ["X301[selector-2]", "X301[proactor-2]"]),
        (("-k", "SC204 or X301"), ["SC204", "X301[selector-2]", "X301[proactor-2]"]),
        (("-k", "proactor"), ["X301[proactor-2]"]),
    ],
    ids=" ".join,
)
def test_a_case_with_an_id_is_an_item(
    arguments: tuple[str, ...], expected: list[str], run: Run, project: Callable[..., Path]
) -> None:
    project(conftest=CASES)
    assert codes(run("--co", "-q", *arguments)) == expected


def test_collecting_starts_nothing(dry_run: Run, project: Callable[..., Path]) -> None:
    command = """["{python}", "-c", "open('started', 'w')", "{port}"]"""
    path = project("[tool.signalcompat]\n" + table("api", command=command))
    assert dry_run("--co").ret == 0
    assert not (path / "started").exists()


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("pyproject.toml::api::SC301",), ["SC301"]),
        (("pyproject.toml::api",), [scenario.code for scenario in CATALOGUE]),
        (("-k", "SC204 or SC301"), ["SC204", "SC301"]),
        (("-k", "keepalive-idle"), ["SC204"]),
        (("-k", "api and quit-idle"), ["SC203"]),
        (("-m", "should"), [s.code for s in CATALOGUE if s.level == "should"]),
        (("-m", "must and signal_compat"), [s.code for s in CATALOGUE if s.level == "must"]),
        (("-m", "may"), []),
        (("--signal-compat-server", "api", "-k", "SC101"), ["SC101"]),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else None,
)
def test_selection(arguments: tuple[str, ...], expected: list[str], dry_run: Run, project: Callable[..., Path]) -> None:
    project()
    assert codes(dry_run("--co", "-q", *arguments)) == expected


@pytest.mark.parametrize(
    "arguments",
    [(), (".",), ("tests",), ("tests", "pyproject.toml"), ("pyproject.toml", "tests")],
    ids=" ".join,
)
def test_no_argument_makes_an_item_run_twice(
    arguments: tuple[str, ...], dry_run: Run, project: Callable[..., Path]
) -> None:
    path = project()
    (path / "tests").mkdir()
    (path / "tests" / "test_it.py").write_text("def test_it(): pass\n", encoding="utf-8")
    found = ids(dry_run("--co", "-q", *arguments))
    assert sorted(found) == sorted(
        {"tests/test_it.py::test_it", *(f"pyproject.toml::api::{s.code}" for s in CATALOGUE)}
    )


def test_a_file_in_a_directory_that_is_not_entered(dry_run: Run, project: Callable[..., Path]) -> None:
    path = project("", test_it="def test_it(): pass")
    (path / ".ci").mkdir()
    (path / ".ci" / "stops.toml").write_text(API, encoding="utf-8")
    for more in ((), (".",)):
        found = ids(dry_run("--co", "-q", "--signal-compat-config", ".ci/stops.toml", "-k", "SC101 or test_it", *more))
        assert found == ["test_it.py::test_it", ".ci/stops.toml::api::SC101"]


def test_from_a_directory_below(run: Run, project: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> None:
    path = project('[tool.pytest.ini_options]\ntestpaths = ["."]\n' + API)
    (path / "below").mkdir()
    (path / "below" / "test_it.py").write_text("def test_it(): pass\n", encoding="utf-8")
    monkeypatch.chdir(path / "below")
    result = run("-k", "SC101 or test_it", "--signal-compat-report", "out.json")
    result.assert_outcomes(passed=2, deselected=len(CATALOGUE) - 1)
    assert [entry["code"] for entry in report(path / "below")] == ["SC101"]


def test_another_file_may_hold_the_configuration(dry_run: Run, project: Callable[..., Path]) -> None:
    path = project("[project]\nname = 'app'\n")
    (path / "stops.toml").write_text(API, encoding="utf-8")
    found = ids(dry_run("--co", "-q", "--signal-compat-config", "stops.toml"))
    assert found == [f"stops.toml::api::{scenario.code}" for scenario in CATALOGUE]


# ---------------------------------------------------------------- which configuration


@pytest.fixture
def monorepo(project: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> Path:
    """A service with a table of its own, below a root without one."""
    root = project("[tool.pytest.ini_options]\ntestpaths = ['services/one/tests']\n")
    tests = root / "services" / "one" / "tests"
    tests.mkdir(parents=True)
    (tests / "test_it.py").write_text("def test_it(signal_server): pass\n", encoding="utf-8")
    (tests.parent / "pyproject.toml").write_text(API.replace("servers.api", "servers.service"), encoding="utf-8")
    return root


@pytest.mark.parametrize(
    ("place", "arguments"),
    [
        ("services/one", ()),
        ("services/one", ("tests",)),
        ("services/one", ("--rootdir", ".")),
        ("services/one/tests", ()),
        (".", ()),
        (".", ("services/one/tests/test_it.py",)),
        (".", ("services/one",)),
        (".", ("services/one/pyproject.toml",)),
        (".", ("services/one/pyproject.toml::service::SC101",)),
        (".", ("--signal-compat-config", "services/one/pyproject.toml")),
        (".", ("--signal-compat-config", "services/one/pyproject.toml", "services/one/pyproject.toml")),
        (".", ("-c", "services/one/pyproject.toml")),
        (".", ("--rootdir", "services/one")),
        ("services", ("../services/one/tests",)),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else value,
)
def test_a_service_is_tested_by_its_own_table(
    place: str, arguments: tuple[str, ...], run: Run, monorepo: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(monorepo / place)
    result = run("--co", "-q", "-k", "SC101", *arguments)
    assert [name.partition("pyproject.toml")[2] for name in ids(result)] == ["::service::SC101"]


def test_a_table_above_the_rootdir_is_found_up_to_the_whole_project(
    run: Run, project: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    root = project()
    below = root / "services" / "one"
    below.mkdir(parents=True)
    (below / "pyproject.toml").write_text("[tool.pytest.ini_options]\n", encoding="utf-8")
    monkeypatch.chdir(below)
    result = run("--co", "-k", "SC101")
    result.stdout.fnmatch_lines([f"signal-compat: configuration {root / 'pyproject.toml'}", "signal-compat: api *"])
    (below.parent / ".git").mkdir()
    (below / "test_it.py").write_text("def test_it(signal_server): pass\n", encoding="utf-8")
    result = run(on=False)
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines([f"*expected a [[]tool.signalcompat] table in pyproject.toml of {below}, or of a dir*"])


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("a.toml", "b.toml"), "expected one configuration file, found *a.toml (argument), *b.toml (argument)"),
        (
            ("--signal-compat-config", "a.toml", "b.toml"),
            "expected one configuration file, found *a.toml (--signal-compat-config), *b.toml (argument)",
        ),
        (("pyproject.toml",), "*pyproject.toml: expected a [[]tool.signalcompat] table, found none"),
        (("tests",), "expected a [[]tool.signalcompat] table in pyproject.toml of *tests, or of a directory above*"),
        (("tests/test_it.py",), "expected a [[]tool.signalcompat] table in pyproject.toml of *tests, or of a*"),
        ((".",), "*(without an argument the bundled reference server is tested)"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else None,
)
def test_where_something_is_meant_to_be_tested_nothing_stands_in(
    arguments: tuple[str, ...], told: str, dry_run: Run, project: Callable[..., Path]
) -> None:
    path = project("[project]\nname = 'app'\n")
    for name in ("a.toml", "b.toml"):
        (path / name).write_text(API, encoding="utf-8")
    (path / "tests").mkdir()
    (path / "tests" / "test_it.py").write_text("def test_it(): pass\n", encoding="utf-8")
    result = dry_run("--co", *arguments)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([f"*{told}"])


@pytest.mark.parametrize("on", [True, False], ids=["on", "off"])
def test_nothing_stands_in_for_a_fixture(on: bool, run: Run, project: Callable[..., Path]) -> None:
    test = """
        from pytest_signalcompat import Server

        def test_first(signal_server):
            pass

        def test_named(start_signal_server):
            start_signal_server("api")

        def test_own(start_signal_server):
            start_signal_server(Server(name="own", command=("{python}", "-m", "http.server", "{port}")))
        """
    path = project("[project]\nname = 'app'\n", test_it=test)
    if on and not all(map(find_spec, REFERENCE_PACKAGES)):
        pytest.skip("pip install 'pytest-signalcompat[reference]'")
    result = run("-k", "test_it", on=on)
    assert {name: result.parseoutcomes().get(name) for name in ("passed", "failed", "errors")} == {
        "passed": 1,
        "failed": 1,
        "errors": 1,
    }
    told = f"*UsageError: signal-compat: expected a [[]tool.signalcompat] table in pyproject.toml of {path}, or of *"
    result.stdout.fnmatch_lines([told, told])


def test_a_conftests_servers_are_enough(run: Run, project: Callable[..., Path]) -> None:
    """With them something is meant to be tested: the reference server is not."""
    conftest = f"""
        from pytest_signalcompat import Server, Ready, Marks

        def pytest_signalcompat_servers(config):
            command = ("{{python}}", {(SERVERS / "good.py").as_posix()!r}, "--port", "{{port}}", "--drain", "1")
            return [Server(name="extra", command=command, ready=Ready(http="/health"))]
        """
    project("[project]\nname = 'app'\n", conftest, test_it="def test_it(signal_server): pass\n")
    result = run("-k", "SC101 or test_it", "-v")
    assert result.ret == 0
    result.stdout.fnmatch_lines(["pyproject.toml::extra::SC101 PASSED*"])
    assert "reference" not in result.stdout.str()
    assert run("-k", "SC101", "-n", "1").parseoutcomes() == {"passed": 1}


REFERENCE_PACKAGES = ("reference_server", "fastapi", "uvicorn", "numpy", "prometheus_client", "pydantic_settings")


needs_reference = pytest.mark.skipif(
    not all(map(find_spec, REFERENCE_PACKAGES)), reason="pip install 'pytest-signalcompat[reference]'"
)
# The items of the bundled table, whose command takes {loop} and {workers}.
CASES_OF_SC901 = [f"SC901[{loop}-{number}]" for loop in ("proactor", "selector") for number in (1, 2)]
REFERENCE_ITEMS = [*(s.code for s in CATALOGUE if s.code != "SC901"), *CASES_OF_SC901]
NO_TABLE = "signal-compat: no [[]tool.signalcompat] table: the bundled reference server is tested*signalcompat init*"


@needs_reference
def test_without_a_table_the_reference_server_is_tested(run: Run, project: Callable[..., Path]) -> None:
    project("[project]\nname = 'app'\n")
    result = run("-k", "SC101")
    result.assert_outcomes(passed=1, deselected=len(REFERENCE_ITEMS) - 1)
    result.stdout.fnmatch_lines(
        [NO_TABLE, "signal-compat: reference (grace 30 s); *", "SC101  becomes-ready  MUST    pass"]
    )


@needs_reference
def test_without_a_file_the_items_are_those_of_the_bundled_one(dry_run: Run, project: Callable[..., Path]) -> None:
    (project(test_it="def test_it(): pass") / "pyproject.toml").unlink()
    dry_run("--co").stdout.fnmatch_lines([NO_TABLE])
    found = ids(dry_run("--co", "-q"))
    assert found == ["test_it.py::test_it", *(f"default.toml::reference::{name}" for name in REFERENCE_ITEMS)]


@needs_reference
def test_a_worker_of_xdist_tests_the_reference_server_too(run: Run, project: Callable[..., Path]) -> None:
    project("[project]\nname = 'app'\n")
    result = run("-n", "1", "-v", "-k", "SC101")
    assert result.ret == 0
    result.stdout.fnmatch_lines(["*PASSED*default.toml::reference::SC101*"])


# ---------------------------------------------------------------- verdicts as pytest tells them

FAILURE = """\
SC301 inflight-completes: connection closed without a response, T s after SIGTERM (3 of 3 requests)
  verdict   FAIL, ending clean: server bad on linux (native)
  required  a request begun before the stop request gets its complete response
  asked     SIGTERM to the leader, with GET /slow?seconds=T and 2 more
  expected  a complete 2xx response
  found     connection closed without a response, T s after SIGTERM (3 of 3 requests)
  when      T start | T ready | T in flight begun (x3) | T SIGTERM | T in flight closed (x3) | T exit 0 | T tree gone
  fix       on a stop request keep serving what has begun, up to a limit shorter than the grace period
  more      signalcompat explain SC301
  output    last 2 of 2 lines
    T  started pid=N
    T  stopped pid=N"""


def without_times(text: str) -> str:
    text = re.sub(r" +\d+\.\d\d  ", "    T  ", text)
    return re.sub(r"pid=\d+", "pid=N", re.sub(r"\d+\.\d+|(?<=seconds=)\d+", "T", text))


@pytest.mark.linux
def test_a_failure_tells_the_whole_story(run: Run, project: Callable[..., Path]) -> None:
    path = project("[tool.signalcompat]\ngrace = 8\n" + table("bad", "drops_inflight"))
    result = run("-k", "SC301", "--signal-compat-report", "out.json", "--junitxml", "junit.xml")
    result.assert_outcomes(failed=1, deselected=len(CATALOGUE) - 1)
    assert FAILURE in without_times(result.stdout.str())
    case = ET.parse(path / "junit.xml").getroot().find(".//testcase")
    assert case is not None
    properties = {entry.get("name"): entry.get("value") for entry in case.iter("property")}
    assert json.loads(properties["signalcompat"] or "")["code"] == "SC301"
    assert properties["signalcompat_outcome"] == "fail"
    assert FAILURE.partition("\n")[0] in without_times(case.findtext("failure") or "")
    assert [(entry["code"], entry["outcome"]) for entry in report(path)] == [("SC301", "fail")]


def test_last_failed_runs_what_failed(run: Run, project: Callable[..., Path]) -> None:
    project("[tool.signalcompat]\ngrace = 8\n" + table("bad", "drops_inflight"))
    run("-k", "SC101 or SC301").assert_outcomes(passed=1, failed=1, deselected=len(CATALOGUE) - 2)
    assert ids(run("--co", "-q", "--lf")) == ["pyproject.toml::bad::SC301"]


def test_what_is_not_declared_is_skipped_with_what_to_declare(run: Run, project: Callable[..., Path]) -> None:
    project()
    result = run("-k", "SC401", "-rs")
    result.assert_outcomes(skipped=1, deselected=len(CATALOGUE) - 1)
    result.stdout.fnmatch_lines(["- SC401 endless-stream-is-bounded not tested: declare routes.stream (api)"])
    result.stdout.fnmatch_lines(["SKIPPED*: declare routes.stream"])


def test_weak_and_unproven_are_shown_and_fail_nothing(run: Run, project: Callable[..., Path]) -> None:
    project(conftest=CONFTEST)
    result = run("-k", "X004 or X007", "-v")
    assert result.ret == 0
    result.stdout.fnmatch_lines(["pyproject.toml::api::X004 WEAK*", "pyproject.toml::api::X007 UNPROVEN*"])
    result.stdout.fnmatch_lines(["WEAK api X004 weak: bad; expected good", "UNPROVEN api X007 unproven: bad; *"])
    result.stdout.fnmatch_lines(["*1 weak, 1 unproven*"])


def test_a_should_fails_with_its_level(run: Run, project: Callable[..., Path]) -> None:
    project(conftest=CONFTEST)
    result = run("-k", "X004 or X007", "--signal-compat-level", "should")
    assert result.ret == 1
    assert result.parseoutcomes()["failed"] == 2


def test_a_failure_of_time_only_is_run_again_alone_and_said(run: Run, project: Callable[..., Path]) -> None:
    project(conftest=CONFTEST)
    result = run("-k", "late")
    assert result.parseoutcomes() == {"passed": 1, "failed": 1, "deselected": len(CATALOGUE) + 7}
    result.stdout.fnmatch_lines(
        [
            "  retry     the first attempt was late, so it ran again with nothing else running; this is the second",
            "late api X005 late: late at first, passed when run again alone",
        ]
    )


def test_a_mistake_of_a_scenario_is_an_error_with_its_traceback(run: Run, project: Callable[..., Path]) -> None:
    path = project(conftest=CONFTEST)
    result = run("-k", "X003", "--signal-compat-report", "out.json")
    result.assert_outcomes(failed=1, deselected=len(CATALOGUE) + 8)
    result.stdout.fnmatch_lines(
        [
            "X003 breaks: LookupError: a scenario's own mistake",
            "  verdict   ERROR, ending none: server api on *",
            "  reason    Traceback (most recent call last):",
            "*conftest.py*, in breaks",
        ]
    )
    (entry,) = report(path)
    assert (entry["outcome"], "in breaks" in entry["reason"]) == ("error", True)


@pytest.mark.parametrize(
    ("code", "how"),
    [
        ("print('no such pid'); raise SystemExit(3)", "exited with status 3"),
        ("import time; print('no such pid', flush=True); time.sleep(60)", "hung within 2 s"),
    ],
    ids=["fails", "hangs"],
)
def test_a_stop_command_that_fails_is_an_error_with_its_output(
    code: str, how: str, run: Run, project: Callable[..., Path]
) -> None:
    command = json.dumps(["{python}", "-c", code])
    project(API + f"stop = {{ terminate = {{ command = {command}, timeout = 2 }} }}\n")
    result = run("-k", "SC201")
    result.assert_outcomes(failed=1, deselected=len(CATALOGUE) - 1)
    result.stdout.fnmatch_lines(
        [
            f"SC201 terminate-idle: stop.terminate.command of server 'api' {how}; expected: status 0",
            "  verdict   ERROR, *",
            "*output: no such pid",
        ]
    )


LEAKS = """
import os, signal, sys, time

def stop(*_):
    print("farewell from", os.environ["TOKEN"], flush=True)
    raise LookupError("nobody here knows " + os.environ["TOKEN"])

signal.signal(signal.SIGTERM, stop)
print("started with", sys.argv[1], flush=True)
while True:
    time.sleep(0.05)
"""


@pytest.mark.posix
@pytest.mark.parametrize("stop", ["kill -TERM {pid}", "echo I am {env:PASS_WORD}; exit 3"], ids=["asks", "fails"])
def test_a_secret_is_in_no_text_that_leaves_the_process(
    stop: str, run: Run, project: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    secret = "open-sesame"
    monkeypatch.setenv("PASS_WORD", secret)
    command = json.dumps(["{python}", "leaks.py", "{env:PASS_WORD}", "{port}"])
    asks = json.dumps(["sh", "-c", stop, "{env:PASS_WORD}"])
    path = project(
        f"[tool.signalcompat.servers.api]\ncommand = {command}\nenv = {{ TOKEN = 'x{{env:PASS_WORD}}' }}\n"
        f"ready = {{ log = '^started' }}\ngrace = 3\nstop.terminate.command = {asks}\n"
    )
    (path / "leaks.py").write_text(LEAKS, encoding="utf-8")
    reports = ("out.json", "out.md", "junit.xml")
    options = [option for name in reports[:2] for option in ("--signal-compat-report", name)]
    result = run("-k", "SC201 or SC803", "-rA", *options, "--junitxml", reports[2])
    assert result.parseoutcomes()["failed"] == 2
    texts = {"terminal": result.stdout.str() + result.stderr.str()}
    texts |= {name: (path / name).read_text(encoding="utf-8") for name in reports}
    assert not [name for name, text in texts.items() if secret in text]
    assert {name for name, text in texts.items() if "{env:PASS_WORD}" in text} >= {"terminal", "out.json", "junit.xml"}


# ---------------------------------------------------------------- what a user adds


def test_session_fixtures_are_up_before_the_first_server_and_until_the_last(
    run: Run, project: Callable[..., Path]
) -> None:
    conftest = """
        import pytest
        from pathlib import Path
        from pytest_signalcompat import Level, Scenario, checks

        @pytest.fixture(scope="session")
        def database():
            Path("database").touch()
            yield
            Path("database").unlink()

        async def act(stage):
            assert Path("database").exists()
            await stage.ready()

        def pytest_signalcompat_scenarios(config):
            options = {"level": Level.MUST, "requirement": "x", "act": act, "checks": (checks.became_ready,)}
            return [Scenario(code="X001", slug="x", **options)]
        """
    path = project(API.replace("grace = 8", 'grace = 8\nusefixtures = ["database"]'), conftest)
    run("-k", "X001").assert_outcomes(passed=1, deselected=len(CATALOGUE))
    assert not (path / "database").exists()


DATABASE = """
    import pytest
    from pathlib import Path

    @pytest.fixture(scope="session")
    def disk():
        with Path("log").open("a") as log:
            log.write("disk ")

    @pytest.fixture(scope="{scope}")
    def database({needs}):
        with Path("log").open("a") as log:
            log.write("up ")
        yield
        with Path("log").open("a") as log:
            log.write("down ")

    @pytest.fixture(autouse=True)
    def of_tests_only(request):
        assert "SC101" not in request.node.name or request.path.parent == Path(__file__).parent
    """
WITH_DATABASE = "[tool.signalcompat]\ngrace = 8\nusefixtures = ['database']\n" + table("api")


@pytest.fixture
def with_database(project: Callable[..., Path], request: pytest.FixtureRequest) -> Callable[..., Path]:
    def with_database(place: str, scope: str = "session", needs: str = "disk", ini: str = "") -> Path:
        path = project(ini + WITH_DATABASE)
        directory = path / place
        directory.mkdir(parents=True, exist_ok=True)
        text = textwrap.dedent(DATABASE.format(scope=scope, needs=needs))
        (directory / "conftest.py").write_text(text, encoding="utf-8")
        (directory / "test_it.py").write_text("def test_it(database): pass\n", encoding="utf-8")
        return path

    return with_database


@pytest.mark.parametrize("workers", [(), ("-n", "1")], ids=["", "xdist"])
@pytest.mark.parametrize(
    ("place", "ini", "arguments"),
    [
        ("tests", "", ("pyproject.toml",)),
        ("tests", "", ()),
        ("tests", "", ("pyproject.toml", "tests")),
        ("checks/deep", "[tool.pytest.ini_options]\ntestpaths = ['checks']\n", ()),
        ("checks/deep", "[tool.pytest.ini_options]\ntestpaths = ['checks']\n", ("pyproject.toml",)),
    ],
)
def test_session_fixtures_of_any_conftest_of_the_test_paths(
    place: str, ini: str, arguments: tuple[str, ...], workers: tuple[str, ...], with_database: Any, run: Run
) -> None:
    """Set up once, for tests and requirements; nothing else of that conftest is for the requirements."""
    path = with_database(place, ini=ini)
    result = run("-k", "SC101 or test_it", *arguments, *workers)
    assert result.ret == 0
    assert result.parseoutcomes()["passed"] == (1 if arguments == ("pyproject.toml",) else 2)
    assert (path / "log").read_text(encoding="utf-8") == "disk up down "


@pytest.mark.parametrize("place", [".", "tests"])
def test_a_fixture_of_another_scope_is_a_usage_error(place: str, with_database: Any, run: Run) -> None:
    path = with_database(place, scope="function", needs="tmp_path")
    result = run("pyproject.toml", "-k", "SC101")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    told = (
        "*usefixtures: expected session fixtures, found 'database' of scope function (*conftest.py): items are*ahead*"
    )
    result.stderr.fnmatch_lines([told])
    result = run("pyproject.toml", "-k", "SC101", "-n", "1")
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines([told])
    assert not (path / "log").exists()


def test_a_fixture_that_is_nowhere_is_a_usage_error_that_says_where_it_was_looked_for(
    project: Callable[..., Path], run: Run
) -> None:
    path = project(WITH_DATABASE)
    (path / "tests").mkdir()
    result = run("-k", "SC101")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(
        [f"*expected a fixture 'database' in a conftest.py of {path}, *({path / 'tests'})*none"]
    )


def test_a_conftest_may_add_servers(dry_run: Run, project: Callable[..., Path]) -> None:
    conftest = """
        from pytest_signalcompat import Server

        def pytest_signalcompat_servers(config):
            return [Server(name="extra", command=("{python}", "extra.py", "{port}"))]
        """
    project(conftest=conftest)
    assert ids(dry_run("--co", "-q", "-k", "SC101")) == [
        "pyproject.toml::api::SC101",
        "pyproject.toml::extra::SC101",
    ]


@pytest.mark.parametrize(
    ("scenario", "told"),
    [
        ('code="SC999"', "scenario SC999: codes that begin with SC are the catalogue's; choose another prefix"),
        ('code="X001", checks=()', "scenario X001: expected one check or more, found none"),
        ('code="X001", checks=(print,)', "scenario X001: expected checks made with @check(id), found <built-in*"),
    ],
)
def test_a_scenario_of_ones_own_that_cannot_judge_is_a_usage_error(
    scenario: str, told: str, dry_run: Run, project: Callable[..., Path]
) -> None:
    conftest = f"""
        from pytest_signalcompat import Level, Scenario, checks

        def pytest_signalcompat_scenarios(config):
            def made(code, checks=(checks.became_ready,)):
                return Scenario(code=code, slug="x", level=Level.MUST, requirement="x", act=print, checks=checks)
            return [made({scenario})]
        """
    project(conftest=conftest)
    result = dry_run("--co")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([f"*{told.replace('[', '[[]')}"])


def test_a_code_of_ones_own_is_used_once(dry_run: Run, project: Callable[..., Path]) -> None:
    conftest = """
        from pytest_signalcompat import Level, Scenario, checks

        def pytest_signalcompat_scenarios(config):
            options = {"level": Level.MUST, "requirement": "x", "act": print, "checks": (checks.became_ready,)}
            return [Scenario(code="X001", slug=slug, **options) for slug in ("a", "b")]
        """
    project(conftest=conftest)
    dry_run("--co").stderr.fnmatch_lines(["*scenario X001: expected each code once, found it twice"])


FIXTURE_TESTS = """
    import pytest
    from pytest_signalcompat.errors import ConfigError

    def test_in_flight(signal_server):
        assert signal_server.request("GET", "/health").status_code == 200
        request = signal_server.in_flight("/slow?seconds=0.5")
        signal_server.stop()
        seen = signal_server.wait()
        assert request.result().status == 200
        assert seen.exit.status == 0 and not seen.survivors
        assert "stopped pid=" in signal_server.output

    def test_two_of_them(start_signal_server):
        one, other = start_signal_server(), start_signal_server("api", drain=0.5)
        assert one.port != other.port

    def test_unknown(start_signal_server):
        with pytest.raises(pytest.UsageError, match="expected one of api; found 'nope'"):
            start_signal_server("nope")

    def test_not_ready(start_signal_server):
        with pytest.raises(Exception) as caught:
            start_signal_server(command=("{python}", "-c", "raise ValueError('no model at {port}')"))
        assert "ValueError: no model at" in "\\n".join(caught.value.__notes__)

    @pytest.mark.parametrize(
        ("asked", "told"),
        [
            ({"reach": "grup"}, "reach: expected one of leader, group; found 'grup'"),
            ({"reach": "console"}, "reach: expected one of leader, group; found 'console'"),
            ({"stop": "kill"}, "stop: expected one of terminate, interrupt, quit, hangup, .*; found 'kill'"),
        ],
    )
    def test_a_stop_that_there_is_not(signal_server, asked, told):
        with pytest.raises(ConfigError, match=told):
            signal_server.stop(**asked)
        assert signal_server.request("GET", "/health").status_code == 200

    def test_not_ended(signal_server):
        pass
    """


def test_fixtures_need_no_option(run: Run, project: Callable[..., Path]) -> None:
    project(test_it=FIXTURE_TESTS)
    result = run("-W", "error", on=False)
    result.assert_outcomes(passed=8)
    assert "signal-compat" not in result.stdout.str()


def test_ctrl_c_in_a_test_ends_its_server(run: Run, project: Callable[..., Path]) -> None:
    path = traced(project, test_it="def test_it(signal_server):\n    raise KeyboardInterrupt\n")
    result = run("test_it.py", "-k", "test_it")
    assert result.ret == pytest.ExitCode.INTERRUPTED
    assert "never awaited" not in result.stderr.str()
    assert "Event loop is closed" not in result.stdout.str() + result.stderr.str()
    assert_cleared(path)


# ---------------------------------------------------------------- other plugins


@pytest.mark.parametrize("how", [("-n", "2"), ("--dist", "each", "--tx", "2*popen")], ids=["load", "each"])
def test_xdist_gives_one_report_with_each_result_once(
    how: tuple[str, ...], run: Run, project: Callable[..., Path]
) -> None:
    pytest.importorskip("xdist")
    path = project(API + table("other"))
    result = run(*how, "-k", "SC101 or SC201", "--signal-compat-report", "out.json", "--signal-compat-report", "out.md")
    assert result.ret == 0
    found = sorted((entry["server"], entry["code"], entry["outcome"]) for entry in report(path))
    assert found == [(server, code, "pass") for server in ("api", "other") for code in ("SC101", "SC201")]
    assert (path / "out.md").read_text(encoding="utf-8").count("| pass |") == 2
    result.stdout.fnmatch_lines(["SC101  becomes-ready   MUST    pass      pass", "signal-compat report: out.json"])


def test_a_rerun_runs_the_item_anew_and_is_reported_once(run: Run, project: Callable[..., Path]) -> None:
    pytest.importorskip("pytest_rerunfailures")
    path = project(conftest=CONFTEST)
    result = run("-k", "X008 or X009", "--reruns", "1", "--signal-compat-report", "out.json")
    assert result.parseoutcomes() == {"passed": 1, "failed": 1, "rerun": 2, "deselected": len(CATALOGUE) + 7}
    assert (path / "bad").read_text() == "xx"
    assert (path / "always").read_text() == "xx"
    assert [(entry["code"], entry["outcome"]) for entry in report(path)] == [("X008", "pass"), ("X009", "fail")]


# ---------------------------------------------------------------- nothing is left


def traced(project: Callable[..., Path], **tests: str) -> Path:
    """A project whose server tells its processes."""
    command = '["{python}", "traced.py", "{port}"]'
    path = project("[tool.signalcompat]\ngrace = 8\n" + table("api", command=command), CONFTEST, **tests)
    (path / "traced.py").write_text(TRACED, encoding="utf-8")
    return path


def processes(path: Path) -> set[int]:
    """Every server that was started there, and its supervisor."""
    files = list(path.glob("pid-*"))
    return {int(file.name[4:]) for file in files} | {int(text) for file in files if (text := file.read_text())}


def running(pids: Iterable[int]) -> list[int]:
    found = []
    for pid in pids:
        try:
            if psutil.Process(pid).status() != psutil.STATUS_ZOMBIE:
                found.append(pid)
        except psutil.Error:
            pass
    return found


def assert_cleared(path: Path, started: int = 1) -> None:
    assert len(list(path.glob("pid-*"))) >= started, "no server was started: nothing was tested"
    deadline = time.monotonic() + CLEARED_WITHIN
    while left := running(processes(path)):
        assert time.monotonic() < deadline, f"still running: {left}"
        time.sleep(0.02)


def test_exitfirst_cancels_what_was_started_ahead(run: Run, project: Callable[..., Path]) -> None:
    path = traced(project)
    begun = time.monotonic()
    result = run("-x", "pyproject.toml::api::X002", "pyproject.toml::api::X001")
    result.assert_outcomes(failed=1)
    assert time.monotonic() - begun < LIMIT
    assert_cleared(path, started=2)


def test_the_thread_method_of_pytest_timeout_leaves_nothing(run: Run, project: Callable[..., Path]) -> None:
    """It ends in os._exit: no hook and no atexit function runs."""
    pytest.importorskip("pytest_timeout")
    test = """
        import time, pytest

        @pytest.mark.timeout(1, method="thread", func_only=True)
        def test_it(signal_server):
            time.sleep(60)
        """
    path = traced(project, test_it=test)
    result = run("-k", "test_it")
    assert result.ret == 1
    assert "Timeout" in result.stdout.str() + result.stderr.str()
    assert_cleared(path)


@pytest.mark.parametrize("how", [pytest.param("interrupt", marks=pytest.mark.posix), "kill"], ids=["Ctrl-C", "killed"])
def test_the_end_of_pytest_is_the_end_of_its_servers(
    how: str, project: Callable[..., Path], pytester: pytest.Pytester, run: Run
) -> None:
    path = traced(project)
    command = [sys.executable, "-m", "pytest", "--signal-compat", "-k", "X001"]
    # A shell's background job, which these tests may be, has SIGINT ignored, and a child inherits that.
    heeding = {"preexec_fn": lambda: signal.signal(signal.SIGINT, signal.SIG_DFL)} if how == "interrupt" else {}
    with (
        (path / "out.txt").open("wb") as output,
        subprocess.Popen(command, cwd=path, stdout=output, **heeding) as process,
    ):
        deadline = time.monotonic() + LIMIT
        while not (processes(path) and running(processes(path))):
            assert process.poll() is None and time.monotonic() < deadline, (path / "out.txt").read_text()
            time.sleep(0.02)
        process.send_signal(signal.SIGINT) if how == "interrupt" else process.kill()
        process.wait(30)
    assert_cleared(path)
    if how == "interrupt":
        assert process.returncode == pytest.ExitCode.INTERRUPTED
        assert "Traceback" not in (path / "out.txt").read_text(encoding="utf-8")


def test_long_silence_is_broken(project: Callable[..., Path], run: Run) -> None:
    project(conftest="from pytest_signalcompat.plugin import items\nitems.SILENCE = 0.3")
    result = run("-k", "SC301")
    assert result.ret == 0
    result.stdout.re_match_lines([r"signal-compat: api SC301 inflight-completes: \d+ s by now \(grace .* alone\)"])
    assert "by now" not in run("-q", "-k", "SC301").stdout.str()


# ---------------------------------------------------------------- users' mistakes


UNSET = table("api", env='{ PORT_TO_USE = "{env:NOBODY_SETS_THIS}" }')
UNSET_SAID = "expected an environment variable NOBODY_SETS_THIS for {env:NOBODY_SETS_THIS}, found none"


def test_a_variable_that_is_not_set_is_told_once_and_nothing_runs(project: Callable[..., Path], dry_run: Run) -> None:
    project(UNSET)
    result = dry_run()
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    said = [line for line in result.errlines if "NOBODY_SETS_THIS" in line]
    assert said == [f"  pyproject.toml: tool.signalcompat.servers.api.env.PORT_TO_USE: {UNSET_SAID}"]


@pytest.mark.parametrize(
    "arguments",
    [
        ("--co",),
        ("--signal-compat-server=other", "-k", "SC901"),
        ("-k", "other and SC901"),
        ("pyproject.toml::other::SC901",),
    ],
    ids=["collected", "server", "keyword", "node-id"],
)
def test_a_variable_that_no_start_needs_may_be_unset(
    arguments: tuple[str, ...], project: Callable[..., Path], run: Run
) -> None:
    project(UNSET + table("other"))
    result = run(*arguments)
    assert result.ret == 0
    assert "NOBODY_SETS_THIS" not in result.stdout.str()


def test_under_xdist_each_item_tells_a_variable_that_is_not_set(project: Callable[..., Path], run: Run) -> None:
    project(UNSET)
    result = run("-n", "1", "-k", "SC201")
    assert result.ret == 1
    result.stdout.fnmatch_lines(["SC201 terminate-idle: *" + UNSET_SAID, "  verdict   ERROR*"])


@pytest.mark.parametrize(("sets", "status"), [("os.environ['NOBODY_SETS_THIS'] = 'x'", 0), ("pass", 1)])
def test_a_session_fixture_may_set_a_variable(sets: str, status: int, project: Callable[..., Path], run: Run) -> None:
    conftest = f"""
        import os, pytest

        @pytest.fixture(scope="session")
        def database():
            {sets}
        """
    project("[tool.signalcompat]\nusefixtures = ['database']\n" + UNSET, conftest)
    result = run("-k", "SC201")
    assert result.ret == status
    if status:
        result.stdout.fnmatch_lines(["SC201 terminate-idle: *" + UNSET_SAID, "  verdict   ERROR*"])


def test_a_variable_may_extend_the_one_of_the_tests(
    project: Callable[..., Path], run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GREETING", "hello")
    program = "import os, sys; print('said', os.environ['GREETING'].upper()); sys.exit(1)"
    command = json.dumps(["{python}", "-c", program, "{port}"])
    project(f"[tool.signalcompat.servers.api]\ncommand = {command}\nenv = {{ GREETING = '{{env:GREETING}} world' }}\n")
    result = run("-k", "SC201")
    result.stdout.fnmatch_lines(["*said HELLO WORLD*"])


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("--signal-compat-server", "nope"), "--signal-compat-server: expected one of api; found nope"),
        (
            ("--signal-compat-report", "out.txt"),
            "--signal-compat-report: expected a file ending in .json or .md; found out.txt",
        ),
        (("--signal-compat-jobs", "0"), "--signal-compat-jobs: expected a number from 1, or auto; found 0"),
        (("--signal-compat-jobs", "many"), "--signal-compat-jobs: expected a number from 1, or auto; found many"),
        (
            ("--signal-compat-grace", "fortnight"),
            "--signal-compat-grace: expected seconds or one of docker, cloudrun, k8s, systemd, found 'fortnight'",
        ),
        (("--signal-compat-config", "missing.toml"), "missing.toml: cannot be read: "),
        (("--signal-compat-config", "empty.toml"), "empty.toml: expected a [tool.signalcompat] table, found none"),
        (
            ("--signal-compat-on", "wine"),
            "--signal-compat-on=wine: expected an executable that starts a Windows Python",
        ),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else None,
)
def test_a_mistake_is_a_usage_error_that_names_it(
    arguments: tuple[str, ...],
    told: str,
    dry_run: Run,
    project: Callable[..., Path],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("SIGNALCOMPAT_WINE_PYTHON", raising=False)
    path = project()
    (path / "empty.toml").touch()
    result = dry_run(*arguments)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert told in result.stderr.str()
    assert "Traceback" not in result.stderr.str()


def test_mistakes_in_the_file_are_told_at_once(dry_run: Run, project: Callable[..., Path]) -> None:
    project("[tool.signalcompat]\ngrace = 'long'\n[tool.signalcompat.servers.api]\ncomand = ['x']\n")
    result = dry_run()
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    key = "tool.signalcompat.servers.api"
    assert result.stderr.str().strip() == (
        "ERROR: signal-compat:\n"
        f"  pyproject.toml: {key}.comand: unknown key; expected 'command'\n"
        f"  pyproject.toml: {key}.command: missing; expected a list of strings"
    )


def test_grace_of_the_command_line_counts(dry_run: Run, project: Callable[..., Path]) -> None:
    project()
    dry_run("--co", "--signal-compat-grace", "docker").stdout.fnmatch_lines(["signal-compat: api (grace 10 s); *"])
