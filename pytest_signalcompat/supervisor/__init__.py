"""The one small process between the tests and a server: `client.py` talks to it, `posix.py` or `windows.py` is it."""
