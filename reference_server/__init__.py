"""A FastAPI model server whose real subject is how it stops.

`python -m reference_server` serves a few embedded models over the V1 and V2 (Open Inference) protocols. Read it in
this order:

    graceful.py    how a server stops, whole: states, limit and exit codes, signals, requests in flight, the drain; uses
                   nothing else of this package, and is meant to be copied
    signals.py     signals from a file of settings, and while the settings are still being read
    http.py        limits on what clients send, in uvicorn's HTTP implementations
    worker.py      one serving process, alone or led
    workers.py     the leader: several processes on one listening socket, stopped through pipes
    processes.py   starting processes and sharing sockets, for each platform
    reports.py     what workers and leader say to each other beside that: how they are, and the listening socket
    control/       status, stop and drain without a signal
    service.py     the commands of the Windows service; service_host.py: what runs in it
    settings.py    command line, environment and file; sources.py (shared with clients), limits.py, named.py (`--model`)
    app.py         the FastAPI application: protocol/ (V1, V2 and their extensions), models/; testing.py
    logs.py        one line a record on stderr
    __main__.py    puts the pieces together

This module imports nothing: `__main__` must get at the signals before the slow imports start.
"""

__version__ = "0.1.0"
