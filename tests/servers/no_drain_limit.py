"""Waits for the requests in flight however long they take (uvicorn without timeout_graceful_shutdown).

breaks: SC701
posix: SC701
windows: SC701
"""

from _base import Server, ended, fault, main


class NoDrainLimit(Server):
    @fault
    async def wait_for_requests(self) -> None:
        await ended(self.clients)


if __name__ == "__main__":
    main(NoDrainLimit)
