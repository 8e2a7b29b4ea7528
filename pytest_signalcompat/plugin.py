"""The pytest plugin: options, one item a requirement, fixtures, the table at the end.

Without `--signal-compat` it imports nothing but the standard library and pytest, and prints nothing.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from . import __version__

if TYPE_CHECKING:
    from concurrent.futures import Future

    from .config import Config
    from .engine import Engine
    from .model import Result, Scenario, Server
    from .supervisor.client import Launcher
    from .sync import SyncServer

SILENCE = 15.0  # seconds without a word
PROPERTY = "signalcompat"  # the user property that carries a Result as JSON text
MARKERS = {
    "signal_compat": "a requirement on how a server stops (pytest --signal-compat)",
    "must": "a requirement that has to be met",
    "should": "a requirement whose failure is shown, and fails with --signal-compat-level=should",
    "may": "a requirement for information",
}
SESSION = pytest.StashKey["SignalCompat"]()
ENGINE = pytest.StashKey["Engine"]()
STARTED = pytest.StashKey["list[SyncServer]"]()  # by the fixtures, and not yet ended


def pytest_addoption(parser: pytest.Parser) -> None:
    from .reporters import suffixes

    group = parser.getgroup("signal-compat", "how servers stop (pytest-signalcompat)")
    option = group.addoption
    option("--signal-compat", action="store_true", help="test how the configured servers stop")
    option(
        "--signal-compat-config", metavar="FILE", help="TOML file with [tool.signalcompat] (default: pyproject.toml)"
    )
    option("--signal-compat-server", metavar="NAME", action="append", default=[], help="only this server (repeatable)")
    option(
        "--signal-compat-level",
        choices=("must", "should", "may"),
        default="must",
        help="weakest level whose failure fails the run (default: must)",
    )
    option("--signal-compat-grace", metavar="SECONDS|docker|cloudrun|k8s|systemd", help="grace period, for all servers")
    option("--signal-compat-jobs", metavar="N|auto", default="auto", help="scenarios at a time in one process")
    option(
        "--signal-compat-report",
        metavar="FILE",
        action="append",
        default=[],
        help=f"write results: {suffixes()} (repeatable)",
    )
    option(
        "--signal-compat-on",
        choices=("native", "wine"),
        default="native",
        help="where servers run: this system, or a Windows Python under Wine",
    )


def pytest_addhooks(pluginmanager: pytest.PytestPluginManager) -> None:
    from . import hooks

    pluginmanager.add_hookspecs(hooks)


def pytest_configure(config: pytest.Config) -> None:
    for name, text in MARKERS.items():
        config.addinivalue_line("markers", f"{name}: {text}")
    if config.getoption("signal_compat"):
        session = SignalCompat(config)
        config.stash[SESSION] = session
        config.pluginmanager.register(session, "signalcompat-session")


def pytest_unconfigure(config: pytest.Config) -> None:
    for live in config.stash.get(STARTED, []):
        live.close()
    engine = config.stash.get(ENGINE, None)
    if engine is not None:
        engine.close()


# ---------------------------------------------------------------- what the options say


def _root_file(config: pytest.Config) -> Path:
    chosen = config.getoption("signal_compat_config")
    if chosen is None:
        return config.rootpath / "pyproject.toml"
    return Path(config.invocation_params.dir / chosen).resolve()


def _read_config(config: pytest.Config) -> Config:
    """The configuration, or the reference server where there is none. Raises UsageError with every problem."""
    from .config import GRACE, default, grace_seconds, read
    from .errors import ConfigError

    file = _root_file(config)
    explicit = config.getoption("signal_compat_config") is not None
    problems: list[str] = []
    grace = config.getoption("signal_compat_grace")
    seconds = None if grace is None else grace_seconds(grace, "--signal-compat-grace", problems)
    try:
        if problems:
            raise ConfigError(problems)
        found = read(file, seconds) if explicit or file.exists() else None
        if found is None and explicit:
            raise ConfigError([f"{file}: expected a [tool.signalcompat] table, found none"])
        return found or default(config.rootpath, seconds or GRACE["k8s"])
    except ConfigError as problem:
        raise pytest.UsageError("signal-compat:\n  " + "\n  ".join(problem.problems)) from None


def _servers(config: pytest.Config, settings: Config) -> tuple[Server, ...]:
    """Those of the configuration, then those of conftest files."""
    more = [server for found in config.hook.pytest_signalcompat_servers(config=config) for server in found]
    return (*settings.servers, *more)


def _launcher(config: pytest.Config, wine_python: str | None) -> Launcher:
    from .supervisor import client

    if config.getoption("signal_compat_on") == "native":
        return client.native()
    python = os.environ.get("SIGNALCOMPAT_WINE_PYTHON") or wine_python
    if not python or not os.access(os.path.expanduser(python), os.X_OK):
        raise pytest.UsageError(
            "--signal-compat-on=wine: expected an executable that starts a Windows Python, in wine-python of"
            f" [tool.signalcompat] or in SIGNALCOMPAT_WINE_PYTHON (`winelab which` prints it); found {python!r}"
        )
    return client.wine(os.path.expanduser(python))


def _engine(config: pytest.Config, wine_python: str | None) -> Engine:
    """The one engine of this process, made when first needed."""
    engine = config.stash.get(ENGINE, None)
    if engine is None:
        from .engine import Engine, default_jobs

        jobs = config.getoption("signal_compat_jobs")
        number = default_jobs() if jobs == "auto" else int(jobs)
        if jobs == "auto":
            number = max(1, number // getattr(config, "workerinput", {}).get("workercount", 1))
        engine = config.stash[ENGINE] = Engine(_launcher(config, wine_python), number)
    return engine


# ---------------------------------------------------------------- a run with --signal-compat


class SignalCompat:
    """What one pytest process knows while `--signal-compat` is on. Also a plugin: its hooks run only then."""

    def __init__(self, config: pytest.Config) -> None:
        from .matrix import Matrix
        from .scenarios import CATALOGUE

        self.config = config
        self.settings = _read_config(config)
        self.servers = _servers(config, self.settings)
        extra = [scenario for found in config.hook.pytest_signalcompat_scenarios(config=config) for scenario in found]
        self.scenarios: tuple[Scenario, ...] = (*CATALOGUE, *extra)
        self._select(config.getoption("signal_compat_server"))
        self._check_options()
        self.file = self._item_file()
        self.matrix = Matrix()
        self._begun: dict[str, Future[Result]] = {}
        self._next: pytest.Item | None = None
        self._named = self._ask_for_file()

    def _select(self, names: list[str]) -> None:
        known = [server.name for server in self.servers]
        unknown = [name for name in names if name not in known]
        if unknown:
            raise pytest.UsageError(
                f"--signal-compat-server: expected one of {', '.join(known)}; found {', '.join(unknown)}"
            )
        if names:
            self.servers = tuple(server for server in self.servers if server.name in names)

    def _check_options(self) -> None:
        from .reporters import FORMATS, suffixes

        for name in self.config.getoption("signal_compat_report"):
            if Path(name).suffix not in FORMATS:
                raise pytest.UsageError(f"--signal-compat-report: expected a file ending in {suffixes()}; found {name}")
        jobs = self.config.getoption("signal_compat_jobs")
        if jobs != "auto" and not (jobs.isdigit() and int(jobs) > 0):
            raise pytest.UsageError(f"--signal-compat-jobs: expected a number from 1, or auto; found {jobs}")
        if not self.config.option.collectonly:
            _launcher(self.config, self.settings.wine_python)

    def _item_file(self) -> Path:
        """The file whose children the items are: the configuration, or what stands in for one."""
        if self.settings.path is not None:
            return self.settings.path.resolve()
        here = self.config.rootpath / "pyproject.toml"
        from .config import DEFAULT_FILE

        return here.resolve() if here.exists() else DEFAULT_FILE

    def _ask_for_file(self) -> bool:
        """Node ids work because the file is an argument like any other. Returns whether it is one.

        Not beside a directory that it is in: pytest 8 then loses all else in that directory, pytest 9 drops the file.
        """
        base = self.config.invocation_params.dir
        named = {(base / argument.partition("::")[0]).resolve() for argument in self.config.args}
        if any(self.file != path and self.file.is_relative_to(path) for path in named):
            return self.file in named
        if self.file not in named:
            self.config.args.append(str(self.file))
        return True

    # ------------------------------------------------------------ collecting

    def pytest_collect_file(self, file_path: Path, parent: pytest.Collector) -> pytest.Collector | None:
        if file_path != self.file and file_path.resolve() != self.file:
            return None
        return self._collector(parent, file_path)

    def _collector(self, parent: pytest.Collector, file: Path) -> SignalCompatFile:
        outside = self.config.rootpath not in file.parents  # the bundled file: pytest would call it ""
        options: dict[str, Any] = {"nodeid": file.name} if outside else {}
        collector: SignalCompatFile = SignalCompatFile.from_parent(parent, path=file, **options)
        return collector

    @pytest.hookimpl(tryfirst=True)
    def pytest_ignore_collect(self, collection_path: Path) -> bool | None:
        return False if collection_path == self.file else None

    @pytest.hookimpl(tryfirst=True)
    def pytest_collection_modifyitems(self, session: pytest.Session, items: list[pytest.Item]) -> None:
        """A file in a directory that pytest does not enter (.venv, norecursedirs) is added here."""
        if not self._named and not any(isinstance(item, ScenarioItem) for item in items):
            items += session.genitems(self._collector(session, self.file))

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        """Variables that are not set are told once, for the servers that will be started. Each item tells them where
        fixtures come first, which may set them, and under xdist, where an error here would be an internal one."""
        from .config import check_variables
        from .errors import ConfigError

        if self.config.option.collectonly or self.settings.usefixtures or hasattr(self.config, "workerinput"):
            return
        selected = {item.server.name: item.server for item in session.items if isinstance(item, ScenarioItem)}
        try:
            check_variables(selected.values(), os.environ)
        except ConfigError as problem:
            raise pytest.UsageError("signal-compat:\n  " + "\n  ".join(problem.problems)) from None

    # ------------------------------------------------------------ running

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(
        self, item: pytest.Item, nextitem: pytest.Item | None
    ) -> Generator[None, object, object]:
        self._next = nextitem
        return (yield)

    def result_of(self, item: ScenarioItem) -> Result:
        """The item's verdict; the items after it are started ahead. A repeated call (a rerun) runs it anew."""
        from .sync import wait_for

        self._begin(item)
        for other in self._coming(item):
            self._begin(other)
        result: Result = wait_for(self._begun.pop(item.nodeid), Waiting(item).beat)
        return result

    def _begin(self, item: ScenarioItem) -> None:
        if item.nodeid not in self._begun:
            engine = _engine(self.config, self.settings.wine_python)
            self._begun[item.nodeid] = engine.submit(item.server, item.scenario)

    def _coming(self, item: ScenarioItem) -> list[ScenarioItem]:
        """What this process will run next: all of it, or under xdist the one item that is known."""
        if hasattr(self.config, "workerinput"):
            return [self._next] if isinstance(self._next, ScenarioItem) else []
        items = item.session.items
        return [other for other in items[items.index(item) + 1 :] if isinstance(other, ScenarioItem)]

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionfinish(self) -> None:
        """Ends what was started ahead and will not be asked for: -x, --maxfail, Ctrl-C."""
        pytest_unconfigure(self.config)

    # ------------------------------------------------------------ reporting

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        text = dict(report.user_properties).get(PROPERTY)
        if report.when == "call" and isinstance(text, str):
            from .matrix import load

            self.matrix = self.matrix.add(load(text))

    def pytest_report_header(self) -> list[str]:
        lines = []
        if self.settings.path is None:
            lines.append(
                "signal-compat: no [tool.signalcompat] table: the bundled reference server is tested"
                " (`signalcompat init` prints a table for yours)"
            )
        where = "" if self.config.getoption("signal_compat_on") == "native" else ", on Windows Python under Wine"
        names = ", ".join(f"{server.name} (grace {server.grace:g} s)" for server in self.servers)
        return [*lines, f"signal-compat: {names}; {len(self.scenarios)} requirements{where}"]

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        from .reporters import terminal

        if not self.matrix.results:
            return
        write = terminalreporter.write_line
        terminalreporter.section("signal-compat")
        for line in terminal.table(self.matrix):
            write(line)
        for line in terminal.remarks(self.matrix):
            write(line)
        for name in self._write_reports():
            write(f"signal-compat report: {name}")

    def _write_reports(self) -> Iterator[str]:
        """By the controller alone: it has everybody's results."""
        from .reporters import render

        for name in self.config.getoption("signal_compat_report"):
            path = self.config.invocation_params.dir / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(render(path.suffix, self.matrix, __version__), encoding="utf-8")
            yield name


