"""The good server, killed hard the moment it is asked to stop: the control that no requirement may pass."""

import os

from _base import Server, main


class Killed(Server):
    def stop(self) -> None:
        os.kill(os.getpid(), 15 if os.name == "nt" else 9)  # 15: TerminateProcess there


if __name__ == "__main__":
    main(Killed)
