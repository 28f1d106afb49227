"""A cache with a limit on its weight, which drops the values that were not used for longest."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Generic, TypeVar

Value = TypeVar("Value")


class LRU(Generic[Value]):
    """Keeps values by key until newer ones have used up the limit.

    There are two generations. When the younger is full, the older is dropped as a whole; a value that is found in
    the older one moves to the younger. Every step is one operation on a `dict`, so threads need no lock, and a fork
    cannot leave a lock held. A pickled copy is empty.

    Args:
        limit: the most that both generations may weigh.

    Example:
        >>> cache = LRU[str](limit=4)
        >>> cache.put(1, "one", weight=1)
        >>> cache.get(1), cache.get(2)
        ('one', None)
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._young: dict[Hashable, tuple[Value, int]] = {}
        self._old: dict[Hashable, tuple[Value, int]] = {}
        self._weight = 0

    def get(self, key: Hashable) -> Value | None:
        """Return the value of a key, or `None`."""
        found = self._young.get(key)
        if found is None:
            found = self._old.get(key)
            if found is None:
                return None
            self.put(key, *found)
        return found[0]

    def put(self, key: Hashable, value: Value, weight: int) -> None:
        """Keep a value, unless it alone is heavier than a generation may be."""
        half = self.limit // 2
        if weight > half:
            return
        if self._weight + weight > half:
            self._old, self._young, self._weight = self._young, {}, 0
        before = self._young.get(key)
        self._weight += weight - (before[1] if before is not None else 0)
        self._young[key] = value, weight

    def clear(self) -> None:
        """Forget everything."""
        self._old, self._young, self._weight = {}, {}, 0

    @property
    def full(self) -> bool:
        """Whether a generation has been full: from then on old values are dropped."""
        return bool(self._old)

    def __reduce__(self) -> tuple[type[LRU[Value]], tuple[int]]:
        return type(self), (self.limit,)
