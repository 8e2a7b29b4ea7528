"""Gives back what it got."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from reference_server.models import Card, Tensors


class Identity:
    """Any tensors; each output has its input's name."""

    card = Card("identity")

    def load(self) -> None: ...

    async def predict(self, inputs: Tensors, parameters: Mapping[str, Any]) -> Tensors:
        return inputs

    def unload(self) -> None: ...
