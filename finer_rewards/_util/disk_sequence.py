"""A list that is kept in a file, so that it may be larger than memory."""

from __future__ import annotations

import pickle
import weakref
from array import array
from collections.abc import Iterable, Sequence
from tempfile import SpooledTemporaryFile
from typing import TypeVar, overload

#: Up to so many bytes are kept in memory, without a file.
_IN_MEMORY = 8 << 20

T = TypeVar("T")


class DiskSequence(Sequence[T]):
    """A list that only grows. Only 8 bytes for each item stay in memory; each time an item is read, it is a new object.

    Args:
        items: the first items; all items have to be such that they can be pickled.

    Example:
        >>> sequence = DiskSequence("abc")
        >>> sequence.append("d")
        >>> len(sequence), sequence[3], sequence[1:3], list(sequence)
        (4, 'd', ['b', 'c'], ['a', 'b', 'c', 'd'])
    """

    def __init__(self, items: Iterable[T] = ()) -> None:
        self._file = SpooledTemporaryFile(_IN_MEMORY)  # noqa: SIM115 - it lives as long as the sequence
        weakref.finalize(self, self._file.close)
        self._ends = array("Q", [0])
        for item in items:
            self.append(item)

    def append(self, item: T) -> None:
        """Add an item."""
        data = pickle.dumps(item, pickle.HIGHEST_PROTOCOL)
        self._file.seek(self._ends[-1])
        self._file.write(data)
        self._ends.append(self._ends[-1] + len(data))

    def __len__(self) -> int:
        return len(self._ends) - 1

    @overload
    def __getitem__(self, index: int) -> T: ...

    @overload
    def __getitem__(self, index: slice) -> list[T]: ...

    def __getitem__(self, index: int | slice) -> T | list[T]:
        if isinstance(index, slice):
            return [self[place] for place in range(*index.indices(len(self)))]
        place = range(len(self))[index]
        self._file.seek(self._ends[place])
        found: T = pickle.loads(self._file.read(self._ends[place + 1] - self._ends[place]))
        return found
