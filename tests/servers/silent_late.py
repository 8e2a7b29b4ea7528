"""Asked while busy it first serves on as before, for a load balancer to notice; only then do new connections hang.

posix: SC304
windows: SC304
"""

import asyncio

from _base import Server, main

SERVES_ON = 2.7  # seconds, longer than the request that SC304 has in flight
CLEANUP = 1.6  # seconds after the drain, with the listener still open


class SilentLate(Server):
    def close_listener(self) -> None:
        """Left to the end of the process."""

    async def drain(self) -> None:
        if any(not client.idle for client in self.clients):
            await asyncio.sleep(SERVES_ON)
        await super().drain()
        await asyncio.sleep(CLEANUP)


if __name__ == "__main__":
    main(SilentLate)
