"""Schemathesis over a server's own OpenAPI: `python schemathesis_run.py HOST:PORT SEED EXAMPLES`.

All its checks, told one thing that OpenAPI cannot say: which tensors a model takes, and that a shape has as many
elements as the data; so what fits the schema may still be a 400 (or a 413). The repository's operations come last,
since they unload the models.
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

MODEL = '[parameters]\n"path.model" = "{model}"\n'
WORK = "(infer|predict|explain|generate|generate_stream)$"
# The default is without 400 and 413.
INFERENCE = f"""
[[operations]]
include-path-regex = "{WORK}"
checks.positive_data_acceptance.expected-statuses = ["2xx", "400", "404", "413"]
"""


def fuzz(name: str, configuration: str, *selected: str) -> bool:
    with tempfile.TemporaryDirectory() as directory:
        file = Path(directory) / "schemathesis.toml"
        file.write_text(configuration)
        command = [str(PROGRAM), "--config-file", str(file), "run", f"http://{address}/openapi.json", *selected]
        command += ["--checks", "all", "--continue-on-failure", "--no-shrink"]
        command += ["--seed", seed, "--max-examples", examples]
        command += ["--request-timeout", "10", "--generation-database", "none"]
        done = subprocess.run(command, cwd=directory, capture_output=True, text=True, timeout=RUN_LIMIT)
    print(done.stdout, done.stderr, sep="\n", file=sys.stderr, flush=True)
    cases = re.search(r"(\d+) generated.*", done.stdout)
    summary = re.findall(r"(?:❌|🚫|⚠️)? *(ST\d+ .*: \d+)", done.stdout)
    shown = ", ".join([cases[0] if cases else "no test cases", *summary])
    passed = done.returncode == 0 and cases is not None
    print(f"{'ok     ' if passed else 'FAILED '} {CLIENT}  {name}: {shown}", flush=True)
    return passed


passed = [fuzz("all but the repository", INFERENCE, "--exclude-path-regex", "/repository/")]
for model in MODELS:
    passed.append(fuzz(f"inference with {model}", MODEL.format(model=model) + INFERENCE, "--include-path-regex", WORK))
passed.append(fuzz("everything, the repository included", INFERENCE))
sys.exit(not all(passed))
