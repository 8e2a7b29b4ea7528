"""Small servers whose shutdown goes wrong, a folder a runtime, and beside each program what it printed.

    python -m tests.complaints [RUNTIME...]      # writes that again, with the versions that are here

A program asks itself to stop. What it printed is kept as it was, but for the folders of the machine (`…`).
pytest_signalcompat/complaints.toml says which of them shows what (`captured`).
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

from pytest_signalcompat.complaints import Complaint, complaints

HERE = Path(__file__).parent
COMPILE_LIMIT, RUN_LIMIT = 200, 60  # seconds
# With cgo, Go cannot tell a deadlock: another thread may always come.
ENVIRONMENT = {**os.environ, "CGO_ENABLED": "0", "GOTOOLCHAIN": "local", "GOTRACEBACK": "single", "RUST_BACKTRACE": "0"}
FROM_SOURCES = "from sources"


class Missing(Exception):
    """The runtime is not on this machine; the text names it."""


def captured() -> dict[str, Complaint]:
    """Those that a program shows."""
    return {name: complaint for name, complaint in complaints().items() if complaint.captured != FROM_SOURCES}


def call_of(complaint: Complaint) -> tuple[str, ...]:
    """The program and its argument, if it has one: `go/stop.go quit, go1.26.8`."""
    return tuple(complaint.captured.partition(",")[0].split())


def kept(call: tuple[str, ...]) -> list[Path]:
    """What that call printed, a file a version."""
    program = HERE / call[0]
    return sorted(program.parent.glob(f"{'-'.join([program.stem, *call[1:]])}*.txt"))


def output_of(call: tuple[str, ...], folder: Path) -> str:
    """What it prints now. `folder` takes what a compiler makes."""
    program, arguments = HERE / call[0], call[1:]
    done = subprocess.run(
        [*_command(program, arguments, folder), *arguments],
        cwd=program.parent,
        env=ENVIRONMENT,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=RUN_LIMIT,
    )
    return shortened(done.stdout, program.parent)


def _command(program: Path, arguments: tuple[str, ...], folder: Path) -> list[str]:
    match program.suffix:
        case ".py":
            return [sys.executable, program.name]
        case ".js":
            warn = ["--unhandled-rejections=warn"] if "warned" in arguments else []
            return [_found("node"), *warn, program.name]
        case ".java":
            return [_found("java"), program.name]
        case ".go":
            return [_compiled([_found("go"), "build", "-o"], program, folder)]
        case _:
            return [_compiled([_found("rustc"), "-o"], program, folder)]


def _found(name: str) -> str:
    found = shutil.which(name)
    if found is None:
        raise Missing(f"{name} is not installed")
    return found


def _compiled(compiler: list[str], program: Path, folder: Path) -> str:
    made = folder / f"{program.parent.name}-{program.stem}.exe"
    if not made.exists():
        subprocess.run(
            [*compiler, str(made), program.name], cwd=program.parent, env=ENVIRONMENT, check=True, timeout=COMPILE_LIMIT
        )
    return str(made)


def shortened(text: str, folder: Path) -> str:
    for prefix in (str(folder), sys.base_prefix, "/usr/local/go"):
        text = text.replace(prefix, "…")
    return text
