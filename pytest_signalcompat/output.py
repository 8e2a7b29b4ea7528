"""A server's output as stamped lines, and what can be found in it."""

from __future__ import annotations

import re
from collections.abc import Iterable

from .model import Line, Record

# Escape sequences as ECMA-48 builds them: CSI (colours, cursor); OSC and the other strings (titles, hyperlinks), which
# BEL or ST ends; those with intermediate bytes (character sets: ESC ( B); those of two characters. And shift in, out.
# A string without its end is not one: its text stays.
ANSI = re.compile(
    r"\x1b\[[0-?]*[ -/]*[@-~]|\x1b[\]PX^_][^\x07\x1b]*(?:\x07|\x1b\\)|\x1b[ -/]+[0-~]|\x1b[0-~]|[\x0e\x0f]"
)
END = re.compile(rb"\r+\n?|\n")  # of a line: LF, CR LF, and CR alone, by which progress bars write over their line
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
        self._returned = False  # the last piece ended in CR; a LF that comes next belongs to it
        self._at = 0.0  # when the last piece came

    def feed(self, at: float, data: bytes) -> None:
        if self._returned:
            rest = data.lstrip(b"\r")
            if not rest:
                return
            data = rest.removeprefix(b"\n")
        self._at, self._returned = at, data.endswith(b"\r")
        *whole, self._partial = END.split(self._partial + data)
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
    return ANSI.sub("", text)


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
