"""Ignores QUIT.

breaks: SC203
posix: SC203
windows:
"""

from _base import Server, fault, main


class IgnoresQuit(Server):
    handled = fault(("SIGINT", "SIGTERM", "SIGBREAK"))
    ignored = fault(("SIGQUIT",))


if __name__ == "__main__":
    main(IgnoresQuit)
