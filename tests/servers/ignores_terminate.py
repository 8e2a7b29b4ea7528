"""Ignores TERMINATE and stops for INTERRUPT only, as a program made for a terminal does.

breaks: SC201
posix: SC201 SC204 SC301 SC310 SC401 SC501 SC701 SC803
windows: SC201 SC204 SC301 SC310 SC401 SC501 SC701 SC803
"""

from _base import Server, fault, main


class IgnoresTerminate(Server):
    handled = fault(("SIGINT", "SIGQUIT"))
    ignored = fault(("SIGTERM", "SIGBREAK"))


if __name__ == "__main__":
    main(IgnoresTerminate)
