"""Settings: from the command line, else the environment (`REFERENCE_SERVER_DRAIN_SECONDS=5`), else a TOML file
(`drain-seconds = 5`), else the defaults below.
"""

from __future__ import annotations

import os
import re
from typing import Any, Final, Literal

from pydantic import Field, ValidationError, field_validator
from pydantic_settings import (
    BaseSettings,
    CliSettingsSource,
    EnvSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    SettingsError,
)

from reference_server import control, signals
from reference_server.graceful import DEFAULT_SIGNALS, Policy
from reference_server.limits import Limits
from reference_server.named import read as read_model
from reference_server.sources import (
    DEFAULT_PORT,
    ENV_PREFIX,
    PROGRAM,
    BadSettings,
    is_of_kubernetes,
    option,
    read_file,
    variable,
)

__all__ = ["BadSettings", "Settings", "load"]

# Kubernetes sets these for a Service that is called reference-server, in every container of its namespace
# (https://kubernetes.io/docs/tutorials/services/connect-applications-service/#environment-variables).
OF_KUBERNETES: Final = re.compile(ENV_PREFIX + r"(SERVICE_HOST|SERVICE_PORT(_\w+)?|PORT_\d+_(TCP|UDP|SCTP)(_\w+)?)")


class Settings(BaseSettings):
    """A FastAPI model server that stops well.

    As environment variables: REFERENCE_SERVER_DRAIN_SECONDS=5. With `status`, `stop`, `drain` or `service` as its first
    word the command line does something else; each has a --help.
    """

    model_config = SettingsConfigDict(
        env_prefix=ENV_PREFIX, frozen=True, extra="forbid", cli_kebab_case=True, cli_implicit_flags=True
    )

    config: str = Field("", description="TOML file with settings: drain-seconds = 5")
    host: str = Field("127.0.0.1", description="address to listen on")
    port: int = Field(DEFAULT_PORT, ge=0, le=65535, description="port to listen on; 0 takes a free one")
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
    control_address: str = Field("", description="socket or pipe of that channel; by default the port says it")
    blocking_threads: int = Field(8, ge=1, le=1024, description="threads for models and routes that block")
    max_body_bytes: int = Field(Limits().body_bytes, ge=1, description="larger bodies are answered with 413")
    max_tensor_elements: int = Field(Limits().tensor_elements, ge=1, description="larger tensors, too")
    max_requests: int = Field(
        Limits().requests, ge=1, description="for models, at a time and in each worker; more are answered with 503"
    )
    max_head_bytes: int = Field(
        Limits().head_bytes, ge=256, description="larger heads of requests are answered with 431"
    )
    head_seconds: float = Field(Limits().head_seconds, gt=0, le=86400, description="for a request's head; then 408")
    body_seconds: float = Field(Limits().body_seconds, gt=0, le=86400, description="for its body; then 408")
    model_control: bool = Field(False, description="let clients load and unload models (POST /v2/repository/models/…)")
    test_routes: bool = Field(
        False, description="serve what keeps it busy, for tests of its stop: /slow, /stream, the model sleeper"
    )
    model: list[str] = Field([], description="serve another model, as name=package.module:Class; repeatable")

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """`load` puts the values together; a worker takes them as they are."""
        return (init_settings,)

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

    @field_validator("control_address")
    @classmethod
    def _possible_address(cls, value: str) -> str:
        if value:
            control.check_address(value)
        return value

    @field_validator("model")
    @classmethod
    def _models_readable(cls, value: list[str]) -> list[str]:
        names = [read_model(text).name for text in value]
        if len(set(names)) != len(names):
            raise ValueError(f"expected each name once, found {', '.join(names)}")
        return value

    @field_validator("loop")
    @classmethod
    def _loop_exists_here(cls, value: str) -> str:
        if value == "proactor":
            from reference_server.graceful import loop_factory

            loop_factory(value)
        return value

    @property
    def limits(self) -> Limits:
        return Limits(
            self.max_body_bytes,
            self.max_tensor_elements,
            self.max_requests,
            self.max_head_bytes,
            self.head_seconds,
            self.body_seconds,
        )

    @property
    def policy(self) -> Policy:
        return Policy(self.drain_seconds, self.readiness_delay_seconds, self.second_signal)


def load(arguments: list[str]) -> Settings:
    """Raises BadSettings; an unknown option or --help ends in SystemExit."""
    try:
        options = CliSettingsSource[Any](Settings, cli_parse_args=arguments, cli_prog_name=PROGRAM)()
        environment = EnvSettingsSource(Settings)()
    except SettingsError as error:
        raise BadSettings(str(error)) from None
    if is_of_kubernetes(environment.get("port")):
        del environment["port"]
    _check_variables()
    path = options.get("config") or environment.get("config") or ""
    file = read_file(path)
    _check_keys(path, file)
    try:
        return Settings(**{**file, **environment, **options})
    except ValidationError as error:
        sources = [(options, "--{option}"), (environment, "{variable}"), (file, f"{path}: {{option}}")]
        raise BadSettings("\n".join(_explain(dict(detail), sources) for detail in error.errors())) from None


def _check_variables() -> None:
    """A misspelt variable would otherwise be a setting without effect."""
    known = sorted(map(variable, Settings.model_fields))
    for name in map(str.upper, os.environ):
        if name.startswith(ENV_PREFIX) and name not in known and not OF_KUBERNETES.fullmatch(name):
            raise BadSettings(f"{name}: unknown variable; expected one of {', '.join(known)}")


def _check_keys(path: str, file: dict[str, Any]) -> None:
    known = sorted(Settings.model_fields.keys() - {"config"})
    for name in file:
        if name not in known:
            raise BadSettings(f"{path}: unknown key {option(name)}; expected one of {', '.join(map(option, known))}")


def _explain(detail: dict[str, Any], sources: list[tuple[dict[str, Any], str]]) -> str:
    """Names the option, variable or key that the value came from."""
    name, *within = (str(part) for part in detail["loc"])
    form = next((form for values, form in sources if name in values), "--{option}")
    where = form.format(option=option(name), variable=variable(name))
    what = str(detail["msg"]).removeprefix("Value error, ")
    return f"{'.'.join([where, *within])}: {what}; found {detail['input']!r}"
