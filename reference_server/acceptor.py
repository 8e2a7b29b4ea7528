"""Accepting connections, so that none is lost when it ends (processes.admit_no_more). asyncio's own servers cannot be
used for that:

- `Server.close()` drops connections that were accepted a moment before: a transport may not attach itself to a server
  that is closed (https://github.com/python/cpython/blob/3.14/Lib/asyncio/base_events.py, Server._attach), and the
  client sees a reset.
- A Proactor loop on Windows binds a listening socket to its own I/O completion port, and the kernel knows one port
  for each open socket, however many processes share it: the second worker fails, or its connections are reported to
  the first (https://learn.microsoft.com/windows/win32/fileio/createiocompletionport, remarks).
"""

from __future__ import annotations

import asyncio
import logging
import select
import socket
import threading
from collections.abc import Callable
from typing import Final

from reference_server.processes import admit_no_more

# For how long nothing is accepted once the process has no descriptor left for one more connection.
PAUSE_SECONDS: Final = 1.0
# A client that was half way in when no more were admitted has so long to say the last word of TCP's handshake. Others
# hear nothing meanwhile, and ask again after a second.
HANDSHAKE_SECONDS: Final = 0.01

logger = logging.getLogger("reference_server")


class Acceptor:
    """Listens on `sock`, which other processes may share, and calls `adopt` in the running loop for each connection.

    Where the loop can watch a socket it does; else (a Proactor loop) a thread watches it.
    """

    def __init__(self, sock: socket.socket, adopt: Callable[[socket.socket], None], backlog: int) -> None:
        self._sock = sock
        self._adopt = adopt
        self._loop = asyncio.get_running_loop()
        self._thread: threading.Thread | None = None
        sock.setblocking(False)
        sock.listen(backlog)
        try:
            self._loop.add_reader(sock, self._accept)
        except NotImplementedError:
            self._waker, self._wakened = socket.socketpair()
            self._thread = threading.Thread(target=self._watch, name="accept", daemon=True)
            self._thread.start()

    async def close(self) -> None:
        """Adopts what the kernel has accepted already; from then on it refuses. A second call does nothing."""
        if admit_no_more(self._sock):
            await asyncio.sleep(HANDSHAKE_SECONDS)
        if self._sock.fileno() == -1:
            return
        if self._thread is None:
            self._loop.remove_reader(self._sock)
        else:
            self._waker.close()
            self._thread.join()
            self._wakened.close()
        self._take_all(self._adopt)
        self._sock.close()

    def _take_all(self, adopt: Callable[[socket.socket], None]) -> bool:
        """Takes the connections that the kernel has established already; False if it could not take one more."""
        while True:
            try:
                connection, _ = self._sock.accept()
            except BlockingIOError:
                return True  # none, or another worker was faster
            except ConnectionError:
                continue  # that client is gone again; there may be others
            except OSError as error:  # no descriptor is left
                logger.warning("connections wait that cannot be accepted: %s", error)
                return False
            connection.setblocking(False)
            adopt(connection)

    def _adopt_from_thread(self, connection: socket.socket) -> None:
        self._loop.call_soon_threadsafe(self._adopt, connection)

    def _accept(self) -> None:
        if not self._take_all(self._adopt):
            self._loop.remove_reader(self._sock)
            self._loop.call_later(PAUSE_SECONDS, self._resume)

    def _resume(self) -> None:
        if self._sock.fileno() != -1:
            self._loop.add_reader(self._sock, self._accept)

    def _watch(self) -> None:
        while True:
            ready, _, _ = select.select([self._sock, self._wakened], [], [])
            if self._wakened in ready:
                return
            if not self._take_all(self._adopt_from_thread):
                select.select([self._wakened], [], [], PAUSE_SECONDS)
