"""Turning the answers of workers into executions: rows are unpacked, and of large results only the first are kept."""

from __future__ import annotations

import marshal
import math
from collections.abc import Iterable, Sequence

from finer_rewards._util.fingerprint import Fingerprint, fingerprint_of
from finer_rewards.executing.process import Answer
from finer_rewards.types import Execution, Row, Status, Volatility

# A larger result is sent as its first rows and a fingerprint, when the caller only wants to compare it (a glance).
SHIP = 32 << 10
# Bytes of glanced results that one batch keeps whole; past them only the first rows and a fingerprint are kept.
_SHIPPED = 16 << 20
_SHOWN = 3
# Rows as Python objects take about this many times the bytes they took in the pipe.
DECODED = 10
# The last two bytes of a marshalled NaN, positive and negative.
_NAN = (b"\xf8\x7f", b"\xf8\xff")


def _rows(chunks: Sequence[bytes]) -> tuple[Row, ...]:
    rows = tuple(row for chunk in chunks for row in marshal.loads(chunk))
    if any(ending in chunk for chunk in chunks for ending in _NAN):
        rows = with_one_nan(rows)
    return rows


def with_one_nan(rows: Iterable[Row]) -> tuple[Row, ...]:
    """Return the rows with every NaN replaced by `math.nan`, so that equal results are equal tuples.

    In a tuple Python finds a NaN equal to itself only when it is the same object.
    """
    return tuple(tuple(math.nan if cell != cell else cell for cell in row) for row in rows)


class Decoded:
    """Turns the answers of one batch into executions; rows that came as equal bytes become one object.

    Most predictions of a group return the rows of another prediction or of the gold, so this saves time and memory.
    """

    def __init__(self) -> None:
        self._rows: dict[tuple[bytes, ...], tuple[Row, ...]] = {}
        self._room = _SHIPPED

    def execution(self, answer: Answer | None, glance: bool = False) -> Execution:
        """Return the execution that an answer describes.

        Args:
            answer: the answer of a worker.
            glance: true when first rows and fingerprint will do; used once the batch holds more than it may keep whole.
        """
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
