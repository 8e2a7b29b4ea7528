"""What `usefixtures` of the table names: session fixtures, in any conftest of the test paths.

An item is a child of the configuration file, so pytest shows it the fixtures of the directories above that file only.
Those of other directories are given to its request here: the very same definitions, so that one which tests use, too,
is set up once. pytest has no public way to do either; what it calls these things is known to this file alone.
"""

from __future__ import annotations

import inspect
import os
from collections.abc import Iterator, Sequence
from fnmatch import fnmatch
from glob import glob
from pathlib import Path
from typing import Any

import pytest

CONFTEST = "conftest.py"
WHY_SESSION = "items are started ahead of their turn, when what is set up for one item is not there yet"


class SessionFixtures:
    """The named fixtures, and those they need: found once collection is over, set up by each item."""

    def __init__(self, session: pytest.Session, names: Sequence[str], file: Path) -> None:
        self.names = names
        self._session, self._file = session, file
        self._manager: Any = session._fixturemanager
        self._found: dict[str, Any] = {}  # definitions by name; None where there is none
        self._elsewhere: dict[str, list[Any]] = {}  # those that pytest does not show to items

    def find(self, item: pytest.Function) -> None:
        """Raises UsageError for a name that is nowhere, or no session fixture."""
        for name in self.names:
            definition = self._definition(name, item)
            if definition is None:
                places = ", ".join(map(str, self._directories())) or "none is there"
                raise pytest.UsageError(
                    f"signal-compat: usefixtures: expected a fixture {name!r} in a {CONFTEST} of {self._file.parent},"
                    f" above it, or in the test paths ({places}); found none"
                )
            if definition.scope != "session":
                where = inspect.getsourcefile(definition.func)
                raise pytest.UsageError(
                    f"signal-compat: usefixtures: expected session fixtures, found {name!r} of scope"
                    f" {definition.scope} ({where}): {WHY_SESSION}"
                )

    def set_up(self, item: pytest.Function) -> None:
        """Those of them that are not yet; pytest ends them with the session."""
        request: Any = item._request
        request._arg2fixturedefs.update(self._elsewhere)
        for name in self.names:
            request.getfixturevalue(name)

    # ------------------------------------------------------------ looking

    def _definition(self, name: str, item: pytest.Function) -> Any:
        """The one an item would get; also found are those that it needs."""
        if name not in self._found:
            shown = self._shown(name, item)
            found = self._found[name] = shown[-1] if shown else self._hidden(name)
            if found is not None and not shown:
                self._elsewhere[name] = [found]
            for other in found.argnames if found is not None else ():
                if other != "request":
                    self._definition(other, item)
        return self._found[name]

    def _shown(self, name: str, item: pytest.Function) -> Sequence[Any]:
        by_id = "nodeid" in inspect.signature(self._manager.getfixturedefs).parameters  # until pytest 8.0
        return self._manager.getfixturedefs(name, item.nodeid if by_id else item) or ()

    def _hidden(self, name: str) -> Any:
        """The first in a conftest of the test paths; of those, one that pytest has met goes first."""
        beside = self._file.parent / CONFTEST
        conftests = [*([beside] if beside.is_file() else []), *self._conftests()]
        met = [found for path in conftests for found in self._met(name, path.parent)]
        return met[0] if met else next((found for path in conftests for found in self._loaded(name, path)), None)

    def _directories(self) -> list[Path]:
        """testpaths, or else what is called test*, as where pytest looks for its first conftests."""
        root = self._session.config.rootpath
        paths = self._session.config.getini("testpaths")
        named = [root / found for path in paths for found in sorted(glob(path, root_dir=root, recursive=True))]
        beside = [found for place in (root, self._file.parent) for found in sorted(place.glob("test*"))]
        return list(dict.fromkeys(path for path in named or beside if path.is_dir()))

    def _conftests(self) -> list[Path]:
        """In the test paths and below, but not where pytest does not go; the upper ones first."""
        unwanted = self._session.config.getini("norecursedirs")
        found = []
        for start in self._directories():
            for place, below, files in os.walk(start):
                below[:] = [name for name in below if not any(fnmatch(name, pattern) for pattern in unwanted)]
                if "pyvenv.cfg" in files:
                    below.clear()
                elif CONFTEST in files:
                    found.append(Path(place) / CONFTEST)
        return sorted(dict.fromkeys(found), key=lambda path: (len(path.parts), path))

    def _met(self, name: str, directory: Path) -> Iterator[Any]:
        """The definitions that pytest knows for that directory."""
        if hasattr(self._manager, "_arg2node2fixturedefs"):  # from pytest 9.1 on
            for node, definitions in self._manager._arg2node2fixturedefs.get(name, {}).items():
                if (
                    isinstance(node, pytest.Collector)
                    and node.path == directory
                    and not isinstance(node, pytest.Session)
                ):
                    yield definitions[0]
            return
        root = self._session.config.rootpath
        own = directory.relative_to(root).as_posix() if directory.is_relative_to(root) else ""
        for definition in reversed(self._manager._arg2fixturedefs.get(name, ())):
            if definition.baseid == own:
                yield definition

    def _loaded(self, name: str, path: Path) -> Iterator[Any]:
        """The same once its conftest is imported: pytest does that for directories it collects."""
        config = self._session.config
        if config.getoption("noconftest"):
            return
        load: Any = config.pluginmanager._importconftest
        packages = "consider_namespace_packages"  # from pytest 8.1 on
        more = {packages: config.getini(packages)} if packages in inspect.signature(load).parameters else {}
        module = load(path, config.getoption("importmode"), config.rootpath, **more)
        if hasattr(self._manager, "_arg2node2fixturedefs"):
            directory = pytest.Dir.from_parent(self._session, path=path.parent)
            self._manager.parsefactories(holder=module, node=directory)
        yield from self._met(name, path.parent)
