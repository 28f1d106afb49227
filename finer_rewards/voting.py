"""Chooses one of several candidates for a question by the results they return, and tells how good a choice can be."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Hashable, Sequence
from typing import Any, Literal, get_args

from finer_rewards.errors import ConfigError, suggest
from finer_rewards.types import Execution

__all__ = ["vote"]

Strategy = Literal["vav", "majority", "execution_weighted", "structure_weighted", "vav_reference"]
STRATEGIES: tuple[str, ...] = get_args(Strategy)
Candidates = Sequence[Execution | None]

_REFERENCE_KEY_LENGTH = 200
# A row that is one number, as FINER-SQL reads it.
_REFERENCE_NUMBER = re.compile(r"[\s\-+]?(\d+(?:\.\d+)?)$")


def vote(
    executions: Candidates, strategy: str = "vav", *, sqls: Sequence[str | None] | None = None
) -> int | None:
    r"""Return the index of the candidate to answer with, or `None` when no candidate ran.

    Candidates that ran are grouped by their whole result: the multiset of rows, whatever the order of rows and
    of the cells within a row. The first candidate of the winning group is returned; of groups that are level,
    the one with the earliest candidate wins.

    * `majority`: the largest group.
    * `vav`, value-aware voting: the largest group whose result holds a value and not zeros alone; when there
      is none, the largest group.
    * `execution_weighted`: as `vav`, but a candidate votes for every group, with the share of cells its
      result has in common with the group's: $w(g) = \sum_h |h| \cdot 2 |g \cap h| / (|g| + |h|)$, results as
      multisets of cells (minimum Bayes risk under execution).
    * `structure_weighted`: as `vav`, but a vote counts as much as the candidate's SQL resembles the others':
      $w(g) = \sum_{i \in g} \sum_j F_1(i, j)$ over atomic operations. Needs `sqls`.
    * `vav_reference`: `vav` bug for bug as FINER-SQL published it. Results are told apart by the first 200
      characters of their sorted rows, so that two long results can be one; of groups of one size, the one whose
      text sorts last wins.

    Args:
        executions: what each candidate did, best first; `None` for one without SQL.
        strategy: one of the names above.
        sqls: the candidates' SQL, for `structure_weighted`.

    Returns:
        An index into `executions`.

    Raises:
        ConfigError: there is no such strategy, or `sqls` is missing or of another length.

    Example:
        >>> from finer_rewards.types import Status
        >>> zero, right = (Execution(Status.ok, ("n",), ((n,),)) for n in (0, 7))
        >>> vote([zero, right, zero]), vote([zero, right, zero], "majority"), vote([None])
        (1, 0, None)

    References:
        Hoang et al., FINER-SQL, ICDE 2026 (value-aware voting); Shi et al., Natural Language to Code
        Translation with Execution, EMNLP 2022 (minimum Bayes risk decoding).
    """
    if strategy not in STRATEGIES:
        raise ConfigError(
            f"`vote(strategy=...)` should be one of {', '.join(STRATEGIES)}, but got {strategy!r}. "
            f"{suggest(str(strategy), STRATEGIES)}".rstrip()
        )
    if strategy == "structure_weighted" and sqls is None:
        raise ConfigError(
            "`vote(sqls=...)` should hold the SQL of each candidate for 'structure_weighted'. Pass it."
        )
    if sqls is not None and len(sqls) != len(executions):
        raise ConfigError(
            f"`vote(sqls=...)` should hold one text a candidate, but got {len(sqls)} for {len(executions)}."
        )
    if strategy == "vav_reference":
        return _vote_reference(executions)
    groups: dict[Hashable, list[int]] = {}
    for index, execution in enumerate(executions):
        if execution is not None and execution.ok:
            groups.setdefault(_result_key(execution), []).append(index)
    if not groups:
        return None
    eligible = list(groups.values())
    if strategy != "majority":
        eligible = [group for group in eligible if _tells_something(executions[group[0]])] or eligible
    if strategy == "execution_weighted":
        weights = _execution_weights(eligible, list(groups.values()), executions)
    elif strategy == "structure_weighted":
        weights = _structure_weights(eligible, list(groups.values()), sqls or ())
    else:
        weights = [float(len(group)) for group in eligible]
    # `max` returns the first of equal groups, and groups are in the order of their first candidates.
    return eligible[max(range(len(eligible)), key=weights.__getitem__)][0]


def votes_for(executions: Candidates, index: int | None) -> dict[str, int]:
    """Return how many different results there are (`groups`), and how many candidates have that of `index` (`votes`).

    Example:
        >>> from finer_rewards.types import Status
        >>> votes_for([Execution(Status.ok, ("n",), ((n,),)) for n in (7, 8, 7)], 0)
        {'groups': 2, 'votes': 2}
    """
    keys = [_result_key(one) if one is not None and one.ok else None for one in executions]
    groups = Counter(key for key in keys if key is not None)
    return {"groups": len(groups), "votes": 0 if index is None else groups[keys[index]]}


def recall_at_n(verdicts: Sequence[Sequence[float | None]], n: int) -> float | None:
    """Return the share of questions with a right candidate among the first `n`, in [0, 1].

    The best any vote over `n` candidates can reach. A question none of whose candidates could be scored is
    left out.

    Args:
        verdicts: a sequence a question: for each candidate 1 for right, 0 for wrong, `None` when unscored.
        n: number of candidates looked at.

    Returns:
        A share; `None` when no question is left.

    Raises:
        ConfigError: `n` is below 1.

    Example:
        >>> recall_at_n([[0, 1], [0, 0], [None, None]], 2)
        0.5
    """
    if n < 1:
        raise ConfigError(f"`recall_at_n(n=...)` should be at least 1, but got {n!r}.")
    scored = [[value for value in row[:n] if value is not None] for row in verdicts]
    scored = [row for row in scored if row]
    return sum(any(value == 1 for value in row) for row in scored) / len(scored) if scored else None


def pass_at_k(total: int, right: int, k: int) -> float:
    r"""Return the unbiased estimate that one of `k` samples is right, given `right` of `total`, in [0, 1].

    Formula: 1 - C(n - c, k) / C(n, k).

    Args:
        total: candidates sampled, n.
        right: how many of them are right, c.
        k: how many may be tried.

    Raises:
        ConfigError: not 0 <= right <= total and 1 <= k <= total.

    Example:
        >>> pass_at_k(total=10, right=3, k=1)
        0.3

    References:
        Chen et al., Evaluating Large Language Models Trained on Code, 2021, equation 1.
    """
    if not (0 <= right <= total and 1 <= k <= total):
        raise ConfigError(
            f"`pass_at_k(total, right, k)` should have 0 <= right <= total and 1 <= k <= total, "
            f"but got {total!r}, {right!r}, {k!r}."
        )
    ways = math.comb(total, k)
    return (ways - math.comb(total - right, k)) / ways


def _result_key(execution: Execution) -> Hashable:
    rows = Counter(tuple(sorted(map(_cell_key, row))) for row in execution.rows)
    return execution.truncated, frozenset(rows.items())


def _cell_key(cell: Any) -> tuple[int, Any]:
    if cell is None or cell != cell:
        return (0, "") if cell is None else (0, "nan")
    if isinstance(cell, (int, float)):
        return 1, cell
    return (2, cell) if isinstance(cell, str) else (3, repr(cell))


def _tells_something(execution: Execution | None) -> bool:
    """Return whether some cell holds a value other than zero; NULL and blank text are no values."""
    cells = [cell for row in execution.rows for cell in row] if execution is not None else []
    values = [cell for cell in cells if cell is not None and not (isinstance(cell, str) and not cell.strip())]
    return any(not (isinstance(value, (int, float)) and value == 0) for value in values)


def _execution_weights(
    eligible: list[list[int]], groups: list[list[int]], executions: Candidates
) -> list[float]:
    cells = [_cells(executions[group[0]]) for group in groups]
    weights = []
    for group in eligible:
        own = _cells(executions[group[0]])
        weights.append(math.fsum(len(h) * _dice(own, other) for h, other in zip(groups, cells, strict=True)))
    return weights


def _cells(execution: Execution | None) -> Counter[Any]:
    rows = () if execution is None else execution.rows
    return Counter(_cell_key(cell) for row in rows for cell in row)


def _dice(cells: Counter[Any], others: Counter[Any]) -> float:
    total = cells.total() + others.total()
    return 2 * (cells & others).total() / total if total else 1.0


def _structure_weights(
    eligible: list[list[int]], groups: list[list[int]], sqls: Sequence[str | None]
) -> list[float]:
    # Equal texts have equal operations, so each pair of texts is compared once.
    texts = Counter(sqls[index] or "" for group in groups for index in group)
    weight = {
        text: math.fsum(count * _alike(text, other) for other, count in texts.items()) for text in texts
    }
    return [math.fsum(weight[sqls[index] or ""] for index in group) for group in eligible]


def _alike(sql: str, other: str) -> float:
    """Return the F1 of the atomic operations of two queries; a query that cannot be read equals only itself."""
    from finer_rewards.operations import OperationsError, operation_f1, sql_operations

    try:
        return operation_f1(sql_operations(sql), sql_operations(other))
    except OperationsError:
        return float(sql == other)


def _vote_reference(executions: Candidates) -> int | None:
    groups: dict[str, list[int]] = {}
    for index, execution in enumerate(executions):
        if execution is not None and execution.ok:
            groups.setdefault(_reference_key(execution), []).append(index)
    if not groups:
        return None
    told = [key for key in groups if _reference_tells_something(key)]
    return groups[max(told or groups, key=lambda key: (len(groups[key]), key))][0]


def _reference_key(execution: Execution) -> str:
    rows = execution.rows
    if len(execution.columns) > len(set(execution.columns)):
        # In FINER-SQL's code rows are JSON objects, so of several columns with one name only the last is left.
        rows = tuple(tuple(dict(zip(execution.columns, row, strict=True)).values()) for row in rows)
    texts = {"|".join(sorted("" if cell is None else str(cell) for cell in row)) for row in rows}
    return ";".join(sorted(texts))[:_REFERENCE_KEY_LENGTH]


def _reference_tells_something(key: str) -> bool:
    tokens = [token.strip() for token in key.split(";") if token.strip()]
    found = [_REFERENCE_NUMBER.match(token.removesuffix("%").strip()) for token in tokens]
    numbers = [float(number.group(1)) for number in found if number]
    return bool(tokens) and not (numbers and all(abs(number) < 1e-12 for number in numbers))
