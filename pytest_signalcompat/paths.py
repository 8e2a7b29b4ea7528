"""Paths of requests: what keeps one from being sent as it is."""

from __future__ import annotations

import re
import urllib.parse

SAFE = "/%?&=#{}:;@!$'()*+,~[]|"  # what a path, its query and our placeholders are made of


def mistake(path: str) -> str | None:
    """What was expected and found; None if nothing is wrong."""
    if not path.startswith("/"):
        return f"expected a path that begins with /, found {path!r}"
    if re.fullmatch(r"[\x21-\x7e]+", path):
        return None
    quoted = urllib.parse.quote(path, safe=SAFE)
    return f"expected a path of ASCII letters and signs without spaces, as {quoted!r} is; found {path!r}"
