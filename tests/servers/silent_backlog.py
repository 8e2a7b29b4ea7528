"""Accepts nothing while it drains but keeps its listener: new connections hang (hypercorn, request 128).

breaks: SC304
posix: SC304
windows: SC304
"""

import asyncio

from _base import Server, fault, main

CLEANUP = 1.0  # seconds after the drain, with the listener still open


class SilentBacklog(Server):
    @fault
    def close_listener(self) -> None:
        """Left to the end of the process."""

    async def clean_up(self) -> None:
        await asyncio.sleep(CLEANUP)


if __name__ == "__main__":
    main(SilentBacklog)
