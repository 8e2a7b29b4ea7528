"""Cuts the requests in flight at once, cleans up and exits 0.

breaks: SC301
posix: SC301 SC310 SC701
windows: SC301 SC310 SC701
"""

import asyncio

from _base import Server, fault, main

CLEANUP = 0.7  # seconds, less than any drain limit


class CutsAtOnce(Server):
    @fault
    async def wait_for_requests(self) -> None:
        await self.cut_requests()

    async def clean_up(self) -> None:
        await asyncio.sleep(CLEANUP)


if __name__ == "__main__":
    main(CutsAtOnce)
