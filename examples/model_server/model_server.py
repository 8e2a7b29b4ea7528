"""A model server with a start() of its own, as KServe's ModelServer has, in the reference server's lifecycle.

`python model_server.py 8080` serves a model. What is about stopping is in `start`, `_ready` and `_stream`. KServe
0.13.1 asks its loop for signal handlers in `start`; on Windows no loop has any.
"""

import asyncio
import contextlib
import sys
import time
from collections.abc import AsyncIterator
from typing import Any

from fastapi import FastAPI, HTTPException
from fastapi.responses import JSONResponse, StreamingResponse

from reference_server import logs
from reference_server.graceful import WATCHDOG_SECONDS, Lifecycle, Policy, run


class Model:
    """Doubles its instances; blocks its thread meanwhile, as models do."""

    name = "double"

    def load(self) -> None:
        print("model loaded", flush=True)

    def predict(self, instances: list[float], seconds: float = 0.0) -> list[float]:
        time.sleep(seconds)
        return [2 * value for value in instances]

    def unload(self) -> None:
        print("model unloaded", flush=True)


class ModelServer:
    def __init__(self, http_port: int = 8080, drain_seconds: float = 2.0, loop: str = "auto") -> None:
        self.http_port = http_port
        self.loop = loop
        self.models: dict[str, Model] = {}
        self.lifecycle = Lifecycle(Policy(drain_seconds), watchdog_seconds=WATCHDOG_SECONDS)

    def start(self, models: list[Model]) -> int:
        """Serves until it is asked to stop; returns the exit code."""
        self.models = {model.name: model for model in models}
        app = FastAPI(lifespan=self._lifespan)
        app.get("/v2/health/ready")(self._ready)
        app.post("/v1/models/{name}:predict")(self._predict)
        app.get("/v1/models/{name}/slow")(self._slow)
        app.get("/v1/models/{name}/stream")(self._stream)
        return run(app, self.lifecycle, port=self.http_port, loop=self.loop)

    async def _ready(self) -> JSONResponse:
        return JSONResponse({"ready": not self.lifecycle.stopping}, 503 if self.lifecycle.stopping else 200)

    @contextlib.asynccontextmanager
    async def _lifespan(self, app: FastAPI) -> AsyncIterator[None]:
        for model in self.models.values():
            model.load()
        yield
        for model in self.models.values():
            model.unload()

    def _model(self, name: str) -> Model:
        if name not in self.models:
            raise HTTPException(404, f"model {name!r} not found; this server has {', '.join(self.models)}")
        return self.models[name]

    async def _predict(self, name: str, body: dict[str, list[float]]) -> dict[str, Any]:
        return {"predictions": await asyncio.to_thread(self._model(name).predict, body["instances"])}

    async def _slow(self, name: str, seconds: float) -> dict[str, Any]:
        return {"predictions": await asyncio.to_thread(self._model(name).predict, [1.0], seconds)}

    async def _stream(self, name: str, seconds: float) -> StreamingResponse:
        async def events() -> AsyncIterator[str]:
            for number in range(int(seconds * 10)):
                if self.lifecycle.stopping and seconds - number / 10 > self.lifecycle.seconds_left():
                    return
                yield f"data: {self._model(name).predict([float(number)])}\n\n"
                await asyncio.sleep(0.1)

        return StreamingResponse(events(), media_type="text/event-stream")


if __name__ == "__main__":
    logs.configure()
    sys.exit(ModelServer(http_port=int(sys.argv[1]), loop=sys.argv[2] if sys.argv[2:] else "auto").start([Model()]))
