"""Its background worker dies with a traceback while its health stays green (hindsight, issue 1411).

posix: SC101
windows: SC101
"""

import asyncio

from _base import Server, main


class CrashesBesideHealth(Server):
    queue: object = None

    def after_start(self) -> None:
        self.loop.create_task(self.consume()).add_done_callback(asyncio.Task.result)

    async def consume(self) -> None:
        await self.queue.get()  # type: ignore[attr-defined]


if __name__ == "__main__":
    main(CrashesBesideHealth)
