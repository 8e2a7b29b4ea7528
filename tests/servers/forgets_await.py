"""Drains well, then calls its asynchronous shutdown hook without awaiting it.

breaks: SC803
posix: SC803
windows: SC803
"""

from _base import Server, fault, main


class ForgetsAwait(Server):
    @fault
    async def clean_up(self) -> None:
        self.close_pool()  # type: ignore[unused-coroutine]

    async def close_pool(self) -> None:
        pass


if __name__ == "__main__":
    main(ForgetsAwait)
