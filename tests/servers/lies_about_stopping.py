"""Says at once that it has stopped, then cuts the requests in flight, cleans up and exits 0.

breaks: SC301
posix: SC301 SC310 SC701
windows: SC301 SC310 SC701
"""

import asyncio

from _base import Server, fault, main, say

CLEANUP = 0.7  # seconds, less than any drain limit


class LiesAboutStopping(Server):
    async def drain(self) -> None:
        say("stopped")
        await super().drain()

    @fault
    async def wait_for_requests(self) -> None:
        await self.cut_requests()

    async def clean_up(self) -> None:
        await asyncio.sleep(CLEANUP)

    def say_stopped(self) -> None:
        """It has."""


if __name__ == "__main__":
    main(LiesAboutStopping)
