"""What several families do the same way."""

from __future__ import annotations

from ..errors import Unsupported
from ..live import LiveServer, Running
from ..model import Act, Platform, Server, Stop

SHORT = 1.5  # seconds of a request that every server can finish while it drains
LEAD = 0.5  # seconds a request has been under way when the stop request comes
COMMAND_LEAD = 2.0  # seconds more where a stop command has to start first


def templated(server: Server, placeholder: str) -> bool:
    """Whether the command or the environment passes this on to the server."""
    return any(placeholder in text for text in (*server.command, *server.env.values()))


def idle(stop: Stop) -> Act:
    """Ask a server that has nothing to do."""

    async def act(live: LiveServer) -> None:
        await live.ready()
        await live.stop(stop)
        await live.ended()

    return act


def seconds_in_flight(live: LiveServer, seconds: float) -> float:
    return seconds + (COMMAND_LEAD if live.server.stops else 0.0)


async def begin_load(live: LiveServer, seconds: float, name: str = "in flight") -> Running:
    """A request of that many seconds, under way for LEAD of them. Without `routes.slow`, one whose body is held back:
    whoever begins it calls `release`. Either is in flight for every server."""
    routes = live.server.routes
    if routes.slow is not None:
        running = live.begin(name, routes.slow.replace("{seconds}", f"{seconds:g}"))
    elif routes.post is not None:
        live.notes.append("in flight: a POST whose body was held back, since routes.slow is not declared")
        running = live.begin(name, routes.post.path, routes.post, hold=True)
    else:
        raise Unsupported("declare routes.slow, or routes.post")
    await running.under_way()
    await live.pause(LEAD)
    return running


def one_and_several_workers(server: Server, platform: Platform) -> tuple[tuple[str, Server], ...]:
    """As declared, and with the other number of workers where the command takes {workers}."""
    if not templated(server, "{workers}"):
        return (("", server),)
    return tuple((f"workers={number}", replace(server, workers=number)) for number in (1, max(2, server.workers)))


def several_workers(server: Server, platform: Platform) -> tuple[tuple[str, Server], ...]:
    if server.workers > 1 or not templated(server, "{workers}"):
        return (("", server),)
    return (("workers=2", replace(server, workers=2)),)


def replace(server: Server, **changes: object) -> Server:
    import msgspec

    return msgspec.structs.replace(server, **changes)
