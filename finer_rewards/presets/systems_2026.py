"""Presets of systems of 2025 and 2026 that answer with one query, and of agents that are paid for their calls too."""

from __future__ import annotations

from finer_rewards.comparing import Mode
from finer_rewards.reward import Reward, constant, gate
from finer_rewards.rewards import (
    aligned_columns,
    clause_similarity,
    column_recall,
    each_call,
    exact_set_match,
    executable,
    execution_match,
    gain,
    open_rl_result,
    open_rl_text,
    overlong,
    parses,
    returns_rows,
    schema_linking,
    well_formed,
)


def paverl_sql() -> Reward:
    """PaVeRL-SQL as its public code computes it: 10 times the gold columns found, 0.5 for none. `_reference`.

    Formula: 0 without SQL that runs; 10 a, or 0.5 where a = 0, with a = `aligned_columns()`. Range from 0 up: 10 for
    all columns, more for some shorter results of several columns where gold has one.

    Known to reward wrongly: as `aligned_columns`: scrambled rows and further columns are right, empty equals empty.
    Not reproduced: SQL shorter than 16 characters earns 0 there, the gold is a CSV file, whose texts pandas may read
    as numbers.

    References:
        PaVeRL-SQL, arXiv 2509.07159, `accuracy_reward.py`, commit 5ce9a48, 2025.
    """
    near = aligned_columns()
    return gate(condition=executable(), then=gate(condition=near, then=10 * near, otherwise=constant(0.5)))


def open_rl() -> Reward:
    """open-rl's text-to-SQL recipe as its public code has it: running, a match, what reads alike. `_reference`.

    Formula: (0.25 + 2 M if X, else -0.25) + 0.3 schema + 0.2 bigrams + 0.3 text + 0.2 near, with X, M and near from
    `open_rl_result` and the others from `open_rl_text`. Range [-0.25, 3.05].

    Known to reward wrongly: a wrong query that reads like gold earns up to 1.25; returning everything is paid. Not
    reproduced: a time limit of 0.25 s, columns that it overlooks where a CREATE TABLE has them on one line, and the
    penalty where the gold fails (here: no value).

    References:
        gke-labs/open-rl, `examples/rl/text-to-sql/utils/rewards.py`, commit e41fdbb, 2026, after Reasoning-SQL.
    """
    ran = gate(
        condition=open_rl_result(part="runs"),
        then=0.25 + 2 * open_rl_result(part="match"),
        otherwise=constant(-0.25),
    )
    alike = (
        0.3 * open_rl_text(part="schema")
        + 0.2 * open_rl_text(part="ngrams")
        + 0.3 * open_rl_text(part="text")
    )
    return ran + alike + 0.2 * open_rl_result(part="near")


def mtsql_r1() -> Reward:
    """MTSQL-R1's rewards of the answer and of the queries before it, as far as ours has their parts. `_reference`.

    Formula: M + exact set match + 0.8 · mean over the calls of the clause F1. Range [0, 2.8].

    Known to reward wrongly: exact set match ignores values, so a wrong query with other values earns as much as a
    right one that reads unlike gold; good calls earn 0.8 whatever comes after. It does not equal its code: clauses
    are compared there as wholes by Spider's parser, which makes each 0 or 1 (here: `clause_similarity()`), and 0.1
    each is paid for what the model says of its own queries in `<exec_verify>` and `<memory_verify>` tags.

    References:
        Guo et al., MTSQL-R1, arXiv 2510.12831, ACL 2026; `text2sql_process.py`, commit a720f97.
    """
    return execution_match(mode="test_suite") + exact_set_match() + 0.8 * each_call(clause_similarity())


def sql_astra(*, falling: float = 2.0, mode: str | Mode = "bird") -> Reward:
    """SQL-ASTRA, as far as it is stated: each turn by its columns, falls costing more than rises pay. `_reference`.

    Formula: Σ over the turns of the rise in v, or `falling` times its fall, with v = 1 if M, else 0.8 · column
    recall, from 0. Range up to 1, with no lower bound.

    Known to reward wrongly: a wrong answer with the right columns earns 0.8. The paper's table of transitions is not
    public, so `falling` is ours; so is that a share of columns counts in proportion.

    Args:
        falling: what a fall is multiplied by, at least 1.
        mode: how results are compared; `strict` mends the comparison.

    References:
        SQL-ASTRA, arXiv 2603.16161, 2026 (second-hand; code not public).
    """
    turn = gate(
        condition=execution_match(mode=mode), then=constant(), otherwise=0.8 * column_recall(empty="accept")
    )
    return gain(turn, falling=falling)


def retool_sql(*, mode: str | Mode = "bird") -> Reward:
    """ReToolSQL: a match, form, syntax, names, rows, less length. `_reference`: BIRD's comparison.

    Formula: 2 M + 0.2 F + 0.5 parses + 1.0 schema Jaccard + 0.1 not empty - 0.1 overlong. Range [-0.1, 3.8].

    Known to reward wrongly: a wrong query with the right names earns up to 1.8. The paper has a Jaccard index of
    tables and one of columns, 0.5 each; here both are in one. What its length term counts is not known: here it is
    DAPO's.

    Args:
        mode: how results are compared; `strict` mends the comparison.

    References:
        ReToolSQL, arXiv 2608.27796, 2026 (weights second-hand; code not public).
    """
    right = 2 * execution_match(mode=mode) + 0.2 * well_formed()
    return right + 0.5 * parses() + schema_linking() + 0.1 * returns_rows() - 0.1 * overlong()


def reex_sql(*, mode: str | Mode = "bird") -> Reward:
    """ReEx-SQL: form, a match, the exact query, its names, and queries run on the way. `_reference`: BIRD's comparison.

    Formula: 2 F + 3 M + exact set match + schema Jaccard + 2 · share of the calls that run. Range [0, 9].

    Known to reward wrongly: a wrong query in good form after calls that run earns up to 5. The paper says how much
    entities (1) and exploration (2) are worth, not how they are counted: here by names and by calls that run.

    Args:
        mode: how results are compared; `strict` mends the comparison.

    References:
        ReEx-SQL, arXiv 2505.12768, 2025 (weights second-hand; code not public).
    """
    form = 2 * well_formed() + 3 * execution_match(mode=mode)
    return form + exact_set_match() + schema_linking() + 2 * each_call(executable())


def mars_sql(*, mode: str | Mode = "bird") -> Reward:
    """MARS-SQL: 1 for a match, 0 for SQL that runs, -1 for SQL that does not. `_reference`: BIRD's comparison.

    Formula: M if X, else -1. Range {-1, 0, 1}.

    Known to reward wrongly: duplicates and order are ignored, empty equals empty.

    Args:
        mode: how results are compared; `strict` mends the comparison.

    References:
        MARS-SQL, 2025 (values second-hand).
    """
    return gate(condition=executable(), then=execution_match(mode=mode), otherwise=constant(-1.0))


def serl_sql(*, mode: str | Mode = "bird") -> Reward:
    """SERL-SQL: the same three values as `mars_sql`. `_reference`: BIRD's comparison.

    Formula: M if X, else -1. Range {-1, 0, 1}.

    Known to reward wrongly: duplicates and order are ignored, empty equals empty.

    Args:
        mode: how results are compared; `strict` mends the comparison.

    References:
        SERL-SQL, 2026 (values second-hand).
    """
    return mars_sql(mode=mode)
