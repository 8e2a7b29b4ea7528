"""The FastAPI application: protocol routes, routes for load, models loaded at startup and unloaded at shutdown."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor

from fastapi import FastAPI

import reference_server
from reference_server import load
from reference_server.lifecycle import Lifecycle
from reference_server.models import Model, Repository
from reference_server.models.identity import Identity
from reference_server.models.iris import Iris
from reference_server.models.sleeper import Sleeper
from reference_server.protocol import errors, v1, v2


def create_app(lifecycle: Lifecycle, models: tuple[Model, ...] | None = None, *, blocking_threads: int = 8) -> FastAPI:
    """Usable under any ASGI server that runs the lifespan; its readiness tells the state of `lifecycle`."""
    executor = ThreadPoolExecutor(blocking_threads, thread_name_prefix="blocking")
    repository = Repository(models if models is not None else (Identity(), Iris(), Sleeper()), executor)

    @contextlib.asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        try:
            await repository.load_all()
            yield
            await repository.unload_all()
        finally:
            # Never waits: a blocked call may outlive every limit, and what becomes of it is the lifecycle's decision.
            executor.shutdown(wait=False, cancel_futures=True)

    app = FastAPI(title="reference_server", version=reference_server.__version__, lifespan=lifespan)
    errors.install(app)
    app.include_router(v1.routes(repository))
    app.include_router(v2.routes(repository, lifecycle))
    app.include_router(load.routes(lifecycle, executor))
    return app
