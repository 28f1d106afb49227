"""Presets that pay for being near: to the gold result, to the gold text, to the gold answer."""

from __future__ import annotations

from typing import Literal

from finer_rewards.comparing import Mode
from finer_rewards.errors import ConfigError
from finer_rewards.reward import Reward, clip, constant, gate
from finer_rewards.rewards import (
    answer_coverage,
    answer_match,
    atomic_f1,
    cell_precision,
    cell_recall,
    clause_similarity,
    executable,
    execution_match,
    ngram_similarity,
    parses,
    published_format,
    schema_linking,
    staircase,
    tag_count,
    text_similarity,
    tuple_cardinality,
    well_formed,
)

Task = Literal["dense", "match"]


def reasoning_sql(*, judge: Reward | None = None, mode: str | Mode = "bird") -> Reward:
    """Reasoning-SQL as its paper has it: six rewards, execution above all. `_reference`: BIRD's set comparison.

    Formula: 3 M + 2 judge + X + schema Jaccard + bigram Jaccard + F. Range [0, 9]; [0, 7] without a judge.

    Known to reward wrongly: duplicates and order are ignored, empty equals empty; up to 4 for a wrong query
    that reads like gold. With a judge that errs a wrong query can outrank a right one.

    Args:
        judge: your judge of a query as a reward in [0, 1], written with `@reward`; 0 when left out.
        mode: how results are compared; `strict` mends the comparison.

    References:
        Pourreza et al., Reasoning-SQL, 2025, section 3 (weights second-hand).
    """
    total = 3 * execution_match(mode=mode) + executable() + schema_linking(published=True)
    total = total + ngram_similarity(published=True) + well_formed(policy="think_answer")
    return total if judge is None else total + 2 * _reward("reasoning_sql(judge=...)", judge)


def reasoning_sql_reference(*, judge: Reward | None = None) -> Reward:
    """Reasoning-SQL as its public code computes it. `_reference`.

    Formula: (3 if M, else 2 judge) + X + schema recall + bigram Jaccard + 0.5 tags. Range up to 6.5, with no
    lower bound.

    Known to reward wrongly: schema linking is recall, so naming every column is paid; bigrams have no
    operators, `x > 3` and `x < 3` are one; each character after the answer costs, and a missing line break
    the whole text. A wrong query with a kind judge (5.5) outranks a right one that reads unlike gold (4).
    Not reproduced: SQL without the capitals SELECT never matches there, and `"` becomes `'`.

    Args:
        judge: your judge of a query as a reward in [0, 1], written with `@reward`; 0 when left out.

    References:
        MohammadrezaPourreza/RLForSQL, `grpo_training_llm_partial_reward.py`, 2025.
    """
    judged = None if judge is None else 2 * _reward("reasoning_sql_reference(judge=...)", judge)
    return (
        gate(condition=execution_match(mode="bird_nonempty"), then=constant(3.0), otherwise=judged)
        + executable()
        + schema_linking(metric="recall", published=True)
        + ngram_similarity(published=True)
        + 0.5 * tag_count(thought="reasoning", trailing=0.002)
    )


def think2sql(*, mode: str | Mode = "bird") -> Reward:
    """Think2SQL as its committed configuration has it: match and format. `_reference`: BIRD's set comparison.

    Formula: 0.85 M + 0.15 F. Range [0, 1].

    Known to reward wrongly: duplicates and order are ignored, empty equals empty.

    Args:
        mode: how results are compared; `strict` mends the comparison.

    References:
        spapicchio/Think2SQL, `config/config_train_grpo.yaml`, commit e099208, 2025.
    """
    return 0.85 * execution_match(mode=mode) + 0.15 * published_format(system="think2sql")


def think2sql_v1(*, task: Task = "dense", mode: str | Mode = "bird") -> Reward:
    """Think2SQL, first version: task, format and tags. `_reference`: dense scores call scrambled rows right.

    Formula: 0.85 T + 0.1 F + 0.05 tags, T the mean of cell precision, cell recall and tuple cardinality, or M.
    Range [0, 1].

    Known to reward wrongly: T is 1 for rows scrambled across columns, for any order and for swapped
    duplicates. The authors' evaluator also holds numbers within 1e-6 equal.

    Args:
        task: `dense` as in the paper's main setting, or `match` for execution match.
        mode: how results are compared for `match`; `strict` mends the comparison.

    References:
        Papicchio et al., Think2SQL, 2025, section 3 (weights second-hand).
    """
    return (
        0.85 * _task("think2sql_v1", task, mode)
        + 0.1 * published_format(system="think_answer")
        + 0.05 * tag_count()
    )


def think2sql_v2(
    *, task: Task = "dense", buckets: bool = False, needs_format: bool = False, mode: str | Mode = "bird"
) -> Reward:
    """Think2SQL, "small update": at least 0.1 for SQL that runs. `_reference`: dense scores call scrambled rows right.

    Formula: 0 if not X; 1 if T = 1; else max(T, 0.1), or by buckets 0.1 below T = 0.1, 0.5 below 0.5, 0.8
    below 0.8, 0.9 below 1; with `needs_format` 0 instead where the format is broken and T < 1. Range [0, 1].

    Known to reward wrongly: as `think2sql_v1`.

    Args:
        task: `dense` (mean of cell precision, cell recall, tuple cardinality) or `match`.
        buckets: pay by buckets.
        needs_format: pay partial credit only for a well-formed completion.
        mode: how results are compared for `match`; `strict` mends the comparison.

    References:
        spapicchio/Think2SQL, `rewards_answer_content.py` (`reward_small_update`), commit e099208, 2025.
    """
    score = _task("think2sql_v2", task, mode)
    if buckets:
        paid = staircase(score, steps=((0, 0.1), (0.1, 0.5), (0.5, 0.8), (0.8, 0.9), (1, 1)))
    else:
        paid = clip(score, lo=0.1)
    if needs_format:
        paid = gate(
            condition=published_format(system="think_answer"),
            then=paid,
            otherwise=staircase(score, steps=((0, 0), (1, 1))),
        )
    return gate(condition=executable(), then=paid)


