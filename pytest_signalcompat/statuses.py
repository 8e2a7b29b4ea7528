"""Exit statuses: what they are called, and which of them a stop may end with."""

from __future__ import annotations

from .model import Family, Server, Stop

SIGNAL_NUMBERS = {Stop.TERMINATE: 15, Stop.INTERRUPT: 2, Stop.QUIT: 3, Stop.HANGUP: 1}
SIGNAL_NAMES = {1: "SIGHUP", 2: "SIGINT", 3: "SIGQUIT", 6: "SIGABRT", 9: "SIGKILL", 11: "SIGSEGV", 15: "SIGTERM"}
SIGKILL = 9
CONTROL_C_EXIT = 0xC000013A  # the default handler of either console event
NT_NAMES = {CONTROL_C_EXIT: "STATUS_CONTROL_C_EXIT", 0xC0000005: "STATUS_ACCESS_VIOLATION"}


def described(family: Family, status: int) -> str:
    """Text for an exit status, with the name of what it stands for."""
    if family == "windows":
        return f"0x{status:X} ({NT_NAMES.get(status, 'NTSTATUS')})" if status >= 0x80000000 else str(status)
    return f"{status} ({SIGNAL_NAMES.get(-status, 'signal')})" if status < 0 else str(status)


def accepted(server: Server, family: Family, stop: Stop) -> tuple[int, ...]:
    """By the declared policy; by default 0, or death by exactly the request sent (which proves nothing alone)."""
    declared = server.exits.get(family, {}).get(stop)
    if declared is not None:
        return declared
    if stop in server.stops:
        return (0,)
    return (0, CONTROL_C_EXIT if family == "windows" else -SIGNAL_NUMBERS[stop])
