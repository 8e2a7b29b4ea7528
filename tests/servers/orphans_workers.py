"""Its leader exits 0 at once and leaves its workers behind, which live on (60 s at most).

posix: SC501
windows: SC501 SC901
"""

import os
import time

from _base import Server, main


class OrphansWorkers(Server):
    def stop_workers(self) -> None:
        os._exit(0)

    def leader_died(self) -> None:
        time.sleep(60)
        os._exit(1)


if __name__ == "__main__":
    main(OrphansWorkers)
