"""Digests of the rows of a result, to compare results without sending all their rows: equal only for equal rows."""

from __future__ import annotations

import marshal
import re
from collections.abc import Callable, Iterable, Sequence
from hashlib import blake2s
from itertools import chain, repeat
from typing import Any, NamedTuple

TOLD = 2048
#: The types of cells that are equal exactly if their bytes are; a float may be equal within a tolerance.
_PLAIN = frozenset((int, str, bytes, type(None)))
#: The first bytes of the lone surrogates that stand for bytes which are not UTF-8.
_BYTES = (b"\xed\xb2", b"\xed\xb3")
_LONE = re.compile("[\udc80-\udcff]")
_digest = type(blake2s()).digest
_number: Callable[[bytes, str], int] = int.from_bytes  # type: ignore[assignment]  # which names its orders
#: The version of marshal's format: from 3 on, the bytes of a value depend on how often it is referred to.
_VERSION = 2


class Fingerprint(NamedTuple):
    """A summary of the rows of a result.

    Args:
        length: the number of rows that were read.
        least: at least so many of them are different, even if numbers are equal within a tolerance.
        sequence: the digest of the rows in their order.
        rows: the digest of the rows in any order, with their repeats.
        complete: whether these are all rows of the result.
        decodes: whether all text is UTF-8; some modes treat other text in a special way.
    """

    length: int
    least: int = 0
    sequence: bytes = b""
    rows: bytes = b""
    complete: bool = False
    decodes: bool = True


class Fingerprinting:
    """Makes a fingerprint of rows that come in parts, without keeping them.

    Args:
        told: the range of rows (begin and end) among which it counts how many are different.
    """

    def __init__(self, told: tuple[int, int] = (0, TOLD)) -> None:
        self.told = told
        self.count = self.size = self.total = 0
        self.sequence = blake2s(digest_size=16)
        self.plain = self.decodes = True
        self.different: set[bytes] = set()

    def add(self, rows: Sequence[Any]) -> None:
        """Add the next rows."""
        keys = list(map(marshal.dumps, rows, repeat(_VERSION)))
        before, self.count = self.count, self.count + len(keys)
        written = b"".join(keys)
        self.size += len(written)
        self.sequence.update(written)
        # Numbers may contain such bytes too, so the texts are searched only then.
        if self.decodes and any(start in written for start in _BYTES):
            self.decodes = not any(
                isinstance(cell, str) and _LONE.search(cell) for cell in chain.from_iterable(rows)
            )
        # The sum of the digests does not depend on the order of the rows; sorting them would take longer. With `map`
        # no Python code runs for each row.
        self.total += sum(map(_number, map(_digest, map(blake2s, keys)), repeat("little")))
        if self.told[0] < self.count and before < self.told[1]:
            self._tell(rows, keys)

    def _tell(self, rows: Sequence[Any], keys: Sequence[bytes]) -> None:
        if self.plain and not _PLAIN.issuperset(map(type, chain.from_iterable(rows))):
            self.plain = False
            self.different.clear()
        if not self.plain:
            # Numbers may be equal within a tolerance, so only rows that differ in another cell are surely different.
            keys = [
                marshal.dumps([None if isinstance(cell, (int, float)) else cell for cell in row], _VERSION)
                for row in rows
            ]
        self.different.update(keys)

    def end(self, complete: bool) -> Fingerprint:
        """Return the fingerprint."""
        rows = (self.total % 2**256).to_bytes(32, "little")
        return Fingerprint(
            self.count, len(self.different), self.sequence.digest(), rows, complete, self.decodes
        )


def fingerprint_of(rows: Iterable[Sequence[Any]], complete: bool = True) -> Fingerprint | None:
    """Return the fingerprint of the rows of a result, or of a part of them; `None` if marshal cannot write a cell.

    Example:
        >>> some, others = fingerprint_of([(1,), (2,)]), fingerprint_of([(2,), (1,)])
        >>> some.rows == others.rows, some.sequence == others.sequence
        (True, False)
    """
    making = Fingerprinting()
    try:
        making.add(list(rows))
    except ValueError:
        return None
    return making.end(complete)
