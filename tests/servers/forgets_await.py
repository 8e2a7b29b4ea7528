"""Drains well, then calls its asynchronous shutdown hook without awaiting it.

posix: SC803
windows: SC803
"""

from _base import Server, main


class ForgetsAwait(Server):
    async def drain(self) -> None:
        await super().drain()
        self.close_pool()  # type: ignore[unused-coroutine]

    async def close_pool(self) -> None:
        pass


if __name__ == "__main__":
    main(ForgetsAwait)
