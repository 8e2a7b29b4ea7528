"""What several families do the same way: acts, cases, and the declarations they need."""

from __future__ import annotations

from msgspec.structs import replace

from ..live.server import LiveServer
from ..live.stage import Stage
from ..live.wire import Running
from ..model import IN_FLIGHT, Reach, Role, Server, Stop
from ..placeholders import templated
from ..scenario import Act, Case, Need

LEAD = 0.5  # seconds a request has been under way when the stop request comes
SHARES = (0.6, 0.8, 1.0)  # of what is left, for requests of different lengths
LEFT = 1.0  # seconds it then still takes; half of the server's own drain limit if that is less
LEAVE = 1.0  # seconds of its grace that a server is given to leave in, once nothing is in flight any more
COMMAND_LEAD = 2.0  # seconds more where a stop command has to start first
COMMAND_SHARE = 0.75  # of what is then left of the server's own drain limit: a quick command may not make it be reached

A_REQUEST = Need(
    declared=lambda server: server.routes.slow is not None or server.routes.post is not None,
    advice="routes.slow or routes.post",
)
A_STREAM = Need(declared=lambda server: server.routes.stream is not None, advice="routes.stream")
A_DRAIN_LIMIT = Need(
    declared=lambda server: server.drain is not None, advice="drain, the server's own drain limit in seconds"
)
WORKERS = Need(
    declared=lambda server: server.workers > 1 or templated(server, "workers"),
    advice="workers = 2, with {workers} in the command",
)


def idle(stop: Stop, reach: Reach | None = None) -> Act:
    """Ask a server that has nothing to do."""

    async def act(stage: Stage) -> None:
        live = await stage.ready()
        await live.stop(stop, reach)
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


def least_grace(server: Server, seconds: float | None = None) -> float:
    """Seconds of grace in which a server can be seen to finish a request that is to last that long (as `left`, unless
    said) after the stop request, and to leave."""
    return lasting(server, left(server) if seconds is None else seconds) - LEAD + LEAVE


def least_grace_with_load(server: Server) -> float:
    """The same for `stop_with_load`."""
    return least_grace(server) if A_REQUEST.declared(server) else LEAVE


async def begin_load(live: LiveServer, seconds: float, role: Role = IN_FLIGHT) -> Running:
    """A request of that many seconds, under way for LEAD of them. Without `routes.slow`, one whose body is held back:
    whoever begins it calls `release`. Either is in flight for every server. Needs A_REQUEST."""
    routes = live.server.routes
    if routes.slow is not None:
        running = live.http.begin(role, routes.slow.replace("{seconds}", f"{seconds:g}"))
    else:
        assert routes.post is not None
        live.notes.append(f"{role}: a POST whose body was held back, since routes.slow is not declared")
        running = live.http.begin(role, routes.post.path, routes.post, hold=True)
    await running.under_way()
    await live.pause(LEAD)
    return running


async def begin_several(live: LiveServer) -> list[Running]:
    """Requests of different lengths, and one of each declared kind: a server may wait for the first of them only, or
    for those whose body it has. All are under way for LEAD; whoever begins them calls `release`. Needs A_REQUEST."""
    routes, begun = live.server.routes, []
    if routes.slow is not None:
        for share in SHARES:
            seconds = lasting(live.server, share * left(live.server))
            begun.append(live.http.begin(IN_FLIGHT, routes.slow.replace("{seconds}", f"{seconds:g}")))
    if routes.post is not None:
        live.notes.append(f"{routes.post.path}: a POST whose body was held back is in flight, too")
        begun.append(live.http.begin(IN_FLIGHT, routes.post.path, routes.post, hold=True))
    for running in begun:
        await running.under_way()
    await live.pause(LEAD)
    return begun


async def stop_with_load(stage: Stage) -> None:
    """Terminate, with a request in flight where one can be made: that is when shutdown code meets surprises."""
    live = await stage.ready()
    request = None
    if A_REQUEST.declared(live.server):
        request = await begin_load(live, lasting(live.server, left(live.server)))
    await live.stop()
    if request is not None:
        await live.pause(left(live.server))
        request.release.set()
    await live.ended()


def one_and_several_workers(server: Server) -> tuple[Case, ...]:
    """As declared, and with the other number of workers where the command takes {workers}."""
    if not templated(server, "workers"):
        return (Case(server=server),)
    return tuple(
        Case(id=f"workers-{number}", server=replace(server, workers=number)) for number in (1, max(2, server.workers))
    )


def several_workers(server: Server) -> tuple[Case, ...]:
    """With two workers, unless more are declared."""
    if server.workers > 1 or not templated(server, "workers"):
        return (Case(server=server),)
    return (Case(server=replace(server, workers=2)),)
