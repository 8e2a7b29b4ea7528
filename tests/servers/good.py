"""Stops as a server should.

posix:
windows:
"""

from _base import Server, main

if __name__ == "__main__":
    main(Server)
