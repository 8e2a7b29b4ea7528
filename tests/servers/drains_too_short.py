"""Keeps a quarter of its declared drain limit for its own cleanup.

breaks: SC701
posix: SC701
windows: SC701
drain: 2
grace: 7
"""

from _base import Server, fault, main


class DrainsTooShort(Server):
    @fault
    async def wait_for_requests(self) -> None:
        assert self.deadline is not None
        self.deadline -= self.settings.drain / 4
        await super().wait_for_requests()


if __name__ == "__main__":
    main(DrainsTooShort)
