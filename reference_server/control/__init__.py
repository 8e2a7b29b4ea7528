"""The control channel: status, stop and drain without a signal, for programs of the same user on the same machine.

    contract.py    what both platforms provide: streams of bytes, errors, the key
    posix.py       a Unix socket, /tmp/reference_server-UID/PORT.sock, and its key in PORT.sock.key
    windows.py     a named pipe, \\\\.\\pipe\\reference_server-PORT, and its key in %LOCALAPPDATA%\\reference_server
    protocol.py    what is said, and how both sides prove that they know the key
    channel.py     the server's side, in threads of its own, so that it answers while the event loop is blocked
    client.py      `python -m reference_server status | stop | drain`

An address follows from port and user alone, so that the client of a server that has no --control-address finds it.
A server keeps its key file open and locked as long as it lives. That lock decides whose the address is: what is there
without one was left by a server that was killed, and is replaced; by default also what others have left is removed.
"""

import sys

if sys.platform == "win32":
    from reference_server.control.windows import KIND, Listener, check_address, connect, default_address, key_path
else:
    from reference_server.control.posix import KIND, Listener, check_address, connect, default_address, key_path

__all__ = ["KIND", "Listener", "check_address", "connect", "default_address", "key_path"]
