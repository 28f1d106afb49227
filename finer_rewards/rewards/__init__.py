"""The rewards, by family. Each is a factory: `execution_match(mode="bird")` is a `Reward`.

Import from here: the modules inside are private.
"""

from finer_rewards.reward import clip, constant, gate, maximum, total
from finer_rewards.rewards.aligned import aligned_columns
from finer_rewards.rewards.answer import answer_coverage, answer_match
from finer_rewards.rewards.atomic import atomic_f1, atomic_reference
from finer_rewards.rewards.cells import (
    cell_precision,
    cell_recall,
    column_recall,
    tuple_cardinality,
    tuple_constraint,
    tuple_order,
)
from finer_rewards.rewards.clauses import clause_credit
from finer_rewards.rewards.completion import well_formed
from finer_rewards.rewards.efficiency import speed
from finer_rewards.rewards.execution import executable, execution_match, returns_rows
from finer_rewards.rewards.groups import in_lost_groups
from finer_rewards.rewards.judge import judge
from finer_rewards.rewards.length import overlong, sql_r1_length
from finer_rewards.rewards.memory import memory
from finer_rewards.rewards.open_rl import open_rl_result, open_rl_text
from finer_rewards.rewards.rows import rank_score, soft_f1, soft_f1_reference
from finer_rewards.rewards.similarity import (
    clause_similarity,
    ngram_similarity,
    parses,
    schema_linking,
    text_similarity,
)
from finer_rewards.rewards.staircase import staircase
from finer_rewards.rewards.structure import canonical_match, exact_set_match, tree_similarity
from finer_rewards.rewards.tags import published_format, repetitive, tag_count
from finer_rewards.rewards.trajectory import each_call, few_turns, gain

__all__ = [
    "aligned_columns",
    "answer_coverage",
    "answer_match",
    "atomic_f1",
    "atomic_reference",
    "canonical_match",
    "cell_precision",
    "cell_recall",
    "clause_credit",
    "clause_similarity",
    "clip",
    "column_recall",
    "constant",
    "each_call",
    "exact_set_match",
    "executable",
    "execution_match",
    "few_turns",
    "gain",
    "gate",
    "in_lost_groups",
    "judge",
    "maximum",
    "memory",
    "ngram_similarity",
    "open_rl_result",
    "open_rl_text",
    "overlong",
    "parses",
    "published_format",
    "rank_score",
    "repetitive",
    "returns_rows",
    "schema_linking",
    "soft_f1",
    "soft_f1_reference",
    "speed",
    "sql_r1_length",
    "staircase",
    "tag_count",
    "text_similarity",
    "total",
    "tree_similarity",
    "tuple_cardinality",
    "tuple_constraint",
    "tuple_order",
    "well_formed",
]
