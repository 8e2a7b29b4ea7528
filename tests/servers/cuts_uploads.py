"""Finishes the requests it is answering, and cuts those whose body is still being sent (aiohttp).

breaks: SC301
posix: SC301
windows: SC301
"""

from _base import Server, fault, main


class CutsUploads(Server):
    @fault
    def close_idle(self) -> None:
        super().close_idle()
        for client in self.clients:
            if client.uploading:
                client.task.cancel()


if __name__ == "__main__":
    main(CutsUploads)
