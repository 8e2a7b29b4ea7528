"""What the clients' programs share: named checks, one line of output for each. Standard library only."""

from __future__ import annotations

import sys
import traceback
from collections.abc import Callable

Check = Callable[[], object]
CHECKS: dict[str, Check] = {}


def check(function: Check) -> Check:
    """Registers a check under its function's name; it fails by raising."""
    CHECKS[function.__name__.replace("_", " ")] = function
    return function


def expect(expected: object, found: object, what: str = "value") -> None:
    if expected != found:
        raise AssertionError(f"{what}: expected {expected!r}, found {found!r}")


def raises(kind: type[BaseException], function: Callable[[], object]) -> BaseException:
    try:
        found = function()
    except kind as error:
        return error
    raise AssertionError(f"expected {kind.__name__}, found the answer {found!r}")


def run(client: str) -> int:
    """Runs every check; the exit status is how many failed."""
    failed = 0
    for name, function in CHECKS.items():
        try:
            function()
        except Exception as error:
            failed += 1
            print(f"FAILED  {client}  {name}: {type(error).__name__}: {error}".replace("\n", " "), flush=True)
            traceback.print_exc(file=sys.stderr)
        else:
            print(f"ok      {client}  {name}", flush=True)
    return min(failed, 1)