def pytest_report_teststatus(report: pytest.TestReport) -> tuple[str, str, str] | None:
    if report.when != "call":
        return None
    verdict = dict(report.user_properties).get(PROPERTY + "_outcome")
    if report.passed and verdict == "weak":
        return "weak", "w", "WEAK"
    if report.passed and verdict == "inconclusive":
        return "unproven", "u", "UNPROVEN"
    return ("failed", "E", "ERROR") if verdict == "error" else None


# ---------------------------------------------------------------- items


class Waiting:
    """Tells what is waited for where nothing else is said for long: a server that hangs, for its whole grace period."""

    def __init__(self, item: ScenarioItem) -> None:
        self._item = item
        self._begun = self._told = time.monotonic()

    def beat(self) -> None:
        now = time.monotonic()
        if now - self._told < SILENCE:
            return
        self._told = now
        plugins, config = self._item.config.pluginmanager, self._item.config
        reporter, capture = plugins.get_plugin("terminalreporter"), plugins.get_plugin("capturemanager")
        if reporter is None or config.get_verbosity() < 0 or hasattr(config, "workerinput"):
            return
        item = self._item
        with capture.global_and_fixture_disabled() if capture else contextlib.nullcontext():
            reporter.ensure_newline()
            seconds, scenario = now - self._begun, f"{item.scenario.code} {item.scenario.slug}"
            reporter.write_line(
                f"signal-compat: {item.server.name} {scenario}: {seconds:.0f} s by now (grace {item.server.grace:g} s;"
                " what is late is run again alone)"
            )


