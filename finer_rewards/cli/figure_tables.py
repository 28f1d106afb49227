"""Writes tables of figures as text, Markdown or LaTeX, for the verb `evaluate`."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

#: The rows of a table, its heading first; the first column is a name, the others are figures.
FigureTable = list[tuple[str, ...]]


def as_text(notes: Iterable[str], tables: Iterable[FigureTable]) -> Iterator[str]:
    """Yield the lines of tables with aligned columns."""
    yield from notes
    for rows in tables:
        yield ""
        widths = [max(len(row[at]) for row in rows) for at in range(len(rows[0]))]
        for name, *cells in rows:
            figures = "".join(
                f"  {cell:>{max(7, room)}}" for cell, room in zip(cells, widths[1:], strict=True)
            )
            yield f"{name:<{max(24, widths[0])}}{figures}"


def _markdown(notes: Iterable[str], tables: Iterable[FigureTable]) -> Iterator[str]:
    yield from notes
    for head, *rows in tables:
        yield from ("", f"| {' | '.join(head)} |", f"| --- |{' ---: |' * (len(head) - 1)}")
        yield from (f"| {' | '.join(cell.replace('|', '&#124;') for cell in row)} |" for row in rows)


def _latex(notes: Iterable[str], tables: Iterable[FigureTable]) -> Iterator[str]:
    yield from (f"% {note}" for note in notes)
    for head, *rows in tables:
        yield from (
            "",
            rf"\begin{{tabular}}{{l{'r' * (len(head) - 1)}}}",
            r"\toprule",
            _tex(head),
            r"\midrule",
        )
        yield from (_tex(row) for row in rows)
        yield from (r"\bottomrule", r"\end{tabular}")


def _tex(cells: Iterable[str]) -> str:
    escaped = (re.sub(r"[&%$#_{}]", r"\\\g<0>", cell.replace("\\", "/")) for cell in cells)
    # LaTeX would read a bracket after the `\\` of the row above as extra space between the rows; `{}` prevents it.
    return " & ".join("{}" + cell if cell.startswith("[") else cell for cell in escaped) + r" \\"


MARKUPS = {"md": _markdown, "latex": _latex}
