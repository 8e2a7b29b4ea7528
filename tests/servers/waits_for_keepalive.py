"""Waits for idle keep-alive connections until their clients close them (node's http server before 19).

breaks: SC204
posix: SC204
windows: SC204
"""

from _base import LINGER, Server, cut, ended, fault, main


class WaitsForKeepalive(Server):
    @fault
    def close_idle(self) -> None:
        self.loop.call_later(LINGER, self.close_unused)

    async def cut_requests(self) -> None:
        await cut(client for client in self.clients if not client.idle)
        await ended(self.clients)


if __name__ == "__main__":
    main(WaitsForKeepalive)
