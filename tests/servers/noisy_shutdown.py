"""Drains well, then its shutdown hook raises and is logged with a traceback (KServe, issue 2870).

posix: SC803
windows: SC803
"""

import logging

from _base import Server, main


class NoisyShutdown(Server):
    pool: object = None

    async def drain(self) -> None:
        await super().drain()
        try:
            self.pool.close()  # type: ignore[attr-defined]
        except AttributeError:
            logging.exception("shutdown hook failed")


if __name__ == "__main__":
    main(NoisyShutdown)
