"""A plain FastAPI application in the reference server's lifecycle: `python app.py 8080`."""

import asyncio
import sys
from collections.abc import AsyncIterator

from fastapi import FastAPI
from fastapi.responses import JSONResponse, StreamingResponse

from reference_server import logs
from reference_server.graceful import WATCHDOG_SECONDS, Lifecycle, Policy, run

lifecycle = Lifecycle(Policy(drain_seconds=2), watchdog_seconds=WATCHDOG_SECONDS)
app = FastAPI()


@app.get("/healthz")
async def healthz() -> JSONResponse:
    return JSONResponse({"state": lifecycle.state.value}, 503 if lifecycle.stopping else 200)


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
            if lifecycle.stopping and seconds - number / 10 > lifecycle.seconds_left():
                yield "event: stopping\ndata: ask another server\n\n"
                return
            yield f"data: {number}\n\n"
            await asyncio.sleep(0.1)

    return StreamingResponse(events(), media_type="text/event-stream")


if __name__ == "__main__":
    logs.configure()
    sys.exit(run(app, lifecycle, port=int(sys.argv[1]), loop=sys.argv[2] if sys.argv[2:] else "auto"))
