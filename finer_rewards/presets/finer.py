"""The presets of this library: a right answer first, and then how nearly right a wrong one is."""

from __future__ import annotations

from finer_rewards.comparing import Mode
from finer_rewards.errors import ConfigError
from finer_rewards.reward import Reward, constant, gate
from finer_rewards.rewards import atomic_f1, atomic_reference, executable, execution_match, well_formed
from finer_rewards.rewards import memory as memory_reward


def finer(
    *, mode: str | Mode = "answer", memory: bool = True, policy: str = "auto", atomic_weight: float = 0.5
) -> Reward:
    """Execution match, and below it a bounded share for structure and reasoning. The default reward.

    Formula: 0 if not F; 4 if M; 1 if the SQL does not run or reads no base table; else 1 + a J + 0.25 R, with
    a = `atomic_weight`, J the atomic F1 (half credit for an operation with one argument wrong) and R the memory
    reward. Range [0, 4]; a wrong answer stays below 2.

    What M cannot judge has no value: the gold fails, is empty, is random or leaves open which result is right,
    or the system is at fault. Nothing is paid for structure or reasoning unless the SQL ran and read a table.

    Known to reward wrongly: a wrong query that returns the gold result on all the databases given; pass several
    (`Sample(db=(...))`). Partial credit can teach leaving out clauses: watch `atomic_f1/recall`.

    Args:
        mode: how results are compared; towards a benchmark `bird_train` or `spider_train`.
        memory: pay for reasoning too; the scorer then needs `memory=TraceMemory.open(...)`.
        policy: the form asked of a completion, by default any that models write; `"finer"` is the paper's. See
            `well_formed`.
        atomic_weight: the most that structure is worth, from 0 to 0.7.

    Raises:
        ConfigError: the weight would let a wrong answer come near a right one.

    Example:
        >>> finer(memory=False)  # doctest: +NORMALIZE_WHITESPACE
        gate(condition=well_formed(), then=constant() + gate(condition=execution_match(), then=3 * constant(),
            otherwise=gate(condition=executable(require_base_table=True), then=0.5 * atomic_f1(partial=0.5))))

    References:
        Hoang et al., FINER-SQL, ICDE 2026, arXiv:2605.03465; the composition is ours (docs/design/finer.md).
    """
    if not 0 <= atomic_weight <= 0.7:
        raise ConfigError(
            f"`finer(atomic_weight=...)` should be from 0 to 0.7, so that a wrong answer stays below 2, "
            f"but got {atomic_weight!r}."
        )
    # Running is no rung of its own: in the learning benchmark that taught short, safe queries (docs/design/finer.md).
    near = atomic_weight * atomic_f1(partial=0.5)
    if memory:
        near = near + 0.25 * memory_reward()
    wrong = gate(condition=executable(require_base_table=True), then=near)
    return gate(
        condition=well_formed(policy=policy),
        then=constant() + gate(condition=execution_match(mode=mode), then=3 * constant(), otherwise=wrong),
    )


def finer_paper(*, mode: str | Mode = "bird") -> Reward:
    """FINER-SQL as the paper states it: the plain sum of four rewards. `_reference`: keeps a known fault.

    Formula: F + (2 if M, else X) + J + R, with J the Jaccard index of operations and R the memory reward: the
    raw cosine to the centroid of the 20 nearest verified traces of other databases. Range [0, 5].

    Known to reward wrongly: a wrong answer with all operations and copied reasoning (4) outranks a right one
    written otherwise (3); R is paid above SQL that does not run; sets of rows ignore duplicates and order.
    Values from the paper, second-hand.

    Args:
        mode: how results are compared.

    References:
        Hoang et al., FINER-SQL, ICDE 2026, arXiv:2605.03465, section 4.
    """
    executed = gate(condition=execution_match(mode=mode), then=2 * constant(), otherwise=executable())
    reasoning = memory_reward(calibrated=False, executed=False, grounded=False)
    return well_formed(policy="finer") + executed + atomic_f1(metric="jaccard") + reasoning


def finer_reference(*, mode: str | Mode = "finer_reference") -> Reward:
    """FINER-SQL as its published code adds it up. `_reference`: keeps its formula and its faults.

    Formula: 0 if not F; 4 if M; else 1 + X (1 + s(J)) + R, with s(J) = 0.05 J + 0.95 * 0.79 J^0.2, J the Jaccard
    index of its operations, and R the raw cosine to the centroid of the 20 nearest verified traces of other
    databases. Range [0, 4].

    Known to reward wrongly: NULL equals the empty text, duplicates, order and columns of one name are lost; the
    operations do not see the tables; R is paid above SQL that does not run. Three faults are not kept: text that
    is no query earns no X, memory is not written while scoring, and what cannot be judged has no value.

    Args:
        mode: how results are compared.

    References:
        Hoang et al., FINER-SQL, ICDE 2026: the published code, commit 3436ab7.
    """
    near = gate(condition=executable(), then=constant() + atomic_reference())
    reasoning = memory_reward(calibrated=False, executed=False, grounded=False)
    return gate(
        condition=well_formed(policy="finer"),
        then=constant()
        + gate(condition=execution_match(mode=mode), then=3 * constant(), otherwise=near + reasoning),
    )
