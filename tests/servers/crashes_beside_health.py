"""Its background worker dies with a traceback while its health stays green (hindsight, issue 1411).

breaks: SC101
posix: SC101
windows: SC101
"""

import asyncio
from typing import Any

from _base import Server, fault, main


class CrashesBesideHealth(Server):
    queue: Any = fault(None, instead_of=asyncio.Queue())

    def after_start(self) -> None:
        self.loop.create_task(self.consume()).add_done_callback(told)

    async def consume(self) -> None:
        await self.queue.get()


def told(task: asyncio.Task[None]) -> None:
    """The loop logs what a callback raises."""
    if not task.cancelled():
        task.result()


if __name__ == "__main__":
    main(CrashesBesideHealth)
