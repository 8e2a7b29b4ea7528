"""GET /metrics, in Prometheus' text format (https://prometheus.io/docs/instrumenting/exposition_formats/).

Workers share no counters: a scrape is answered by one of them, and its samples say by which (`worker`, a process id).
So they are time series of their own, never mixed up, each brought up to date whenever its worker happens to answer.
"""

from __future__ import annotations

import asyncio
import os
import time
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

from fastapi import Request
from fastapi.responses import Response

from reference_server.graceful import Lifecycle, State
from reference_server.models.repository import Repository
from reference_server.protocol.openapi import Operation
from reference_server.protocol.routes import Routes

MEDIA: Final = "text/plain; version=0.0.4; charset=utf-8"
BUCKETS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


class Metrics:
    """ASGI middleware that counts and times requests by route, model and status."""

    def __init__(self, app: Any, record: Record) -> None:
        self._app = app
        self._record = record

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        status = 500

        def reply(message: Any) -> Any:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            return send(message)

        begun = time.perf_counter()
        self._record.in_flight += 1
        try:
            await self._app(scope, receive, reply)
        except asyncio.CancelledError:
            status = 503  # a request that is cut
            raise
        finally:
            self._record.in_flight -= 1
            self._record.add(scope, status, time.perf_counter() - begun)


class Record:
    """What was counted."""

    def __init__(self, models: Iterable[str]) -> None:
        self.in_flight = 0
        self._models = frozenset(models)
        self._requests: dict[tuple[str, str, int], int] = {}
        self._durations: dict[tuple[str, str], tuple[list[int], list[float]]] = {}

    def add(self, scope: Mapping[str, Any], status: int, seconds: float) -> None:
        """What is not a route or a model of this server is counted under one empty name: clients can make up many."""
        route = getattr(scope.get("route"), "path", "")
        model = scope["path_params"].get("model", "") if "path_params" in scope else ""
        model = model if model in self._models else ""
        self._requests[route, model, status] = self._requests.get((route, model, status), 0) + 1
        buckets, total = self._durations.setdefault((route, model), ([0] * (len(BUCKETS) + 1), [0.0]))
        buckets[bisect_left(BUCKETS, seconds)] += 1
        total[0] += seconds

    def requests(self) -> Iterator[tuple[Mapping[str, object], float]]:
        for (route, model, status), count in self._requests.items():
            yield {"route": route, "model": model, "status": status}, count

    def durations(self) -> Iterator[tuple[str, Mapping[str, object], float]]:
        for (route, model), (buckets, total) in self._durations.items():
            labels = {"route": route, "model": model}
            count = 0
            for limit, inside in zip((*BUCKETS, "+Inf"), buckets, strict=True):
                count += inside
                yield "_bucket", {**labels, "le": limit}, count
            yield "_sum", labels, total[0]
            yield "_count", labels, count


def install(routes: Routes, record: Record, repository: Repository, lifecycle: Lifecycle) -> None:
    async def metrics(request: Request) -> Response:
        return Response("".join(_lines(record, repository, lifecycle)), media_type=MEDIA)

    routes.add("GET", "/metrics", metrics, Operation("metrics", "Prometheus metrics", str, media=(MEDIA,)))


def _lines(record: Record, repository: Repository, lifecycle: Lifecycle) -> Iterator[str]:
    yield from _family("state", "gauge", "1 for the state of the worker, 0 for the others")
    for state in State:
        yield _sample("state", {"state": state.value}, float(state is lifecycle.state))
    yield from _family("model_ready", "gauge", "1 for a model that is loaded")
    for entry in repository.index():
        yield _sample("model_ready", {"model": entry.name}, float(entry.state == "READY"))
    yield from _family("requests_in_flight", "gauge", "Requests begun and not answered in full, with this one")
    yield _sample("requests_in_flight", {}, record.in_flight)
    yield from _family("requests_total", "counter", "Requests answered")
    for labels, count in record.requests():
        yield _sample("requests_total", labels, count)
    yield from _family("request_seconds", "histogram", "From a request's headers to the last byte of its response")
    for suffix, labels, value in record.durations():
        yield _sample(f"request_seconds{suffix}", labels, value)


def _family(name: str, kind: str, text: str) -> tuple[str, str]:
    return f"# HELP reference_server_{name} {text}\n", f"# TYPE reference_server_{name} {kind}\n"


def _sample(name: str, labels: Mapping[str, object], value: float) -> str:
    """No label has a character that would have to be escaped."""
    text = ",".join(f'{key}="{label}"' for key, label in {"worker": os.getpid(), **labels}.items())
    return f"reference_server_{name}{{{text}}} {value:.17g}\n"
