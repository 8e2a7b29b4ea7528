"""Drains well, then its shutdown hook raises and is logged with a traceback (KServe, issue 2870).

breaks: SC803
posix: SC803
windows: SC803
"""

import io
import logging
from typing import Any

from _base import Server, fault, main


class NoisyShutdown(Server):
    pool: Any = fault(None, instead_of=io.BytesIO())

    async def clean_up(self) -> None:
        try:
            self.pool.close()
        except AttributeError:
            logging.exception("shutdown hook failed")


if __name__ == "__main__":
    main(NoisyShutdown)
