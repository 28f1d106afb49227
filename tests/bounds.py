"""Bounds on work that hold on any machine, however busy: on counts and on ratios, never on the clock."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

#: Seconds that no machine needs for what is over in an instant; what hangs takes far longer.
LONG = 120.0


def examples(most: int) -> int:
    """Return how many examples a law has whose worth is `most`: a fifth in the default tier, see `conftest.py`."""
    from hypothesis import settings

    return max(2, most * settings().max_examples // 100)


@contextmanager
def at_most(calls: int) -> Iterator[None]:
    """Fail when the block makes more calls, of functions written in Python or in C."""
    made = 0

    def count(frame: FrameType, event: str, argument: Any) -> None:
        nonlocal made
        made += event in ("call", "c_call")
        if made > calls:
            sys.setprofile(None)
            raise AssertionError(f"more than {calls} calls")

    before = sys.getprofile()
    sys.setprofile(count)
    try:
        yield
    finally:
        sys.setprofile(before)


def assert_linear(work: Callable[[int], object], size: int, *, times: int = 16) -> None:
    """Fail when work on a text of `times` the size takes much more than so many times the processor time.

    The best of several runs of each, taken in turn: what else the machine does slows both alike.
    """
    small, large = [], []
    for _ in range(3):
        for taken, length in ((small, size), (large, size * times)):
            began = time.process_time()
            work(length)
            taken.append(time.process_time() - began)
        # Large texts cost more than their share, as memory is asked of the system; quadratic work takes 256 times.
        if min(large) < max(0.02, 10 * times * min(small)):
            return
    raise AssertionError(f"{times} times the size took {min(large):.3f} s after {min(small):.3f} s")
