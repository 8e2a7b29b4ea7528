"""Handles TERMINATE only: INTERRUPT ends it in a KeyboardInterrupt that no cleanup follows.

posix: SC202
windows: SC202 SC901
"""

from _base import Server, main


class TerminateOnly(Server):
    handled = ("SIGTERM", "SIGQUIT", "SIGBREAK")


if __name__ == "__main__":
    main(TerminateOnly)
