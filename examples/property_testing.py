"""Test a reward of your own with the laws and strategies that are shipped: pytest examples/property_testing.py

pip install "finer-rewards[testing]" pytest
"""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given, settings

import finer_rewards as fr
from finer_rewards import rewards as r
from finer_rewards import testing as ft

PARTIAL = r.gate(condition=r.executable(require_base_table=True), then=0.5 * r.atomic_f1())
GOOD = r.gate(condition=r.execution_match(), then=r.constant(2.0), otherwise=PARTIAL)
# The same without the gate pays for SQL that does not run.
LOOSE = r.gate(condition=r.execution_match(), then=r.constant(2.0), otherwise=0.5 * r.atomic_f1())
# Comparing sets of rows looks harmless, but an added DISTINCT goes unseen.
SETS = r.execution_match(mode="bird")


def test_the_laws_hold() -> None:
    ft.check_reward(GOOD, lo=0, hi=2, examples=10)


def test_the_laws_find_what_is_wrong_with_the_others() -> None:
    with pytest.raises(ft.LawError, match="nothing_unrun"):
        ft.check_reward(LOOSE, lo=0, hi=2, laws=["nothing_unrun"])
    with pytest.raises(ft.LawError, match="near_misses"):
        ft.check_reward(SETS, lo=0, hi=1, laws=["near_misses"])


@settings(max_examples=25, deadline=None)
@given(evidence=ft.evidence())
def test_partial_credit_stays_below_a_match(evidence: fr.Evidence) -> None:
    """`evidence()` makes up what a reward sees: nothing is run."""
    value, match = GOOD(evidence).value, r.execution_match()(evidence).value
    if value is not None and match == 0:
        assert value <= 0.5


def test_known_attacks_are_not_paid(redteam: Callable[..., ft.Report]) -> None:
    redteam(GOOD, databases=2)  # one database cannot tell a lucky guess
