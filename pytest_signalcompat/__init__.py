"""A conformance test for how a server stops. `pytest --signal-compat` runs it; see README.md and ARCHITECTURE.md.

The map of the package, in the order in which a run passes through it:
  plugin/        options, session, items, fixtures (the only folder that imports pytest)
  config.py      [tool.signalcompat] -> Server; presets.toml and default.toml are its data
  engine.py      schedules scenarios and turns what was seen into a Result
  scenarios/     the catalogue: what to do to a server, one file a family
  live.py        a started server; wire.py moves HTTP, probes.py asks for readiness, output.py reads its log
  supervisor/    the process that owns a server; one file an operating system
  checks.py      requirements as pure functions; model.py the frozen data they work on
  matrix.py      results, collected and stored; reporters/ turn them into text
  sync.py        what the fixtures hand to ordinary tests
"""

from __future__ import annotations

__version__ = "0.1.0"
