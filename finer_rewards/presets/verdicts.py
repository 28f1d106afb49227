"""Presets made of verdicts alone: did it match, did it run, is it well formed."""

from __future__ import annotations

from typing import Literal

from finer_rewards.comparing import Mode
from finer_rewards.reward import Reward, constant, gate
from finer_rewards.rewards import (
    executable,
    execution_match,
    published_format,
    speed,
    sql_r1_length,
    well_formed,
)

Clock = Literal["seconds", "steps"]


def execution_only(*, mode: str | Mode = "answer") -> Reward:
    """Execution match alone, in {0, 1}.

    Formula: M.

    Known to reward wrongly: a wrong query that happens to return the gold result on the databases given.

    Example:
        >>> execution_only()
        execution_match()
    """
    return execution_match(mode=mode)


def arctic(*, mode: str | Mode = "bird") -> Reward:
    """Arctic-Text2SQL-R1: 1 for a match, 0.1 for SQL that runs, else 0. `_reference`: BIRD's set comparison.

    Formula: 1 if M, else 0.1 X. Range {0, 0.1, 1}.

    Known to reward wrongly: duplicates and order are ignored, empty equals empty; `SELECT 1` earns 0.1.
    `arctic_reference` is what their training code computes.

    Args:
        mode: how results are compared; `strict` mends the comparison.

    References:
        Yao et al., Arctic-Text2SQL-R1, 2025, section 3.2 (values second-hand).
    """
    return gate(condition=execution_match(mode=mode), then=constant(), otherwise=0.1 * executable())


def skyrl(*, mode: str | Mode = "bird") -> Reward:
    """SkyRL-SQL: -1 for a malformed completion, 1 for a match, else 0. `_reference`: BIRD's set comparison.

    Formula: -1 if not F, else M. Range {-1, 0, 1}.

    Known to reward wrongly: duplicates and order are ignored, empty equals empty. Stricter than the code on
    form: a solution without SQL is malformed. `skyrl_reference` reads the form as the code does.

    Args:
        mode: how results are compared; `strict` mends the comparison.

    References:
        NovaSky-AI/SkyRL, `skyrl_gym/envs/sql`, commit a956457, 2025.
    """
    return gate(
        condition=well_formed(policy="solution"),
        then=execution_match(mode=mode),
        otherwise=constant(-1.0),
    )


def skyrl_reference() -> Reward:
    """SkyRL-SQL as its code computes it: -1 for a malformed completion, 1 for a match, else 0. `_reference`.

    Formula: -1 if not F, else M. Range {-1, 0, 1}.

    Known to reward wrongly: duplicates and order are ignored, empty equals empty; prose in the solution is
    well formed. A gold that fails has no value here; the code gives 0.

    References:
        NovaSky-AI/SkyRL, `skyrl_gym/envs/sql/utils.py`, commit a956457, 2025.
    """
    return gate(
        condition=published_format(system="skyrl"),
        then=execution_match(mode="bird"),
        otherwise=constant(-1.0),
    )


def csc_sql(*, mode: str | Mode = "bird") -> Reward:
    """CSC-SQL: execution match plus 0.1 for the format. `_reference`: BIRD's set comparison.

    Formula: M + 0.1 F. Range [0, 1.1].

    Known to reward wrongly: duplicates and order are ignored, empty equals empty.

    Args:
        mode: how results are compared; `strict` mends the comparison.

    References:
        Sheng and Xu, CSC-SQL, 2025 (values second-hand).
    """
    return execution_match(mode=mode) + 0.1 * well_formed(policy="think_answer")


def slm_sql(*, mode: str | Mode = "bird") -> Reward:
    """SLM-SQL: execution match plus 0.1 for the format, as CSC-SQL. `_reference`: BIRD's set comparison.

    Formula: M + 0.1 F. Range [0, 1.1].

    Known to reward wrongly: duplicates and order are ignored, empty equals empty.

    Args:
        mode: how results are compared; `strict` mends the comparison.

    References:
        Sheng and Xu, SLM-SQL, 2025 (values second-hand).
    """
    return csc_sql(mode=mode)


def sql_r1(*, mode: str | Mode = "test_suite") -> Reward:
    """SQL-R1: format, execution, result and length, one after the other. `_reference`: test-suite comparison.

    Formula: -1 if not F; else 1 - 2 if not X; else 1 + 2 - 3 if not M; else 1 + 2 + 3 + length, with length
    in [0, 1.5]. Range [-1, 7.5].

    Known to reward wrongly: DISTINCT does not count, `order by` in a literal makes order count; length pays
    for rambling. Mended here: a gold that fails is no match but has no value, and line breaks stay in the
    SQL, so that a comment does not swallow what follows.

    Args:
        mode: how results are compared; `strict` mends the comparison.

    References:
        Ma et al., SQL-R1, 2025, section 3; DataArcTech/SQL-R1, `synsql.py`, commit acb5c0d.
    """
    return _sql_r1(well_formed(policy="sql_r1"), mode)


