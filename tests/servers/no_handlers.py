"""Handles no stop request: the default action ends it.

breaks: SC201
posix: SC201 SC202 SC204 SC301 SC304 SC310 SC401 SC501 SC701 SC803
windows: SC201 SC202 SC204 SC301 SC304 SC310 SC401 SC501 SC701 SC803 SC901
"""

from _base import Server, fault, main


class NoHandlers(Server):
    handled = fault(())


if __name__ == "__main__":
    main(NoHandlers)
