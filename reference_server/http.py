"""Uvicorn's HTTP implementations (h11 or httptools), with limits that they lack, and failures as JSON.

What is counted is every byte that is not a body's: the head, and what chunked encoding adds (its extensions and
trailers). It is looked at before it is parsed, since httptools joins the pieces of a long value one by one; h11 has
that limit already. Deadlines are looked at once a second (`expire`), which costs a request next to nothing.
"""

from __future__ import annotations

import asyncio
import functools
import json
import math
import sys
from collections.abc import Callable
from http import HTTPStatus
from typing import Any, Final

from reference_server import graceful
from reference_server.graceful import Application, Lifecycle, Listener, SignalWatch
from reference_server.limits import Limits

# What a chunk's size may take.
CHUNK_BYTES: Final = 32


def _refuse(protocol: Any, status: HTTPStatus, message: str) -> None:
    if protocol.transport.is_closing():
        return
    cycle = protocol.cycle
    if cycle is None or not cycle.response_started or cycle.response_complete:
        body = json.dumps({"error": message})
        head = f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\nConnection: close"
        protocol.transport.write(f"HTTP/1.1 {status.value} {status.phrase}\r\n{head}\r\n\r\n{body}".encode())
    if cycle is not None and not cycle.response_complete:
        cycle.disconnected = True  # whoever reads the body hears that nothing more comes
        cycle.message_event.set()
    protocol.transport.close()


@functools.cache
def protocol_class(implementation: Any, limits: Limits) -> Any:
    """`implementation` is uvicorn's; both have `cycle`, `transport`, `loop` and `send_400_response`."""

    class Limited(implementation):  # type: ignore[misc]
        deadline = math.inf  # of the part of a request that is awaited
        part = ""  # which that is: "", if nothing has come yet

        def connection_made(self, transport: Any) -> None:
            super().connection_made(transport)
            self.deadline = self.loop.time() + limits.body_seconds  # for a client that says nothing at all

        def begin(self) -> None:
            self.part = "head"
            self.deadline = self.loop.time() + limits.head_seconds

        def headed(self) -> None:
            self.part = "body"
            self.deadline = self.loop.time() + limits.body_seconds

        def complete(self) -> None:
            self.deadline = math.inf

        def expire(self, now: float) -> None:
            """Called now and then."""
            if self.deadline > now:
                return
            if self.flow.read_paused:  # the application's own doing
                self.deadline = now + limits.body_seconds
            elif self.part:
                seconds = limits.body_seconds if self.part == "body" else limits.head_seconds
                what = f"the request's {self.part} was not complete within {seconds:g} s"
                _refuse(self, HTTPStatus.REQUEST_TIMEOUT, what)
            else:
                self.transport.close()

        def send_400_response(self, msg: str) -> None:
            """To what is no HTTP request. Uvicorn's is text."""
            if getattr(sys.exc_info()[1], "error_status_hint", 0) == HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE:
                self.too_large()
            else:
                _refuse(self, HTTPStatus.BAD_REQUEST, msg)

        def too_large(self) -> None:
            what = f"the request has more than {limits.head_bytes} bytes beside its body"
            _refuse(self, HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, what)

    return _for_h11(Limited) if hasattr(implementation, "handle_events") else _for_httptools(Limited, limits)


def _for_httptools(base: Any, limits: Limits) -> Any:
    class HttptoolsProtocol(base):  # type: ignore[misc]
        beside = 0  # bytes of this message that were no body's

        def data_received(self, data: bytes) -> None:
            if len(data) <= limits.head_bytes - self.beside:
                self.beside += len(data)
                super().data_received(data)
                return
            while data and not self.transport.is_closing():
                room = limits.head_bytes - self.beside
                if room <= 0:
                    self.too_large()
                    return
                self.beside += min(room, len(data))
                super().data_received(data[:room])
                data = data[room:]

        def on_message_begin(self) -> None:
            self.begin()
            super().on_message_begin()

        def on_headers_complete(self) -> None:
            self.headed()
            super().on_headers_complete()

        def on_body(self, body: bytes) -> None:
            self.beside -= len(body)
            super().on_body(body)

        def on_chunk_header(self) -> None:
            self.beside -= CHUNK_BYTES

        def on_message_complete(self) -> None:
            self.beside = 0
            self.complete()
            super().on_message_complete()

    return HttptoolsProtocol


def _for_h11(base: Any) -> Any:
    import h11

    class H11Protocol(base):  # type: ignore[misc]
        def handle_events(self) -> None:
            was, before = self.conn.their_state, self.cycle
            super().handle_events()
            now = self.conn.their_state
            if now is h11.SEND_BODY:
                if was is not h11.SEND_BODY or self.cycle is not before:
                    self.headed()
            elif now is h11.IDLE and self.conn.trailing_data[0]:
                if self.deadline == math.inf or self.part != "head":
                    self.begin()
            else:
                self.complete()

    return H11Protocol


class Engine(graceful.Engine):
    def __init__(self, app: Application, lifecycle: Lifecycle, limits: Limits) -> None:
        def wrap(implementation: Any) -> Any:
            return protocol_class(implementation, limits)

        super().__init__(app, lifecycle, wrap=wrap, ws="none", h11_max_incomplete_event_size=limits.head_bytes)

    def tick(self) -> None:
        now = asyncio.get_running_loop().time()
        for connection in list(self.connections):
            connection.expire(now)


def serve(
    make_app: Callable[[], Application],
    lifecycle: Lifecycle,
    listener: Listener,
    *,
    loop: str = "auto",
    watch: SignalWatch | None = None,
    limits: Limits | None = None,
) -> int:
    """As graceful.serve, with limits."""
    return graceful.serve(
        lambda: Engine(make_app(), lifecycle, limits or Limits()), lifecycle, listener, loop=loop, watch=watch
    )
