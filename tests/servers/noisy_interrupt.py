"""Shuts down well when it is interrupted, says so, and then lets the KeyboardInterrupt through (strictdoc, issue 2065).

breaks: SC803
posix: SC803
windows: SC803
"""

import signal
import sys

from _base import Server, fault, main


class NoisyInterrupt(Server):
    interrupted = False

    @fault
    def install_handlers(self) -> None:
        super().install_handlers()
        if sys.platform == "win32":
            signal.signal(signal.SIGINT, lambda *_: self.loop.call_soon_threadsafe(self.interrupt))
        else:
            self.loop.add_signal_handler(signal.SIGINT, self.interrupt)

    def interrupt(self) -> None:
        self.interrupted = True
        self.stop()

    def say_stopped(self) -> None:
        super().say_stopped()
        if self.interrupted:
            raise KeyboardInterrupt


if __name__ == "__main__":
    main(NoisyInterrupt)
