"""A model that takes as long as it is told."""

from __future__ import annotations

import asyncio
import time
from typing import Final

import numpy as np

from reference_server.models import Answer, Card, Parameters, Tensors, TensorSpec
from reference_server.models.repository import in_thread

LONGEST_SECONDS: Final = 86400.0


class Sleeper:
    """Sleeps the sum of its input, in seconds, or the parameter `seconds`; the output is the input.

    Without a thread, or with the parameter `blocking` in one of the bounded executor, which nothing can interrupt.
    """

    card = Card(
        inputs=(TensorSpec("seconds", "FP64", (-1,)),),
        outputs=(TensorSpec("slept", "FP64", (-1,)),),
    )

    def load(self) -> None: ...

    async def predict(self, inputs: Tensors, parameters: Parameters) -> Answer:
        blocking = parameters.get("blocking", False)
        if not isinstance(blocking, bool):
            raise ValueError(f"parameter 'blocking': expected true or false, found {blocking!r}")
        seconds = _seconds(inputs, parameters)
        if blocking:
            await in_thread(time.sleep, seconds)
        else:
            await asyncio.sleep(seconds)
        return Answer({"slept": inputs["seconds"]}, {"seconds": seconds, "blocking": blocking})

    def unload(self) -> None: ...


def _seconds(inputs: Tensors, parameters: Parameters) -> float:
    if np.any(inputs["seconds"] < 0):
        raise ValueError("seconds must not be negative")
    with np.errstate(over="ignore"):
        seconds = parameters.get("seconds", float(inputs["seconds"].sum()))
    number = isinstance(seconds, int | float) and not isinstance(seconds, bool)
    if not number or not 0 <= seconds <= LONGEST_SECONDS:
        raise ValueError(f"seconds: expected a number from 0 to {LONGEST_SECONDS:g}, found {seconds!r:.60}")
    return float(seconds)
