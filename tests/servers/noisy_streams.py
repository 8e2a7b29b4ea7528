"""Ends its streams well, but leaves what fed them open, which the event loop says (aiohttp, issue 1175). No traceback.

breaks: SC803
posix: SC803
windows: SC803
"""

import asyncio

from _base import Request, Server, fault, main


class NoisyStreams(Server):
    @fault
    async def stream(self, writer: asyncio.StreamWriter, request: Request) -> None:
        await super().stream(writer, request)
        if self.deadline is not None:
            self.loop.call_exception_handler({"message": "Unclosed client session"})


if __name__ == "__main__":
    main(NoisyStreams)
