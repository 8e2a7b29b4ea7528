"""Its drain limit spares streams: an endless one keeps it alive while its client stays (uvicorn, issue 451).

breaks: SC401
posix: SC401 SC803
windows: SC401 SC803
"""

from _base import Server, cut, ended, fault, main


class WaitsForStreams(Server):
    @fault
    def ends_early(self, end: float) -> bool:
        return False

    async def cut_requests(self) -> None:
        await cut(client for client in self.clients if not client.streaming)
        await ended(self.clients)


if __name__ == "__main__":
    main(WaitsForStreams)
