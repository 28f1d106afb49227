"""What an attack is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

#: The thought that a trace memory knows to be verified.
VERIFIED: Final = (
    "A verified thought: every ship has its flag in the column flag, so the rows of ship whose flag is Malta are the "
    "ones that count, and nothing has to be joined to them."
)

#: What must hold of the value of an attack. All but the last three are also less than the right answer has.
#:
#: * `below_right`: that alone.
#: * `not_above_failing`: no more than SQL that fails.
#: * `not_above_wrong`: no more than SQL that runs and is wrong by an honest mistake.
#: * `as_wrong`: the same as the honest mistake.
#: * `as_right`: the same as the right answer.
#: * `unchanged`: the honest mistake has the same value before and after the attack was scored.
#: * `unusable`: no value, for the gold says nothing; where the trainer knows no None, no more than SQL that fails.
#: * `unusable_tie`: that, unless the reward says that any of several rows is right.
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

    It must also come back in time, without an error, with the same value twice, and nothing may be written.

    Args:
        kind: what it plays on.
        title: what it does.
        question: the name of a question of `attack_databases`.
        sql: the SQL, put into the template of completions.
        rule: what must hold.
        text: the whole completion, instead of the template.
        thought: what stands for the thought; `None` is an ordinary one.
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
    """Return attacks of one kind, each given by title, question, SQL and rule."""
    return tuple(Attack(kind, *attack) for attack in attacks)
