"""A server's output as stamped lines, and what can be found in it."""

from __future__ import annotations

import re
from collections.abc import Iterable

from .model import Line, Record

ANSI = re.compile(r"\x1b\[[0-9;?]*[ -/]*[@-~]")
LONGEST = 1 << 16  # bytes of a line that does not end; cut there

FRAME = re.compile(r'File "(?P<file>[^"]+)", line (?P<line>\d+), in (?P<function>\S+)')
TRACEBACK = re.compile(r"Traceback \(most recent call last\)")
# The line that ends a traceback: any class in CapWords; where it is indented, only what is named like an error.
RAISED = re.compile(
    r"^(?:[\s|+]*(?=[\w.]*(?:Error|Exception|Exit|Interrupt|Warning|Group)\b)|(?:\s*[|+] )?)"
    r"(?P<type>(?:\w+\.)*[A-Z]\w*[a-z]\w*)(?::\s*(?P<text>.*))?$"
)
STANDARD_LIBRARY = re.compile(
    r"[/\\]lib[/\\]python3[^/\\]*[/\\](?!site-packages|dist-packages)|\\Lib\\(?!site-packages)|^<frozen ",
    re.IGNORECASE,
)


class Raised(Record):
    """An exception in the output: its type and text, and the deepest frame outside the standard library."""

    type: str
    text: str
    where: str


class Log:
    """Turns pieces of output into lines as they come; keeps no more of an endless line than LONGEST."""

    def __init__(self) -> None:
        self.lines: list[Line] = []
        self._partial = b""
        self._at = 0.0  # when the last piece came

    def feed(self, at: float, data: bytes) -> None:
        self._at = at
        *whole, self._partial = (self._partial + data).split(b"\n")
        if len(self._partial) > LONGEST:
            whole.append(self._partial)
            self._partial = b""
        self.lines += [Line(at=at, text=clean(line)) for line in whole]

    def finish(self) -> None:
        """The end of the output is the end of its last line."""
        if self._partial:
            self.feed(self._at, b"\n")


def clean(line: bytes) -> str:
    """As UTF-8, or else in the encoding that a Windows Python without UTF-8 mode writes to pipes in the West."""
    try:
        text = line.decode()
    except UnicodeDecodeError:
        text = line.decode("cp1252", "replace")
    return ANSI.sub("", text.rstrip("\r"))


def marked(mark: str | None, lines: Iterable[Line], since: float | None = None) -> list[str]:
    """The lines that have the mark, from a moment on. A line may hold those of several processes: `print` with
    unbuffered output writes the end of a line by itself."""
    if mark is None:
        return []
    pattern = re.compile(mark)
    return [line.text for line in lines if (since is None or line.at >= since) and pattern.search(line.text)]


def count(mark: str | None, lines: Iterable[Line], since: float | None = None) -> int:
    """How many lines have the mark, from a moment on."""
    return len(marked(mark, lines, since))


def exceptions(lines: Iterable[Line]) -> list[Raised]:
    """The exceptions whose tracebacks stand in the output, in order."""
    found: list[Raised] = []
    where, inside = "", False
    for line in lines:
        if TRACEBACK.search(line.text):
            where, inside = "", True
        elif inside and (frame := FRAME.search(line.text)):
            if not where or not STANDARD_LIBRARY.search(frame["file"]):
                where = f"{frame['file']}:{frame['line']} in {frame['function']}"
        elif inside and (raised := RAISED.match(line.text)):
            found.append(Raised(type=raised["type"].rpartition(".")[2], text=raised["text"] or "", where=where))
            inside = False
    return found
