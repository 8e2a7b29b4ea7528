"""`flood.py BYTES SIZE`: prints that many bytes in numbered lines of 1000, SIZE bytes a write, as fast as it can."""

from __future__ import annotations

import os
import sys

total, size = int(sys.argv[1]), int(sys.argv[2])
everything = b"".join(b"%0999d\n" % number for number in range(total // 1000))
at = 0
while at < total:
    at += os.write(1, everything[at : at + size])
