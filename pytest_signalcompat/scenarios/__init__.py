"""The catalogue: one file a family, one `Scenario` a requirement. Codes are written, never positional, never reused."""

from __future__ import annotations

from ..scenario import Scenario
from .idle import SC201, SC202, SC203, SC204
from .inflight import SC301, SC304
from .platform import SC901
from .resources import SC803
from .startup import SC101
from .streaming import SC401
from .timing import SC701
from .workers import SC501

CATALOGUE: tuple[Scenario, ...] = (SC101, SC201, SC202, SC203, SC204, SC301, SC304, SC401, SC501, SC701, SC803, SC901)
