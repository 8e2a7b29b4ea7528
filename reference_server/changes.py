"""Models loaded and unloaded in every worker, or in none.

    worker   {"ask": "unload", "model": "iris", "number": 7}    a client has asked it
    leader   {"do": "unload", "model": "iris", "change": 3}     to every worker
    worker   {"did": 3, "status": 200, "error": ""}             each of them; where one fails, all do the opposite
    leader   {"answer": 7, "status": 200, "error": ""}          to the first, for its client

Workers say it through their reports (reports.py), the leader through their orders (workers.py).
"""

from __future__ import annotations

import asyncio
import itertools
import json
import threading
from collections.abc import Awaitable, Callable, Collection
from concurrent.futures import Future
from typing import Any, Final, Protocol

OPPOSITE: Final = {"load": "unload", "unload": "load"}

Perform = Callable[[str, str], Awaitable[tuple[int, str]]]


class Changes:
    """A worker's end. `unloaded` are the models that it begins without."""

    def __init__(self, say: Callable[[dict[str, Any]], None], unloaded: Collection[str]) -> None:
        self.unloaded = frozenset(unloaded)
        self._say = say
        self._numbers = itertools.count()
        self._asked: dict[int, Future[dict[str, Any]]] = {}
        self._early: list[dict[str, Any]] = []
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None

    def attach(self, perform: Perform) -> None:
        """Obeys from now on, in the running loop."""
        with self._lock:
            self._perform = perform
            self._loop = asyncio.get_running_loop()
            early, self._early = self._early, []
        for message in early:
            self.order(message)

    async def ask(self, verb: str, model: str) -> tuple[int, str]:
        """Status and error, when all workers have done it, or none."""
        number = next(self._numbers)
        coming: Future[dict[str, Any]] = Future()
        self._asked[number] = coming
        self._say({"ask": verb, "model": model, "number": number})
        answer = await asyncio.wrap_future(coming)
        return answer["status"], answer["error"]

    def order(self, message: dict[str, Any]) -> None:
        """From the thread that hears the leader."""
        if "answer" in message:
            coming = self._asked.pop(message["answer"])
            if coming.set_running_or_notify_cancel():
                coming.set_result(message)
            return
        with self._lock:
            if self._loop is None:
                self._early.append(message)
                return
        asyncio.run_coroutine_threadsafe(self._obey(message), self._loop)

    async def _obey(self, message: dict[str, Any]) -> None:
        status, error = await self._perform(message["do"], message["model"])
        self._say({"did": message["change"], "status": status, "error": error})


class Told(Protocol):
    """A worker, as the leader has it."""

    def tell(self, word: str) -> None: ...


class Change:
    """One that is at work."""

    def __init__(self, number: int, asker: Told, message: dict[str, Any]) -> None:
        self.number = number
        self.asker = asker
        self.message = message
        self.pending: set[Told] = set()
        self.failure: dict[str, Any] | None = None
        self.undoing = False


class Coordinator:
    """The leader's end; called by its one thread."""

    def __init__(self, workers: Collection[Told]) -> None:
        self.unloaded: set[str] = set()
        self._workers = workers
        self._numbers = itertools.count()
        self._now: Change | None = None

    def heard(self, worker: Told, message: dict[str, Any]) -> None:
        if "ask" in message:
            self._ask(worker, message)
        elif self._now is not None and message["did"] == self._now.number:
            if message["status"] != 200 and self._now.failure is None:
                self._now.failure = message
            self.done(worker)

    def done(self, worker: Told) -> None:
        """Also of a worker that has ended."""
        if (change := self._now) is None:
            return
        change.pending.discard(worker)
        if change.pending:
            return
        if change.failure is not None and not change.undoing:
            change.undoing = True
            self._tell(change, OPPOSITE[change.message["ask"]])
            return
        self._now = None
        if change.failure is None:
            alter = self.unloaded.add if change.message["ask"] == "unload" else self.unloaded.discard
            alter(change.message["model"])
        self._answer(change.asker, change.message, change.failure or {"status": 200, "error": ""})

    def _ask(self, worker: Told, message: dict[str, Any]) -> None:
        if self._now is not None:
            self._answer(worker, message, {"status": 409, "error": "another model is being loaded or unloaded"})
            return
        self._now = Change(next(self._numbers), worker, message)
        self._tell(self._now, message["ask"])

    def _tell(self, change: Change, verb: str) -> None:
        change.pending = set(self._workers)
        for worker in change.pending:
            worker.tell(json.dumps({"do": verb, "model": change.message["model"], "change": change.number}))

    def _answer(self, worker: Told, asked: dict[str, Any], what: dict[str, Any]) -> None:
        worker.tell(json.dumps({"answer": asked["number"], "status": what["status"], "error": what["error"]}))
