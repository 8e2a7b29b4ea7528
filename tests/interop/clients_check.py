"""Checks the reference server with the clients that people use, each in an environment of its own.

    python tests/interop/clients_check.py
    python tests/interop/clients_check.py --only triton-windows --only schemathesis

One line for each check: `ok` or FAILED, the client and its version, what was checked. The whole output of the clients
and the server is kept in a file. Run this with the Python that has the server (the extra `reference`).
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from reference import HERE, ROOT, Problem, install_windows_site, reference

PROGRAMS = HERE / "clients"
CONSTRAINTS = HERE / "constraints"
RUN_LIMIT = 240.0
# Of schemathesis: deterministic, the same cases come each time.
SEED, EXAMPLES = 7, 12


@dataclass(frozen=True, kw_only=True)
class Client:
    name: str
    requirement: str
    arguments: tuple[str, ...]  # of the environment's Python; {address} is the server's
    place: str = "linux"

    @property
    def environment(self) -> str:
        return self.requirement.replace("[http]", "").replace("==", "-")


TRITON = "tritonclient[http]==2.73.0"
CLIENTS = (
    Client(name="triton", requirement=TRITON, arguments=(str(PROGRAMS / "triton_http.py"), "{address}")),
    Client(
        name="triton-windows",
        requirement=TRITON,
        arguments=(str(PROGRAMS / "triton_http.py"), "{address}"),
        place="windows",
    ),
    Client(name="kserve", requirement="kserve==0.21.0", arguments=(str(PROGRAMS / "kserve_rest.py"), "{address}")),
    Client(
        name="openapi",
        requirement="open-inference-openapi==2.0.0.1",
        arguments=(str(PROGRAMS / "openapi_client.py"), "{address}"),
    ),
    Client(
        name="schemathesis",
        requirement="schemathesis==4.32.5",
        arguments=(str(PROGRAMS / "schemathesis_run.py"), "{address}", str(SEED), str(EXAMPLES)),
    ),
)


def main() -> int:
    options = parse_options()
    wrong = 0
    with options.output.open("w") as file:
        for client in CLIENTS:
            if options.only and client.name not in options.only:
                continue
            begun = time.monotonic()
            try:
                status = check(client, options.cache, file)
            except (Problem, subprocess.SubprocessError) as problem:
                status = 1
                print(f"FAILED  {client.name}: {problem}", flush=True)
            wrong += status != 0
            place = "the lab's Windows Python" if client.place == "windows" else "Linux"
            verdict = "as expected" if status == 0 else "FAILED"
            seconds = time.monotonic() - begun
            print(f"        {client.requirement} against the server on {place}: {verdict}, {seconds:.0f} s", flush=True)
    print(f"whole output: {options.output}")
    return min(wrong, 1)


def parse_options() -> argparse.Namespace:
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "signalcompat-interop"
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cache", type=Path, default=cache, help="where the environments are kept")
    parser.add_argument("--output", type=Path, help="file for the whole output (in the cache)")
    parser.add_argument("--only", action="append", choices=[client.name for client in CLIENTS], help="repeatable")
    options = parser.parse_args()
    options.cache = options.cache.absolute()
    options.cache.mkdir(parents=True, exist_ok=True)
    options.output = options.output or options.cache / "clients.log"
    return options


def check(client: Client, cache: Path, file) -> int:
    python = environment(client, cache)
    if client.place == "windows":
        install_windows_site()
    with reference(client.place) as server:
        arguments = [argument.format(address=f"127.0.0.1:{server.port}") for argument in client.arguments]
        try:
            status = run([str(python), *arguments], client, file)
            how = "SIGTERM" if client.place == "linux" else "break"
            server.stop(how)
            code, left, _ = server.ended()
            if code != 0 or left:
                status = 1
                print(f"FAILED  {client.name}: server stopped: expected exit code 0, found {code}; left {left}")
        finally:
            print(f"--- server of {client.name}", *(line.text for line in server.log), sep="\n", file=file, flush=True)
        if traces := [line for line in server.log if "Traceback" in line.text]:
            status = 1
            print(f"FAILED  {client.name}: the server's log has {len(traces)} tracebacks")
    return status


def run(command: list[str], client: Client, file) -> int:
    """Shows the lines of checks as they come; everything goes to the file."""
    print(f"--- {' '.join(command)}", file=file, flush=True)
    begun = time.monotonic()
    with subprocess.Popen(
        command,
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=file,
        text=True,
        errors="replace",
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:
            file.write(line)
            if line.startswith(("ok  ", "FAILED")):
                print(line, end="", flush=True)
            if time.monotonic() - begun > RUN_LIMIT:
                process.kill()
                raise Problem(f"{client.name}: still running after {RUN_LIMIT:g} s")
    return process.returncode


def environment(client: Client, cache: Path) -> Path:
    """A virtual environment with the client in it; the path of its Python."""
    home = cache / client.environment
    constraints = CONSTRAINTS / f"{client.environment}.txt"
    done = home / ".complete"
    wanted = constraints.read_text()
    if not done.exists() or done.read_text() != wanted:
        print(f"        installing {client.requirement} into {home}", flush=True)
        python = home / "bin" / "python"
        uv("venv", "--quiet", "--clear", "--python", sys.executable, str(home))
        uv("pip", "install", "--quiet", "--python", str(python), client.requirement, "--constraints", str(constraints))
        done.write_text(wanted)
    return home / "bin" / "python"


def uv(*arguments: str) -> None:
    done = subprocess.run(["uv", *arguments], capture_output=True, text=True, timeout=600)
    if done.returncode != 0:
        raise Problem(f"uv {' '.join(arguments)} ended with {done.returncode}:\n{done.stderr}")


if __name__ == "__main__":
    sys.exit(main())
