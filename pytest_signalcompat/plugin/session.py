"""A run with `--signal-compat`: which items there are, what is started ahead of them, the table at the end."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from .. import __version__
from . import options, running
from .items import PROPERTY, ScenarioItem, SignalCompatFile, Waiting
from .session_fixtures import SessionFixtures

if TYPE_CHECKING:
    from concurrent.futures import Future

    from ..model import Result


class SignalCompat:
    """What one pytest process knows while `--signal-compat` is on. Also a plugin: its hooks run only then."""

    def __init__(self, config: pytest.Config) -> None:
        from ..matrix import Matrix

        self.config = config
        self.settings = options.settings(config)
        self.servers = options.chosen_servers(config)
        self.scenarios = options.scenarios(config)
        options.check(config)
        self.file = self._item_file()
        self.matrix = Matrix()
        self._begun: dict[str, Future[Result]] = {}
        self._next: pytest.Item | None = None
        self._fixtures: SessionFixtures | None = None
        self._no_fixtures = ""  # why there are none, on a worker of xdist
        self._named = self._ask_for_file()

    # ------------------------------------------------------------ collecting

    def _item_file(self) -> Path:
        """The file whose children the items are: the configuration, or what stands in for one."""
        from ..config import DEFAULT_FILE

        if self.settings.path is not None:
            return self.settings.path.resolve()
        here = self.config.rootpath / "pyproject.toml"
        return DEFAULT_FILE if self._stands_in or not here.exists() else here.resolve()

    @property
    def _stands_in(self) -> bool:
        """Whether the servers are the bundled table's."""
        return self.settings.path is None and bool(self.settings.servers)

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

    def pytest_collect_file(self, file_path: Path, parent: pytest.Collector) -> pytest.Collector | None:
        if file_path != self.file and file_path.resolve() != self.file:
            return None
        return self._collector(parent, file_path)

    def _collector(self, parent: pytest.Collector, file: Path) -> SignalCompatFile:
        outside = self._stands_in or self.config.rootpath not in file.parents  # pytest would call it ""
        more: dict[str, Any] = {"nodeid": file.name} if outside else {}
        collector: SignalCompatFile = SignalCompatFile.from_parent(parent, path=file, compat=self, **more)
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
        """What is missing is told once, for the servers that will be started. Each item tells it under xdist, where an
        error here would be an internal one; and variables also where fixtures come first, which may set them."""
        self._find_fixtures(session)
        if self.config.option.collectonly or self.settings.usefixtures or hasattr(self.config, "workerinput"):
            return
        selected = {item.server.name: item.server for item in session.items if isinstance(item, ScenarioItem)}
        options.check_variables(selected.values())

    def _find_fixtures(self, session: pytest.Session) -> None:
        first = next((item for item in session.items if isinstance(item, ScenarioItem)), None)
        if first is None or not self.settings.usefixtures:
            return
        self._fixtures = SessionFixtures(session, self.settings.usefixtures, self.file)
        try:
            self._fixtures.find(first)
        except pytest.UsageError as problem:
            if not hasattr(self.config, "workerinput"):
                raise
            self._no_fixtures = str(problem)

    # ------------------------------------------------------------ running

    def set_up(self, item: ScenarioItem) -> None:
        """The session fixtures that the table names."""
        if self._no_fixtures:
            pytest.fail(self._no_fixtures, pytrace=False)
        if self._fixtures is not None:
            self._fixtures.set_up(item)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(
        self, item: pytest.Item, nextitem: pytest.Item | None
    ) -> Generator[None, object, object]:
        self._next = nextitem
        return (yield)

    def result_of(self, item: ScenarioItem) -> Result:
        """The item's verdict; the items after it are started ahead. A repeated call (a rerun) runs it anew."""
        from ..sync import wait_for

        self._begin(item)
        for other in self._coming(item):
            self._begin(other)
        result: Result = wait_for(self._begun.pop(item.nodeid), Waiting(item).beat)
        return result

    def _begin(self, item: ScenarioItem) -> None:
        if item.nodeid not in self._begun:
            self._begun[item.nodeid] = running.engine(self.config).submit(item.server, item.scenario, item.case)

    def _coming(self, item: ScenarioItem) -> list[ScenarioItem]:
        """What this process will run next: all of it, or under xdist the one item that is known."""
        if hasattr(self.config, "workerinput"):
            return [self._next] if isinstance(self._next, ScenarioItem) else []
        items = item.session.items
        return [other for other in items[items.index(item) + 1 :] if isinstance(other, ScenarioItem)]

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionfinish(self) -> None:
        """Ends what was started ahead and will not be asked for: -x, --maxfail, Ctrl-C."""
        running.end(self.config)

    # ------------------------------------------------------------ reporting

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        text = dict(report.user_properties).get(PROPERTY)
        if report.when == "call" and isinstance(text, str):
            from ..matrix import load

            self.matrix = self.matrix.add(load(text))

    def pytest_report_header(self) -> list[str]:
        lines = []
        if self._stands_in:
            lines.append(
                "signal-compat: no [tool.signalcompat] table: the bundled reference server is tested"
                " (`signalcompat init` prints a table for yours)"
            )
        where = "" if self.config.getoption("signal_compat_on") == "native" else ", on Windows Python under Wine"
        names = ", ".join(f"{server.name} (grace {server.grace:g} s)" for server in self.servers)
        if self.settings.path not in (None, self.config.rootpath / "pyproject.toml"):
            lines.append(f"signal-compat: configuration {self.settings.path}")
        return [*lines, f"signal-compat: {names}; {len(self.scenarios)} requirements{where}"]

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        from ..reporters import terminal

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
        from .. import reporters

        for name in self.config.getoption("signal_compat_report"):
            path = self.config.invocation_params.dir / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(reporters.render(path.suffix, self.matrix, __version__), encoding="utf-8")
            yield name
