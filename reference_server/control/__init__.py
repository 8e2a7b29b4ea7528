"""The control channel: status, stop and drain without a signal, for programs of the same user on the same machine.

    contract.py    what both platforms provide (streams of bytes, errors), and the lines that are said on them
    posix.py       a Unix socket, PORT.sock in a directory of this user alone
    windows.py     a named pipe, \\\\.\\pipe\\reference_server-PORT, of this user alone
    channel.py     the server's side, in threads of its own, so that it answers while the event loop is blocked
    client.py      `python -m reference_server status | stop | drain`

An address follows from port and user alone, so that the client of a server that has no --control-address finds it.
The system keeps others out, and says who is at the other end: both sides look, since another user may have been at
the address first. So nothing has to be kept secret.
"""

import sys

if sys.platform == "win32":
    from reference_server.control.windows import KIND, Listener, check_address, connect, default_address, find_address
else:
    from reference_server.control.posix import KIND, Listener, check_address, connect, default_address, find_address

__all__ = ["KIND", "Listener", "check_address", "connect", "default_address", "find_address"]
