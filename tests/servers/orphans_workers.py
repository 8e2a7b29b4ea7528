"""Its leader exits 0 at once and leaves its workers behind, which live on (60 s at most).

breaks: SC501
posix: SC501
windows: SC501 SC901
"""

import os
import time

from _base import Server, fault, main


class OrphansWorkers(Server):
    @fault
    def stop_workers(self) -> None:
        os._exit(0)

    def leader_died(self) -> None:
        time.sleep(60)
        os._exit(1)


if __name__ == "__main__":
    main(OrphansWorkers)
