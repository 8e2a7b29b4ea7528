"""A port for a server under test that nobody else on this machine takes meanwhile."""

from __future__ import annotations

import random
import socket
from collections.abc import Iterator
from contextlib import closing, contextmanager

HOST = "127.0.0.1"
# Below every system's ephemeral range (Linux from 32768, Windows and macOS from 49152): a port in that range can be
# taken by any outgoing connection between choosing it and the server's bind.
FIRST, COUNT = 20000, 5000
TWIN = COUNT  # distance to the UDP port that is held as the reservation


@contextmanager
def reserved_port() -> Iterator[int]:
    """A free TCP port, ours for as long as the context lasts.

    The reservation is a bound UDP socket: it is atomic, seen by all processes of the machine, gone with its holder
    however that dies, and leaves the TCP port to the server. Raises OSError when none is free.
    """
    for port in random.sample(range(FIRST, FIRST + COUNT), COUNT):
        with closing(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as reservation:
            try:
                reservation.bind((HOST, port + TWIN))
            except OSError:
                continue
            if _is_free(port):
                yield port
                return
    raise OSError(f"no free port between {FIRST} and {FIRST + COUNT}")


def _is_free(port: int) -> bool:
    with closing(socket.socket()) as attempt:
        try:
            attempt.bind((HOST, port))
        except OSError:
            return False
        return True
