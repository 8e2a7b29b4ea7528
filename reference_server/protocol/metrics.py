"""GET /metrics, by prometheus_client. Of several workers each answers for all of them, from files that they share
(https://prometheus.github.io/client_python/multiprocess/): the leader makes their directory and takes it away.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Mapping
from typing import Any, Final

from fastapi import Request
from fastapi.responses import Response
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, disable_created_metrics, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector

from reference_server.graceful import Lifecycle, State
from reference_server.models.repository import Repository
from reference_server.processes import METRICS_DIRECTORY
from reference_server.protocol.openapi import Operation
from reference_server.protocol.routes import Routes

MEDIA: Final = "text/plain; version=0.0.4; charset=utf-8"
BUCKETS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
# How often a worker writes down what another one may be asked for.
REFRESH_SECONDS: Final = 1.0

disable_created_metrics()  # type: ignore[no-untyped-call] # a second family for each counter


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
    """What was counted, and how this worker is."""

    def __init__(self, repository: Repository, lifecycle: Lifecycle) -> None:
        self.in_flight = 0
        self._repository = repository
        self._lifecycle = lifecycle
        self._models = frozenset(repository.names)
        self._registry = registry = CollectorRegistry()
        prefix: Any = {"registry": registry, "namespace": "reference_server"}
        self._state = Gauge("state", "Workers in each state", ["state"], multiprocess_mode="livesum", **prefix)
        self._ready = Gauge(
            "model_ready",
            "1 for a model that is loaded, in every worker",
            ["model"],
            multiprocess_mode="livemin",
            **prefix,
        )
        self._in_flight = Gauge(
            "requests_in_flight", "Requests begun and not answered in full", multiprocess_mode="livesum", **prefix
        )
        self._requests = Counter("requests", "Requests answered", ["route", "model", "status"], **prefix)
        self._seconds = Histogram(
            "request_seconds",
            "From a request's headers to the last byte of its response",
            ["route", "model"],
            buckets=BUCKETS,
            **prefix,
        )
        self._counters: dict[tuple[str, str, int], tuple[Any, Any]] = {}
        self._refresh()

    def add(self, scope: Mapping[str, Any], status: int, seconds: float) -> None:
        """What is not a route or a model of this server is counted under one empty name: clients can make up many."""
        route = getattr(scope.get("route"), "path", "")
        model = scope["path_params"].get("model", "") if "path_params" in scope else ""
        key = route, model if model in self._models else "", status
        counters = self._counters.get(key)
        if counters is None:
            counters = self._requests.labels(*key), self._seconds.labels(*key[:2])
            self._counters[key] = counters
        counters[0].inc()
        counters[1].observe(seconds)

    def _refresh(self) -> None:
        for state in State:
            self._state.labels(state.value).set(state is self._lifecycle.state)
        for entry in self._repository.index():
            self._ready.labels(entry.name).set(entry.state == "READY")
        self._in_flight.set(self.in_flight)

    async def refreshing(self) -> None:
        while True:
            self._refresh()
            await asyncio.sleep(REFRESH_SECONDS)

    def text(self) -> bytes:
        self._refresh()
        registry = self._registry
        if directory := os.environ.get(METRICS_DIRECTORY):
            registry = CollectorRegistry()
            MultiProcessCollector(registry, directory)  # type: ignore[no-untyped-call]
        return generate_latest(registry)


def install(routes: Routes, record: Record) -> None:
    async def metrics(request: Request) -> Response:
        return Response(record.text(), media_type=MEDIA)

    routes.add("GET", "/metrics", metrics, Operation("metrics", "Prometheus metrics", str, media=(MEDIA,)))
