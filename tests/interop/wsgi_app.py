"""The matrix's WSGI application: the routes of the test contract, standard library only, silent."""

import time
from urllib.parse import parse_qs

EVENT_EVERY = 0.1


def app(environ, start_response):
    route = ROUTES.get((environ["REQUEST_METHOD"], environ["PATH_INFO"]), not_found)
    return route(environ, start_response)


def health(environ, start_response):
    return respond(start_response, "200 OK", b"ok", "text/plain")


def slow(environ, start_response):
    seconds = seconds_of(environ)
    time.sleep(seconds)
    return respond(start_response, "200 OK", f"slept {seconds}".encode(), "text/plain")


def stream(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/event-stream"), ("Cache-Control", "no-store")])
    return events(seconds_of(environ))


def events(seconds):
    until = time.monotonic() + seconds
    number = 0
    while time.monotonic() < until:
        yield b"data: %d\n\n" % number
        number += 1
        time.sleep(EVENT_EVERY)


def predict(environ, start_response):
    body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
    return respond(start_response, "200 OK", body, "application/json")


def not_found(environ, start_response):
    return respond(start_response, "404 Not Found", b"not found", "text/plain")


def respond(start_response, status, body, content_type):
    start_response(status, [("Content-Type", content_type), ("Content-Length", str(len(body)))])
    return [body]


def seconds_of(environ):
    return float(parse_qs(environ["QUERY_STRING"]).get("seconds", ["1"])[0])


ROUTES = {
    ("GET", "/health"): health,
    ("GET", "/slow"): slow,
    ("GET", "/stream"): stream,
    ("POST", "/predict"): predict,
}
