"""A plain FastAPI application: nothing in it knows how it is stopped."""

import asyncio
import time
from collections.abc import AsyncIterator

from fastapi import FastAPI
from fastapi.responses import StreamingResponse

app = FastAPI()


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


@app.get("/blocking")
def blocking(seconds: float) -> dict[str, float]:
    time.sleep(seconds)
    return {"seconds": seconds}


@app.get("/stream")
async def stream(seconds: float) -> StreamingResponse:
    async def events() -> AsyncIterator[str]:
        for number in range(int(seconds * 10)):
            yield f"data: {number}\n\n"
            await asyncio.sleep(0.1)

    return StreamingResponse(events(), media_type="text/event-stream")
