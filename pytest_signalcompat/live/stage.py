"""What an act is given: it starts servers on it, one or several, together or in a row."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager

from msgspec.structs import replace

from ..model import Observation, Platform, Server
from ..supervisor.client import Launcher, Supervisor
from .ports import HOST, reserved_port
from .server import SETTLE, LiveServer
from .waiting import shielded


class Stage:
    """Lifetime: one attempt at a scenario. Made by `stage`, which leaves nothing of what was started on it."""

    def __init__(
        self,
        server: Server,
        platform: Platform,
        launcher: Launcher,
        stack: AsyncExitStack,
        on_ready: Callable[[], None],
    ) -> None:
        self.server, self.platform = server, platform
        self._launcher, self._stack, self._on_ready = launcher, stack, on_ready
        self._lives: list[LiveServer] = []

    def port(self, taken: bool = False) -> int:
        """A port that is kept from others until the attempt is over; or one that is `taken` by a listener of ours."""
        port = self._stack.enter_context(reserved_port())
        if taken:
            listener = self._stack.enter_context(socket.socket())
            listener.bind((HOST, port))
            listener.listen()
        return port

    async def start(
        self,
        port: int | None = None,
        *,
        wrapper: tuple[str, ...] = (),
        ignored: tuple[str, ...] = (),
        blocked: tuple[str, ...] = (),
        namespace: str | None = None,
    ) -> LiveServer:
        """A server that has been spawned, not yet ready: under a supervisor of its own, on `port` or a fresh one.

        `wrapper` is put before the command. POSIX only: signals that it starts with `ignored` or `blocked`, by name.
        Linux only: `namespace="pid"`, in which it is PID 1. Raises SupervisorError, SpawnError naming the command or
        what the platform lacks, or ConfigError naming a variable that is not set.
        """
        number = self.port() if port is None else port
        supervisor = await Supervisor.start(self._launcher)
        self._stack.push_async_callback(shielded, supervisor.close)
        live = LiveServer(self.server, supervisor, number)
        live.on_ready = self._on_ready
        self._stack.push_async_callback(live.close)
        await live.spawn(wrapper, ignored, blocked, namespace)
        self._lives.append(live)
        return live

    async def ready(self, settle: float = SETTLE) -> LiveServer:
        """One that is ready, and has had `settle` seconds. Raises NotReady, too."""
        live = await self.start()
        await live.ready(settle)
        return live

    async def conclude(self) -> None:
        """Sees the end of all that was started, in that order."""
        for live in self._lives:
            await live.conclude()

    def observations(self) -> tuple[Observation, ...]:
        """One for each start, on one clock: `spawned` counts from the first."""
        begun = self._lives[0].spawned if self._lives else 0.0
        return tuple(replace(live.observation(), spawned=live.spawned - begun) for live in self._lives)


@asynccontextmanager
async def stage(
    server: Server, platform: Platform, launcher: Launcher, on_ready: Callable[[], None] = lambda: None
) -> AsyncIterator[Stage]:
    """Whatever happens on it, nothing is left afterwards. `on_ready` is called whenever a server becomes ready."""
    async with AsyncExitStack() as stack:
        yield Stage(server, platform, launcher, stack, on_ready)
