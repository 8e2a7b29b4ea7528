"""Runs `pytest --signal-compat` many times, also on a busy machine, and tells whether any verdict changed.

    python tests/interop/repeat.py --times 20 --load 2 -- --signal-compat-config tests/interop/signalcompat.toml

What follows `--` goes to pytest. `--load F` keeps F times the machine's cores busy meanwhile. Exit status 1 if a
verdict changed; the reports are kept in `--keep FOLDER`.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def busy(processes: int) -> Iterator[None]:
    burners = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(processes)]
    try:
        yield
    finally:
        for burner in burners:
            burner.kill()
            burner.wait()


def run(report: Path, options: list[str]) -> list[dict[str, object]]:
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--signal-compat"]
    command += ["--signal-compat-report", str(report), *options]
    null, pipe = subprocess.DEVNULL, subprocess.PIPE
    done = subprocess.run(command, stdin=null, stdout=pipe, stderr=subprocess.STDOUT, text=True)
    report.with_suffix(".log").write_text(done.stdout, encoding="utf-8")
    if not report.exists():
        raise SystemExit(f"no report was written:\n{done.stdout}")
    results: list[dict[str, object]] = json.loads(report.read_text(encoding="utf-8"))["results"]
    return results


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--times", type=int, default=20)
    parser.add_argument("--load", type=float, default=0.0)
    parser.add_argument("--keep", type=Path)
    parser.add_argument("options", nargs="*")
    given = parser.parse_args()
    folder = given.keep or Path(tempfile.mkdtemp(prefix="signalcompat-"))
    folder.mkdir(parents=True, exist_ok=True)
    seen: dict[tuple[str, str], Counter[object]] = {}
    with busy(round(given.load * (os.cpu_count() or 1))):
        for number in range(1, given.times + 1):
            results = run((folder / f"{number}.json").resolve(), given.options)
            for result in results:
                name = f"{result['code']}[{result['case']}]" if result["case"] else str(result["code"])
                seen.setdefault((str(result["server"]), name), Counter())[result["outcome"]] += 1
            changed = sum(len(outcomes) > 1 for outcomes in seen.values())
            print(f"run {number} of {given.times}: {len(results)} verdicts, {changed} changed so far", flush=True)
    for (server, code), outcomes in seen.items():
        told = ", ".join(f"{outcome} {times}x" for outcome, times in outcomes.most_common())
        print(f"{'CHANGED' if len(outcomes) > 1 else '       '} {server} {code}: {told}")
    return int(any(len(outcomes) > 1 for outcomes in seen.values()))


if __name__ == "__main__":
    sys.exit(main())
