"""Waits for the requests in flight however long they take (uvicorn without timeout_graceful_shutdown).

posix: SC701
windows: SC701
"""

from _base import Server, ended, main


class NoDrainLimit(Server):
    async def wait_for_requests(self) -> None:
        await ended(self.clients)


if __name__ == "__main__":
    main(NoDrainLimit)
