"""What a model is, and the repository that holds the models of a server.

A model has `load`, `predict` and `unload`. Where `predict` is `async def` it runs in the event loop; where it is
`def` it runs in the bounded executor, so that the loop goes on noticing everything else (a stop, above all) while it
computes.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Callable, Mapping
from concurrent.futures import Executor
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from reference_server.protocol.errors import ProtocolError

Tensor = NDArray[Any]
"""Of a dtype in protocol.tensors.DTYPES; BYTES are object arrays of bytes."""
Tensors = Mapping[str, Tensor]


class TensorSpec(NamedTuple):
    """Name, V2 datatype and shape of an input or output; -1 in the shape stands for any length."""

    name: str
    datatype: str
    shape: tuple[int, ...]


class Card(NamedTuple):
    """What a model tells of itself. Without `inputs` it takes any."""

    name: str
    inputs: tuple[TensorSpec, ...] = ()
    outputs: tuple[TensorSpec, ...] = ()
    versions: tuple[str, ...] = ("1",)
    platform: str = "python"


class Model(Protocol):
    """`predict` gets named tensors and the request's parameters; V1's instances arrive as one tensor, under the first
    input's name.

    A ValueError raised by `predict` is the client's fault and answered with 400.
    """

    @property
    def card(self) -> Card: ...

    def load(self) -> None: ...

    def predict(self, inputs: Tensors, parameters: Mapping[str, Any]) -> Tensors | Awaitable[Tensors]: ...

    def unload(self) -> None: ...


class Repository:
    """The models by name, and which of them are ready."""

    def __init__(self, models: tuple[Model, ...], executor: Executor) -> None:
        self._models = {model.card.name: model for model in models}
        self._ready: set[str] = set()
        self._executor = executor

    @property
    def names(self) -> list[str]:
        return sorted(self._models)

    def ready(self, name: str) -> bool:
        return name in self._ready

    @property
    def all_ready(self) -> bool:
        return len(self._ready) == len(self._models)

    def card(self, name: str, version: str | None = None) -> Card:
        if name not in self._models:
            raise ProtocolError(404, f"model {name!r} not found; this server has {', '.join(self.names) or 'none'}")
        card = self._models[name].card
        if version is not None and version not in card.versions:
            raise ProtocolError(404, f"model {name!r} has no version {version!r}, only {', '.join(card.versions)}")
        return card

    async def load_all(self) -> None:
        for name, model in self._models.items():
            await self._in_thread(model.load)
            self._ready.add(name)

    async def unload_all(self) -> None:
        while self._ready:
            await self._in_thread(self._models[self._ready.pop()].unload)

    async def predict(self, name: str, inputs: Tensors, parameters: Mapping[str, Any]) -> Tensors:
        """404 for a model unknown, 503 for one not ready, 400 for input it refuses."""
        self.card(name)
        if not self.ready(name):
            raise ProtocolError(503, f"model {name!r} is not ready")
        predict: Callable[..., Any] = self._models[name].predict
        try:
            if inspect.iscoroutinefunction(predict):
                outputs = await predict(inputs, parameters)
            else:
                outputs = await self._in_thread(predict, inputs, parameters)
        except ValueError as error:
            raise ProtocolError(400, f"model {name!r}: {error}") from error
        return {key: np.asarray(value) for key, value in outputs.items()}

    async def _in_thread(self, function: Callable[..., Any], *arguments: Any) -> Any:
        return await asyncio.get_running_loop().run_in_executor(self._executor, function, *arguments)


def check_inputs(card: Card, shapes: Mapping[str, tuple[str, tuple[int, ...]]]) -> None:
    """ProtocolError 400, with expected and found, unless inputs (name: datatype, shape) are what the card says."""
    if not card.inputs:
        return
    expected = [spec.name for spec in card.inputs]
    if sorted(shapes) != sorted(expected):
        raise ProtocolError(400, f"model {card.name!r} takes inputs {expected}, found {sorted(shapes)}")
    for spec in card.inputs:
        datatype, shape = shapes[spec.name]
        fits = len(shape) == len(spec.shape) and all(
            want in (-1, have) for want, have in zip(spec.shape, shape, strict=True)
        )
        if datatype != spec.datatype or not fits:
            found = f"{datatype} {list(shape)}"
            raise ProtocolError(400, f"input {spec.name!r}: expected {spec.datatype} {list(spec.shape)}, found {found}")
