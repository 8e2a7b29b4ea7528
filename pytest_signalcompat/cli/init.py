"""`signalcompat init`: a [tool.signalcompat] table to begin with."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

NAME = "init"
HELP = "print a [tool.signalcompat] table to begin with"

PROGRAMS = {  # how a program serves app:app on a port, with a limit for its drain
    "uvicorn": '"uvicorn", "app:app", "--port", "{port}", "--timeout-graceful-shutdown", "{drain}"',
    "hypercorn": '"hypercorn", "app:app", "--bind", "127.0.0.1:{port}", "--graceful-timeout", "{drain}"',
    "gunicorn": '"gunicorn", "app:app", "--bind", "127.0.0.1:{port}", "--graceful-timeout", "{drain}"',
    "granian": '"granian", "app:app", "--interface", "asgi", "--port", "{port}", "--workers-kill-timeout", "{drain}"',
}
TABLE = """\
[tool.signalcompat]
grace = "k8s"                       # seconds, or docker, cloudrun, k8s, systemd

[tool.signalcompat.servers.app]     # pytest --signal-compat: items pyproject.toml::app::SC201 and so on
command = [{command}]
ready = {{ http = "/healthz" }}       # or {{ tcp = true }}, or {{ log = "a regular expression" }}
drain = 10                          # the server's own limit for requests in flight; leave it out if it has none
# env = {{ LOG_LEVEL = "info" }}
# workers = 2                       # with {{workers}} in the command
# routes.slow = "/slow?seconds={{seconds}}"       # answers after that many seconds
# routes.stream = "/stream?seconds={{seconds}}"   # goes on for that many seconds
# routes.post = {{ path = "/predict", body = "{{}}" }}   # without a slow route: its body is held back
{marks}
"""
MARKS_KNOWN = """\
# The lines it prints and the exit statuses it may leave with are known: preset {name}. To replace them:
# marks = {{ started = "regex", stopped = "regex" }}
# exits = {{ terminate = [0], interrupt = [0] }}"""
MARKS_WANTED = """\
marks = { stopped = "shut down" }     # a regular expression for a line that it prints at the end of its shutdown
# exits = { terminate = [0], interrupt = [0] }"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--write", action="store_true", help="append it to ./pyproject.toml")


def run(options: argparse.Namespace) -> int:
    file = Path("pyproject.toml")
    if not options.write:
        print(table(), end="")
        return 0
    text = file.read_text(encoding="utf-8") if file.exists() else ""
    if "[tool.signalcompat" in text:
        print(f"signalcompat init --write: expected {file} without [tool.signalcompat], found one", file=sys.stderr)
        return 1
    with file.open("a", encoding="utf-8", newline="") as target:
        target.write(("\n" if text.endswith("\n") else "\n\n" if text else "") + table())
    print(f"appended to {file}: change the command, then run pytest --signal-compat")
    return 0


def table() -> str:
    """A table for the first server program that is installed here."""
    from importlib.util import find_spec

    from ..config import presets

    name = next((name for name in presets() if name in PROGRAMS and find_spec(name)), None)
    command = f'"{{python}}", "-m", {PROGRAMS[name]}' if name else '"{python}", "server.py", "--port", "{port}"'
    known = presets()[name].marks.stopped if name else None
    marks = MARKS_KNOWN.format(name=name) if known else MARKS_WANTED
    return TABLE.format(command=command, marks=marks)
