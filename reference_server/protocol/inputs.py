"""What a model takes, against what a request brings."""

from __future__ import annotations

from collections.abc import Iterable

from reference_server.models import Card
from reference_server.protocol.errors import ProtocolError


def check(model: str, card: Card, inputs: Iterable[tuple[str, str, tuple[int, ...]]]) -> None:
    """ProtocolError 400, with expected and found, unless the inputs (name, datatype, shape) are what the card says."""
    found = {name: (datatype, shape) for name, datatype, shape in inputs}
    if not card.inputs:
        return
    expected = [spec.name for spec in card.inputs]
    if sorted(found) != sorted(expected):
        raise ProtocolError(400, f"model {model!r} takes inputs {expected}, found {sorted(found)}")
    for spec in card.inputs:
        datatype, shape = found[spec.name]
        fits = len(shape) == len(spec.shape) and all(
            want in (-1, have) for want, have in zip(spec.shape, shape, strict=True)
        )
        if datatype != spec.datatype or not fits:
            what = f"expected {spec.datatype} {list(spec.shape)}, found {datatype} {list(shape)}"
            raise ProtocolError(400, f"input {spec.name!r}: {what}")
