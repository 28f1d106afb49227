"""The form that all values of a column share: dates written alike, two flags, only numbers, or only positive ones.

A query may rely on the form, so the values of neighbours keep it. This runs in a worker, so it uses the standard
library only.
"""

from __future__ import annotations

import re
from datetime import date, datetime, timedelta
from typing import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from finer_rewards.types import Cell

_FLAGS = (
    frozenset([0, 1]),
    *(frozenset(pair) for pair in (("0", "1"), ("T", "F"), ("Y", "N"), ("yes", "no"), ("Yes", "No"))),
    *(frozenset(pair) for pair in (("true", "false"), ("True", "False"), ("TRUE", "FALSE"))),
)
_DAY = re.compile(r"\d{4}-\d{2}-\d{2}")
_DIGIT = re.compile(r"\d")


class Form(NamedTuple):
    """The form of a column; without any of the fields, every value is allowed.

    Args:
        flags: the two values that mean yes and no, if the column has no others.
        dates: if all values are dates, or dates with a time, written alike: the value with the earliest and the one
            with the latest time of day.
        least: the least number, if there are only numbers.
    """

    flags: frozenset[Cell] = frozenset()
    dates: tuple[str, ...] = ()
    least: float | None = None

    def takes(self, value: Cell) -> bool:
        """Return whether the column may have the value."""
        if self.flags:
            return value in self.flags
        if self.dates:
            return isinstance(value, str) and _shape(value) == _shape(self.dates[0]) and _is_day(value[:10])
        if self.least is not None:
            return isinstance(value, (int, float)) and (value >= 0 or self.least < 0)
        return True

    def fitted(self, value: Cell) -> tuple[Cell, ...]:
        """Return the value as the column would write it, perhaps as several values; nothing if it cannot.

        A number in a text becomes a number; a year or month becomes its first and last day, a day two moments of it.
        """
        if self.takes(value):
            return (value,)
        if self.dates:
            days = _days(str(value))
            return tuple(whole for day in days for one in self.dates if self.takes(whole := day + one[10:]))
        if isinstance(value, str) and (self.flags or self.least is not None):
            number = _number(value)
            return (number,) if number is not None and self.takes(number) else ()
        return ()


def form_of(values: Sequence[Cell]) -> Form:
    """Return the form that distinct values, without NULL, have in common."""
    flags = frozenset(values)
    if flags in _FLAGS:
        return Form(flags)
    if not values:
        return Form()
    texts = [value for value in values if isinstance(value, str)]
    if len(texts) == len(values) > 1:
        shape = _shape(texts[0])
        if all(_is_day(text[:10]) and _shape(text) == shape for text in texts):
            times = [text[10:] for text in texts]
            return Form(dates=(texts[times.index(min(times))], texts[times.index(max(times))]))
        return Form()
    numbers = [value for value in values if isinstance(value, (int, float))]
    return Form(least=min(numbers)) if len(numbers) == len(values) else Form()


def _days(start: str) -> tuple[str, ...]:
    """Return the first and the last day of a year or month, or the day itself."""
    if re.fullmatch(r"\d{4}", start):
        return f"{start}-01-01", f"{start}-12-31"
    if re.fullmatch(r"\d{4}-\d{2}", start):
        return f"{start}-01", *[day for last in (31, 30, 29, 28) if _is_day(day := f"{start}-{last}")][:1]
    return (start[:10],) if _is_day(start[:10]) else ()


def _shape(text: str) -> str:
    return _DIGIT.sub("9", text)


def _is_day(text: str) -> bool:
    """Return whether a text is a valid day, such as 2024-02-29."""
    if not _DAY.fullmatch(text):
        return False
    try:
        date.fromisoformat(text)
    except ValueError:
        return False
    return True


def moved(text: str, step: int) -> str | None:
    """Return the date or time that many days or seconds later, written alike; `None` for any other text."""
    try:
        if _DAY.fullmatch(text):
            return (date.fromisoformat(text) + timedelta(days=step)).isoformat()
        if _DAY.fullmatch(text[:10]) and len(text) == 19:
            later = datetime.fromisoformat(text) + timedelta(seconds=step)
            return later.isoformat(sep=text[10])
    except (ValueError, OverflowError):
        return None
    return None


def _number(text: str) -> Cell:
    try:
        return int(text)
    except ValueError:
        try:
            return float(text)
        except ValueError:
            return None
