"""`python -m reference_server status | stop | drain`: the client of the control channel.

Exit codes:

    0   answered; with --wait: the server stopped gracefully
    2   a setting or option is wrong
    69  no server answers at the address
    76  what answers there is no reference server, or answers too late
    77  this user may not: the address is closed to it, or another user's

With --wait the exit code is the server's own, and 70 where it ended without a word (killed).
"""

from __future__ import annotations

import argparse
import contextlib
import json
import math
import os
import signal
import sys
import time
from typing import Final

from reference_server import control
from reference_server.control.contract import (
    ANSWER_BYTES,
    GREETING,
    ControlError,
    Lines,
    NobodyThere,
    NotAllowed,
    Refused,
    Stream,
    decode,
    encode,
)
from reference_server.graceful import EXIT_BAD_SETTING, EXIT_OK
from reference_server.sources import DEFAULT_PORT, PROGRAM, BadSettings, is_of_kubernetes, option, read_file, variable

DEEDS: Final = {
    "status": "Says how the server is, as JSON.",
    "stop": "Asks the server to stop, as a signal would.",
    "drain": "Asks the server to stop when the requests in flight are done, however long they take.",
}
# The names and meanings of BSD's sysexits.h.
EXIT_NOBODY_THERE: Final = 69
EXIT_KILLED: Final = 70
EXIT_NO_ANSWER: Final = 76
EXIT_NOT_ALLOWED: Final = 77
# A server under load, or one whose workers are asked, may take a moment.
ANSWER_SECONDS: Final = 10.0


class Failed(Exception):
    def __init__(self, exit_code: int, sentence: str) -> None:
        super().__init__(sentence)
        self.exit_code = exit_code


def main(arguments: list[str]) -> int:
    """`arguments` begin with the command."""
    # A wait for the end of the server can be left with Ctrl+C: on Windows no handler of Python's would run meanwhile.
    with contextlib.suppress(ValueError):  # not in the main thread
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    command, *rest = arguments
    options = _options(command, rest)
    word = "force" if command == "stop" and options.force else command
    try:
        return call(_address(options), word, wait=command != "status" and options.wait)
    except BadSettings as error:
        return _complain(command, EXIT_BAD_SETTING, error)
    except Failed as error:
        return _complain(command, error.exit_code, error)


def _options(command: str, arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog=f"{PROGRAM} {command}", description=DEEDS[command], allow_abbrev=False)
    parser.add_argument("--port", help=f"the server's port (default: {DEFAULT_PORT})")
    parser.add_argument("--control-address", help="its socket or pipe, if it was started with that option")
    parser.add_argument("--config", help="its TOML file, for both of these")
    if command != "status":
        parser.add_argument("--wait", action="store_true", help="return when it is gone, with its exit code")
    if command == "stop":
        parser.add_argument("--force", action="store_true", help="cut the requests in flight now")
    return parser.parse_args(arguments)


def _address(options: argparse.Namespace) -> str:
    """Found as the server finds it: command line, environment, file, default. Raises BadSettings."""
    path = options.config or os.environ.get(variable("config"), "")
    file = read_file(path)
    for name, read in (("control_address", _checked), ("port", _found_address)):
        for where, value in (
            (f"--{option(name)}", getattr(options, name)),
            (variable(name), os.environ.get(variable(name))),
            (f"{path}: {option(name)}", file.get(name)),
        ):
            if value not in (None, "") and not (where == variable("port") and is_of_kubernetes(value)):
                try:
                    return read(str(value))
                except ValueError as error:
                    raise BadSettings(f"{where}: {error}; found {value!r}") from None
    return control.find_address(DEFAULT_PORT)


def _checked(address: str) -> str:
    control.check_address(address)
    return address


def _found_address(port: str) -> str:
    if not (port.isdecimal() and 0 < int(port) < 65536):
        raise ValueError("expected a port from 1 to 65535")
    return control.find_address(int(port))


def _complain(command: str, exit_code: int, sentence: Exception) -> int:
    print(f"reference_server {command}: {sentence}", file=sys.stderr)
    return exit_code


def call(address: str, command: str, *, wait: bool = False) -> int:
    """Prints the answer as JSON. Raises Failed."""
    deadline = time.monotonic() + ANSWER_SECONDS
    try:
        stream = control.connect(address, deadline)
    except NobodyThere as error:
        raise Failed(EXIT_NOBODY_THERE, str(error)) from None
    except NotAllowed as error:
        raise Failed(EXIT_NOT_ALLOWED, str(error)) from None
    except ControlError as error:
        raise Failed(EXIT_NO_ANSWER, str(error)) from None
    with contextlib.closing(stream):
        try:
            return _converse(stream, address, command, wait, deadline)
        except TimeoutError:
            raise Failed(EXIT_NO_ANSWER, f"{address}: no answer within {ANSWER_SECONDS:g} s") from None
        except (Refused, OSError) as error:
            raise Failed(EXIT_NO_ANSWER, f"{address}: not the answer of a reference server: {error}") from None


def _converse(stream: Stream, address: str, command: str, wait: bool, deadline: float) -> int:
    lines = Lines(stream, ANSWER_BYTES)
    if (greeting := lines.next(deadline)) != GREETING:
        raise Refused(f"expected a greeting, found {greeting[:40]!r}")
    stream.send(encode({"command": command, "wait": wait}), deadline)
    if not (answer := lines.next(deadline)):
        raise Refused("it closed the connection")
    print(json.dumps(decode(answer)), flush=True)
    if not wait:
        return EXIT_OK
    last = lines.next(math.inf)
    if not last:
        raise Failed(EXIT_KILLED, f"the server at {address} was killed")
    exit_code: int = decode(last)["exit_code"]
    lines.next(math.inf)  # the end: the process is gone
    return exit_code
