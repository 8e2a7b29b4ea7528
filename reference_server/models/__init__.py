"""What a model is.

A class with `load`, `predict` and `unload` is one, and may have `explain`, `generate` and a `card`. What is `async def`
runs in the event loop; what is `def` runs in the bounded executor, so that the loop goes on noticing everything else
(a stop, above all) while it computes.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Mapping
from typing import Any, NamedTuple, Protocol, runtime_checkable

from numpy.typing import NDArray

Tensor = NDArray[Any]
"""Of a dtype in protocol.tensors.DTYPES; BYTES are object arrays of bytes."""
Tensors = Mapping[str, Tensor]
Parameters = Mapping[str, Any]


class TensorSpec(NamedTuple):
    """Name, V2 datatype and shape of an input or output; -1 in the shape stands for any length."""

    name: str
    datatype: str
    shape: tuple[int, ...]


class Card(NamedTuple):
    """What a model tells of itself. Without `inputs` it takes any."""

    inputs: tuple[TensorSpec, ...] = ()
    outputs: tuple[TensorSpec, ...] = ()
    versions: tuple[str, ...] = ("1",)
    platform: str = "python"


class Answer(NamedTuple):
    """For a `predict` that has parameters to send back beside its outputs."""

    outputs: Tensors
    parameters: Parameters


class Model(Protocol):
    """`predict` gets named tensors and the request's parameters; V1's instances arrive as one tensor, under the first
    input's name.

    A ValueError raised by it is the client's fault and answered with 400. So it is in the other two.
    """

    def load(self) -> None: ...

    def predict(
        self, inputs: Tensors, parameters: Parameters
    ) -> Tensors | Answer | Awaitable[Tensors] | Awaitable[Answer]: ...

    def unload(self) -> None: ...


@runtime_checkable
class Explains(Protocol):
    """One row for each instance in each of the tensors given back; `predictions` is among them."""

    def explain(self, inputs: Tensors, parameters: Parameters) -> Tensors | Awaitable[Tensors]: ...


@runtime_checkable
class Generates(Protocol):
    """An async generator of pieces of text. It may be closed before its end."""

    def generate(self, text: str, parameters: Parameters) -> AsyncGenerator[str, None]: ...
