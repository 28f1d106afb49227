"""Rewards that look at the completion's text alone: its form."""

from __future__ import annotations

from dataclasses import replace

from finer_rewards.parsing import Policy, named_policy, parse_completion
from finer_rewards.reward import reward
from finer_rewards.types import Evidence, Score, Status


def _asked(policy: str, min_thought: int | None) -> Policy:
    asked = named_policy(policy)
    return asked if min_thought is None else replace(asked, min_thought=min_thought)


def _check_form(policy: str, min_thought: int | None) -> None:
    _asked(policy, min_thought)


@reward(check=_check_form)
def well_formed(evidence: Evidence, *, policy: str = "auto", min_thought: int | None = None) -> Score:
    """1 when the completion keeps every rule of the policy, else 0; the reason names the first rule broken.

    The completion is read anew under this policy, whatever the scorer itself parses with. `auto` accepts every
    form that models write: with a thought or without, fenced or bare, in tags, between sentences. Malformed is
    what holds no query or different ones, a thought that never ends, and a thought of nothing that can be read.
    `finer` is the form of the FINER-SQL paper, one thought of more than 100 characters and then SQL;
    `think_answer`, `sql_r1` and `solution` ask for their tags, `fence` for a fenced query, `plain` for SQL alone:
    `finer_rewards.parsing.POLICIES` holds the rules. Under every policy the SQL has to begin like a query.
    Boilerplate that has different words passes for a thought.

    Args:
        policy: name of the policy.
        min_thought: fewest characters of the thought; `None` means what the policy says.

    Returns:
        1 or 0.

    Raises:
        ConfigError: there is no such policy, or the length is negative.

    Example:
        >>> from finer_rewards.types import Answer, Sample
        >>> sample = Sample("Sure! <think>All.</think> SELECT 1", gold="SELECT 1", db="x.sqlite")
        >>> well_formed(policy="think_answer")(Evidence(sample, Answer("All.", "SELECT 1"))).reason
        'there is text before `<think>`: Sure!'

    References:
        Hoang et al., FINER-SQL, ICDE 2026 (format reward); DeepSeek-AI, DeepSeek-R1, 2025, section 2.2.2.
    """
    answer = parse_completion(evidence.sample.completion, _asked(policy, min_thought))
    status = Status.no_sql if answer.sql is None else Status.ok
    return Score(0.0, answer.problem, status) if answer.problem else Score(1.0, "well formed")
