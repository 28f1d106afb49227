"""A cache bounded by weight, which drops what was not used for longest."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Generic, TypeVar

Value = TypeVar("Value")


class LRU(Generic[Value]):
    """Keeps values by key until what came since outweighs them.

    There are two generations: when the younger is full, the older is dropped whole. What is found in the
    older moves to the younger. Every step is one operation on a `dict`, so threads need no lock, and a fork
    cannot leave one held. It pickles empty.

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
        """Keep a value; one that alone outweighs a generation is not kept."""
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
        """Whether the younger generation was full before: from then on what weighs is forgotten."""
        return bool(self._old)

    def __reduce__(self) -> tuple[type[LRU[Value]], tuple[int]]:
        return type(self), (self.limit,)
