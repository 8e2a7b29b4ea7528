"""Answers what is in flight and then waits for its clients to close the connections they keep (fastify, issue 7044).

breaks: SC310
posix: SC310
windows: SC310
"""

from _base import Server, cut, ended, fault, main


class WaitsForAnswered(Server):
    @fault
    def keeps(self) -> bool:
        return True

    @fault
    async def cut_requests(self) -> None:
        await cut(client for client in self.clients if not client.idle)
        await ended(self.clients)


if __name__ == "__main__":
    main(WaitsForAnswered)