def think2sql_complex(*, task: Task = "dense", mode: str | Mode = "bird") -> Reward:
    """Think2SQL, "complex": the task alone, to be followed by a length penalty over the group. `_reference`.

    Formula: T; then, over each group, less min(0.9, 0.1 z) for completions longer than the right ones.
    Range [0, 1].

    The penalty depends on the whole group and so is no reward: pass the values of each group to
    `finer_rewards.rewards.length.length_penalised`.

    Known to reward wrongly: as `think2sql_v1`; a long right answer can fall below a short wrong one.

    Args:
        task: `dense` (mean of cell precision, cell recall, tuple cardinality) or `match`.
        mode: how results are compared for `match`; `strict` mends the comparison.

    References:
        spapicchio/Think2SQL, `rewards_answer_content.py` (`complex_reward`), commit e099208, 2025.
    """
    return _task("think2sql_complex", task, mode)


def execution_learning() -> Reward:
    """Execution-based learning from answers without SQL: exact answers far above partial ones.

    Formula: 1 if it parses; -100 if it does not run; 100 × the share of the answer returned; 1000 for the
    exact answer. Range [-100, 1101]. The sample needs `answer` rows.

    The hack its authors report is closed: a result with more items than the answer earns no share, so that
    returning everything earns 1, as any query that runs.

    Known to reward wrongly: a wrong query that happens to return the answer.

    References:
        Kulkarni and Srikumar, arXiv 2506.06093, 2025 (values second-hand).
    """
    return _answer_total(answer_coverage(), answer_match())


def execution_learning_reference() -> Reward:
    """Execution-based learning from answers without SQL, hack included: returning everything is paid. `_reference`.

    Formula: 1 if it parses; -100 if it does not run; 100 × the share of the answer returned; 1000 for the
    exact answer. Range [-100, 1101]. The sample needs `answer` rows.

    Known to reward wrongly: a query that returns everything takes 101 of 1101, as the authors report.

    References:
        Kulkarni and Srikumar, arXiv 2506.06093, 2025 (values second-hand).
    """
    return _answer_total(
        answer_coverage(hedging=True, require_base_table=False), answer_match(require_base_table=False)
    )


def _answer_total(share: Reward, exact: Reward) -> Reward:
    return parses() + gate(
        condition=executable(), then=100 * share + 1000 * exact, otherwise=constant(-100.0)
    )


def graph_reward(*, scorer: Reward | None = None) -> Reward:
    """Graph-Reward-SQL: similarity of query graphs, nothing is run. `_reference`: never asks what a query returns.

    Formula: -1 if it does not parse; -0.6 if no relational tree can be made; else max(0, scorer + 1) with
    scorer <= 0, minus the distance of two graph embeddings. Range [-1, 1].

    Known to reward wrongly: a wrong query that looks like gold; a right one that looks unlike it.

    Args:
        scorer: your trained graph scorer as a reward, at most 0, written with `@reward`; when left out,
            atomic F1 minus 1 stands in (the authors' 4 M parameter network is not public).

    References:
        Weng et al., Graph-Reward-SQL, arXiv 2505.12380, 2025 (values second-hand).
    """
    near = atomic_f1() if scorer is None else clip(_reward("graph_reward(scorer=...)", scorer) + 1)
    tree = gate(condition=parses(operations=True), then=near, otherwise=constant(-0.6))
    return gate(condition=parses(), then=tree, otherwise=constant(-1.0))


def sparks(*, part: Literal["string", "clause", "judge"] = "string", judge: Reward | None = None) -> Reward:
    """Sparks of Tabular Reasoning: one similarity of texts, nothing is run. `_reference`.

    Formula: difflib's ratio (`string`), mean F1 of clauses (`clause`), or your judge's grade (`judge`:
    excellent 1, good 0.8, above average 0.6, bad 0.2, very bad 0). Range [0, 1].

    Known to reward wrongly: a wrong query that looks like gold. The code's clause scanner reads the first
    component of each keyword only, and its judge gives a whole group 0 for a grade outside its map; neither
    is reproduced. Its "execution" reward counts edits by a language model and runs nothing.

    Args:
        part: which reward; the paper trains with one at a time.
        judge: your judge as a reward in [0, 1], written with `@reward`; 0 when left out.

    References:
        Sparks of Tabular Reasoning via Text2SQL Reinforcement Learning, arXiv 2505.00016, 2025.
    """
    parts = {
        "string": text_similarity(),
        "clause": clause_similarity(),
        "judge": constant(0.0) if judge is None else _reward("sparks(judge=...)", judge),
    }
    if part not in parts:
        raise ConfigError(f"`sparks(part=...)` should be one of {', '.join(parts)}, but got {part!r}.")
    return parts[part]


def _task(name: str, task: Task, mode: str | Mode) -> Reward:
    if task == "match":
        return execution_match(mode=mode)
    if task != "dense":
        raise ConfigError(f"`{name}(task=...)` should be 'dense' or 'match', but got {task!r}.")
    third = 1 / 3
    return (
        third * cell_precision(empty="accept")
        + third * cell_recall(empty="accept")
        + third * tuple_cardinality(empty="accept")
    )


def _reward(where: str, given: Reward) -> Reward:
    if not isinstance(given, Reward):
        raise ConfigError(
            f"`{where}` should be a Reward, but got {given!r:.80}. Write your function with `@finer_rewards.reward()`."
        )
    return given
