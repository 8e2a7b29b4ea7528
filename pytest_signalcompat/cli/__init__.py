"""`signalcompat COMMAND`: what is tested and why, and a configuration to begin with.

A command is a module of this package with NAME, HELP, `add_arguments(parser)` and `run(options)`, listed in COMMANDS.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from typing import Protocol

from . import explain, init, list_


class Command(Protocol):
    NAME: str
    HELP: str

    def add_arguments(self, parser: argparse.ArgumentParser) -> None: ...

    def run(self, options: argparse.Namespace) -> int:
        """Returns the exit status."""
        ...


COMMANDS: tuple[Command, ...] = (list_, explain, init)


def main(arguments: Sequence[str] | None = None) -> int:
    options = _parser().parse_args(arguments)
    command: Command = options.command
    try:
        status = command.run(options)
        sys.stdout.flush()
    except BrokenPipeError:  # the reader has seen enough: `signalcompat list | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    return status


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="signalcompat", description="Requirements on how a server stops, and their configuration."
    )
    subparsers = parser.add_subparsers(required=True, metavar="COMMAND")
    for command in COMMANDS:
        subparser = subparsers.add_parser(command.NAME, help=command.HELP, description=command.HELP)
        command.add_arguments(subparser)
        subparser.set_defaults(command=command)
    return parser
