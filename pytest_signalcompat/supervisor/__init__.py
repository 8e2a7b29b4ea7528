"""The one small process between the tests and a server: `client.py` talks to it, `run.py` is it, on each system."""
