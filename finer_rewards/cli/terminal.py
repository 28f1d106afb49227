"""Fits text to a terminal (width, colours, tables), and escapes control characters so that it obeys none."""

from __future__ import annotations

import os
import re
import shutil
import sys
import textwrap
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final, TextIO

from finer_rewards._util.controls import CONTROLS, escape_controls

_CODES: Final = {"bold": "1", "dim": "2", "red": "31", "green": "32", "yellow": "33", "cyan": "36"}


def width(stream: TextIO) -> int | None:
    """Return the width of the terminal behind a stream; `None` if the stream is no terminal."""
    return shutil.get_terminal_size().columns if stream.isatty() else None


def paint(text: str, colour: str, stream: TextIO | None = None) -> str:
    """Return text in a colour where the stream is a terminal that wants colours (https://no-color.org)."""
    stream = sys.stdout if stream is None else stream
    if not colour or not stream.isatty() or os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb":
        return text
    return f"\x1b[{_CODES[colour]}m{text}\x1b[0m"


# `--` comments at the beginning of a statement.
_COMMENTS = re.compile(r"\A(?:\s*--[^\n]*\n)+")


def one_line(text: str) -> str:
    r"""Return text on one line, with control characters as escapes, so that a terminal does not obey a model.

    Example:
        >>> one_line("SELECT  1\n\x1b[2J")
        'SELECT 1 \\x1b[2J'
    """
    return visible(" ".join(text.split()))


def statement(sql: str | tuple[str, ...]) -> str:
    """Return a statement, or several (all golds of a sample), on one line of at most 2000 characters.

    Comments before it are left out: on one line a `--` comment would seem to take in the statement.
    """
    texts = (sql,) if isinstance(sql, str) else sql
    return shorten(one_line(" | ".join(_COMMENTS.sub("", text) for text in texts)), 2000)


def visible(text: str) -> str:
    """Return text with its control characters shown as escapes."""
    return "".join(
        mark
        if unicodedata.category(mark) not in ("Cc", "Cf", "Cs")
        else mark.encode("unicode_escape").decode()
        for mark in text
    )


class Shown:
    """A stream that escapes control characters in what is written to it.

    It is the last line of defence: whatever a model, a database or a file name brings into a message, the
    terminal gets as text. Only the colours and the progress bar of this program pass, and only to a terminal.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        """Write text."""
        if CONTROLS.search(text):
            text = _NOT_OURS.sub(_unless_ours, text) if self._stream.isatty() else escape_controls(text)
        return self._stream.write(text)

    def writelines(self, lines: Iterable[str]) -> None:
        """Write several texts."""
        for line in lines:
            self.write(line)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


_NOT_OURS: Final = re.compile(
    rf"(?P<ours>\x1b\[(?:0|{'|'.join(_CODES.values())})m|\r\x1b\[K)|{CONTROLS.pattern}"
)


def _unless_ours(found: re.Match[str]) -> str:
    return found[0] if found["ours"] else escape_controls(found[0])


def shorten(text: str, length: int | None) -> str:
    """Return text cut to a length, with `...` at the cut.

    Example:
        >>> shorten("no such column: nmae", 12)
        'no such c...'
    """
    return (
        text
        if length is None or len(text) <= length
        else f"{text[: max(length - 3, 0)]}..."[: max(length, 0)]
    )


def wrap(text: str, indent: int = 2, hang: int | None = None) -> list[str]:
    """Return text as indented lines that fit the terminal (at most 110 wide); `hang` indents all but the first."""
    room = min(shutil.get_terminal_size((110, 24)).columns, 110)
    later = " " * (indent if hang is None else hang)
    return textwrap.wrap(
        text, room, initial_indent=" " * indent, subsequent_indent=later, break_on_hyphens=False
    )


def table(
    rows: Sequence[Sequence[str]], widths: Sequence[int], stream: TextIO, colours: Sequence[str] = ()
) -> Iterator[str]:
    """Yield a line for each row, its columns padded to `widths` (negative aligns right), the last cut to fit.

    `widths` leaves out the last column; `colours` names one for each column, empty for none.
    """
    room = width(stream)
    left = None if room is None else max(room - sum(abs(size) + 2 for size in widths) - 1, 20)
    for row in rows:
        cells = [
            cell.rjust(-size) if size < 0 else cell.ljust(size)
            for cell, size in zip(row, widths, strict=False)
        ]
        cells.append(shorten(row[-1], left))
        painted = [
            paint(cell, colours[index] if index < len(colours) else "", stream)
            for index, cell in enumerate(cells)
        ]
        yield "  ".join(painted).rstrip()
