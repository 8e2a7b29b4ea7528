"""Checks that the plugin tells a broken KServe from a fixed one, on Linux and on the lab's Windows Python.

    python tests/interop/kserve_check.py

KServe 0.11.1 to 0.14.0 call `loop.add_signal_handler`, which no event loop of Windows has (kserve#3882): they
start on Linux and die on Windows. 0.14.1 is the first version without that call. KServe is installed as it
is, in environments of its own, which are used again. Run this with the Python that has the plugin.
"""

import argparse
import base64
import csv
import dataclasses
import hashlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
CONFIG = (HERE / "kserve.toml").relative_to(ROOT)
WINELAB = ROOT / "tools" / "winelab" / "winelab"
PYTHON = "3.11"  # the newest that KServe 0.13.1 allows
BROKEN, FIXED = "0.13.1", "0.14.1"
CODE = "SC101"
RUN_LIMIT = 300  # seconds
TAIL = 60  # lines shown of an output


class Problem(Exception):
    """The check could not be made, or KServe is not what it should be."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Case:
    name: str
    version: str
    windows: bool
    outcome: str
    names: tuple[str, ...] = ()  # what the failure text must name


CASES = (
    Case(name="linux-broken", version=BROKEN, windows=False, outcome="pass"),
    Case(
        name="windows-broken",
        version=BROKEN,
        windows=True,
        outcome="fail",
        names=("NotImplementedError", "kserve/model_server.py:268"),
    ),
    Case(name="windows-fixed", version=FIXED, windows=True, outcome="pass"),
)


def main() -> int:
    options = parse_options()
    wrong = 0
    for case in CASES:
        if options.only and case.name not in options.only:
            continue
        system = "Windows" if case.windows else "Linux"
        say(f"{case.name}: KServe {case.version} on {system} is expected to {case.outcome} {CODE}")
        try:
            complaints = check(case, options)
        except Problem as problem:
            complaints = [str(problem)]
        for complaint in complaints:
            say(indented(complaint, "  WRONG "))
        if not complaints:
            say("  ok")
        wrong += bool(complaints)
    return min(wrong, 1)


def parse_options() -> argparse.Namespace:
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    lab = Path(os.environ.get("WINELAB_HOME") or Path.home() / ".cache" / "winelab")
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cache", type=Path, default=cache / "signalcompat-kserve", help="environments, reports")
    parser.add_argument("--winelab-home", type=Path, default=lab, help="the lab's directory")
    parser.add_argument("--only", action="append", choices=[case.name for case in CASES], help="repeatable")
    options = parser.parse_args()
    options.cache, options.winelab_home = options.cache.absolute(), options.winelab_home.absolute()
    return options


def check(case: Case, options: argparse.Namespace) -> list[str]:
    """What is wrong with this case; nothing if it is as expected."""
    environment = windows_environment if case.windows else linux_environment
    variables = environment(case.version, options)
    report = options.cache / "reports" / f"{case.name}.json"
    status, output = run_pytest(case, variables, report)
    say(f"  report: {report}")
    if not report.exists():
        say(indented(output, "  | "))
        return [f"pytest: expected a report, found none; it ended with {status}"]
    complaints = judge(case, json.loads(report.read_text(encoding="utf-8")))
    expected = 0 if case.outcome == "pass" else 1
    if status != expected:
        complaints.append(f"pytest: expected exit status {expected}, found {status}")
    if complaints:
        say(indented(output, "  | "))
    return complaints


def judge(case: Case, report: dict) -> list[str]:
    results = [result for result in report["results"] if result["code"] == CODE]
    if len(results) != 1:
        return [f"report: expected one result of {CODE}, found {len(results)}"]
    [result] = results
    complaints = []
    if result["outcome"].lower() != case.outcome:
        complaints.append(f"outcome: expected {case.outcome}, found {result['outcome']}")
    failures = "\n".join(str(text) for failure in result["failures"] for text in failure.values() if text)
    say(f"  outcome: {result['outcome']}")
    say(indented(failures, "  | "))
    for name in case.names:
        if name not in failures.replace("\\", "/"):
            complaints.append(f"failure text: expected it to name {name}, found {failures or 'no failure'}")
    return complaints


def run_pytest(case: Case, variables: dict[str, str], report: Path) -> tuple[int, str]:
    report.parent.mkdir(parents=True, exist_ok=True)
    report.unlink(missing_ok=True)
    command = [sys.executable, "-m", "pytest", "--signal-compat", "--signal-compat-config", str(CONFIG)]
    command += ["--signal-compat-report", str(report), "-k", CODE, "-p", "no:cacheprovider"]
    if case.windows:
        command += ["--signal-compat-on", "wine"]
    return run([*command, str(CONFIG)], limit=RUN_LIMIT, **variables)


# ---------------------------------------------------------------- environments


def linux_environment(version: str, options: argparse.Namespace) -> dict[str, str]:
    """A virtual environment with KServe in it."""
    home = options.cache / f"linux-{version}"
    python = home / "bin" / "python"
    done = home / ".complete"
    if not done.exists():
        say(f"  installing KServe {version} into {home}")
        must(["uv", "venv", "--quiet", "--clear", "--python", PYTHON, str(home)])
        must(["uv", "pip", "install", "--quiet", "--python", str(python), *requirements(version)])
        done.touch()
    verify(home / "lib" / f"python{PYTHON}" / "site-packages", version)
    return {"KSERVE_PYTHON": str(python)}


def windows_environment(version: str, options: argparse.Namespace) -> dict[str, str]:
    """A site of the lab's Python with KServe in it."""
    lab = {"WINELAB_HOME": str(options.winelab_home)}
    site = f"kserve-{version}"
    home = options.winelab_home / "site" / f"python-{PYTHON}" / site
    done = home / ".complete"
    must([str(WINELAB), "install", PYTHON], **lab)
    if not done.exists():
        say(f"  installing KServe {version} into {home}")
        shutil.rmtree(home, ignore_errors=True)
        must([str(WINELAB), "pip", PYTHON, "--site", site, *requirements(version)], **lab)
        done.touch()
    verify(home, version)
    return {
        **lab,
        "KSERVE_PYTHON": windows_path(options.winelab_home / f"python-{PYTHON}" / "python.exe"),
        "SIGNALCOMPAT_WINE_PYTHON": str(options.winelab_home / "bin" / f"python{PYTHON}"),
        "WINELAB_SITE": site,
    }