def sql_r1_reference() -> Reward:
    """SQL-R1 with the format check of its code: format, execution, result and length. `_reference`.

    Formula: -1 if not F; else 1 - 2 if not X; else 1 + 2 - 3 if not M; else 1 + 2 + 3 + length, with length
    in [0, 1.5]. Range [-1, 7.5].

    Known to reward wrongly: DISTINCT does not count, `order by` in a literal makes order count; length pays
    for rambling. Not reproduced, because no reward here can: a gold that fails counts as a match in the code,
    and line breaks are put out of the SQL before it runs.

    References:
        DataArcTech/SQL-R1, `verl/utils/reward_score/synsql.py`, commit acb5c0d, 2025.
    """
    return _sql_r1(published_format(system="sql_r1"), "test_suite")


def _sql_r1(form: Reward, mode: str | Mode) -> Reward:
    result = gate(condition=execution_match(mode=mode), then=3 + sql_r1_length(), otherwise=constant(-3.0))
    runs = gate(condition=executable(), then=2 + result, otherwise=constant(-2.0))
    return gate(condition=form, then=1 + runs, otherwise=constant(-1.0))


def mtir(*, mode: str | Mode = "bird") -> Reward:
    """MTIR-SQL: plus or minus 0.1 for format, 0.1 for running and 1 for the result. `_reference`: BIRD's set.

    Formula: 0.1 (2 F - 1) + 0.1 (2 X - 1) + (2 M - 1). Range [-1.2, 1.2].

    Known to reward wrongly: duplicates and order are ignored, empty equals empty. The authors' tags are not
    public; `<think>` and `<answer>` stand in. They drop samples with an empty gold result.

    Args:
        mode: how results are compared; `strict` mends the comparison.

    References:
        MTIR-SQL, 2025 (values second-hand).
    """
    return (
        0.2 * well_formed(policy="think_answer") + 0.2 * executable() + 2 * execution_match(mode=mode) - 1.2
    )


def agent_lightning(*, mode: str | Mode = "test_suite") -> Reward:
    """agent-lightning's Spider example: 1 for a match, else 0. `_reference`: test-suite comparison.

    Formula: M. Range {0, 1}.

    Known to reward wrongly: DISTINCT does not count, `order by` in a literal makes order count.

    Args:
        mode: how results are compared; `strict` mends the comparison.

    References:
        microsoft/agent-lightning, `examples/spider`, before v1.0.0, 2025.
    """
    return execution_match(mode=mode)


def excot(*, mode: str | Mode = "bird") -> Reward:
    """ExCoT's label for preference pairs: 1 for a match with a gold that is not empty. `_reference`: BIRD's set.

    Formula: M and g is not empty. Range {0, 1}.

    Known to reward wrongly: duplicates and order are ignored.

    Args:
        mode: how results are compared; `strict` mends the comparison.

    References:
        Zhai et al., ExCoT, 2025; snowflakedb/ArcticTraining.
    """
    return execution_match(mode=mode, empty="zero")


def star(*, mode: str | Mode = "bird") -> Reward:
    """STaR-SQL's label: 1 for a rationale whose SQL matches, and so is kept. `_reference`: BIRD's set comparison.

    Formula: M. Range {0, 1}.

    Known to reward wrongly: duplicates and order are ignored, empty equals empty.

    Args:
        mode: how results are compared; `strict` mends the comparison.

    References:
        He et al., STaR-SQL, 2025 (second-hand).
    """
    return execution_match(mode=mode)


def ves(*, mode: str | Mode = "bird", clock: Clock = "seconds") -> Reward:
    """BIRD's valid efficiency score of one query, in hundredths. `_reference`: BIRD's set comparison.

    Formula: √(t_g / t_p) if M, else 0. Range from 0 up.

    Known to reward wrongly: one run is timed, so the same query varies by tens of per cent.

    Args:
        mode: how results are compared; `strict` mends the comparison.
        clock: `seconds` as published, or `steps`, opcodes of SQLite, which are the same every time.

    References:
        Li et al., BIRD, NeurIPS 2023, section 5.
    """
    return gate(condition=execution_match(mode=mode), then=speed(measure="ves", clock=clock))


def r_ves(*, mode: str | Mode = "bird", clock: Clock = "seconds") -> Reward:
    """BIRD's reward-based valid efficiency score of one query. `_reference`: BIRD's set comparison.

    Formula: 1.25, 1, 0.75, 0.5 or 0.25 by t_g / t_p if M, else 0. Range [0, 1.25].

    Known to reward wrongly: a query equal to gold gets 0.75 or 1 by chance.

    Args:
        mode: how results are compared; `strict` mends the comparison.
        clock: `seconds` as published, or `steps`, opcodes of SQLite, which are the same every time.

    References:
        Li et al., BIRD mini-dev, 2024, `evaluation_ves.py`.
    """
    return gate(condition=execution_match(mode=mode), then=speed(measure="r_ves", clock=clock))
