"""The options of the command line, and the configuration they lead to. What is wrong with either is a UsageError."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from . import target

if TYPE_CHECKING:
    from ..config import Config
    from ..model import Server
    from ..scenario import Scenario
    from ..supervisor.client import Launcher

LEVELS = ("must", "should", "may")  # from the strongest to the weakest
SETTINGS = pytest.StashKey["Config | None"]()


def pytest_addoption(parser: pytest.Parser) -> None:
    from ..reporters import suffixes

    group = parser.getgroup("signal-compat", "how servers stop (pytest-signalcompat)")
    option = group.addoption
    option("--signal-compat", action="store_true", help="test how the configured servers stop")
    option(
        "--signal-compat-config",
        metavar="FILE",
        help="TOML file with [tool.signalcompat] (default: the nearest pyproject.toml with it)",
    )
    option("--signal-compat-server", metavar="NAME", action="append", default=[], help="only this server (repeatable)")
    option(
        "--signal-compat-level",
        choices=LEVELS,
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


def check(config: pytest.Config) -> None:
    """Tells of a mistake before anything is collected, not when the option is first needed."""
    from ..reporters import FORMATS, suffixes

    for name in config.getoption("signal_compat_report"):
        if Path(name).suffix not in FORMATS:
            raise pytest.UsageError(f"--signal-compat-report: expected a file ending in {suffixes()}; found {name}")
    number = config.getoption("signal_compat_jobs")
    if number != "auto" and not (number.isdigit() and int(number) > 0):
        raise pytest.UsageError(f"--signal-compat-jobs: expected a number from 1, or auto; found {number}")
    if not config.option.collectonly:
        launcher(config)


def configured(config: pytest.Config) -> Config | None:
    """What the table says; None where there is no table. Read once. The error has every problem."""
    if SETTINGS not in config.stash:
        with _as_usage_errors():
            config.stash[SETTINGS] = _read(config)
    return config.stash[SETTINGS]


def settings(config: pytest.Config) -> Config:
    """The same for a run with --signal-compat; the bundled reference server where nothing was meant to be tested."""
    from ..config import Config, default

    found = configured(config)
    if found is not None:
        return found
    if _of_conftests(config):
        return Config(path=None, servers=())
    if target.named(config)[0] is None and not target.alone(config):
        raise pytest.UsageError(f"{_no_table(config)} (without an argument the bundled reference server is tested)")
    with _as_usage_errors():
        return default(config.rootpath, _grace(config))


def _no_table(config: pytest.Config) -> str:
    return (
        f"signal-compat: expected a [tool.signalcompat] table in {target.looked(config)}, found none;"
        " `signalcompat init` prints one, --signal-compat-config names another file"
    )


@contextlib.contextmanager
def _as_usage_errors() -> Iterator[None]:
    from ..errors import ConfigError

    try:
        yield
    except ConfigError as problem:
        raise pytest.UsageError("signal-compat:\n  " + "\n  ".join(problem.problems)) from None


def _grace(config: pytest.Config) -> float | None:
    """Seconds, if the command line says how many."""
    from ..config import grace_seconds
    from ..errors import ConfigError

    wanted, problems = config.getoption("signal_compat_grace"), list[str]()
    seconds = None if wanted is None else grace_seconds(wanted, "--signal-compat-grace", problems)
    if problems:
        raise ConfigError(problems)
    return seconds


def _read(config: pytest.Config) -> Config | None:
    from ..config import DEFAULT_FILE, Config, read
    from ..errors import ConfigError

    grace = _grace(config)
    file, source = target.named(config)
    if file is None:
        found = (read(file, grace) for file in target.candidates(config) if file.is_file())
        return next((table for table in found if table is not None), None)
    if file == DEFAULT_FILE:  # a worker of xdist is given the file whose children the items are
        return None
    table = read(file, grace)
    if table is None and source == "argument" and _of_conftests(config):
        return Config(path=file, servers=())
    if table is None:
        raise ConfigError([f"{file}: expected a [tool.signalcompat] table, found none"])
    return table


def servers(config: pytest.Config) -> tuple[Server, ...]:
    """Those of the configuration, then those of conftest files."""
    return (*settings(config).servers, *_of_conftests(config))


def _of_conftests(config: pytest.Config) -> tuple[Server, ...]:
    return tuple(server for found in config.hook.pytest_signalcompat_servers(config=config) for server in found)


def declared_servers(config: pytest.Config) -> tuple[Server, ...]:
    """The same for fixtures, for which nothing stands in: one or more, or a UsageError."""
    found = configured(config)
    every = (*(found.servers if found else ()), *_of_conftests(config))
    if not every:
        raise pytest.UsageError(_no_table(config))
    return every


def chosen_servers(config: pytest.Config) -> tuple[Server, ...]:
    """Those that --signal-compat-server names; all, if it names none."""
    every = servers(config)
    names = config.getoption("signal_compat_server")
    known = [server.name for server in every]
    unknown = [name for name in names if name not in known]
    if unknown:
        raise pytest.UsageError(
            f"--signal-compat-server: expected one of {', '.join(known)}; found {', '.join(unknown)}"
        )
    return tuple(server for server in every if server.name in names) if names else every


def check_variables(servers: Iterable[Server]) -> None:
    """Tells of every variable that a server's table refers to and that is not set."""
    from ..config import check_variables

    with _as_usage_errors():
        check_variables(servers, os.environ)


def scenarios(config: pytest.Config) -> tuple[Scenario, ...]:
    """The catalogue, then those of conftest files, whose codes are their own."""
    from ..scenario import Check
    from ..scenarios import CATALOGUE

    every = list(CATALOGUE)
    for scenario in (one for found in config.hook.pytest_signalcompat_scenarios(config=config) for one in found):
        where = f"pytest_signalcompat_scenarios: scenario {scenario.code}"
        if scenario.code.startswith("SC"):
            raise pytest.UsageError(f"{where}: codes that begin with SC are the catalogue's; choose another prefix")
        if any(scenario.code == other.code for other in every):
            raise pytest.UsageError(f"{where}: expected each code once, found it twice")
        if not scenario.checks:
            raise pytest.UsageError(f"{where}: expected one check or more, found none")
        if wrong := [check for check in scenario.checks if not isinstance(check, Check)]:
            raise pytest.UsageError(f"{where}: expected checks made with @check(id), found {wrong[0]!r}")
        every.append(scenario)
    return tuple(every)


def launcher(config: pytest.Config) -> Launcher:
    """What starts servers: on this system, or on a Windows Python under Wine."""
    from ..supervisor import client

    if config.getoption("signal_compat_on") == "native":
        return client.native()
    found = configured(config)
    python = os.environ.get("SIGNALCOMPAT_WINE_PYTHON") or (found.wine_python if found else None)
    if not python or not os.access(os.path.expanduser(python), os.X_OK):
        raise pytest.UsageError(
            "--signal-compat-on=wine: expected an executable that starts a Windows Python, in wine-python of"
            f" [tool.signalcompat] or in SIGNALCOMPAT_WINE_PYTHON (`winelab which` prints it); found {python!r}"
        )
    return client.wine(os.path.expanduser(python))


def jobs(config: pytest.Config) -> int:
    """How many scenarios at a time; `auto` is this process's share of what suits the machine."""
    from ..engine import default_jobs

    number: str = config.getoption("signal_compat_jobs")
    if number != "auto":
        return int(number)
    workers: int = getattr(config, "workerinput", {}).get("workercount", 1)
    return max(1, default_jobs() // workers)
