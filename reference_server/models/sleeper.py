"""A model that takes as long as it is told."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import numpy as np

from reference_server.models import Card, Tensors, TensorSpec


class Sleeper:
    """Sleeps the sum of its input, in seconds, without a thread; the output is the input."""

    card = Card(
        "sleeper",
        inputs=(TensorSpec("seconds", "FP64", (-1,)),),
        outputs=(TensorSpec("slept", "FP64", (-1,)),),
    )

    def load(self) -> None: ...

    async def predict(self, inputs: Tensors, parameters: Mapping[str, Any]) -> Tensors:
        seconds = inputs["seconds"]
        if np.any(seconds < 0):
            raise ValueError("seconds must not be negative")
        await asyncio.sleep(float(seconds.sum()))
        return {"slept": seconds}

    def unload(self) -> None: ...
