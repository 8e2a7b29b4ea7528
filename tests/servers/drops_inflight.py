"""Closes the connections of requests in flight and waits for their handlers only (gunicorn, issue 2529).

breaks: SC301
posix: SC301 SC310 SC701
windows: SC301 SC310 SC701
"""

from _base import Server, fault, main


class DropsInflight(Server):
    @fault
    def close_idle(self) -> None:
        super().close_idle()
        for client in self.clients:
            if client.writer and not client.idle:
                client.writer.transport.abort()


if __name__ == "__main__":
    main(DropsInflight)
