"""Makes its pool with the first request, and closes it whether there was one or not.

breaks: SC803
posix: SC803
windows: SC803
"""

import asyncio
import io
import logging
from typing import Any

from _base import Client, Request, Server, fault, main


class NoisyIdle(Server):
    pool: Any = fault(None, instead_of=io.BytesIO())

    async def answer(self, client: Client, request: Request, body: bytes, writer: asyncio.StreamWriter) -> None:
        if request.path != "/health":
            self.pool = io.BytesIO()
        await super().answer(client, request, body, writer)

    async def clean_up(self) -> None:
        try:
            self.pool.close()
        except AttributeError:
            logging.exception("shutdown hook failed")


if __name__ == "__main__":
    main(NoisyIdle)
