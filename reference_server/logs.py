"""One line a record on stderr, flushed: `reference_server: ready pid=7`, `reference_server: WARNING: …`."""

from __future__ import annotations

import logging


class Line(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        level = "" if record.levelno == logging.INFO else f"{record.levelname}: "
        return f"reference_server: {level}{super().format(record)}"


def configure() -> None:
    """For a process that is a server; an application that embeds one keeps its own logging."""
    handler = logging.StreamHandler()
    handler.setFormatter(Line("%(message)s"))
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(logging.WARNING)
    logging.getLogger("reference_server").setLevel(logging.INFO)
