"""Giving every cell a small integer, its code, such that equal cells have equal codes and rows can be hashed.

With a tolerance this is not always possible, because closeness is not transitive: 1 may be close to 2 and 2 to 3 but
not 1 to 3. So the numbers are sorted and cut where the gap is too wide, and each group gets one code. If the ends of a
group are too far apart to be equal, its code is *loose*: rows that hold it are compared again, number by number, in
`aligned.py`. Nothing is rounded.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

_NUMBER = re.compile(r"[+-]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d{1,3})?", re.ASCII)
_NUMBERS = (int, float, Decimal)
# Beyond this, arithmetic with floats may overflow; such numbers are equal only exactly.
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
    """Return a text with its case folded and each run of white space as one space."""
    return " ".join(text.split()).casefold()


def close(a: Any, b: Any, relative: float, absolute: float) -> bool:
    """Whether two cells are equal: integers exactly, other numbers within the tolerances.

    Example:
        >>> close(0.1 + 0.2, 0.3, 1e-9, 1e-12), close(2**53, 2**53 + 1, 1e-9, 1e-12), close(1, "1", 1, 1)
        (True, False, False)
    """
    if not (_numeric(a) and _numeric(b)):
        return bool(a == b)
    if a == b or not (relative or absolute):
        return bool(a == b)
    if isinstance(a, int) and isinstance(b, int):
        return False
    if a != a or b != b:
        return bool(a != a and b != b)
    if abs(a) > _LARGEST or abs(b) > _LARGEST:
        return False
    return math.isclose(a, b, rel_tol=relative, abs_tol=absolute)


def _numeric(cell: Any) -> bool:
    return isinstance(cell, _NUMBERS)


@dataclass(slots=True)
class CellCodes:
    """The codes of the cells of two results.

    Attributes:
        codes: cell -> code.
        loose: the codes whose numbers are not all equal to each other within the tolerance.
    """

    codes: dict[Any, int]
    loose: set[int]

    @classmethod
    def of(cls, columns: Iterable[Sequence[Any]], relative: float, absolute: float) -> CellCodes:
        """Return the codes of all cells of these columns."""
        exact: set[Any] = set()
        inexact: set[Any] = set()
        codes: dict[Any, int] = {}
        for column in columns:
            kinds = set(map(type, column))
            if kinds == {int}:
                exact.update(column)
            elif kinds == {float}:
                inexact.update(column)
            elif not any(issubclass(kind, _NUMBERS) for kind in kinds):
                for cell in set(column):
                    codes.setdefault(cell, len(codes))
            else:
                for kind, cell in set(zip(map(type, column), column, strict=True)):
                    if not issubclass(kind, _NUMBERS):
                        codes.setdefault(cell, len(codes))
                    else:
                        (exact if issubclass(kind, int) else inexact).add(cell)
        # NaN is not equal to itself, so a dictionary finds each NaN object by identity; all of them get one code.
        undefined = {number for number in inexact if number != number}
        codes.update(dict.fromkeys(undefined, len(codes)))
        loose: set[int] = set()
        group: list[Any] = []
        for number in [*sorted(exact | (inexact - undefined)), None]:
            if group and (number is None or not _near(group[-1], number, relative, absolute)):
                if len(group) == 1:
                    codes[group[0]] = len(codes)
                elif inexact.isdisjoint(group):
                    for integer in group:
                        codes[integer] = len(codes)
                else:
                    code = len(codes)
                    codes.update(dict.fromkeys(group, code))
                    integers = sum(member in exact for member in group)
                    if integers > 1 or not close(float(group[0]), group[-1], relative, absolute):
                        loose.add(code)
                group = []
            group.append(number)
        return cls(codes, loose)

    def column(self, column: Sequence[Any]) -> tuple[int, ...]:
        """Return the codes of a column's cells."""
        return tuple(map(self.codes.__getitem__, column))


def _near(a: Any, b: Any, relative: float, absolute: float) -> bool:
    # Twice the tolerance, so that two equal numbers are never cut apart at a number that lies between them.
    if not (relative or absolute):
        return False
    if not a > -_LARGEST or not b < _LARGEST:
        return False
    return math.isclose(a, b, rel_tol=2 * relative, abs_tol=2 * absolute)
