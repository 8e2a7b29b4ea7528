"""Settings: from the command line, else the environment (`REFERENCE_SERVER_DRAIN_SECONDS=5`), else a TOML file
(`drain-seconds = 5`), else the defaults below.
"""

from __future__ import annotations

import os
import re
import tomllib
from pathlib import Path
from typing import Any, Literal, TypeVar

from pydantic import Field, ValidationError, field_validator
from pydantic_settings import (
    BaseSettings,
    CliImplicitFlag,
    CliSettingsSource,
    EnvSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    SettingsError,
)

from reference_server import control, signals
from reference_server.lifecycle import DEFAULT_SIGNALS, Policy

ENV_PREFIX = "REFERENCE_SERVER_"
PROGRAM = "python -m reference_server"
# Kubernetes sets these for a Service that is called reference-server, in every container of its namespace
# (https://kubernetes.io/docs/tutorials/services/connect-applications-service/#environment-variables).
OF_KUBERNETES = re.compile(ENV_PREFIX + r"(SERVICE_HOST|SERVICE_PORT(_\w+)?|PORT_\d+_(TCP|UDP|SCTP)(_\w+)?)")


class BadSettings(Exception):
    """One line for each setting that is wrong, with its names, what was expected and what was found."""


class Sources(BaseSettings):
    """What a server and its clients have in common. Values come from `_load` alone."""

    model_config = SettingsConfigDict(env_prefix=ENV_PREFIX, frozen=True, extra="forbid", cli_kebab_case=True)

    config: str = Field("", description="TOML file with settings: drain-seconds = 5")
    port: int = Field(8080, ge=0, le=65535, description="port to listen on; 0 takes a free one")
    control_address: str = Field("", description="socket or pipe of the control channel; by default the port says it")

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        return (init_settings,)

    @field_validator("control_address")
    @classmethod
    def _possible_address(cls, value: str) -> str:
        if value:
            control.check_address(value)
        return value


class Request(Sources):
    """Asks a running server through its control channel; finds it with the same port, address or file."""

    wait: CliImplicitFlag[bool] = Field(False, description="stop and drain: return when the server is gone")
    force: CliImplicitFlag[bool] = Field(False, description="stop: requests in flight are cut now")


class Settings(Sources):
    """A FastAPI model server that stops well. As environment variables: REFERENCE_SERVER_DRAIN_SECONDS=5."""

    host: str = Field("127.0.0.1", description="address to listen on")
    workers: int = Field(1, ge=1, le=256, description="serving processes")
    loop: Literal["auto", "proactor", "selector"] = Field(
        "auto", description="event loop; proactor is Windows' own default"
    )
    drain_seconds: float = Field(
        10.0,
        ge=0,
        le=86400,
        allow_inf_nan=False,
        description="how long requests in flight may take after a stop",
    )
    readiness_delay_seconds: float = Field(
        0.0,
        ge=0,
        le=3600,
        allow_inf_nan=False,
        description="how long to serve unready before the listener closes",
    )
    signals: str = Field(
        ",".join(DEFAULT_SIGNALS),
        description="signals that stop the server, or none (their default action stays);"
        " in a file also a list, or a table with one for windows and one for posix",
    )
    second_signal: Literal["auto", "force", "ignore"] = Field(
        "auto",
        description="what a further stop does while draining; auto: an interrupt forces, a terminate is ignored",
    )
    control: Literal["auto", "pipe", "socket", "none"] = Field(
        "auto", description="channel for status, stop and drain; auto: a pipe on Windows, else a socket"
    )
    blocking_threads: int = Field(8, ge=1, le=1024, description="threads for models and routes that block")

    @field_validator("signals", mode="before")
    @classmethod
    def _known_signals(cls, value: object) -> str:
        return signals.spell(value)

    @field_validator("control")
    @classmethod
    def _control_exists_here(cls, value: str) -> str:
        if value in ("pipe", "socket") and value != control.KIND:
            raise ValueError(f"this platform has no control {value}; expected auto, {control.KIND} or none")
        return value

    @field_validator("loop")
    @classmethod
    def _loop_exists_here(cls, value: str) -> str:
        if value == "proactor":
            from reference_server.engine import loop_factory

            loop_factory(value)
        return value

    @property
    def policy(self) -> Policy:
        return Policy(self.drain_seconds, self.readiness_delay_seconds, self.second_signal)


Kind = TypeVar("Kind", bound=Sources)


def load(arguments: list[str]) -> Settings:
    """A server's settings. Raises BadSettings; an unknown option or --help ends in SystemExit."""
    return _load(Settings, PROGRAM, arguments)


def load_request(command: str, arguments: list[str]) -> Request:
    """As `load`, for a client; of a file it takes what concerns it."""
    request = _load(Request, f"{PROGRAM} {command}", arguments)
    for option, commands in (("wait", ("stop", "drain")), ("force", ("stop",))):
        if getattr(request, option) and command not in commands:
            raise BadSettings(f"--{option}: expected with {' or '.join(commands)}, found with {command}")
    return request


def _load(kind: type[Kind], program: str, arguments: list[str]) -> Kind:
    try:
        options = CliSettingsSource[Any](kind, cli_parse_args=arguments, cli_prog_name=program)()
        environment = EnvSettingsSource(kind)()
    except SettingsError as error:
        raise BadSettings(str(error)) from None
    _check_variables()
    path = options.get("config") or environment.get("config") or ""
    file = {name: value for name, value in _read(path).items() if name in kind.model_fields}
    try:
        return kind(**{**file, **environment, **options})
    except ValidationError as error:
        sources = [(options, "--{option}"), (environment, "{variable}"), (file, f"{path}: {{option}}")]
        raise BadSettings("\n".join(_explain(dict(detail), sources) for detail in error.errors())) from None


def _check_variables() -> None:
    """A misspelt variable would otherwise be a setting without effect."""
    known = {ENV_PREFIX + name.upper() for name in {**Settings.model_fields, **Request.model_fields}}
    for name in os.environ:
        if name.upper().startswith(ENV_PREFIX) and name.upper() not in known and not OF_KUBERNETES.fullmatch(name):
            raise BadSettings(f"{name}: unknown variable; expected one of {', '.join(sorted(known))}")


def _read(path: str) -> dict[str, Any]:
    """Not by pydantic-settings' TomlConfigSettingsSource, which takes a missing file for an empty one."""
    if not path:
        return {}
    try:
        document = tomllib.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise BadSettings(f"{path}: cannot read the file: {error.strerror}") from None
    except ValueError as error:
        raise BadSettings(f"{path}: not a TOML file: {error}") from None
    known = Settings.model_fields.keys() - {"config"}
    values = {name.replace("-", "_"): value for name, value in document.items()}
    if unknown := [name for name in document if name.replace("-", "_") not in known]:
        names = sorted(name.replace("_", "-") for name in known)
        raise BadSettings(f"{path}: unknown key {', '.join(unknown)}; expected one of {', '.join(names)}")
    return values


def _explain(detail: dict[str, Any], sources: list[tuple[dict[str, Any], str]]) -> str:
    """Names the option, variable or key that the value came from."""
    name, *within = (str(part) for part in detail["loc"])
    form = next((form for values, form in sources if name in values), "--{option}")
    where = form.format(option=name.replace("_", "-"), variable=ENV_PREFIX + name.upper())
    what = str(detail["msg"]).removeprefix("Value error, ")
    return f"{'.'.join([where, *within])}: {what}; found {detail['input']!r}"
