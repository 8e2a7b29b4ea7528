"""A small prediction service."""

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI
from fastapi.responses import StreamingResponse


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    print("model loaded", flush=True)
    yield
    print(f"model unloaded pid={os.getpid()}", flush=True)


app = FastAPI(lifespan=lifespan)


@app.get("/healthz")
async def healthz() -> dict[str, str]:
    return {"status": "ok"}


@app.post("/predict")
async def predict(instances: list[float]) -> dict[str, list[float]]:
    return {"predictions": [2 * value for value in instances]}


@app.get("/slow")
async def slow(seconds: float) -> dict[str, float]:
    await asyncio.sleep(seconds)
    return {"seconds": seconds}


@app.get("/stream")
async def stream(seconds: float) -> StreamingResponse:
    async def events() -> AsyncIterator[str]:
        for number in range(int(seconds * 10)):
            yield f"data: {number}\n\n"
            await asyncio.sleep(0.1)

    return StreamingResponse(events(), media_type="text/event-stream")
