"""The answers of workers as executions: rows from their bytes, and what of large results is shown."""

from __future__ import annotations

import marshal
import math
from collections.abc import Iterable, Sequence

from finer_rewards._util.fingerprint import Fingerprint, fingerprint_of
from finer_rewards.executing.process import Answer
from finer_rewards.types import Execution, Row, Status, Volatility

__all__ = ["DECODED", "SHIP", "Decoded", "with_one_nan"]

SHIP = 32 << 10  # bytes of a result that are sent where only a comparison with it is wanted
_SHIPPED = 16 << 20  # and of all such results in a batch
_SHOWN = 3
DECODED = 10  # times as large as on their way are rows here
_NAN = (b"\xf8\x7f", b"\xf8\xff")  # the last bytes of one


def _rows(chunks: Sequence[bytes]) -> tuple[Row, ...]:
    rows = tuple(row for chunk in chunks for row in marshal.loads(chunk))
    if any(ending in chunk for chunk in chunks for ending in _NAN):
        rows = with_one_nan(rows)
    return rows


def with_one_nan(rows: Iterable[Row]) -> tuple[Row, ...]:
    """Return rows that compare alike whenever they came: Python tells NaNs apart by identity, so there is one."""
    return tuple(tuple(math.nan if cell != cell else cell for cell in row) for row in rows)


class Decoded:
    """Turns the answers of one batch into executions; rows that came as equal bytes become one object.

    Most predictions of a group return what another returns, if not what the gold does.
    """

    def __init__(self) -> None:
        self._rows: dict[tuple[bytes, ...], tuple[Row, ...]] = {}
        self._room = _SHIPPED

    def execution(self, answer: Answer | None, glance: bool = False) -> Execution:
        """Return what an answer says; at a glance, of many results only the first rows."""
        assert answer is not None
        status, columns, chunks, seconds, error, truncated, tables, volatile, steps, cpu = answer
        rows: tuple[Row, ...] = ()
        if chunks:
            found = self._rows.get(key := tuple(chunks))
            if found is None:
                found = self._rows[key] = _rows(chunks)
            rows = found
        known = Fingerprint(*truncated) if isinstance(truncated, tuple) else None
        if glance and known is None and rows:
            self._room -= sum(map(len, chunks))
            if self._room < 0 and len(rows) > _SHOWN:
                known = fingerprint_of(rows, complete=not truncated)
                rows = rows if known is None else rows[:_SHOWN]
        kind: Volatility = "random" if volatile == "random" else "clock" if volatile == "clock" else ""
        return Execution(
            Status[status],
            columns,
            rows,
            seconds,
            error,
            bool(truncated) or known is not None,
            None if tables is None else frozenset(tables),
            kind,
            steps=None if steps is None else 1000 * steps,
            cpu_seconds=cpu,
            fingerprint=known,
        )
