"""Ignores QUIT.

posix: SC203
windows:
"""

from _base import Server, main


class IgnoresQuit(Server):
    handled = ("SIGINT", "SIGTERM", "SIGBREAK")
    ignored = ("SIGQUIT",)


if __name__ == "__main__":
    main(IgnoresQuit)
