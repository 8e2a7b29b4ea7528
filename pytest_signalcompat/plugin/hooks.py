"""Hooks that a conftest.py may implement."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ..model import Server
    from ..scenario import Scenario


def pytest_signalcompat_servers(config: Any) -> Sequence[Server]:  # type: ignore[empty-body]
    """More servers to test, beside those of the configuration file."""


def pytest_signalcompat_scenarios(config: Any) -> Sequence[Scenario]:  # type: ignore[empty-body]
    """More scenarios, beside the catalogue."""
