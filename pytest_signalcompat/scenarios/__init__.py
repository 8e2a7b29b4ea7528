"""The catalogue: one file a family, one `Scenario` a requirement. Codes are written, never positional, never reused."""

from __future__ import annotations

from types import ModuleType

from ..scenario import Scenario
from . import idle, inflight, platform, resources, startup, streaming, timing, workers

FAMILIES: dict[str, ModuleType] = {
    "SC1": startup,
    "SC2": idle,
    "SC3": inflight,
    "SC4": streaming,
    "SC5": workers,
    "SC7": timing,
    "SC8": resources,
    "SC9": platform,
}
_EVERY = (value for family in FAMILIES.values() for value in vars(family).values() if isinstance(value, Scenario))
CATALOGUE: tuple[Scenario, ...] = tuple(sorted(_EVERY, key=lambda scenario: scenario.code))