class SignalCompatFile(pytest.File):
    """The configuration file as a collector."""

    def collect(self) -> Iterator[ServerCollector]:
        session = self.config.stash[SESSION]
        self.add_marker(pytest.mark.signal_compat)
        if session.settings.usefixtures:
            self.add_marker(pytest.mark.usefixtures(*session.settings.usefixtures))
        for server in session.servers:
            yield ServerCollector.from_parent(self, name=server.name, server=server)


class ServerCollector(pytest.Collector):
    """One server of the configuration."""

    def __init__(self, *, server: Server, **options: Any) -> None:
        super().__init__(**options)
        self.server = server

    def collect(self) -> Iterator[ScenarioItem]:
        for scenario in self.config.stash[SESSION].scenarios:
            item: ScenarioItem = ScenarioItem.from_parent(
                self, name=scenario.code, callobj=_placeholder, server=self.server, scenario=scenario
            )
            yield item


def _placeholder() -> None:
    """pytest.Function wants a function to look for fixtures in; `ScenarioItem.runtest` does the work."""


class ScenarioItem(pytest.Function):
    """One requirement on one server. A Function, so that fixtures, marks and other plugins work as usual."""

    def __init__(self, *, server: Server, scenario: Scenario, **options: Any) -> None:
        super().__init__(**options)
        self.server, self.scenario = server, scenario
        self.add_marker(getattr(pytest.mark, scenario.level.value))
        self.extra_keyword_matches.update((scenario.slug, server.name))

    def runtest(self) -> None:
        from .matrix import dump

        result = self.config.stash[SESSION].result_of(self)
        self.user_properties[:] = [entry for entry in self.user_properties if not entry[0].startswith(PROPERTY)]
        self.user_properties += [(PROPERTY, dump(result)), (PROPERTY + "_outcome", result.outcome.value)]
        if result.outcome.value == "unsupported":
            pytest.skip(result.reason)
        if _fails(result, self.config.getoption("signal_compat_level")):
            raise NotMet(result)

    def repr_failure(self, excinfo: pytest.ExceptionInfo[BaseException], style: Any = None) -> Any:
        if isinstance(excinfo.value, NotMet):
            return str(excinfo.value)
        return super().repr_failure(excinfo)

    def reportinfo(self) -> tuple[Path, int | None, str]:
        file, line = self.server.source or (str(self.path), 1)
        return Path(file), line - 1, f"{self.server.name}::{self.scenario.code} {self.scenario.slug}"


