"""Presets of 2026: what Arctic's training code computes, and two systems that query the database before they answer."""

from __future__ import annotations

from finer_rewards.comparing import Mode
from finer_rewards.reward import Reward, constant, gate, maximum
from finer_rewards.rewards import (
    executable,
    execution_match,
    few_turns,
    ngram_similarity,
    published_format,
    schema_linking,
    well_formed,
)


def arctic_reference() -> Reward:
    """Arctic-Text2SQL-R1 as its training code computes it: good form alone earns 0.1. `_reference`.

    Formula: max(1 if M, else 0.1 X; 0.1 F), F one `<think>` before one `</think>`, and SQL. Range {0, 0.1, 1}.

    Known to reward wrongly: as `arctic`; and 0.1 for SQL that does not run, in good form. Not reproduced: SQL found in
    prose, `LIMIT 5000` added to both queries, and 0.1 where the gold fails (here: no value).

    References:
        NovaSky-AI/SkyRL, `integrations/arctic_rl/envs/bird_reward.py`, commit a956457, 2026.
    """
    verdict = gate(condition=execution_match(mode="bird"), then=constant(), otherwise=0.1 * executable())
    return maximum((verdict, 0.1 * published_format(system="arctic")))


def sql_trail(*, most: int = 2, mode: str | Mode = "bird") -> Reward:
    """SQL-Trail: a match, few turns, names and bigrams like gold's, running and form. `_reference`: BIRD's comparison.

    Formula: 5 M + 2 turns + schema Jaccard + bigram Jaccard + X + F, turns 1 for at most `most` of them. Range [0, 11].

    Known to reward wrongly: a wrong query in few turns earns up to 6 of 11; a right one in many turns that reads unlike
    gold earns 7. The paper has `most` by difficulty (simple 2, medium 3; hard: a match before the last turn): give each
    difficulty its own reward.

    Args:
        most: turns that earn the bonus.
        mode: how results are compared; `strict` mends the comparison.

    References:
        SQL-Trail, arXiv 2601.17699, ACL 2026 (values second-hand; code not public).
    """
    near = schema_linking(published=True) + ngram_similarity(published=True)
    return 5 * execution_match(mode=mode) + 2 * few_turns(most=most) + near + executable() + well_formed()


def trust_sql(*, mode: str | Mode = "bird") -> Reward:
    """TRUST-SQL's reward of the answer: 1 for a match, 0.2 for SQL that runs, form. `_reference`: BIRD's comparison.

    Formula: (1 if M, else 0.2 X) + 0.1 F. Range [0, 1.1].

    Known to reward wrongly: duplicates and order are ignored, empty equals empty; `SELECT 1` earns 0.2. Not reproduced:
    the paper's reward of the schema that the model proposes, from which tokens up to that proposal get an advantage of
    their own.

    Args:
        mode: how results are compared; `strict` mends the comparison.

    References:
        TRUST-SQL, arXiv 2603.16448, 2026 (values second-hand).
    """
    verdict = gate(condition=execution_match(mode=mode), then=constant(), otherwise=0.2 * executable())
    return verdict + 0.1 * well_formed()
