"""The models of a serving process by name, and what state each is in."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import inspect
import logging
from collections.abc import AsyncGenerator, Callable, Collection, Iterator, Mapping
from concurrent.futures import Executor
from typing import Any, Final, Literal, NamedTuple

import numpy as np

from reference_server.models import Answer, Card, Explains, Generates, Model, Parameters, Tensors
from reference_server.protocol.errors import ProtocolError

# The words of https://github.com/triton-inference-server/server/blob/main/docs/protocol/extension_model_repository.md
State = Literal["UNAVAILABLE", "LOADING", "READY", "UNLOADING"]

# An unload waits so long for requests that run, and for the model.
UNLOAD_SECONDS: Final = 30.0
UNLOADED: Final = "unloaded"  # on request: the reason that nothing is wrong with

_executor: Final[contextvars.ContextVar[Executor]] = contextvars.ContextVar("executor")

logger = logging.getLogger("reference_server")


async def in_thread(function: Callable[..., Any], *arguments: Any) -> Any:
    """For the part of an `async def predict` that blocks: runs in the executor that bounds all blocking work."""
    return await asyncio.get_running_loop().run_in_executor(_executor.get(), function, *arguments)


class Entry(NamedTuple):
    """A line of the repository's index; `reason` says why a model is not available."""

    name: str
    versions: tuple[str, ...]
    state: State
    reason: str


class _Slot:
    """A model from its first load to its last unload, and how many requests it is busy with."""

    def __init__(self, model: Model) -> None:
        self.model = model
        self.card: Card = getattr(model, "card", Card())
        self.state: State = "UNAVAILABLE"
        self.reason = "not loaded yet"
        self._running = 0
        self._idle = asyncio.Event()
        self._idle.set()

    @property
    def unloaded(self) -> bool:
        return self.reason == UNLOADED

    def unloaded_by(self, task: asyncio.Task[None]) -> None:
        self.state, self.reason = "UNAVAILABLE", UNLOADED
        if not task.cancelled():
            task.exception()  # is logged already, and there may be nobody left to tell

    @contextlib.contextmanager
    def running(self) -> Iterator[None]:
        self._running += 1
        self._idle.clear()
        try:
            yield
        finally:
            self._running -= 1
            if not self._running:
                self._idle.set()

    async def idle(self) -> None:
        await self._idle.wait()


class ModelFailed(Exception):
    """A model raised what would end more than its request."""


def _blamed(model: str, error: BaseException) -> BaseException:
    """What to raise instead of an error that came out of a model."""
    if isinstance(error, ValueError):
        return ProtocolError(400, f"model {model!r}: {error}")
    task = asyncio.current_task()
    cut = isinstance(error, asyncio.CancelledError) and task is not None and task.cancelling()
    if isinstance(error, Exception) or cut:
        return error
    return ModelFailed(f"model {model!r} raised {type(error).__name__}")


