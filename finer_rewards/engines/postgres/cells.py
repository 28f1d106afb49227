"""Converting the cells that PostgreSQL sends as text into the values that SQLite would return; used by `worker.py`."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

#: Longer numbers stay text: no float is as large, and Python limits the digits of an `int` that it prints.
MOST_DIGITS = 300


def rows_of(result: Any, converters: list[Callable[[bytes], Any]]) -> list[tuple[Any, ...]]:
    """Return the rows of a result, with each column converted."""
    value, width = result.get_value, range(result.nfields)
    return [
        tuple([None if (cell := value(row, place)) is None else converters[place](cell) for place in width])
        for row in range(result.ntuples)
    ]


def text(cell: bytes) -> str:
    """Return a value as the text that the server sent."""
    return cell.decode("utf-8", "replace")


def truth(cell: bytes) -> int:
    """Return a boolean as SQLite keeps it: 0 or 1."""
    return int(cell == b"t")


def number(cell: bytes) -> Any:
    """Return a decimal number as SQLite keeps it: whole numbers whole, others as floats."""
    if len(cell) > MOST_DIGITS:
        return text(cell)
    whole, _, part = cell.partition(b".")
    if part.strip(b"0") or not whole.lstrip(b"-").isdigit():
        return float(cell)
    return int(whole)


def padded(cell: bytes) -> str:
    """Return CHAR(n) without the spaces that fill it up, which mean nothing."""
    return text(cell).rstrip(" ")


def binary(cell: bytes) -> bytes:
    """Return the bytes that the server wrote as hexadecimal digits after `\\x`."""
    return bytes.fromhex(cell[2:].decode())


#: The converter of each type, by the number (OID) that the server gives the type; all other types are text.
CONVERTERS: dict[int, Callable[[bytes], Any]] = {
    16: truth,
    17: binary,
    20: int,
    21: int,
    23: int,
    26: int,
    700: float,
    701: float,
    1042: padded,
    1700: number,
}
