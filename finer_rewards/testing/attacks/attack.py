"""What an attack is: a completion, and the rule that its value must keep."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

#: A thought that the trace memory of `redteam` knows from a verified answer.
VERIFIED: Final = (
    "A verified thought: every ship has its flag in the column flag, so the rows of ship whose flag is Malta are the "
    "ones that count, and nothing has to be joined to them."
)

#: What must hold of the value of an attack. Except for the last three, and `as_right`, it must also be less than the
#: value of the right answer.
#:
#: * `below_right`: nothing more.
#: * `counts_repeats`: nothing more; it is skipped if the reward says that repeated rows do not count.
#: * `not_above_failing`: no more than SQL that fails.
#: * `not_above_wrong`: no more than SQL that runs and is wrong by an honest mistake.
#: * `as_wrong`: the same as the honest mistake.
#: * `as_right`: the same as the right answer.
#: * `unchanged`: the honest mistake has the same value before and after the attack was scored.
#: * `unusable`: no value, since the gold says nothing; for a trainer without None, no more than SQL that fails.
#: * `unusable_tie`: the same, unless the reward says that any of the tied rows is right.
Rule = Literal[
    "below_right",
    "counts_repeats",
    "not_above_wrong",
    "not_above_failing",
    "as_wrong",
    "as_right",
    "unchanged",
    "unusable",
    "unusable_tie",
]


@dataclass(frozen=True)
class Attack:
    """One completion, and what must hold of its value.

    Scoring it must also end in time and without an error, give the same value each time, and write no file.

    Args:
        kind: the weakness that it tries.
        title: what it does.
        question: the name of a question of `attack_databases`.
        sql: the SQL, which is put into the template of completions.
        rule: what must hold of the value.
        text: the whole completion, instead of the template.
        thought: the thought; `None` for an ordinary one.
        gold: the gold, instead of the question's.
    """

    kind: str
    title: str
    question: str
    sql: str = ""
    rule: Rule = "below_right"
    text: str | None = None
    thought: str | None = None
    gold: str | None = None


def of_kind(kind: str, *attacks: tuple[str, str, str] | tuple[str, str, str, Rule]) -> tuple[Attack, ...]:
    """Return attacks of one kind, each from its title, question, SQL and, optionally, rule."""
    return tuple(Attack(kind, *attack) for attack in attacks)
