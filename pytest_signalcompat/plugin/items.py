"""Items: one for each requirement on each server, beneath the configuration file; and how an outcome is shown."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from .options import LEVELS

if TYPE_CHECKING:
    from ..model import Result, Server
    from ..scenario import Case, Scenario
    from .session import SignalCompat

SILENCE = 15.0  # seconds without a word
PROPERTY = "signalcompat"  # the user property that carries a Result as JSON text
OUTCOME = PROPERTY + "_outcome"  # and the one with its outcome alone
MARKERS = {
    "signal_compat": "a requirement on how a server stops (pytest --signal-compat)",
    "must": "a requirement that has to be met",
    "should": "a requirement whose failure is shown, and fails with --signal-compat-level=should",
    "may": "a requirement for information",
}


class SignalCompatFile(pytest.File):
    """The configuration file as a collector."""

    def __init__(self, *, compat: SignalCompat, **options: Any) -> None:
        super().__init__(**options)
        self.compat = compat

    def collect(self) -> Iterator[ServerCollector]:
        self.add_marker(pytest.mark.signal_compat)
        for server in self.compat.servers:
            yield ServerCollector.from_parent(self, name=server.name, compat=self.compat, server=server)


class ServerCollector(pytest.Collector):
    """One server of the configuration."""

    def __init__(self, *, compat: SignalCompat, server: Server, **options: Any) -> None:
        super().__init__(**options)
        self.compat, self.server = compat, server

    def collect(self) -> Iterator[ScenarioItem]:
        for scenario in self.compat.scenarios:
            for case in scenario.cases(self.server):
                yield self._item(scenario, case)

    def _item(self, scenario: Scenario, case: Case) -> ScenarioItem:
        """Every item is made here: `SC201`, or `SC901[selector-2]` for a case with an id. pytest selects all cases of
        a code by the name without brackets, as it does with parameters."""
        item: ScenarioItem = ScenarioItem.from_parent(
            self,
            name=f"{scenario.code}[{case.id}]" if case.id else scenario.code,
            callobj=_placeholder,
            compat=self.compat,
            scenario=scenario,
            case=case,
        )
        return item


def _placeholder() -> None:
    """pytest.Function wants a function to look for fixtures in; `ScenarioItem.runtest` does the work."""


class ScenarioItem(pytest.Function):
    """One case of a requirement on one server. A Function, so that fixtures, marks and other plugins work as usual."""

    def __init__(self, *, compat: SignalCompat, scenario: Scenario, case: Case, **options: Any) -> None:
        super().__init__(**options)
        self.compat, self.scenario, self.server, self.case = compat, scenario, case.server, case.id
        self.add_marker(getattr(pytest.mark, scenario.level.value))
        self.extra_keyword_matches.update((scenario.slug, self.server.name))

    def setup(self) -> None:
        super().setup()
        self.compat.set_up(self)

    def runtest(self) -> None:
        from ..matrix import dump
        from ..model import Outcome

        result = self.compat.result_of(self)
        self.user_properties[:] = [entry for entry in self.user_properties if entry[0] not in (PROPERTY, OUTCOME)]
        self.user_properties += [(PROPERTY, dump(result)), (OUTCOME, result.outcome.value)]
        if result.outcome in (Outcome.BLOCKED, Outcome.UNSUPPORTED):
            pytest.skip(result.reason)
        if _fails(result, self.config.getoption("signal_compat_level")):
            raise NotMet(result)

    def repr_failure(self, excinfo: pytest.ExceptionInfo[BaseException], style: Any = None) -> Any:
        if isinstance(excinfo.value, NotMet):
            return str(excinfo.value)
        return super().repr_failure(excinfo)

    def reportinfo(self) -> tuple[Path, int | None, str]:
        file, line = self.server.source or (str(self.path), 1)
        return Path(file), line - 1, f"{self.server.name}::{self.name} {self.scenario.slug}"


class NotMet(AssertionError):
    """A requirement was not met, or could not be judged; the text is the whole story."""

    def __init__(self, result: Result) -> None:
        from ..reporters.terminal import explain

        super().__init__(explain(result))


def _fails(result: Result, level: str) -> bool:
    """A MUST that failed or was not proven fails the run; a SHOULD or MAY only if the level asks for it."""
    from ..model import Outcome

    if result.outcome in (Outcome.BLOCKED, Outcome.PASS, Outcome.UNSUPPORTED):
        return False
    if result.outcome in (Outcome.FAIL, Outcome.ERROR):
        return True
    return LEVELS.index(result.level.value) <= LEVELS.index(level)


def pytest_report_teststatus(report: pytest.TestReport) -> tuple[str, str, str] | None:
    if report.when != "call":
        return None
    outcome = dict(report.user_properties).get(OUTCOME)
    if outcome is None:
        return None
    from ..model import Outcome

    if report.passed and outcome == Outcome.WEAK:
        return "weak", "w", "WEAK"
    if report.passed and outcome == Outcome.UNPROVEN:
        return "unproven", "u", "UNPROVEN"
    return ("failed", "E", "ERROR") if outcome == Outcome.ERROR else None


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
            seconds, scenario = now - self._begun, f"{item.name} {item.scenario.slug}"
            reporter.write_line(
                f"signal-compat: {item.server.name} {scenario}: {seconds:.0f} s by now (grace {item.server.grace:g} s;"
                " what is late is tried again alone)"
            )
