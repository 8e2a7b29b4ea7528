"""A text generator small enough to be written down: words follow each other as they do in a text about a ferry."""

from __future__ import annotations

import asyncio
import random
from collections import Counter, defaultdict
from collections.abc import AsyncGenerator, Callable, Iterator, Mapping
from typing import Any, Final

import numpy as np

from reference_server.models import Card, Parameters, Tensors, TensorSpec
from reference_server.models.repository import in_thread

CORPUS: Final = """
The ferry leaves the harbour when the bell rings . The captain waits until the last passenger is on board , and then
the crew closes the gate . Nobody is left on the pier . When the storm comes , the captain turns the ferry back to the
harbour and the crew opens the gate again . The passengers leave one after another , and the crew counts them . When
the last passenger has left , the crew closes the gate and the captain stops the engine . The engine stops slowly .
The harbour is quiet when the ferry is empty . In the morning the bell rings again , and the captain starts the engine .
A good captain never leaves the harbour before the crew has counted the passengers . A good crew never opens the gate
while the ferry is moving . When the bell rings twice , the ferry turns back at once and the passengers wait on board .
The last passenger is often late , and the captain waits for a while . The captain does not wait for ever . The crew
knows how long the captain waits , and the passengers know it too .
"""
MAX_TOKENS: Final = 4096

# Name: default, what is expected, and whether a value is that.
_PARAMETERS: Final[Mapping[str, tuple[Any, str, Callable[[Any], bool]]]] = {
    "max_tokens": (20, f"an integer from 1 to {MAX_TOKENS}", lambda value: _number(value, int) and 1 <= value <= 4096),
    "temperature": (1.0, "a number from 0 to 100", lambda value: _number(value, int | float) and 0 <= value <= 100),
    "seed": (0, "an integer", lambda value: _number(value, int)),
    "seconds": (0.0, "a number from 0 to 3600", lambda value: _number(value, int | float) and 0 <= value <= 3600),
    "stop": ([], "a list of words", lambda value: isinstance(value, list) and all(isinstance(x, str) for x in value)),
}


class Ngram:
    """Continues a text word by word. Parameters: `max_tokens`, `temperature` (0: always the likeliest word), `seed`,
    `stop` (words that end the text) and `seconds` (to take for each word).
    """

    card = Card(
        inputs=(TensorSpec("text_input", "BYTES", (-1,)),),
        outputs=(TensorSpec("text_output", "BYTES", (-1,)),),
        platform="trigram",
    )

    def load(self) -> None:
        words = CORPUS.split()
        followers: defaultdict[tuple[str, ...], Counter[str]] = defaultdict(Counter)
        for position, word in enumerate(words):
            for length in (0, 1, 2):
                if position >= length:
                    followers[tuple(words[position - length : position])][word] += 1
        self._followers = dict(followers)

    async def predict(self, inputs: Tensors, parameters: Parameters) -> Tensors:
        def complete(text: bytes) -> bytes:
            return "".join(self._words(text.decode(), parameters)).encode()

        texts = inputs["text_input"]
        outputs = np.empty(texts.shape, dtype=object)
        for place, text in np.ndenumerate(texts):
            outputs[place] = await in_thread(complete, text)
        return {"text_output": outputs}

    async def generate(self, text: str, parameters: Parameters) -> AsyncGenerator[str, None]:
        for word in self._words(text, parameters):
            await asyncio.sleep(_value(parameters, "seconds"))
            yield word

    def _words(self, text: str, parameters: Parameters) -> Iterator[str]:
        unknown = sorted(set(parameters) - set(_PARAMETERS))
        if unknown:
            raise ValueError(f"parameters {unknown} unknown; known are {', '.join(_PARAMETERS)}")
        choose = random.Random(_value(parameters, "seed"))
        temperature = _value(parameters, "temperature")
        stop = _value(parameters, "stop")
        context = tuple(text.split()[-2:])
        for _ in range(_value(parameters, "max_tokens")):
            while context not in self._followers:
                context = context[1:]
            word = _pick(self._followers[context], temperature, choose)
            if word in stop:
                return
            yield word if word in ".," else f" {word}"
            context = (*context, word)[-2:]

    def unload(self) -> None:
        del self._followers


def _pick(followers: Counter[str], temperature: float, choose: random.Random) -> str:
    words = list(followers)
    most = max(followers.values())
    if temperature == 0:
        return next(word for word in words if followers[word] == most)
    weights = [(followers[word] / most) ** (1 / temperature) for word in words]
    return choose.choices(words, weights)[0]


def _value(parameters: Parameters, name: str) -> Any:
    default, expected, fits = _PARAMETERS[name]
    value = parameters.get(name, default)
    if not fits(value):
        raise ValueError(f"parameter {name!r}: expected {expected}, found {value!r:.60}")
    return value


def _number(value: Any, kind: Any) -> bool:
    return isinstance(value, kind) and not isinstance(value, bool)
