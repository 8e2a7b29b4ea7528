"""The matrix's ASGI application: the routes of the test contract, standard library only.

Silent, unless SAY_STOPPED=1 is in the environment: then its lifespan shutdown prints a line, for servers
whose own output does not tell a graceful stop from another. It takes a moment for its clean-up, as closing pools does:
whether a server waits for that must not be a matter of luck.
"""

import asyncio
import os
from urllib.parse import parse_qs

EVENT_EVERY = 0.1
CLEANUP = 0.3
SAY_STOPPED = os.environ.get("SAY_STOPPED") == "1"


async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        await lifespan(receive, send)
    elif scope["type"] == "http":
        await ROUTES.get((scope["method"], scope["path"]), not_found)(scope, receive, send)
    else:
        raise RuntimeError(f"no {scope['type']} here")


async def lifespan(receive, send):
    while True:
        message = await receive()
        stopping = message["type"] == "lifespan.shutdown"
        if stopping:
            await asyncio.sleep(CLEANUP)
        if stopping and SAY_STOPPED:
            print(f"asgi_app: shutdown done pid={os.getpid()}", flush=True)
        await send({"type": f"{message['type']}.complete"})
        if stopping:
            return


async def health(scope, receive, send):
    await respond(send, 200, b"ok", b"text/plain")


async def slow(scope, receive, send):
    seconds = seconds_of(scope)
    await asyncio.sleep(seconds)
    await respond(send, 200, f"slept {seconds}".encode(), b"text/plain")


async def stream(scope, receive, send):
    """Server-sent events until the time is up or the client is gone."""
    events = asyncio.ensure_future(send_events(send, seconds_of(scope)))
    gone = asyncio.ensure_future(disconnected(receive))
    try:
        await asyncio.wait({events, gone}, return_when=asyncio.FIRST_COMPLETED)
        if events.done():
            await events
    finally:
        for task in (events, gone):
            task.cancel()
        await asyncio.gather(events, gone, return_exceptions=True)


async def send_events(send, seconds):
    loop = asyncio.get_running_loop()
    until = loop.time() + seconds
    await send(
        {
            "type": "http.response.start",
            "status": 200,
            "headers": [(b"content-type", b"text/event-stream"), (b"cache-control", b"no-store")],
        }
    )
    number = 0
    while loop.time() < until:
        await send({"type": "http.response.body", "body": b"data: %d\n\n" % number, "more_body": True})
        number += 1
        await asyncio.sleep(EVENT_EVERY)
    await send({"type": "http.response.body", "body": b"", "more_body": False})


async def disconnected(receive):
    while (await receive())["type"] != "http.disconnect":
        pass


async def predict(scope, receive, send):
    body, more = b"", True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            return
        body += message.get("body", b"")
        more = message.get("more_body", False)
    await respond(send, 200, body, b"application/json")


async def not_found(scope, receive, send):
    await respond(send, 404, b"not found", b"text/plain")


async def respond(send, status, body, content_type):
    headers = [(b"content-type", content_type), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body, "more_body": False})


def seconds_of(scope):
    return float(parse_qs(scope["query_string"].decode()).get("seconds", ["1"])[0])


ROUTES = {
    ("GET", "/health"): health,
    ("GET", "/slow"): slow,
    ("GET", "/stream"): stream,
    ("POST", "/predict"): predict,
}
