"""Writes what the programs print, for the version that is here: `python -m tests.complaints [RUNTIME...]`."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from . import HERE, call_of, captured, output_of

folder = Path(tempfile.mkdtemp())
for call in dict.fromkeys(call_of(complaint) for complaint in captured().values()):
    program = HERE / call[0]
    if sys.argv[1:] and program.parent.name not in sys.argv[1:]:
        continue
    version = f"-{sys.version_info[0]}.{sys.version_info[1]}-{sys.platform}" if program.suffix == ".py" else ""
    path = program.parent / f"{'-'.join([program.stem, *call[1:]])}{version}.txt"
    path.write_text(output_of(call, folder), encoding="utf-8")
    print(path.relative_to(HERE))
