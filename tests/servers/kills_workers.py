"""Its leader kills its workers instead of telling them to stop, and exits 0.

breaks: SC501
posix: SC501
windows: SC501 SC901
"""

import socket

from _base import Server, fault, main


class KillsWorkers(Server):
    @fault
    def stop_workers(self) -> None:
        for process, _ in self.workers:
            process.kill()

    async def lead(self, listener: socket.socket) -> int:
        await super().lead(listener)
        return 0


if __name__ == "__main__":
    main(KillsWorkers)
