"""Which cells are equal: every cell becomes a small integer, so that rows compare by equality.

Numbers within a tolerance of each other get one integer. Closeness is not transitive, so numbers are
sorted and cut where the gap is too wide; a group whose ends are too far apart to be equal is marked
*loose*, and rows that hold one are compared again, pair by pair. Nothing is rounded.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from typing import Any

__all__ = ["Cells", "close", "folded", "number_of_text"]

_NUMBER = re.compile(r"[+-]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d{1,3})?", re.ASCII)
_NOT_A_NUMBER = object()
_LARGEST = 10**300


def number_of_text(text: str) -> int | float | None:
    """Return the number that a text spells, or `None`.

    Example:
        >>> number_of_text(" 12 "), number_of_text("1e3"), number_of_text("nan")
        (12, 1000.0, None)
    """
    text = text.strip()
    if len(text) > 400 or not _NUMBER.fullmatch(text):
        return None
    return int(text) if text.lstrip("+-").isdigit() else float(text)


def folded(text: str) -> str:
    """Return a text without regard to case and spaces."""
    return " ".join(text.split()).casefold()


def close(a: Any, b: Any, relative: float, absolute: float) -> bool:
    """True when two cells are equal: integers exactly, other numbers within the tolerances.

    Example:
        >>> close(0.1 + 0.2, 0.3, 1e-9, 1e-12), close(2**53, 2**53 + 1, 1e-9, 1e-12), close(1, "1", 1, 1)
        (True, False, False)
    """
    if not (_numeric(a) and _numeric(b)):
        return bool(a == b)
    if a == b:
        return True
    if isinstance(a, int) and isinstance(b, int):
        return False
    if a != a or b != b:
        return bool(a != a and b != b)
    if abs(a) > _LARGEST or abs(b) > _LARGEST:
        return False
    return math.isclose(a, b, rel_tol=relative, abs_tol=absolute)


def _numeric(cell: Any) -> bool:
    return isinstance(cell, (int, float, Decimal, Fraction))


@dataclass(slots=True)
class Cells:
    """The integers of the cells of two results, and which of them are loose."""

    codes: dict[Any, int]
    loose: set[int]

    @classmethod
    def of(cls, rows: Sequence[Sequence[Any]], relative: float, absolute: float) -> Cells:
        """Give every distinct cell its integer."""
        distinct: set[Any] = set()
        for row in rows:
            distinct.update(row)
        codes: dict[Any, int] = {}
        numbers: list[Any] = []
        for cell in distinct:
            if not _numeric(cell):
                codes[cell] = len(codes)
            elif cell == cell:
                numbers.append(cell)
            elif _NOT_A_NUMBER not in codes:
                codes[_NOT_A_NUMBER] = len(codes)
        # 1 and 1.0 are one element of a set, so their types are read from the rows.
        floats = {cell for row in rows for cell in row if _numeric(cell) and not isinstance(cell, int)}
        loose: set[int] = set()
        if not floats or not (relative or absolute):
            for number in numbers:
                codes[number] = len(codes)
            return cls(codes, loose)
        numbers.sort()
        integers = {cell for row in rows for cell in row if isinstance(cell, int)}
        group: list[Any] = []
        for number in [*numbers, None]:
            if group and (number is None or not _near(group[-1], number, relative, absolute)):
                if floats.isdisjoint(group):
                    for integer in group:
                        codes[integer] = len(codes)
                else:
                    code = len(codes)
                    codes.update(dict.fromkeys(group, code))
                    exact = sum(member in integers for member in group)
                    if exact > 1 or not close(float(group[0]), group[-1], relative, absolute):
                        loose.add(code)
                group = []
            group.append(number)
        return cls(codes, loose)

    def rows(self, rows: Iterable[Sequence[Any]]) -> list[tuple[int, ...]]:
        """Return the rows with every cell as its integer."""
        codes = self.codes
        try:
            return [tuple([codes[cell] for cell in row]) for row in rows]
        except KeyError:  # a NaN equals nothing, not even its own key
            return [tuple([codes[_NOT_A_NUMBER if cell != cell else cell] for cell in row]) for row in rows]


def _near(a: Any, b: Any, relative: float, absolute: float) -> bool:
    # Twice the tolerance, so that what lies between two equal numbers is in their group too.
    if abs(a) > _LARGEST or abs(b) > _LARGEST:
        return False
    return math.isclose(a, b, rel_tol=2 * relative, abs_tol=2 * absolute)
