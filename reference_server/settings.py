"""Settings: command line first, then the environment (`REFERENCE_SERVER_DRAIN_SECONDS=5`), then the defaults below."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, ValidationError, field_validator
from pydantic_settings import BaseSettings, CliApp, SettingsConfigDict, SettingsError

from reference_server import signals
from reference_server.lifecycle import DEFAULT_SIGNALS, Policy
from reference_server.limits import Limits
from reference_server.named import read as read_model

ENV_PREFIX = "REFERENCE_SERVER_"


class BadSettings(Exception):
    """One line for each setting that is wrong, with its names, what was expected and what was found."""


class Settings(BaseSettings):
    """A FastAPI model server that stops well. As environment variables: REFERENCE_SERVER_DRAIN_SECONDS=5."""

    model_config = SettingsConfigDict(
        env_prefix=ENV_PREFIX,
        frozen=True,
        extra="forbid",
        cli_kebab_case=True,
        cli_prog_name="python -m reference_server",
    )

    host: str = Field("127.0.0.1", description="address to listen on")
    port: int = Field(8080, ge=0, le=65535, description="port to listen on; 0 takes a free one")
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
        description="signals that stop the server, or none (their default action stays)",
    )
    second_signal: Literal["auto", "force", "ignore"] = Field(
        "auto",
        description="what a further stop does while draining; auto: an interrupt forces, a terminate is ignored",
    )
    blocking_threads: int = Field(8, ge=1, le=1024, description="threads for models and routes that block")
    max_body_bytes: int = Field(Limits().body_bytes, ge=1, description="larger bodies are answered with 413")
    max_tensor_elements: int = Field(Limits().tensor_elements, ge=1, description="larger tensors, too")
    max_requests: int = Field(
        Limits().requests, ge=1, description="for models, at a time and in each worker; more are answered with 503"
    )
    model: list[str] = Field([], description="serve another model, as name=package.module:Class; repeatable")

    @field_validator("signals")
    @classmethod
    def _known_signals(cls, value: str) -> str:
        signals.choose(value)
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
            from reference_server.engine import loop_factory

            loop_factory(value)
        return value

    @property
    def limits(self) -> Limits:
        return Limits(self.max_body_bytes, self.max_tensor_elements, self.max_requests)

    @property
    def policy(self) -> Policy:
        return Policy(self.drain_seconds, self.readiness_delay_seconds, self.second_signal)


def load(arguments: list[str]) -> Settings:
    """Reads command line and environment. Raises BadSettings; an unknown option or --help ends in SystemExit."""
    try:
        return CliApp.run(Settings, cli_args=arguments)
    except ValidationError as error:
        raise BadSettings("\n".join(_explain(dict(detail)) for detail in error.errors())) from None
    except SettingsError as error:
        raise BadSettings(str(error)) from None


def _explain(detail: dict[str, object]) -> str:
    location = detail["loc"]
    assert isinstance(location, tuple)
    name = ".".join(str(part) for part in location).replace("-", "_")
    what = str(detail["msg"]).removeprefix("Value error, ")
    return f"--{name.replace('_', '-')} ({ENV_PREFIX}{name.upper()}): {what}; found {detail['input']!r}"
