"""What trainers' own code makes of rewards: the table in docs/trainers.md, a row a test."""

from __future__ import annotations

import importlib.util
import json
import math
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from finer_rewards.adapters._training_rows import for_float32

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


def _openrlhf(*cases: tuple[Any, ...]) -> list[dict[str, Any]]:
    """Return what OpenRLHF makes of replies of a reward function: from its executor to the advantages."""
    for package in ("torch", "transformers", "ray", "openrlhf"):
        if importlib.util.find_spec(package) is None:
            pytest.skip(f"needs {package}")
    command = [sys.executable, "-W", "ignore", str(Path(__file__).with_name("openrlhf_arithmetic.py"))]
    done = subprocess.run([*command, json.dumps(cases)], capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr[-4000:]
    found: list[dict[str, Any]] = json.loads(done.stdout.rpartition("RESULT ")[2])
    return found


def _replies(*rewards: Any) -> list[Mapping[str, Any] | str]:
    return [one if isinstance(one, str) else {"rewards": one, "scores": one} for one in rewards]


@pytest.mark.slow
def test_openrlhf_from_the_reply_to_the_advantage() -> None:
    """All of OpenRLHF's rows, in one process: it takes long to import."""
    equal, ours = _replies(*[2.1] * 8), _replies(*[for_float32(2.1)] * 8)
    logs = [{"a": 1.0}, {"a": 2.0, "b": 5.0}, {}, {"a": 3.0}]
    extra = [{**one, "extra_logs": log} for one, log in zip(_replies(1.0, 3.0, 1.0, 1.0), logs, strict=True)]
    spoilt = _replies(math.nan, 1.0, 3.0, 1.0)
    found = _openrlhf(
        (equal, "group_norm"),
        (ours, "group_norm"),
        (_replies(None, 1.0, 3.0, 1.0), "group_norm"),
        (_replies(1.0, None, 3.0, 1.0), "group_norm"),
        (_replies("broken", 1.0, 3.0, 1.0), "group_norm"),
        (_replies(1.0, "broken", 3.0, 1.0), "group_norm"),
        (spoilt, "group_norm", 2),
        (spoilt, "reinforce_baseline", 2),
        (extra, "group_norm"),
        (_replies(2.0), "group_norm"),
        (_replies(2.0), "rloo"),
        (_replies(2.0), "reinforce_baseline"),
    )
    pushed, level, *ended = found[:6]
    assert pushed["advantages"] == pytest.approx([-0.93] * 8, abs=0.01) and level["advantages"] == [0.0] * 8
    # In whichever place, and whether it was given or an exception brought it about: the run ends.
    first, later = (
        "ValueError: reward_model_group is required",
        "AttributeError: 'NoneType' object has no attribute",
    )
    assert [one["error"].startswith(why) for one, why in zip(ended, (first, later) * 2, strict=True)] == [
        True
    ] * 4
    group, batch, keys, *alone = found[6:]
    assert list(map(math.isnan, group["advantages"])) == [True, True, False, False]
    assert all(map(math.isnan, batch["advantages"]))
    # Which sample a value is of, nobody can tell any more.
    assert keys["info"]["a"] == [1.0, 2.0, 3.0] and keys["info"]["b"] == [5.0]
    assert [math.isnan(one["advantages"][0]) for one in alone] == [True, True, False]
