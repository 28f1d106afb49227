"""Converting the cells that DuckDB returns into the values that SQLite would return; used by `worker.py`.

With the same kinds of values everywhere, results of different engines compare alike.

Python has no infinite date. If a date is so early or late that it may stand for one, the worker drops what it has read
and runs the query again as `asking_for_endless` writes it, with columns that say so.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

# Longer numbers become text: no float is as large, and Python limits the digits of an `int` that it prints.
MOST_DIGITS = 300
# Types whose values need no conversion.
PLAIN = frozenset(("BIGINT", "BLOB", "DOUBLE", "FLOAT", "HUGEINT", "INTEGER", "JSON", "SMALLINT", "TINYINT"))
PLAIN |= frozenset(("UBIGINT", "UHUGEINT", "UINTEGER", "USMALLINT", "UTINYINT", "VARCHAR"))


def converted(row: tuple[Any, ...], converters: list[tuple[int, Callable[[Any], Any]]]) -> tuple[Any, ...]:
    """Return the row with the cells that need it converted."""
    cells = list(row)
    for place, converter in converters:
        if cells[place] is not None:
            cells[place] = converter(cells[place])
    return tuple(cells)


def converter_of(kind: str) -> Callable[[Any], Any] | None:
    """Return the function that converts the values of a type; `None` when they need no conversion."""
    if kind in PLAIN:
        return None
    if kind == "BOOLEAN":
        return int
    if kind == "BIGNUM":
        return bignum
    if kind.startswith("DECIMAL") and not kind.endswith("]"):
        return number
    return plain


class EndOfTimeError(Exception):
    """A date lies in the first or last year that Python knows, so it may stand for `infinity` or a date beyond."""


def may_be_endless(kind: str) -> bool:
    """Whether a type is one of dates or timestamps, which may hold `infinity`."""
    return kind.startswith(("DATE", "TIMESTAMP")) and not kind.endswith("]")


def at_an_end(value: Any) -> bool:
    """Whether a date lies in Python's first or last year: DuckDB returns `infinity` as such a date, too."""
    return not isinstance(value, str) and (value.year == 1 or value.year == 9999)


def asking_for_endless(sql: str, moments: list[int], width: int) -> str:
    """Return the query with one more column for each date column, which says `infinity`, `-infinity` or NULL.

    Args:
        sql: the query.
        moments: the places of its date columns, from 0.
        width: how many columns it has.
    """
    names = [f"c{place}" for place in range(width)]
    ends = [
        f"CASE WHEN c{one}::VARCHAR IN ('infinity', '-infinity') THEN c{one}::VARCHAR END" for one in moments
    ]
    return f"SELECT {', '.join(names + ends)} FROM ({sql}\n) AS answer({', '.join(names)})"


def with_endless(row: tuple[Any, ...], moments: list[int], width: int) -> tuple[Any, ...]:
    """Return a row of the original query from one of `asking_for_endless`, in which infinity has taken its place."""
    cells = list(row[:width])
    for place, end in zip(moments, row[width:], strict=True):
        cells[place] = cells[place] if end is None else end
    return tuple(cells)


def number(value: Any) -> Any:
    """Return a decimal number as SQLite keeps it: whole numbers whole, others as floats."""
    whole = int(value)
    return whole if whole == value else float(value)


def bignum(value: Any) -> Any:
    """Return a whole number; as text if it is larger than any float."""
    text = str(value)
    return text if len(text) > MOST_DIGITS else int(text)


def plain(value: Any) -> Any:
    """Return a value as text, a number or bytes; lists, structs and maps as JSON text."""
    if value is None or isinstance(value, (str, bytes, float)):
        return value
    if isinstance(value, int):
        return int(value)
    if isinstance(value, (list, tuple, dict)):
        import json

        return json.dumps(nested(value), ensure_ascii=False, separators=(",", ":"))
    name = type(value).__name__
    if name == "Decimal":
        return number(value)
    if name == "datetime":
        return str(value.replace(tzinfo=None)) + ("" if value.tzinfo is None else "+00")
    # What is left: date, time, timedelta, UUID.
    return str(value)


def nested(value: Any) -> Any:
    """Return a nested value as JSON has it."""
    if isinstance(value, (list, tuple)):
        return [nested(one) for one in value]
    if isinstance(value, dict):
        return {str(plain(key)): nested(one) for key, one in value.items()}
    if isinstance(value, bool):
        return value
    value = plain(value)
    return value.hex() if isinstance(value, bytes) else value


def utc_module() -> Any:
    """Return a stand-in for the module pytz, which DuckDB imports for times with a zone and which may be absent."""
    import datetime
    import types

    class Utc(datetime.tzinfo):
        def localize(self, moment: Any) -> Any:
            return moment.replace(tzinfo=datetime.timezone.utc)

        def utcoffset(self, moment: Any) -> Any:
            return datetime.timedelta(0)

        def tzname(self, moment: Any) -> Any:
            return "UTC"

        def dst(self, moment: Any) -> Any:
            return None

        def fromutc(self, moment: Any) -> Any:
            return moment

    module = types.ModuleType("pytz")
    module.__dict__.update(timezone=lambda name: Utc(), utc=Utc())
    return module
