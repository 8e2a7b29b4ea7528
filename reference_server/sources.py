"""Where settings come from, as far as server and clients share it. Light: a client must not wait for pydantic."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any, Final

ENV_PREFIX: Final = "REFERENCE_SERVER_"
PROGRAM: Final = "python -m reference_server"
DEFAULT_PORT: Final = 8080


class BadSettings(Exception):
    """One line for each setting that is wrong: where it was found, what was expected, and what was found there."""


def is_of_kubernetes(port: object) -> bool:
    """For a Service called reference-server Kubernetes sets REFERENCE_SERVER_PORT=tcp://10.0.0.1:80."""
    return isinstance(port, str) and port.partition("://")[0] in ("tcp", "udp", "sctp")


def variable(name: str) -> str:
    return ENV_PREFIX + name.upper()


def option(name: str) -> str:
    return name.replace("_", "-")


def read_file(path: str) -> dict[str, Any]:
    """The settings in a TOML file by their names in Python; without a path, none. Raises BadSettings.

    pydantic-settings' TomlConfigSettingsSource takes a missing file for an empty one.
    """
    if not path:
        return {}
    try:
        document = tomllib.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise BadSettings(f"{path}: cannot read the file: {error.strerror}") from None
    except ValueError as error:
        raise BadSettings(f"{path}: expected a TOML file: {error}") from None
    return {key.replace("-", "_"): value for key, value in document.items()}
