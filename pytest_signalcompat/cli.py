"""`signalcompat list | explain CODE | init`: what is tested and why, and a configuration to begin with."""

from __future__ import annotations

import argparse
import sys
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .model import Scenario

WIDTH = 100
COMMANDS = {  # how a program serves app:app on a port, with a limit for its drain
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


def main(arguments: Sequence[str] | None = None) -> int:
    options = _parser().parse_args(arguments)
    status: int = options.run(options)
    return status


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="signalcompat", description="How servers stop: requirements and configuration."
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    listing = commands.add_parser("list", help="every requirement in one line")
    listing.set_defaults(run=_list)
    explain = commands.add_parser("explain", help="one requirement: why it matters, what is checked")
    explain.add_argument("code", metavar="CODE", help="a code or a slug: SC301, inflight-completes")
    explain.set_defaults(run=_explain)
    init = commands.add_parser("init", help="print a [tool.signalcompat] table to begin with")
    init.add_argument("--write", action="store_true", help="append it to ./pyproject.toml")
    init.set_defaults(run=_init)
    return parser


def _list(options: argparse.Namespace) -> int:
    from .scenarios import CATALOGUE

    for scenario in CATALOGUE:
        print(f"{scenario.code}  {scenario.level.upper():6}  {scenario.slug:26}  {scenario.requirement}")
    return 0


def _explain(options: argparse.Namespace) -> int:
    from .scenarios import CATALOGUE

    found = next((s for s in CATALOGUE if options.code.casefold() in (s.code.casefold(), s.slug)), None)
    if found is None:
        known = ", ".join(scenario.code for scenario in CATALOGUE)
        print(f"signalcompat explain: expected one of {known}; found {options.code}", file=sys.stderr)
        return 2
    print(_explained(found))
    return 0


def _explained(scenario: Scenario) -> str:
    from .engine import NEEDS

    checked = ", ".join(check.__name__.replace("_", " ") for check in scenario.checks)
    entries = [("required", scenario.requirement), ("why", scenario.why), ("checked", checked)]
    entries += [("declare", NEEDS[need][1]) for need in scenario.needs]
    entries += [("only on", scenario.only)] if scenario.only else []
    lines = [f"{scenario.code} {scenario.slug} ({scenario.level.upper()})"]
    for name, text in entries:
        lines += textwrap.wrap(text, WIDTH, initial_indent=f"  {name:10}", subsequent_indent=" " * 12)
    return "\n".join(lines)


def _init(options: argparse.Namespace) -> int:
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

    from .config import presets

    name = next((name for name in presets() if name in COMMANDS and find_spec(name)), None)
    command = f'"{{python}}", "-m", {COMMANDS[name]}' if name else '"{python}", "server.py", "--port", "{port}"'
    known = presets()[name].marks.stopped if name else None
    marks = MARKS_KNOWN.format(name=name) if known else MARKS_WANTED
    return TABLE.format(command=command, marks=marks)


if __name__ == "__main__":
    sys.exit(main())
