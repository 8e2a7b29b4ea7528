"""Gives back what it got."""

from __future__ import annotations

from reference_server.models import Parameters, Tensors


class Identity:
    """Any tensors; each output has its input's name."""

    def load(self) -> None: ...

    async def predict(self, inputs: Tensors, parameters: Parameters) -> Tensors:
        return inputs

    def unload(self) -> None: ...
