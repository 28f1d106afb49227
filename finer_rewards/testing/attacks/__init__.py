"""The attacks that `redteam` tries: known ways to be paid for a wrong answer, and honest answers that must be paid."""

from typing import Final

from finer_rewards.testing.attacks.attack import VERIFIED, Attack, Rule
from finer_rewards.testing.attacks.attack_databases import QUESTIONS, AttackQuestion, build_attack_databases
from finer_rewards.testing.attacks.conduct import CONDUCT
from finer_rewards.testing.attacks.results import RESULTS

__all__ = ["ATTACKS", "QUESTIONS", "VERIFIED", "Attack", "AttackQuestion", "Rule", "build_attack_databases"]

#: Every attack, grouped by kind.
ATTACKS: Final[tuple[Attack, ...]] = (*RESULTS, *CONDUCT)
