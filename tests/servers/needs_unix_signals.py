"""Calls `loop.add_signal_handler` without a guard; no loop on Windows has it (KServe 0.11.1 to 0.14.0).

breaks: SC101
posix:
windows: SC101
"""

from _base import Server, fault, known, main


class NeedsUnixSignals(Server):
    @fault
    def install_handlers(self) -> None:
        for number in known(self.handled):
            self.loop.add_signal_handler(number, self.stop)


if __name__ == "__main__":
    main(NeedsUnixSignals)
