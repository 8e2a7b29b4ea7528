"""Waits for the first request in flight that ends and cuts all others (a counter that is a flag).

breaks: SC301
posix: SC301
windows: SC301
"""

import asyncio

from _base import Server, fault, main


class WaitsForOne(Server):
    @fault
    async def wait_for_requests(self) -> None:
        assert self.deadline is not None
        tasks = [client.task for client in self.clients if not client.idle]
        if tasks:
            left = self.deadline - self.loop.time()
            await asyncio.wait(tasks, timeout=left, return_when=asyncio.FIRST_COMPLETED)


if __name__ == "__main__":
    main(WaitsForOne)
