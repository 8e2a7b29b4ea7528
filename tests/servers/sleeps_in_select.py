"""Its Selector loop on Windows sleeps in select() through console events, since nothing wakes it.

breaks: SC901
posix:
windows: SC901
"""

from _base import Server, fault, main


class SleepsInSelect(Server):
    @fault
    def wake_on_signals(self) -> None:
        """Nothing does."""


if __name__ == "__main__":
    main(SleepsInSelect)
