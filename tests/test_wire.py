"""HTTP on one connection, against a server that does exactly what each test says."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import struct
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from typing import Any

import pytest

from pytest_signalcompat.live.ports import HOST, reserved_port
from pytest_signalcompat.live.wire import Connection, Running
from pytest_signalcompat.model import Role

Behaviour = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
TEST = Role("test")
PLAIN = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n"


def run(test: Coroutine[Any, Any, None]) -> None:
    asyncio.run(asyncio.wait_for(test, 30))


@contextlib.asynccontextmanager
async def serving(behave: Behaviour) -> AsyncIterator[int]:
    """The port of a server that treats each connection so, then closes it."""

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await behave(reader, writer)
        writer.close()

    server = await asyncio.start_server(talk, HOST, 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()


def says(*pieces: bytes) -> Behaviour:
    """Reads one request's head, then says that."""

    async def behave(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        for piece in pieces:
            writer.write(piece)
            await writer.drain()

    return behave


def reset_one(listener: socket.socket) -> None:
    """A close with a linger time of 0 is a reset (SO_LINGER). asyncio's Proactor transport would shut it down first."""
    sock, _ = listener.accept()
    sock.recv(1000)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("HH" if os.name == "nt" else "ii", 1, 0))
    sock.close()


async def get(port: int) -> Running:
    running = Running(TEST, "GET", "/")
    async with Connection(HOST, port) as connection:
        await connection.connect()
        await connection.send_head("GET", "/", 0)
        await connection.end_request()
        await connection.receive(running)
    return running


