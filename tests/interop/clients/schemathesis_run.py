"""Schemathesis over a server's own OpenAPI: `python schemathesis_run.py HOST:PORT SEED EXAMPLES`.

Once as the description says, where most model names are unknown, and once for each model of `MODELS`, where the bodies
are what varies. Left out: the routes for load, which wait or stream for as long as they are asked to.
"""

from __future__ import annotations

import importlib.metadata
import re
import subprocess
import sys
import tempfile
from pathlib import Path

address, seed, examples = sys.argv[1:]
CLIENT = f"schemathesis {importlib.metadata.version('schemathesis')}"
MODELS = ("identity", "iris")
RUN_LIMIT = 120
PROGRAM = Path(sys.executable).with_name("schemathesis")


def fuzz(name: str, configuration: str, *selected: str) -> bool:
    with tempfile.TemporaryDirectory() as directory:
        file = Path(directory) / "schemathesis.toml"
        file.write_text(configuration)
        command = [str(PROGRAM), "--config-file", str(file), "run", f"http://{address}/openapi.json", *selected]
        command += [
            "--checks",
            "all",
            "--seed",
            seed,
            "--max-examples",
            examples,
            "--continue-on-failure",
            "--no-shrink",
        ]
        command += ["--exclude-tag", "load", "--request-timeout", "10", "--generation-database", "none"]
        done = subprocess.run(command, cwd=directory, capture_output=True, text=True, timeout=RUN_LIMIT)
    print(done.stdout, done.stderr, sep="\n", file=sys.stderr, flush=True)
    cases = re.search(r"(\d+) generated.*", done.stdout)
    summary = re.findall(r"(?:❌|🚫|⚠️)? *(ST\d+ .*: \d+)", done.stdout)
    shown = ", ".join([cases[0] if cases else "no test cases", *summary])
    passed = done.returncode == 0 and cases is not None
    print(f"{'ok     ' if passed else 'FAILED '} {CLIENT}  {name}: {shown}", flush=True)
    return passed


passed = [fuzz("all checks, all operations", "")]
for model in MODELS:
    configuration = f'[parameters]\n"path.model" = "{model}"\n'
    passed.append(fuzz(f"all checks, model {model}", configuration, "--include-path-regex", "{model}.*(infer|predict)"))
sys.exit(not all(passed))
