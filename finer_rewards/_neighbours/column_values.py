"""Making values for a column: real ones, ones that a gold looks for, and new ones that look like them."""

from __future__ import annotations

import re
from functools import lru_cache

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Literal

    from finer_rewards._neighbours.portable_random import PortableRandom
    from finer_rewards.types import Cell

    Fill = Literal["drawn", "few", "stairs", "distinct"]
    Bounds = tuple[float, float] | None

FILLS: tuple[Fill, ...] = ("drawn", "few", "stairs", "distinct")
_DATE = re.compile(r"(\d{4})-(\d{2})-(\d{2})(.*)", re.DOTALL)
_DIGIT = re.compile("[0-9]")
# What values a declared type asks for, by what it contains; the first that fits counts.
_KINDS = {
    "whole": ("INT", "BOOL"),
    "real": ("REAL", "FLOA", "DOUB", "NUM", "DEC"),
    "bytes": ("BLOB",),
    "date": ("DATE", "TIME"),
    "year": ("YEAR",),
}
_SYLLABLES = ("ba", "ko", "lin", "mer", "ta", "ro", "vi", "sen", "du", "gar", "pel", "no")
_PAIRS = [first + second for first in _SYLLABLES for second in _SYLLABLES]


def fill(
    how: Fill,
    count: int,
    known: Sequence[Cell],
    declared: str,
    rng: PortableRandom,
    bounds: Bounds = None,
) -> list[Cell]:
    """Return values for the rows of a column.

    Args:
        how: `drawn`: independent draws, some of them new values; `few`: two to four values; `stairs`: the
            first value once, the second twice, and so on; `distinct`: no value twice.
        count: how many values.
        known: values that the column has or that a gold looks for.
        declared: the declared type, upper case.
        rng: the source of random numbers.
        bounds: the bounds of the numbers among the known values, if already computed.
    """
    bounds = bounds or bounds_of(known)
    if how == "distinct":
        return _distinct(count, known, declared, rng, bounds)
    draw, size = rng.random, len(known)
    if how == "drawn":
        return [
            known[int(draw() * size)] if size and draw() < 0.8 else fresh(known, declared, rng, bounds)
            for _ in range(count)
        ]
    size = rng.randint(2, 4) if how == "few" else rng.randint(3, 6)
    values = rng.sample(known, min(size, len(known)))
    while len(values) < size:
        values.append(fresh(known, declared, rng, bounds))
    if how == "few":
        return [values[int(draw() * size)] for _ in range(count)]
    stairs = [value for step, value in enumerate(values, 1) for _ in range(step)]
    filled = [stairs[place % len(stairs)] for place in range(count)]
    rng.shuffle(filled)
    return filled


def _distinct(
    count: int, known: Sequence[Cell], declared: str, rng: PortableRandom, bounds: Bounds
) -> list[Cell]:
    values: dict[Cell, None] = dict.fromkeys(rng.sample(list(known), min(len(known), (count + 1) // 2)))
    for attempt in range(20 * count):
        if len(values) >= count:
            break
        values.setdefault(fresh(known, declared, rng, bounds, spread=1 + attempt // 20))
    found = list(values)
    rng.shuffle(found)
    return found + [None] * (count - len(found))


def bounds_of(known: Sequence[Cell]) -> Bounds:
    """Return the least and the greatest number among values; `None` if there are no numbers."""
    numbers = [value for value in known if isinstance(value, (int, float)) and -1e15 < value < 1e15]
    return (min(numbers), max(numbers)) if numbers else None


def fresh(
    known: Sequence[Cell], declared: str, rng: PortableRandom, bounds: Bounds, *, spread: int = 1
) -> Cell:
    """Return a new value that looks like the known ones or, if there are none, fits the declared type.

    Numbers stay within the bounds, widened by `spread`, and are negative only if known ones are.
    """
    if known:
        # Most of the draws of all are here, and a call of `choice` would double their cost.
        like = known[int(rng.random() * len(known))]
        if isinstance(like, str):
            return _fresh_text(like, rng)
        if isinstance(like, (int, float)):
            return _fresh_number(bounds, isinstance(like, float), rng, spread)
        if isinstance(like, bytes):
            return rng.randbytes(max(1, min(len(like), 16)))
    kind = _kind(declared)
    if kind == "whole":
        return rng.randint(0, 20 * spread)
    if kind == "real":
        return round(rng.uniform(0, 100 * spread), 1)
    if kind == "bytes":
        return rng.randbytes(4)
    if kind == "date":
        return _fresh_text("2001-01-01", rng)
    if kind == "year":
        return rng.randint(1990, 2020)
    return _word(rng)


@lru_cache(maxsize=1024)
def _kind(declared: str) -> str:
    """Return what values a declared type asks for; for a large share of all new values nothing else is known."""
    for kind, marks in _KINDS.items():
        if any(mark in declared for mark in marks):
            return kind
    return "word"


def _fresh_number(bounds: Bounds, real: bool, rng: PortableRandom, spread: int) -> float:
    if bounds is None:
        return rng.randint(0, 20 * spread)
    low, high = bounds
    room = max(4.0, (high - low) * 0.2) * spread
    low, high = (low if low >= 0 and low < room else low - room), high + room
    return round(rng.uniform(low, high), 2) if real else rng.randint(int(low), int(high))


def _fresh_text(like: str, rng: PortableRandom) -> str:
    if _DIGIT.search(like) is None:
        word = _word(rng)
        return word.lower() if like.islower() else word.upper() if like.isupper() and len(like) > 1 else word
    date = _DATE.fullmatch(like)
    if date:
        year = int(date[1]) + rng.randint(-2, 2)
        return f"{max(year, 1):04}-{rng.randint(1, 12):02}-{rng.randint(1, 28):02}{date[4]}"
    return _DIGIT.sub(lambda _: str(int(rng.random() * 10)), like)


def _word(rng: PortableRandom) -> str:
    draw = rng.random
    word = _PAIRS[int(draw() * len(_PAIRS))]
    more = int(draw() * 3)
    if more:
        word += _PAIRS[int(draw() * len(_PAIRS))] if more == 2 else _SYLLABLES[int(draw() * len(_SYLLABLES))]
    return word.capitalize()
