"""Tests a reward the way a policy would: laws, strategies for Hypothesis, and attacks.

from hypothesis import given
import finer_rewards as fr

def test_laws():
    fr.testing.check_reward(my_reward, lo=0, hi=1)

@given(fr.testing.near_misses())
def test_a_mistake_costs_something(pair):
    assert score(pair.predicted) < score(pair.gold)
"""

# Import from here: the modules inside are private.
from finer_rewards._util.extras import extra

with extra("testing", "`finer_rewards.testing`", "hypothesis"):
    import hypothesis  # noqa: F401

from finer_rewards.testing.attacking import Report, redteam
from finer_rewards.testing.law_check import check_reward
from finer_rewards.testing.laws import LAWS, LawError
from finer_rewards.testing.observations import completions, evidence
from finer_rewards.testing.small_databases import Database, witnesses
from finer_rewards.testing.strategies import (
    Pair,
    databases,
    equivalent_pairs,
    near_misses,
    queries,
    schemas,
)

__all__ = [
    "LAWS",
    "Database",
    "LawError",
    "Pair",
    "Report",
    "check_reward",
    "completions",
    "databases",
    "equivalent_pairs",
    "evidence",
    "near_misses",
    "queries",
    "redteam",
    "schemas",
    "witnesses",
]
