"""Where the configuration is: a file that the command line names, or the nearest pyproject.toml with the table."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

FILE = "pyproject.toml"
PROJECT = (".git", ".hg")  # what the directory of a whole project holds: nothing above it is looked at


def named(config: pytest.Config) -> tuple[Path | None, str]:
    """The file that --signal-compat-config or, in a run with --signal-compat, an argument names; and which of them."""
    base = config.invocation_params.dir
    option = config.getoption("signal_compat_config")
    files: dict[Path, str] = {} if option is None else {(base / option).resolve(): "--signal-compat-config"}
    if config.getoption("signal_compat"):
        for path in _arguments(config):
            if path.suffix == ".toml" and path.is_file():
                files.setdefault(path, "argument")
    if len(files) > 1:
        found = ", ".join(f"{path} ({source})" for path, source in files.items())
        raise pytest.UsageError(f"signal-compat: expected one configuration file, found {found}")
    return next(iter(files.items()), (None, ""))


def alone(config: pytest.Config) -> bool:
    """Whether pytest was given nothing to test. A worker of xdist is always given what its controller found."""
    return hasattr(config, "workerinput") or config.args_source is not config.ArgsSource.ARGS


def candidates(config: pytest.Config) -> Iterator[Path]:
    """The files that may hold the table where none is named, the nearest first."""
    if config.inipath is not None and config.getoption("inifilename") and config.inipath.suffix == ".toml":
        yield config.inipath
    seen = set()
    for directory in (above for start in _starts(config) for above in _upwards(start)):
        if directory not in seen:
            seen.add(directory)
            yield directory / FILE


def looked(config: pytest.Config) -> str:
    """The places in words."""
    starts = _starts(config)
    own = [start for start in starts if not any(start in other.parents for other in starts)]
    return f"{FILE} of {' or '.join(map(str, own))}, or of a directory above"


def _starts(config: pytest.Config) -> list[Path]:
    """Where the arguments (or testpaths) are, where pytest was called, and its rootdir: the lower of them first."""
    base, root = config.invocation_params.dir.resolve(), config.rootpath.resolve()
    directory = _common(path if path.is_dir() else path.parent for path in _arguments(config) if path.exists()) or base
    order = (root, directory, base) if root.is_relative_to(directory) else (directory, base, root)
    return list(dict.fromkeys(order))


def _arguments(config: pytest.Config) -> list[Path]:
    base = config.invocation_params.dir
    return [(base / argument.partition("::")[0]).resolve() for argument in config.args]


def _common(directories: Iterable[Path]) -> Path | None:
    try:
        return Path(os.path.commonpath(list(directories)))
    except ValueError:  # there is none, or on Windows they are on several drives
        return None


def _upwards(directory: Path) -> Iterator[Path]:
    for above in (directory, *directory.parents):
        yield above
        if any((above / name).exists() for name in PROJECT):
            return
