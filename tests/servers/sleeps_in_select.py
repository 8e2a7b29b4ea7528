"""Its Selector loop on Windows sleeps in select() through console events, since nothing wakes it.

posix:
windows: SC901
"""

from _base import Server, main


class SleepsInSelect(Server):
    def wake_on_signals(self) -> None:
        pass


if __name__ == "__main__":
    main(SleepsInSelect)
