"""What identifies the rows of a result without them: digests that are equal only where the rows are."""

from __future__ import annotations

import marshal
import re
from collections.abc import Callable, Iterable, Sequence
from hashlib import blake2s
from itertools import chain, repeat
from typing import Any, NamedTuple

TOLD = 2048
#: Cells that are equal exactly when their bytes are.
_PLAIN = frozenset((int, str, bytes, type(None)))
_BYTES = (b"\xed\xb2", b"\xed\xb3")  # how lone surrogates begin, which stand for bytes that are not UTF-8
_LONE = re.compile("[\udc80-\udcff]")
_digest = type(blake2s()).digest
_number: Callable[[bytes, str], int] = int.from_bytes  # type: ignore[assignment]  # which names its orders
_VERSION = 2  # of marshal: the same value gives the same bytes, whoever else refers to it


class Fingerprint(NamedTuple):
    """What is known of the rows of a result.

    Args:
        length: how many rows were looked at.
        least: so many of these are different for sure, however close numbers may be and still be equal.
        sequence: digest of the rows in their order.
        rows: digest of the rows in any order, each as often as it comes.
        complete: whether these are all rows of the result.
        decodes: whether all text is UTF-8; some modes read other text in ways of their own.
    """

    length: int
    least: int = 0
    sequence: bytes = b""
    rows: bytes = b""
    complete: bool = False
    decodes: bool = True


class Fingerprinting:
    """Makes a fingerprint of rows that come bit by bit, in the memory of a few.

    Args:
        told: between which rows it is told how many are different.
    """

    def __init__(self, told: tuple[int, int] = (0, TOLD)) -> None:
        self.told = told
        self.count = self.size = self.total = 0
        self.sequence = blake2s(digest_size=16)
        self.plain = self.decodes = True
        self.different: set[bytes] = set()

    def add(self, rows: Sequence[Any]) -> None:
        """Take the next rows."""
        keys = list(map(marshal.dumps, rows, repeat(_VERSION)))
        before, self.count = self.count, self.count + len(keys)
        written = b"".join(keys)
        self.size += len(written)
        self.sequence.update(written)
        # Numbers may have such bytes too, so a sight of them is looked into.
        if self.decodes and any(start in written for start in _BYTES):
            self.decodes = not any(
                isinstance(cell, str) and _LONE.search(cell) for cell in chain.from_iterable(rows)
            )
        # A sum does not depend on the order, and to sort takes longer. (Nothing here runs Python's own code.)
        self.total += sum(map(_number, map(_digest, map(blake2s, keys)), repeat("little")))
        if self.told[0] < self.count and before < self.told[1]:
            self._tell(rows, keys)

    def _tell(self, rows: Sequence[Any], keys: Sequence[bytes]) -> None:
        if self.plain and not _PLAIN.issuperset(map(type, chain.from_iterable(rows))):
            self.plain = False
            self.different.clear()
        if not self.plain:
            # Numbers may be equal within a tolerance; rows that differ in something else never are.
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
    """Return the fingerprint of rows, all of a result or not; `None` where a cell is of a kind that has none.

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