@pytest.mark.parametrize(
    ("behave", "end", "status", "received"),
    [
        pytest.param(says(PLAIN), "complete", 200, 2, id="complete"),
        pytest.param(says(CHUNKED, b"0\r\n\r\n"), "complete", 200, 5, id="complete, chunked"),
        pytest.param(says(b"HTTP/1.1 204 No Content\r\n\r\n"), "complete", 204, 0, id="no body"),
        pytest.param(says(b"HTTP/1.0 200 OK\r\n\r\nold"), "complete", 200, 3, id="body until the end"),
        pytest.param(says(b"HTTP/1.1 103 Early Hints\r\n\r\n", PLAIN), "complete", 200, 2, id="after early hints"),
        pytest.param(says(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf"), "truncated", 200, 4, id="short body"),
        pytest.param(says(CHUNKED), "truncated", 200, 5, id="no last chunk"),
        pytest.param(says(), "closed", None, 0, id="closed"),
        pytest.param(says(b"no HTTP at all\r\n\r\n"), "not-understood", None, 0, id="something else"),
        pytest.param(
            says(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: identity\r\nContent-Length: 2\r\n\r\nok"),
            *("not-understood", None, 0),
            id="a coding that others read",
        ),
        pytest.param(
            says(b"HTTP/1.1 200 OK\r\nContent-Length : 2\r\n\r\nok"),
            *("not-understood", None, 0),
            id="a space before the colon",
        ),
        pytest.param(says(CHUNKED, b"zz\r\n"), "not-understood", 200, 5, id="no chunk, in the middle"),
    ],
)
def test_how_an_exchange_ends(behave: Behaviour, end: str, status: int | None, received: int) -> None:
    async def test() -> None:
        async with serving(behave) as port:
            running = await get(port)
        assert (running.fact.end, running.fact.status, running.fact.received) == (end, status, received), (
            running.fact.detail
        )
        assert running.fact.framed == (bytes(running.body) != b"old")
        assert running.fact.ended is not None
        assert (running.fact.answered is None) == (status is None)
        assert running.fact.answered is None or running.fact.begun < running.fact.answered <= running.fact.ended
        assert bool(running.fact.detail) == (end != "complete")

    run(test())


def test_a_reset_is_told_from_a_close() -> None:
    async def test() -> None:
        with socket.create_server((HOST, 0)) as listener:
            resetting = asyncio.create_task(asyncio.to_thread(reset_one, listener))
            running = await get(listener.getsockname()[1])
            await resetting
        assert (running.fact.end, running.fact.status) == ("reset", None), running.fact.detail

    run(test())


def test_a_free_port_refuses() -> None:
    async def test(port: int) -> None:
        async with Connection(HOST, port) as connection:
            with pytest.raises(ConnectionRefusedError):
                await connection.connect()
            assert not connection.open

    with reserved_port() as port:
        run(test(port))


def test_a_kept_connection_serves_again_and_tells_when_it_is_closed() -> None:
    async def twice(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await says(PLAIN)(reader, writer)
        await says(PLAIN)(reader, writer)

    async def test() -> None:
        async with serving(twice) as port, Connection(HOST, port) as connection:
            await connection.connect()
            for _ in range(2):
                running = Running(TEST, "GET", "/")
                await connection.send_head("GET", "/", 0)
                await connection.end_request()
                await connection.receive(running)
                assert (running.fact.end, bytes(running.body), running.fact.keep_alive) == ("complete", b"ok", True)
            await connection.closed_by_peer()

    run(test())


def test_a_response_that_closes_keeps_nothing_alive() -> None:
    async def test() -> None:
        async with serving(says(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok")) as port:
            running = await get(port)
        assert (running.fact.end, running.fact.keep_alive) == ("complete", False)

    run(test())


async def post(connection: Connection, first: bytes, rest: asyncio.Event) -> Running:
    """A body of two halves; the second one waits."""
    running = Running(TEST, "GET", "/")
    await connection.connect()
    await connection.send_head("POST", "/", 2 * len(first), "text/plain")
    await connection.send_body(first)
    reading = asyncio.create_task(connection.receive(running))
    await asyncio.wait((reading, asyncio.create_task(rest.wait())), return_when=asyncio.FIRST_COMPLETED)
    if not reading.done():
        await connection.send_body(first)
        await connection.end_request()
    await reading
    return running


def test_a_body_held_back_keeps_the_request_in_flight() -> None:
    heard, go_on = bytearray(), asyncio.Event()

    async def behave(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        heard.extend(await reader.readexactly(4))
        go_on.set()
        heard.extend(await reader.readexactly(4))
        writer.write(PLAIN)

    async def test() -> None:
        async with serving(behave) as port, Connection(HOST, port) as connection:
            running = await post(connection, b"half", go_on)
        assert (running.fact.end, running.fact.status, bytes(heard)) == ("complete", 200, b"halfhalf")

    run(test())


def test_a_response_may_come_before_the_body_is_sent() -> None:
    async def test() -> None:
        refusal = b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 4\r\n\r\nbusy"
        async with serving(says(refusal)) as port, Connection(HOST, port) as connection:
            running = await post(connection, b"half", asyncio.Event())
        assert (running.fact.end, running.fact.status, running.fact.keep_alive) == ("complete", 503, False)

    run(test())


def test_progress_tells_that_a_stream_has_begun() -> None:
    seen = asyncio.Event()

    async def behave(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await says(CHUNKED)(reader, writer)
        await seen.wait()
        writer.write(b"0\r\n\r\n")

    async def test() -> None:
        running = Running(TEST, "GET", "/")
        async with serving(behave) as port, Connection(HOST, port) as connection:
            await connection.connect()
            await connection.send_head("GET", "/stream", 0)
            await connection.end_request()
            reading = asyncio.create_task(connection.receive(running))
            await running.progress.wait()
            assert (running.fact.end, running.fact.received) == ("open", 5)
            seen.set()
            await reading
        assert running.fact.end == "complete"

    run(test())


def test_only_the_beginning_of_a_long_body_is_kept() -> None:
    async def test() -> None:
        size = 1_000_000
        head = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size
        async with serving(says(head, b"x" * size)) as port:
            running = await get(port)
        assert (running.fact.end, running.fact.received) == ("complete", size)
        assert len(running.body) < 200_000

    run(test())
