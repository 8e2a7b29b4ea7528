"""Exit statuses: what they are called, and which of them a stop may end with."""

from __future__ import annotations

from .model import Family, Server, Stop

SIGNAL_NUMBERS = {Stop.TERMINATE: 15, Stop.INTERRUPT: 2, Stop.QUIT: 3, Stop.HANGUP: 1}
SIGNAL_NAMES = {1: "SIGHUP", 2: "SIGINT", 3: "SIGQUIT", 6: "SIGABRT", 9: "SIGKILL", 11: "SIGSEGV", 15: "SIGTERM"}
SIGKILL = 9
SHELL_BASE = 128  # what shells, tini, dumb-init and `uv run` add to the signal that ended the process they wait for
CONTROL_C_EXIT = 0xC000013A  # the default handler of either console event
RAISED_AGAIN = 3  # Microsoft's C runtime, where SIGBREAK is raised again with the default action, as uvicorn does
NT_NAMES = {CONTROL_C_EXIT: "STATUS_CONTROL_C_EXIT", 0xC0000005: "STATUS_ACCESS_VIOLATION"}


def described(family: Family, status: int) -> str:
    """Text for an exit status, with the name of what it stands for."""
    if family == "windows":
        return _described_on_windows(status)
    if status < 0:
        return f"{status} ({SIGNAL_NAMES.get(-status, 'signal')})"
    signal = SIGNAL_NAMES.get(status - SHELL_BASE)
    return f"{status} (128 + {signal} of the leader, a wrapper)" if signal else str(status)


def _described_on_windows(status: int) -> str:
    if status < 0x80000000:
        return str(status)
    if status in NT_NAMES:
        return f"0x{status:X} ({NT_NAMES[status]})"
    negative = status - (1 << 32)
    return f"0x{status:X} ({negative})" if negative > -SHELL_BASE else f"0x{status:X} (NTSTATUS)"


def accepted(server: Server, family: Family, stop: Stop) -> tuple[int, ...]:
    """By the declared policy; by default 0, or death by exactly the request sent (which proves nothing alone).

    POSIX: the signal; Windows: the default action of the event, and for CTRL_BREAK that of SIGBREAK raised again.
    """
    declared = server.exits.get(family, {}).get(stop)
    if declared is not None:
        return declared
    if stop in server.stops:
        return (0,)
    if family == "windows":
        return (0, RAISED_AGAIN, CONTROL_C_EXIT) if stop is Stop.TERMINATE else (0, CONTROL_C_EXIT)
    return (0, -SIGNAL_NUMBERS[stop])


def is_accepted(server: Server, family: Family, stop: Stop, status: int) -> bool:
    """On POSIX 128 + n is the same as death by signal n, told by a wrapper: the status within is inferred."""
    wanted = accepted(server, family, stop)
    return status in wanted or (family == "posix" and status > SHELL_BASE and SHELL_BASE - status in wanted)


def is_crash(family: Family, stop: Stop, status: int) -> bool:
    """Whether no shutdown ends so: a signal other than the request's, or an exit code that is neither 0 nor its own.

    Go's default action on SIGQUIT is to dump every goroutine and exit with 2.
    """
    own = -SIGNAL_NUMBERS[stop]
    return family == "posix" and status not in (0, own, SHELL_BASE - own)
