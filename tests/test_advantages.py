"""Advantages by group: against the formulas in NumPy and TRL's own lines, and what has no score."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

import finer_rewards as fr
from finer_rewards.errors import ConfigError

VALUES = st.none() | st.floats(-1000, 1000, allow_subnormal=False).map(lambda value: round(value, 3))
GROUPS = st.integers(1, 6).flatmap(
    lambda size: st.tuples(
        st.just(size), st.lists(VALUES, max_size=30).map(lambda all: all[: len(all) // size * size])
    )
)


@given(GROUPS, st.sampled_from(["group", "batch", "none"]))
def test_it_is_the_formula_with_what_has_no_score_left_out(made, scale) -> None:
    size, values = made
    found = fr.group_advantages(values, size, scale=scale)
    assert [one is None for one in found] == [one is None for one in values]
    every = [one for one in values if one is not None]
    for start in range(0, len(values), size):
        group = [one for one in values[start : start + size] if one is not None]
        for value, advantage in zip(values[start : start + size], found[start : start + size], strict=True):
            if value is None:
                continue
            if len(set(group)) < 2:
                assert advantage == 0
                continue
            mean = sum(group) / len(group)
            spread = {"group": deviation(group), "batch": deviation(every), "none": 1.0}[scale]
            assert advantage == pytest.approx((value - mean) / spread, rel=1e-9, abs=1e-9)


def deviation(values: list[float]) -> float:
    mean = sum(values) / len(values)
    return math.sqrt(sum((value - mean) ** 2 for value in values) / (len(values) - 1))


@pytest.mark.parametrize("value", [2.1, 0.1, 1101.7, -3.3])
@pytest.mark.parametrize("scale", ["group", "batch", "none"])
def test_equal_rewards_give_exactly_nothing(value: float, scale) -> None:
    assert fr.group_advantages([value] * 7 + [1.0, 4.0] + [None] * 5, 7, scale=scale)[:7] == [0.0] * 7


@pytest.mark.parametrize("scale", ["group", "batch", "none"])
def test_it_agrees_with_trl(scale) -> None:
    """Its own lines (TRL 1.16, `GRPOTrainer._generate_and_score_completions`), but for the 1e-4 that it adds."""
    torch = pytest.importorskip("torch", reason="needs torch")
    values = [4.0, 1.0, 1.5, None, 1.0, 0.0, 4.0, 4.0, None, None, None, 1.25]
    rewards = torch.tensor([math.nan if value is None else value for value in values], dtype=torch.float64)
    groups = rewards.view(-1, 4)

    def nanstd(rows):
        return torch.stack(
            [row[~row.isnan()].std() if (~row.isnan()).sum() > 1 else torch.tensor(0.0) for row in rows]
        )

    centred = rewards - torch.nanmean(groups, dim=1).repeat_interleave(4)
    spread = {
        "group": nanstd(groups).repeat_interleave(4), "batch": rewards[~rewards.isnan()].std(), "none": 1 - 1e-4
    }[scale]  # fmt: skip
    wanted = (centred / (spread + 1e-4)).tolist()
    for got, theirs in zip(fr.group_advantages(values, 4, scale=scale), wanted, strict=True):
        assert (got is None) == math.isnan(theirs)
        assert got is None or got == pytest.approx(theirs, abs=2e-3)


def test_scores_are_taken_as_they_come() -> None:
    scorer = fr.Scorer("well_formed()")
    samples = [fr.Sample(text, "SELECT 1", "any") for text in ("SELECT 1", "no", "SELECT 1", "no")]
    scores = [*scorer.score(samples[:3]), fr.Score(None, status=fr.Status.gold_failed)]
    assert fr.group_advantages(scores, 4, scale="none") == [
        pytest.approx(1 / 3),
        pytest.approx(-2 / 3),
        pytest.approx(1 / 3),
        None,
    ]
    assert fr.group_advantages([], 4) == []


@pytest.mark.parametrize(
    ("arguments", "options", "said"),
    [
        (([1.0] * 5, 4), {}, "whole groups of 4, but got 5"),
        (([1.0], 0), {}, "count of completions"),
        (([1.0], 1), {"scale": "std"}, "group, batch, none"),
        (([math.nan], 1), {}, "finite numbers or None, but got nan"),
        ((["1"], 1), {}, "finite numbers"),
    ],
)
def test_what_cannot_be_used_is_named(arguments, options, said) -> None:
    with pytest.raises(ConfigError, match=said):
        fr.group_advantages(*arguments, **options)
