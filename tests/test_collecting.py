"""While a batch is scored Python looks for cycles of garbage less often, and afterwards as often as before."""

from __future__ import annotations

import gc
import os
import threading
from collections.abc import Iterator

import pytest

import finer_rewards as fr
from finer_rewards.collecting import seldom_collecting


@pytest.fixture(autouse=True)
def thresholds() -> Iterator[tuple[int, int, int]]:
    before = gc.get_threshold()
    gc.set_threshold(600, 9, 8)
    yield (600, 9, 8)
    gc.set_threshold(*before)


def test_a_reward_is_scored_inside_and_an_error_leaves_nothing_behind(
    thresholds: tuple[int, int, int],
) -> None:
    seen = []

    @fr.reward()
    def looks(evidence: fr.Evidence) -> float:
        seen.append(gc.get_threshold())
        raise ValueError

    with pytest.raises(ValueError):
        fr.Scorer(looks()).score([fr.Sample("SELECT 1", gold="SELECT 1", db="any.sqlite")])
    assert seen[0][0] > thresholds[0] and seen[0][1:] == thresholds[1:]
    assert gc.get_threshold() == thresholds


def test_the_last_thread_that_leaves_restores(thresholds: tuple[int, int, int]) -> None:
    entered, leave = threading.Event(), threading.Event()

    def other() -> None:
        with seldom_collecting():
            entered.set()
            leave.wait()

    with seldom_collecting():
        thread = threading.Thread(target=other)
        thread.start()
        entered.wait()
    assert gc.get_threshold() != thresholds
    leave.set()
    thread.join()
    assert gc.get_threshold() == thresholds


@pytest.mark.parametrize("first", [0, 1_000_000])
def test_who_collects_less_often_still_is_left_alone(first: int) -> None:
    gc.set_threshold(first, 5, 5)
    with seldom_collecting():
        assert gc.get_threshold() == (first, 5, 5)


def test_a_forked_child_begins_anew(thresholds: tuple[int, int, int]) -> None:
    with seldom_collecting():
        child = os.fork()
        if not child:
            os._exit(0 if gc.get_threshold() == thresholds else 1)
    assert os.waitpid(child, 0)[1] == 0
