"""A server whose shutdown leaves its asynchronous work behind. The stop request is its own."""

import asyncio
import logging
import signal
import threading
import warnings


async def fail() -> None:
    raise RuntimeError("no connection to give back")


async def wait_for_ever() -> None:
    await asyncio.get_running_loop().create_future()


class Pool:
    def __del__(self) -> None:
        raise RuntimeError("the pool was never closed")


class Broken(asyncio.Protocol):
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        raise RuntimeError("no parser any more")


async def serve(stop: threading.Event) -> None:
    signal.raise_signal(signal.SIGTERM)
    assert stop.wait(60)
    loop = asyncio.get_running_loop()

    asyncio.ensure_future(fail())  # its exception is retrieved by nobody
    await asyncio.sleep(0)
    await asyncio.sleep(0)

    wait_for_ever()  # type: ignore[unused-coroutine]  # not awaited

    server = await loop.create_server(Broken, "127.0.0.1")
    _, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
    writer.write(b"last words")
    await asyncio.sleep(0.2)
    writer.close()
    server.close()

    loop.call_exception_handler({"message": "Unclosed client session"})  # as aiohttp.ClientSession.__del__ does

    Pool()
    open(__file__)
    try:
        raise KeyError("model")
    except KeyError:
        logging.exception("shutdown hook failed")


def main() -> None:
    logging.basicConfig()
    warnings.simplefilter("always", ResourceWarning)
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    loop = asyncio.new_event_loop()
    loop.run_until_complete(serve(stop))
    pending = loop.create_task(wait_for_ever())
    loop.run_until_complete(asyncio.sleep(0))
    loop.close()  # with a task that waits
    del pending, loop
    import gc

    gc.collect()


main()
