"""What the learning benchmark compares: a reward, and how GRPO makes advantages of it.

Advantages matter as much as the reward. Divided by the spread of each group, the smallest partial credit is worth as
much in a group without a right answer as a right answer is elsewhere; divided by the spread of the batch, it stays as
small as the reward says. Both are settings of the trainers (TRL's `scale_rewards`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Literal

from finer_rewards import Reward, parse_reward
from finer_rewards.operations import KINDS
from finer_rewards.presets.finer import finer, finer_reference

__all__ = ["BASE", "DEFAULT", "LADDER", "Arm", "Scale", "arms"]

Scale = Literal["group", "batch", "terms", "none"]
BASE = "execution match"
MATCH = "execution_match()"
#: A ladder with a rung for SQL that runs, and below it credit for structure.
LADDER = (
    f"gate(condition=well_formed(), then=constant() + gate(condition={MATCH}, then=3 * constant(), otherwise="
    "gate(condition=executable(require_base_table=True), then=constant() + 0.5 * {})))"
)

PARTIAL = "atomic_f1(partial=0.5)"
#: Convex: next to nothing until nearly everything is right, so that leaving out what is hard hardly pays.
SHARP = "atomic_f1(partial=0.5, shape=(0, 1, 8))"


@dataclass(frozen=True)
class Arm:
    """What differs between two runs.

    Args:
        reward: what is paid.
        scale: what the difference to the group's mean is divided by: the spread of the `group` or of the `batch`; or
            each term of the sum by its own spread in the group, and their sum by that of the batch (`terms`; TRL's
            `multi_objective_aggregation="normalize_then_sum"`); or nothing (`none`).
    """

    reward: Reward
    scale: Scale = "group"


@cache
def arms() -> Mapping[str, Arm]:
    """Return what can be compared, by name."""
    return {
        BASE: _arm(MATCH),
        "+ atomic": _arm(f"{MATCH} + atomic_f1()"),
        "+ atomic + memory": _arm(f"{MATCH} + atomic_f1() + 0.5 * memory()"),
        "finer()": Arm(finer()),
        "finer_reference()": Arm(finer_reference()),
        # Candidates, each declared before it ran. First those scaled by group.
        "finer(memory=False)": Arm(finer(memory=False)),
        "rung, F1": _arm(LADDER.format("atomic_f1()")),
        "rung, partial": _arm(LADDER.format("atomic_f1(partial=0.5)")),
        "rung, F1.5": _arm(LADDER.format("atomic_f1(beta=1.5, partial=0.5)")),
        "no rung, small": _arm(
            LADDER.replace("constant() + 0.5 * {}", "0.1 * {}").format("atomic_f1(partial=0.5)")
        ),
        "cells": _arm(LADDER.replace("0.5 * {}", "0.25 * cell_recall() + 0.25 * cell_precision()")),
        "+ partial": _arm(f"{MATCH} + {PARTIAL}"),
        "+ sharp": _arm(f"{MATCH} + {SHARP}"),
        # Scaled by batch: partial credit stays small beside a right answer, also in groups without one.
        "execution match, batch": _arm(MATCH, "batch"),
        "finer(memory=False), batch": Arm(finer(memory=False), "batch"),
        "+ partial, batch": _arm(f"{MATCH} + {PARTIAL}", "batch"),
        "+ 0.25 partial, batch": _arm(f"{MATCH} + 0.25 * {PARTIAL}", "batch"),
        "+ recall, batch": _arm(f"{MATCH} + atomic_f1(beta=2, partial=0.5)", "batch"),
        "+ cells, batch": _arm(f"{MATCH} + 0.5 * cell_recall() + 0.5 * cell_precision()", "batch"),
        "+ sharp, batch": _arm(f"{MATCH} + {SHARP}", "batch"),
        "+ power 4, batch": _arm(f"{MATCH} + {SHARP.replace('8', '4')}", "batch"),
        "finer, sharp, batch": _arm(LADDER.replace("constant() + 0.5 * {}", f"0.7 * {SHARP}"), "batch"),
        # Each clause by its own spread: what few of a group get right counts as much as what most do.
        "clause by clause": _arm(f"4 * {MATCH} + {' + '.join(_only(*kinds) for kinds in _CLAUSES)}", "terms"),
    }


#: What `run` compares unless told otherwise: the five questions asked first; then the best of the candidates by
#: `benchmarks.learning_direction`, and execution match scaled as it is.
DEFAULT = (
    BASE,
    "+ atomic",
    "+ atomic + memory",
    "finer()",
    "finer_reference()",
    "execution match, batch",
    "+ sharp, batch",
)

_CLAUSES = (("columns", "select"), ("from", "join"), ("filter",), ("group", "having"), ("order", "limit"))


def _arm(text: str, scale: Scale = "group") -> Arm:
    return Arm(parse_reward(text), scale)


def _only(*kinds: str) -> str:
    """Return the agreement in operations of these kinds alone."""
    return f"atomic_f1(ignore={tuple(kind for kind in KINDS if kind not in kinds)!r})"
