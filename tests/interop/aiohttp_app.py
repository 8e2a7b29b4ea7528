"""The matrix's aiohttp server: `python aiohttp_app.py PORT`, the routes of the test contract.

aiohttp writes a line when it runs and none when it has stopped, so the application says it from `on_cleanup`.
"""

import asyncio
import sys

from aiohttp import web

EVENT_EVERY = 0.1
CLEANUP = 0.3  # as in asgi_app.py
DRAIN = 2.0  # aiohttp's own default is 60 s


async def health(request):
    return web.Response(text="ok")


async def slow(request):
    seconds = seconds_of(request)
    await asyncio.sleep(seconds)
    return web.Response(text=f"slept {seconds}")


async def stream(request):
    response = web.StreamResponse(headers={"Content-Type": "text/event-stream", "Cache-Control": "no-store"})
    await response.prepare(request)
    loop = asyncio.get_running_loop()
    until = loop.time() + seconds_of(request)
    number = 0
    try:
        while loop.time() < until:
            await response.write(b"data: %d\n\n" % number)
            number += 1
            await asyncio.sleep(EVENT_EVERY)
        await response.write_eof()
    except ConnectionError:  # the client is gone
        pass
    return response


async def predict(request):
    return web.Response(body=await request.read(), content_type="application/json")


async def say_stopped(app):
    await asyncio.sleep(CLEANUP)
    print("aiohttp_app: cleanup done", flush=True)


def seconds_of(request):
    return float(request.query.get("seconds", "1"))


def make_app():
    app = web.Application()
    app.add_routes(
        [
            web.get("/health", health),
            web.get("/slow", slow),
            web.get("/stream", stream),
            web.post("/predict", predict),
        ]
    )
    app.on_cleanup.append(say_stopped)
    return app


def say_running(text):
    print(text, flush=True)


if __name__ == "__main__":
    port = int(sys.argv[1])
    web.run_app(make_app(), host="127.0.0.1", port=port, shutdown_timeout=DRAIN, print=say_running)
