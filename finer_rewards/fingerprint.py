"""What identifies the rows of a result without them: digests that are equal only where the rows are."""

from __future__ import annotations

import marshal
from collections.abc import Iterable, Sequence
from itertools import chain, repeat
from typing import Any, Literal, NamedTuple

__all__ = ["Digest", "Fingerprint", "Fingerprinting", "fingerprint_of"]

Digest = Literal["bag", "set"]

_PIECE = 4096
#: Cells that are equal exactly when their bytes are.
_PLAIN = frozenset((int, str, bytes, type(None)))
_BYTES = (b"\xed\xb2", b"\xed\xb3")  # how lone surrogates begin, which stand for bytes that are not UTF-8
_VERSION = 2  # of marshal: the same value gives the same bytes, whoever else refers to it


class Fingerprint(NamedTuple):
    """What is known of the rows of a result.

    Args:
        digest: `bag` or `set`: what `rows` is made of.
        length: how many rows were looked at.
        most: no more of these are different rows.
        least: no fewer are, however close numbers may be and still be equal.
        sequence: digest of the rows in their order.
        rows: digest of the rows in any order: of all, or of the different ones.
        plain: whether there is no cell that may equal one of other bytes.
        complete: whether these are all rows of the result.
        decodes: whether all text is UTF-8; some modes read other text in ways of their own.
    """

    digest: Digest
    length: int
    most: int
    least: int = 0
    sequence: bytes = b""
    rows: bytes = b""
    plain: bool = False
    complete: bool = False
    decodes: bool = True


class Fingerprinting:
    """Makes a fingerprint of rows that come bit by bit.

    Args:
        digest: `bag`, in which a row counts as often as it comes, or `set`.
    """

    def __init__(self, digest: Digest) -> None:
        # Not `hashlib`, which takes as long to import as a hundred queries.
        from _blake2 import blake2b

        self.digest = digest
        self.count = self.size = 0
        self.sequence = blake2b(digest_size=16)
        self.rows = blake2b(digest_size=16)
        self.kinds: set[type] = set()
        self.decodes = True
        self.keys: list[bytes] = []
        self.different: set[bytes] = set()
        self.unnumbered: set[bytes] = set()

    def add(self, rows: Sequence[Any]) -> None:
        """Take the next rows."""
        keys = list(map(marshal.dumps, rows, repeat(_VERSION)))
        self.count += len(keys)
        written = b"".join(keys)
        self.size += len(written)
        self.decodes = self.decodes and not any(start in written for start in _BYTES)
        self.sequence.update(written)
        self.kinds.update(map(type, chain.from_iterable(rows)))
        if self.digest == "bag":
            self.keys += keys
        else:
            self.different.update(keys)
            if not self.plain:
                # Numbers may be equal to each other within a tolerance; rows that differ elsewhere never are.
                self.unnumbered.update(
                    marshal.dumps(
                        [None if isinstance(cell, (int, float)) else cell for cell in row], _VERSION
                    )
                    for row in rows
                )

    @property
    def plain(self) -> bool:
        """Whether no cell so far may equal one of other bytes."""
        return self.kinds <= _PLAIN

    @property
    def least(self) -> int:
        """How many rows there are at least that count: of a set, different ones."""
        if self.digest == "bag":
            return self.count
        return len(self.different if self.plain else self.unnumbered)

    def end(self, complete: bool) -> Fingerprint:
        """Return the fingerprint."""
        keys = sorted(self.keys or self.different)
        for start in range(0, len(keys), _PIECE):
            self.rows.update(b"".join(keys[start : start + _PIECE]))
        most, least = (self.count, 0) if self.digest == "bag" else (len(self.different), self.least)
        digests = self.sequence.digest(), self.rows.digest()
        return Fingerprint(self.digest, self.count, most, least, *digests, self.plain, complete, self.decodes)


def fingerprint_of(
    rows: Iterable[Sequence[Any]], digest: Digest, complete: bool = True
) -> Fingerprint | None:
    """Return the fingerprint of rows, all of a result or not; `None` where a cell is of a kind that has none.

    Example:
        >>> some, others = fingerprint_of([(1,), (2,)], "bag"), fingerprint_of([(2,), (1,)], "bag")
        >>> some.rows == others.rows, some.sequence == others.sequence
        (True, False)
    """
    making = Fingerprinting(digest)
    try:
        making.add(list(rows))
    except ValueError:
        return None
    return making.end(complete)
