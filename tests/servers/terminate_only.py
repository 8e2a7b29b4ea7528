"""Handles TERMINATE only: INTERRUPT ends it in a KeyboardInterrupt that no cleanup follows.

breaks: SC202
posix: SC202 SC803
windows: SC202 SC901 SC803
"""

from _base import Server, fault, main


class TerminateOnly(Server):
    handled = fault(("SIGTERM", "SIGQUIT", "SIGBREAK"))


if __name__ == "__main__":
    main(TerminateOnly)
