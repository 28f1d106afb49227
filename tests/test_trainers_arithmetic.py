"""What trainers' own code makes of rewards: the table in docs/trainers.md, a row a test."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from finer_rewards.adapters.rows import for_float32

SIZES = st.integers(2, 64)
VALUES = st.floats(-4, 4).map(for_float32)


@given(VALUES, SIZES)
def test_equal_rewards_of_an_adapter_have_their_value_as_mean_in_float32(value: float, size: int) -> None:
    total = np.float32(0)
    for _ in range(size):
        total += np.float32(value)  # one after the other, the least exact way to add
    assert total / np.float32(size) == value


@given(st.floats(-4, 4))
def test_the_rounding_moves_no_value_by_more_than_half_a_step(value: float) -> None:
    assert abs(for_float32(value) - value) <= 2**-17


@given(st.integers(-4, 4), st.floats(-4, 4))
def test_the_rounding_keeps_whole_numbers_and_order(whole: int, value: float) -> None:
    assert for_float32(float(whole)) == whole
    assert (for_float32(value) >= whole) if value >= whole else (for_float32(value) <= whole)


def _verl(estimator: str) -> Callable[[Sequence[float], Sequence[str]], list[float]]:
    torch = pytest.importorskip("torch", reason="verl computes with it")
    algorithms: Any = pytest.importorskip("verl.trainer.ppo.core_algos", reason="verl is not installed")
    compute = getattr(algorithms, f"compute_{estimator}_outcome_advantage")

    def advantages(rewards: Sequence[float], groups: Sequence[str]) -> list[float]:
        scores = torch.tensor(rewards, dtype=torch.float32).unsqueeze(-1)
        found = compute(scores, torch.ones_like(scores), np.array(groups, dtype=object))[0]
        return [float(one) for one in found[:, 0]]

    return advantages


@pytest.mark.slow
@pytest.mark.parametrize("estimator", ["grpo", "grpo_vectorized"])
def test_verl_gives_equal_rewards_an_advantage_and_ours_none(estimator: str) -> None:
    advantages = _verl(estimator)
    assert max(map(abs, advantages([2.1] * 8, ["a"] * 8))) > 0.15
    assert advantages([for_float32(2.1)] * 8, ["a"] * 8) == [0.0] * 8


@pytest.mark.slow
def test_verl_keeps_the_reward_of_a_group_of_one_but_in_the_vectorized_rloo() -> None:
    rewards, groups = [2.0, 1.0, 3.0], ["a", "b", "b"]
    kept = [_verl(name)(rewards, groups)[0] for name in ("grpo", "grpo_vectorized", "rloo", "opo")]
    assert kept == pytest.approx([2.0] * 4, abs=1e-4)
    assert _verl("rloo_vectorized")(rewards, groups)[0] == 0.0


@pytest.mark.slow
def test_a_nan_spoils_its_group_in_verl_and_the_batch_where_it_is_whitened() -> None:
    rewards, groups = [math.nan, 1.0, 3.0, 1.0], ["a", "a", "b", "b"]
    for estimator in ("grpo", "rloo"):
        found = _verl(estimator)(rewards, groups)
        assert list(map(math.isnan, found)) == [True, True, False, False]
    assert all(map(math.isnan, _verl("reinforce_plus_plus_baseline")(rewards, groups)))


@pytest.mark.slow
def test_groups_named_by_numbers_are_merged_by_verls_vectorized_estimator() -> None:
    rewards, groups = [0.0, 1.0, 2.0, 3.0], ["7", "7", "07", "07"]
    assert _verl("grpo")(rewards, groups) == pytest.approx([-0.7071, 0.7071] * 2, abs=1e-3)
    assert _verl("grpo_vectorized")(rewards, groups)[1] < 0


def _swift(rewards: Sequence[Sequence[float]], size: int, **options: Any) -> list[float]:
    """Return the advantages that ms-swift gives groups of `size`, from a list of rewards a function."""
    torch = pytest.importorskip("torch", reason="ms-swift computes with it")
    reason = "ms-swift 4.6.0 is not installed"
    compute = pytest.importorskip("swift.rl_core.advantage", reason=reason).compute_advantages
    matrix = torch.tensor(rewards, dtype=torch.float32).T
    return [float(one) for one in compute(matrix, torch.ones(len(rewards)), size, **options)[0]]


@pytest.mark.slow
def test_ms_swift_gives_equal_rewards_an_advantage_and_ours_none() -> None:
    assert _swift([[2.1] * 8], 8) == pytest.approx([-0.0024] * 8, abs=1e-4)
    assert min(map(abs, _swift([[2.1] * 8], 8, scale_rewards="gdpo"))) > 0.5
    for scale in ("group", "gdpo"):
        assert _swift([[for_float32(2.1)] * 8], 8, scale_rewards=scale) == [0.0] * 8


@pytest.mark.slow
def test_ms_swift_takes_what_no_function_judged_for_a_reward_of_0() -> None:
    assert _swift([[math.nan, 1.0, 3.0, 1.0]], 4) == pytest.approx(_swift([[0.0, 1.0, 3.0, 1.0]], 4))
    of_two = _swift([[math.nan, 1.0, 0.0, 1.0], [1.0] * 4], 4)
    assert of_two[0] == of_two[2] < 0


@pytest.mark.slow
def test_ms_swift_gives_a_group_of_one_nothing() -> None:
    assert _swift([[2.0], [0.0]], 1) == _swift([[2.0], [0.0]], 1, advantage_estimator="rloo") == [0.0]
