"""A started server for ordinary tests: blocking calls on the engine's loop. What the fixtures hand out."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from contextlib import AsyncExitStack
from enum import Enum, StrEnum
from signal import Signals
from typing import TYPE_CHECKING, Any, TypeVar

from . import masking, paths, placeholders
from .checks import became_ready
from .engine import Engine
from .errors import ConfigError, NotReady, SignalCompatError
from .live.http import Body
from .live.ports import HOST
from .live.server import LiveServer
from .live.stage import stage
from .live.wire import Running
from .model import IN_FLIGHT, Exchange, Observation, Reach, Server, Stop

if TYPE_CHECKING:
    import httpx

Choice = TypeVar("Choice", bound=StrEnum)
TICK = 0.2  # seconds; an untimed wait cannot be interrupted by Ctrl-C on Windows


class InFlight:
    """A request that has been sent and may be answered any time."""

    def __init__(self, owner: SignalServer, running: Running) -> None:
        self._owner, self._running = owner, running

    def release(self) -> None:
        """Sends the part of the body that was held back."""
        self._owner._call(_set(self._running))

    def result(self, timeout: float = 30.0) -> Exchange:
        """What became of it, after at most `timeout` seconds; then its `end` is "open". Raises what went wrong inside
        the request itself."""
        self._owner._call(self._running.finished(timeout))
        return self._running.fact


class SignalServer:
    """A server that is ready. Ends with `close`, which leaves nothing of it."""

    def __init__(self, engine: Engine, server: Server, wait_ready: bool = True) -> None:
        self._engine = engine
        self._stack = AsyncExitStack()
        self._server = server
        self._secrets = masking.secrets(placeholders.taken(server, os.environ))
        self._concluded = self._closed = False
        try:
            self._live: LiveServer = self._call(self._start())
            if wait_ready:
                self._call(self._live.ready())
        except BaseException as problem:
            if isinstance(problem, NotReady):
                problem.add_note(self._why_not_ready())
            self.close()
            raise

    async def _start(self) -> LiveServer:
        platform = await self._engine.platform()
        on = await self._stack.enter_async_context(stage(self._server, platform, self._engine.launcher))
        return await on.start()

    @property
    def port(self) -> int:
        return self._live.port

    @property
    def url(self) -> str:
        return f"http://{HOST}:{self.port}"

    @property
    def output(self) -> str:
        """What the server has printed so far, with `{env:NAME}` in place of what came by it."""
        return "\n".join(line.text for line in self._seen().output)

    def request(self, method: str, path: str, **options: Any) -> httpx.Response:
        """One request on a connection of its own; options are httpx's."""
        import httpx

        with httpx.Client(trust_env=False) as client:
            return client.request(method, self.url + path, **options)

    def in_flight(
        self, path: str, body: str | bytes | dict[str, Any] | list[Any] | None = None, hold: bool = False
    ) -> InFlight:
        """Begins a request and returns once it is sent: GET, or POST of a `body`. A string is JSON text, a dict or list
        is made into it, bytes are sent as they are (application/octet-stream). With `hold`, half of the body stays back
        until `release`."""
        if mistake := paths.mistake(path):
            raise ConfigError([f"path: {mistake}"])
        sends = _body(body)

        async def begin() -> Running:
            running = self._live.http.begin(IN_FLIGHT, path, sends, hold)
            await running.under_way()
            return running

        return InFlight(self, self._call(begin()))

    def stop(self, stop: Stop | Signals | str = Stop.TERMINATE, reach: Reach | str | None = None) -> None:
        """Asks the server to stop the way its platform asks; returns at once. POSIX: SIGTERM, SIGINT, SIGQUIT or SIGHUP
        to the leader or its group; by default SIGINT reaches the group, as Ctrl-C does, the others the leader. Windows:
        CTRL_BREAK_EVENT or CTRL_C_EVENT to its console. The platform's own name of a stop request will do, too."""
        asked = _stop(stop, self._live.platform.stops)
        whom = None if reach is None else _one_of("reach", (Reach.LEADER, Reach.GROUP), reach)
        self._call(self._live.stop(asked, whom))

    def wait(self) -> Observation:
        """Until the server has exited, or its grace period is over; then ends what is left and says what was seen.

        `exit` is None if it had to be killed, `survivors` are the processes it left.
        """
        if not self._concluded:
            self._call(self._live.ended())  # also where it was asked by other means than `stop`
            self._call(self._live.conclude())
            self._concluded = True
        return self._seen()

    def _seen(self) -> Observation:
        return masking.masked(self._live.observation(), self._secrets)

    def close(self) -> None:
        """Safe to call twice, also when the engine is gone by then."""
        if not self._closed:
            self._closed = True
            self._call(self._stack.aclose())

    def _why_not_ready(self) -> str:
        self._call(self._live.conclude())
        failure = became_ready(self._server, self._seen())
        found = failure.actual if failure else "it became ready too late"
        return f"{self._server.name}: {found}\n{self.output}".rstrip()

    def _call(self, work: Any) -> Any:
        try:
            return wait_for(self._engine.call(work))
        except SignalCompatError as problem:
            masking.in_error(problem, self._secrets)
            raise


def _body(body: object) -> Body | None:
    if body is None:
        return None
    if isinstance(body, (bytes, bytearray, memoryview)):
        return Body(data=bytes(body))
    try:
        if isinstance(body, (dict, list)):
            body = json.dumps(body)
        if isinstance(body, str):
            return Body(data=body.encode(), content_type="application/json")
    except (TypeError, ValueError) as problem:
        raise ConfigError([f"body: expected what JSON and UTF-8 can hold; found: {problem}"]) from None
    raise ConfigError([f"body: expected a string, bytes, or a dict or list for JSON; found {body!r}"])


def _stop(found: object, names: dict[Stop, str]) -> Stop:
    """By its own name or the platform's: `terminate`, `SIGTERM`, `signal.SIGTERM`."""
    by_name = {name: stop for stop, name in names.items()}
    wanted = found.name if isinstance(found, Enum) and not isinstance(found, Stop) else found
    if wanted in by_name:
        return by_name[wanted]
    try:
        return Stop(str(wanted))
    except ValueError:
        choices = ", ".join((*Stop, *by_name))
        raise ConfigError([f"stop: expected one of {choices}; found {found!r}"]) from None


def _one_of(argument: str, choices: tuple[Choice, ...], found: str) -> Choice:
    for choice in choices:
        if choice == found:
            return choice
    raise ConfigError([f"{argument}: expected one of {', '.join(choices)}; found {found!r}"])


async def _set(running: Running) -> None:
    running.release.set()


def wait_for(future: Any, beat: Callable[[], None] | None = None) -> Any:
    """The future's result. Interruptible by Ctrl-C on every platform."""
    while True:
        try:
            return future.result(TICK)
        except TimeoutError:
            if future.done():
                return future.result()
            if beat is not None:
                beat()
        except BaseException:
            future.cancel()
            raise
