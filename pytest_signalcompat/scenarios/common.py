"""What several families do the same way."""

from __future__ import annotations

from msgspec.structs import replace

from ..errors import Unsupported
from ..live import LiveServer, Running
from ..model import Act, Platform, Server, Stop
from ..placeholders import templated

LEAD = 0.5  # seconds a request has been under way when the stop request comes
LEFT = 1.0  # seconds it then still takes; half of the server's own drain limit if that is less
COMMAND_LEAD = 2.0  # seconds more where a stop command has to start first
COMMAND_SHARE = 0.75  # of what is then left of the server's own drain limit: a quick command may not make it be reached


def idle(stop: Stop) -> Act:
    """Ask a server that has nothing to do."""

    async def act(live: LiveServer) -> None:
        await live.ready()
        await live.stop(stop)
        await live.ended()

    return act


def left(server: Server) -> float:
    """Seconds that a request in flight takes after the stop request, so that every server can finish it."""
    return LEFT if server.drain is None else min(LEFT, server.drain / 2)


def lasting(server: Server, seconds: float) -> float:
    """Seconds of a request that is to last that long after the stop request."""
    if not server.stops:
        return LEAD + seconds
    spare = COMMAND_LEAD if server.drain is None else COMMAND_SHARE * max(0.0, server.drain - seconds)
    return LEAD + seconds + min(COMMAND_LEAD, spare)


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


async def stop_with_load(live: LiveServer) -> None:
    """Terminate, with a request in flight where one can be made: that is when shutdown code meets surprises."""
    await live.ready()
    routes = live.server.routes
    request = None
    if routes.slow is not None or routes.post is not None:
        request = await begin_load(live, lasting(live.server, left(live.server)))
    await live.stop()
    if request is not None:
        await live.pause(left(live.server))
        request.release.set()
    await live.ended()


def one_and_several_workers(server: Server, platform: Platform) -> tuple[tuple[str, Server], ...]:
    """As declared, and with the other number of workers where the command takes {workers}."""
    if not templated(server, "workers"):
        return (("", server),)
    return tuple((f"workers={number}", replace(server, workers=number)) for number in (1, max(2, server.workers)))


def several_workers(server: Server, platform: Platform) -> tuple[tuple[str, Server], ...]:
    if server.workers > 1 or not templated(server, "workers"):
        return (("", server),)
    return (("workers=2", replace(server, workers=2)),)
