"""The FastAPI application: protocol routes, models loaded at startup and unloaded at shutdown."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping
from concurrent.futures import ThreadPoolExecutor

from fastapi import FastAPI

import reference_server
from reference_server.changes import Changes
from reference_server.graceful import Lifecycle
from reference_server.limits import Limits
from reference_server.models import Model
from reference_server.models.identity import Identity
from reference_server.models.iris import Iris
from reference_server.models.ngram import Ngram
from reference_server.models.repository import Repository
from reference_server.protocol import errors, generate, management, metrics, openapi, v1, v2
from reference_server.protocol.routes import Gate, Routes


def create_app(
    lifecycle: Lifecycle,
    models: Mapping[str, Model] | None = None,
    *,
    blocking_threads: int = 8,
    limits: Limits | None = None,
    changes: Changes | None = None,
    test_routes: bool = False,
    model_control: bool = False,
) -> FastAPI:
    """Usable under any ASGI server that runs the lifespan; its readiness tells the state of `lifecycle`.

    `models` are served beside the embedded ones, or instead of those of the same name. `test_routes` adds testing.py;
    `model_control` lets clients load and unload.
    """
    limits = limits or Limits()
    executor = ThreadPoolExecutor(blocking_threads, thread_name_prefix="blocking")
    embedded: dict[str, Model] = {"identity": Identity(), "iris": Iris(), "ngram": Ngram()}
    if test_routes:
        from reference_server import testing

        embedded["sleeper"] = testing.Sleeper()
    large_bodies = ThreadPoolExecutor(1, thread_name_prefix="large-bodies")
    repository = Repository({**embedded, **(models or {})}, executor)
    record = metrics.Record(repository, lifecycle)
    stop = asyncio.Event()

    @contextlib.asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        loop = asyncio.get_running_loop()
        lifecycle.listen(lambda: loop.call_soon_threadsafe(stop.set))
        try:
            await repository.load_all(changes.unloaded if changes else ())
            if changes:
                changes.attach(repository.change)
            refreshing = asyncio.create_task(record.refreshing())
            try:
                yield
            finally:
                refreshing.cancel()
            await repository.unload_all()
        finally:
            # Never waits: a blocked call may outlive every limit, and what becomes of it is the lifecycle's decision.
            executor.shutdown(wait=False, cancel_futures=True)
            large_bodies.shutdown(wait=False, cancel_futures=True)

    app = FastAPI(
        title="reference_server",
        version=reference_server.__version__,
        lifespan=lifespan,
        redirect_slashes=False,  # of /v1/models/ to /v1/models: one more status for every client to know
        openapi_url=None,  # openapi.install has its own, and a page of documentation would load scripts from elsewhere
    )
    app.add_middleware(metrics.Metrics, record=record)
    errors.install(app)
    gate = Gate(limits.requests)
    routes = Routes(app, gate, large_bodies)
    v2.install(routes, repository, lifecycle, limits)
    v1.install(routes, repository, limits)
    generate.install(routes, repository, lifecycle, stop, limits)
    management.install(routes, repository, lifecycle, limits, changes, allowed=model_control)
    metrics.install(routes, record)
    openapi.install(app)
    if test_routes:
        app.include_router(testing.routes(lifecycle, executor, gate))
    return app
