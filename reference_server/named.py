"""Models named on the command line: `name=package.module:Class`."""

from __future__ import annotations

import importlib
import re
from collections.abc import Callable, Iterable
from inspect import signature
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:  # it imports NumPy, which a leader of workers does without
    from reference_server.models import Model

METHODS: Final = ("load", "predict", "unload")

_WANTED: Final = re.compile(r"(?P<name>[A-Za-z0-9_.-]+)=(?P<module>\w+(\.\w+)*):(?P<attribute>\w+)")


class ModelError(Exception):
    """A model cannot be had: which, what was expected, what was found."""


class Wanted(NamedTuple):
    name: str
    module: str
    attribute: str

    def __str__(self) -> str:
        return f"--model {self.name}={self.module}:{self.attribute}"


def read(text: str) -> Wanted:
    """ValueError says what was expected."""
    found = _WANTED.fullmatch(text)
    if found is None:
        raise ValueError(f"expected name=package.module:Class, found {text!r}")
    return Wanted(found["name"], found["module"], found["attribute"])


def find(wanted: Iterable[Wanted]) -> dict[str, Model]:
    """Imports the classes and makes one object of each. ModelError tells the first that fails."""
    return {one.name: _make(one) for one in wanted}


def _make(wanted: Wanted) -> Model:
    try:
        module = importlib.import_module(wanted.module)
    except Exception as error:
        raise ModelError(f"{wanted}: cannot import {wanted.module}: {type(error).__name__}: {error}") from error
    kind = getattr(module, wanted.attribute, None)
    if not isinstance(kind, type):
        found = "nothing of that name" if kind is None else f"{type(kind).__name__} {kind!r:.60}"
        raise ModelError(f"{wanted}: expected a class, found {found} in {wanted.module}")
    lacking = [method for method in METHODS if not callable(getattr(kind, method, None))]
    if lacking:
        raise ModelError(f"{wanted}: expected a class with {', '.join(METHODS)}; it lacks {', '.join(lacking)}")
    try:
        model: Model = kind()
    except Exception as error:
        raise ModelError(f"{wanted}: {wanted.attribute}() failed: {type(error).__name__}: {error}") from error
    if not _takes_two(model.predict):
        raise ModelError(f"{wanted}: expected predict(inputs, parameters), found predict{signature(model.predict)}")
    return model


def _takes_two(function: Callable[..., object]) -> bool:
    """Whether it can be called with two positional arguments. What does not tell its signature is believed."""
    try:
        signature(function).bind(None, None)
    except TypeError:
        return False
    except ValueError:
        return True
    return True
