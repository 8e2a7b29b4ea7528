"""A FastAPI model server whose real subject is how it stops.

`python -m reference_server` serves a few embedded models over the V1 and V2 (Open Inference) protocols. Read it in
this order:

    lifecycle.py   the states, the drain limit, the exit codes: one owner, usable from every thread
    signals.py     stop signals of each platform, delivered to the lifecycle by a thread of their own
    inflight.py    ASGI middleware: counts requests, cuts them when the limit is reached
    engine.py      uvicorn as HTTP engine only (http.py); the drain itself
    worker.py      one serving process, alone or led
    workers.py     the leader: several processes on one listening socket, stopped through pipes
    processes.py   starting processes and sharing sockets, for each platform
    acceptor.py    accepts connections, and loses none when it ends
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
