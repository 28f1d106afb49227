"""Rewards on the canonical form."""

from __future__ import annotations

import pytest

import finer_rewards as fr
from finer_rewards import rewards as r
from finer_rewards.reward import Reward

GOLD = "SELECT name FROM singer WHERE age > 40 AND country = 'NO'"


def score(sql: str, reward: Reward, gold: str | tuple[str, ...] = GOLD) -> fr.Score:
    scorer = fr.Scorer(reward, parse=lambda text: fr.Answer(None, text or None))
    return scorer.score_one(fr.Sample(sql, gold, "x.sqlite"))


def test_canonical_match_sees_through_layout_and_order_and_nothing_else() -> None:
    reward = r.canonical_match()
    assert (
        score("select S.NAME from singer S where 'NO' = s.country and not (s.age <= 40)", reward).value == 1.0
    )
    for other in (
        "SELECT name FROM singer WHERE age >= 40 AND country = 'NO'",
        "SELECT name FROM singer WHERE age > 40 OR country = 'NO'",
        "SELECT DISTINCT name FROM singer WHERE age > 40 AND country = 'NO'",
    ):
        assert score(other, reward).value == 0.0


def test_exact_set_match_ignores_values_unless_asked() -> None:
    other = "SELECT name FROM singer WHERE country = 'SE' AND age > 41"
    assert score(other, r.exact_set_match()).value == 1.0
    strict = score(other, r.exact_set_match(values=True))
    assert strict.value == 0.0
    assert strict.metrics["select"] == 1.0 and strict.metrics["where"] < 1.0


def test_tree_similarity_ranks() -> None:
    pytest.importorskip("apted")
    reward = r.tree_similarity()
    same, near, far = (
        float(score(sql, reward))
        for sql in (GOLD, GOLD.replace("40", "41"), "SELECT count(*) FROM concert GROUP BY year")
    )
    assert same == 1.0 > near > far >= 0.0


@pytest.mark.parametrize("reward", [r.canonical_match(), r.exact_set_match()])
def test_blame(reward: Reward) -> None:
    assert score("", reward).value == 0.0
    assert score("SELECT FROM WHERE", reward).value == 0.0
    assert score(GOLD, reward, "SELECT FROM WHERE").status is fr.Status.gold_unparsed
    assert score(GOLD, reward, ("SELECT FROM WHERE", GOLD)).value == 1.0
    assert score(GOLD, reward, ()).status is fr.Status.no_gold