class Repository:
    """Every method raises ProtocolError: 404 for a model unknown or unloaded, 503 for one that is not ready otherwise.

    `load` and `unload` know an unloaded one, and raise 409 where one of them is still at work.
    """

    def __init__(self, models: Mapping[str, Model], executor: Executor) -> None:
        self._slots = {name: _Slot(model) for name, model in models.items()}
        self._executor = executor

    @property
    def names(self) -> list[str]:
        """Of the models that are served."""
        return sorted(name for name, slot in self._slots.items() if not slot.unloaded)

    def index(self) -> list[Entry]:
        return [Entry(name, slot.card.versions, slot.state, slot.reason) for name, slot in sorted(self._slots.items())]

    def ready(self, name: str) -> bool:
        return self._served(name).state == "READY"

    @property
    def all_ready(self) -> bool:
        """A model that is unloaded on request, or is being, is not waited for."""
        return all(slot.state in ("READY", "UNLOADING") or slot.unloaded for slot in self._slots.values())

    def card(self, name: str, version: str | None = None) -> Card:
        card = self._served(name).card
        if version is not None and version not in card.versions:
            raise ProtocolError(404, f"model {name!r} has no version {version!r}, only {', '.join(card.versions)}")
        return card

    def find(self, name: str) -> None:
        """404 unless the model is here, unloaded or not."""
        self._slot(name)

    def _served(self, name: str) -> _Slot:
        slot = self._slot(name)
        if slot.unloaded:
            raise ProtocolError(404, f"model {name!r} is unloaded; /v2/repository/models/{name}/load brings it back")
        return slot

    def _slot(self, name: str) -> _Slot:
        slot = self._slots.get(name)
        if slot is None:
            raise ProtocolError(404, f"model {name!r} not found; this server has {', '.join(self.names) or 'none'}")
        return slot

    async def load_all(self, but: Collection[str] = ()) -> None:
        for name, slot in self._slots.items():
            if name in but:
                slot.reason = UNLOADED
            else:
                await self.load(name)

    async def change(self, verb: str, name: str) -> tuple[int, str]:
        """`load` or `unload`: status and error."""
        try:
            await (self.load(name) if verb == "load" else self.unload(name))
        except ProtocolError as error:
            return error.status, str(error)
        except Exception:  # is logged
            return 500, f"model {name!r} failed to {verb}"
        return 200, ""

    async def unload_all(self) -> None:
        """At the end: requests still running were cut, or their threads do not end."""
        for name, slot in self._slots.items():
            if slot.state == "READY":
                slot.state, slot.reason = "UNAVAILABLE", UNLOADED
                with contextlib.suppress(Exception):  # is logged, and the other models are to be unloaded, too
                    await self._unload(name, slot)

    async def load(self, name: str) -> None:
        """Nothing to do where it is ready. 503 if the model's own `load` fails."""
        slot = self._slot(name)
        self._refuse_in_transition(name, slot)
        if slot.state == "READY":
            return
        slot.state, slot.reason = "LOADING", ""
        try:
            await self._in_thread(slot.model.load)
        except Exception as error:
            slot.state, slot.reason = "UNAVAILABLE", f"{type(error).__name__}: {error}"
            logger.error("model %r failed to load: %s", name, slot.reason)
            raise ProtocolError(503, f"model {name!r} failed to load: {slot.reason}") from error
        slot.state, slot.reason = "READY", ""

    async def unload(self, name: str) -> None:
        """New requests are refused at once; those that run are waited for, and past the limit the model stays loaded.

        A model's own `unload` that takes longer than the limit goes on, and so does the state. 503 tells of both.
        """
        slot = self._slot(name)
        self._refuse_in_transition(name, slot)
        if slot.state != "READY":
            slot.reason = UNLOADED
            return
        slot.state = "UNLOADING"
        deadline = asyncio.get_running_loop().time() + UNLOAD_SECONDS
        try:
            async with asyncio.timeout_at(deadline):
                await slot.idle()
        except BaseException as error:
            slot.state = "READY"
            if isinstance(error, TimeoutError):
                what = f"model {name!r} is still busy after {UNLOAD_SECONDS:g} s and stays loaded; ask again later"
                raise ProtocolError(503, what) from None
            raise
        ending = asyncio.create_task(self._unload(name, slot))
        ending.add_done_callback(slot.unloaded_by)
        try:
            async with asyncio.timeout_at(deadline):
                await asyncio.shield(ending)
        except TimeoutError:
            raise ProtocolError(503, f"model {name!r} is still unloading after {UNLOAD_SECONDS:g} s") from None

    async def _unload(self, name: str, slot: _Slot) -> None:
        try:
            await self._in_thread(slot.model.unload)
        except Exception as error:
            logger.error("model %r failed to unload: %s: %s", name, type(error).__name__, error)
            raise

    def _refuse_in_transition(self, name: str, slot: _Slot) -> None:
        if slot.state in ("LOADING", "UNLOADING"):
            raise ProtocolError(409, f"model {name!r} is {slot.state.lower()}; ask again when that is done")

    async def predict(self, name: str, inputs: Tensors, parameters: Parameters) -> Answer:
        slot = self._ready_slot(name)
        answer = await self._call(name, slot, slot.model.predict, inputs, parameters)
        outputs, back = answer if isinstance(answer, Answer) else (answer, {})
        return Answer({key: np.asarray(value) for key, value in outputs.items()}, back)

    async def explain(self, name: str, inputs: Tensors, parameters: Parameters) -> Tensors:
        slot = self._ready_slot(name)
        if not isinstance(slot.model, Explains):
            raise ProtocolError(404, f"model {name!r} does not explain; it has no `explain`")
        explanation: Tensors = await self._call(name, slot, slot.model.explain, inputs, parameters)
        return {key: np.asarray(value) for key, value in explanation.items()}

    async def _call(
        self, name: str, slot: _Slot, function: Callable[..., Any], inputs: Tensors, parameters: Parameters
    ) -> Any:
        with slot.running():
            try:
                if inspect.iscoroutinefunction(function):
                    _executor.set(self._executor)
                    return await function(inputs, parameters)
                return await self._in_thread(function, inputs, parameters)
            except BaseException as error:
                raise _blamed(name, error) from error

    async def generate(self, name: str, text: str, parameters: Parameters) -> AsyncGenerator[str, None]:
        slot = self._ready_slot(name)
        if not isinstance(slot.model, Generates):
            raise ProtocolError(404, f"model {name!r} does not generate text; it has no `generate`")
        with slot.running():
            _executor.set(self._executor)
            async with contextlib.aclosing(slot.model.generate(text, parameters)) as pieces:
                try:
                    async for piece in pieces:
                        yield piece
                except GeneratorExit:
                    raise
                except BaseException as error:
                    raise _blamed(name, error) from error

    def _ready_slot(self, name: str) -> _Slot:
        slot = self._served(name)
        if slot.state != "READY":
            raise ProtocolError(503, f"model {name!r} is not ready: {slot.reason or slot.state.lower()}")
        return slot

    async def _in_thread(self, function: Callable[..., Any], *arguments: Any) -> Any:
        return await asyncio.get_running_loop().run_in_executor(self._executor, function, *arguments)
