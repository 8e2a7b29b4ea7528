"""What can go wrong, as a tree:

SignalCompatError
├── ConfigError         the user's table, option or fixture argument is wrong: says file, key, expected, found
├── SupervisorError     the supervisor did not start, broke off, or refused a command
│   └── SpawnError      the server's command could not be started
│       └── StartRefused   not with what it was to be started with: a signal ignored or blocked, a namespace
└── StopCommandError    the command that stands for a stop request failed or hung

A server that stops badly is not an error: that is a `Failure`, a value.
`Unsupported` and `NotReady` are control flow between a scenario's act and the engine.
"""

from __future__ import annotations


class SignalCompatError(Exception):
    """Base of every error raised by this package."""


class ConfigError(SignalCompatError):
    """One or several mistakes in a configuration; `problems` has a line for each."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


class SupervisorError(SignalCompatError):
    """The supervisor process failed; its own standard error is part of the text."""


class SpawnError(SupervisorError):
    """The server's command could not be started (not found, not executable, bad directory)."""


class StartRefused(SpawnError):
    """The platform has no such thing to start a server with, or the kernel refuses it; the text says which and why."""


class StopCommandError(SignalCompatError):
    """The declared stop command exited non-zero, hung, or could not be started; the text has its output."""


class Unsupported(Exception):
    """Raised by an act: the scenario does not apply here; the text says what to declare, or why not."""


class NotReady(Exception):
    """Raised by an act: the server never became ready, so there is nothing to act on."""
