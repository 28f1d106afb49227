"""A source of random numbers that is fast, quick to import in a worker, and the same on every version of Python."""

from __future__ import annotations

import _random

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any, TypeVar

    Item = TypeVar("Item")


class PortableRandom:
    """Has the methods of `random.Random` that are needed; each draw uses one float, which is fair enough here.

    Args:
        seed: the same seed gives the same draws.
    """

    def __init__(self, seed: str) -> None:
        # The C class behind `random.Random`; without the module `random` a worker starts sooner.
        self.random: Callable[[], float] = _random.Random(
            int.from_bytes(seed.encode(errors="replace"), "big")
        ).random

    def uniform(self, low: float, high: float) -> float:
        """Return a number from `low` to `high`."""
        return low + (high - low) * self.random()

    def randbytes(self, count: int) -> bytes:
        """Return that many random bytes."""
        return bytes([self.randint(0, 255) for _ in range(count)])

    def choice(self, items: Sequence[Item]) -> Item:
        """Return an item drawn at random."""
        return items[int(self.random() * len(items))]

    def randint(self, low: int, high: int) -> int:
        """Return a whole number from `low` to `high`."""
        return low + int(self.random() * (high - low + 1))

    def shuffle(self, items: list[Any]) -> None:
        """Shuffle a list in place."""
        draw = self.random
        for place in range(len(items) - 1, 0, -1):
            other = int(draw() * (place + 1))
            items[place], items[other] = items[other], items[place]

    def sample(self, items: Sequence[Item], count: int) -> list[Item]:
        """Return `count` of the items, none of them twice."""
        size = len(items)
        if 3 * count >= size:
            found, draw = list(items), self.random
            for place in range(count):
                other = place + int(draw() * (size - place))
                found[place], found[other] = found[other], found[place]
            return found[:count]
        places: dict[int, None] = {}
        while len(places) < count:
            places[int(self.random() * size)] = None
        return [items[place] for place in places]
