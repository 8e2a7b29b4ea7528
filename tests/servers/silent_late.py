"""Asked while busy it first serves on as before, for a load balancer to notice; only then do new connections hang.

breaks: SC304
posix: SC304
windows: SC304
drain: 2
grace: 10
"""

import asyncio

from _base import Server, fault, main

SERVES_ON = 2.7  # seconds, longer than the request that SC304 has in flight
CLEANUP = 1.6  # seconds after the drain, with the listener still open


class SilentLate(Server):
    @fault
    def close_listener(self) -> None:
        """Left to the end of the process."""

    async def drain(self) -> None:
        if any(not client.idle for client in self.clients):
            await asyncio.sleep(SERVES_ON)
        await super().drain()

    async def clean_up(self) -> None:
        await asyncio.sleep(CLEANUP)


if __name__ == "__main__":
    main(SilentLate)
