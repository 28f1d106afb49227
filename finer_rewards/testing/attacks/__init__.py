"""Known ways to be paid for a wrong answer, and honest answers that must be paid."""

from typing import Final

from finer_rewards.testing.attacks.attack import VERIFIED, Attack, Rule
from finer_rewards.testing.attacks.conduct import CONDUCT
from finer_rewards.testing.attacks.results import RESULTS
from finer_rewards.testing.attacks.worlds import QUESTIONS, Question, build_worlds

__all__ = ["ATTACKS", "QUESTIONS", "VERIFIED", "Attack", "Question", "Rule", "build_worlds"]

#: Every attack, grouped by kind.
ATTACKS: Final[tuple[Attack, ...]] = (*RESULTS, *CONDUCT)