class NotMet(AssertionError):
    """A requirement was not met, or could not be judged; the text is the whole story."""

    def __init__(self, result: Result) -> None:
        from .reporters.terminal import explain

        super().__init__(explain(result))


def _fails(result: Result, level: str) -> bool:
    """A MUST that failed or was not proven fails the run; a SHOULD or MAY only if the level asks for it."""
    outcome = result.outcome.value
    if outcome in ("pass", "unsupported"):
        return False
    order = ("must", "should", "may")
    return outcome in ("fail", "error") or order.index(result.level.value) <= order.index(level)


# ---------------------------------------------------------------- fixtures for downstream suites


@pytest.fixture
def start_signal_server(request: pytest.FixtureRequest) -> Iterator[Callable[..., SyncServer]]:
    """A factory: `start_signal_server()` starts the first configured server, `start_signal_server("api")` that one,
    `start_signal_server(server)` a `Server` of your own. Keywords replace its fields. Ends them all with the test."""
    import msgspec

    from .sync import SyncServer

    session = request.config.stash.get(SESSION, None)
    settings = session.settings if session else _read_config(request.config)
    known = {entry.name: entry for entry in _servers(request.config, settings)}
    mine: list[SyncServer] = []
    everyone = request.config.stash.setdefault(STARTED, [])

    def start(server: Server | str | None = None, *, wait_ready: bool = True, **changes: Any) -> SyncServer:
        if server is None or isinstance(server, str):
            if server is not None and server not in known:
                raise pytest.UsageError(f"start_signal_server: expected one of {', '.join(known)}; found {server!r}")
            server = known[server or next(iter(known))]
        engine = _engine(request.config, settings.wine_python)
        live = SyncServer(engine, msgspec.structs.replace(server, **changes), wait_ready)
        mine.append(live)
        everyone.append(live)
        return live

    yield start
    for live in reversed(mine):
        live.close()
        everyone.remove(live)


@pytest.fixture
def signal_server(start_signal_server: Callable[..., SyncServer]) -> SyncServer:
    """The first configured server, started and ready."""
    return start_signal_server()