def windows_path(path: Path) -> str:
    """As Wine calls it, to which the root is drive Z."""
    return "Z:" + str(path.resolve()).replace("/", "\\")


def requirements(version: str) -> list[str]:
    return [f"kserve=={version}", "--constraints", str(HERE / "constraints" / f"kserve-{version}.txt")]


def verify(site: Path, version: str) -> None:
    """KServe's own files must be those of its wheel: their hashes are in RECORD."""
    record = site / f"kserve-{version}.dist-info" / "RECORD"
    if not record.exists():
        raise Problem(f"{record} is missing; remove {site} and run this again")
    for name, expected, _ in csv.reader(record.read_text(encoding="utf-8").splitlines()):
        if name.startswith("kserve/") and expected:
            digest = hashlib.sha256((site / name).read_bytes()).digest()
            found = "sha256=" + base64.urlsafe_b64encode(digest).decode().rstrip("=")
            if found != expected:
                raise Problem(f"{site / name} was modified: expected {expected}, found {found}")


# ---------------------------------------------------------------- processes


def must(command: list[str], **variables: str) -> None:
    status, output = run(command, limit=1200, **variables)
    if status != 0:
        raise Problem(f"{' '.join(command)} ended with {status}:\n{output}")


def run(command: list[str], *, limit: float, **variables: str) -> tuple[int, str]:
    shown = " ".join([*(f"{name}={value}" for name, value in variables.items()), *command])
    say(f"  $ {shown}")
    try:
        done = subprocess.run(
            command,
            cwd=ROOT,
            env={**os.environ, **variables},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            timeout=limit,
        )
    except FileNotFoundError as error:
        raise Problem(f"{command[0]} is missing ({error.strerror}); see CONTRIBUTING.md") from error
    except subprocess.TimeoutExpired as error:
        raise Problem(f"{' '.join(command)} was still running after {limit:.0f} s") from error
    return done.returncode, done.stdout


def indented(text: str, prefix: str) -> str:
    return "\n".join(prefix + line for line in text.splitlines()[-TAIL:])


def say(text: str) -> None:
    if text:
        print(text, flush=True)


if __name__ == "__main__":
    sys.exit(main())
