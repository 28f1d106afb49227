"""Which operations predictions leave out, and which they add."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

__all__ = ["wrong_operations"]

MOST = 20


def wrong_operations(pairs: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """Return the kinds and the operations that are most often missing and extra.

    Args:
        pairs: each with `predicted`, `gold` (SQL) and `n`, how often the pair occurs.

    Returns:
        `kinds`, `missing` and `extra`, the most frequent first, and `unread`: samples whose SQL was not read.

    Example:
        >>> found = wrong_operations(
        ...     [{"predicted": "SELECT a FROM t", "gold": "SELECT a FROM t WHERE b = 1", "n": 3}]
        ... )
        >>> found["missing"][0]
        {'operation': 'filter t.b = 1', 'samples': 3}
    """
    from finer_rewards.operations import OperationsError, sql_operations

    counts = {"missing": Counter[str](), "extra": Counter[str]()}
    kinds = {"missing": Counter[str](), "extra": Counter[str]()}
    unread = 0
    for pair in pairs:
        try:
            predicted, gold = sql_operations(pair["predicted"]), sql_operations(pair["gold"])
        except OperationsError:
            unread += pair["n"]
            continue
        difference = gold.diff(predicted)
        for side in ("missing", "extra"):
            for one in getattr(difference, side):
                if one.kind != "query":  # the statement as a whole
                    counts[side][str(one)] += pair["n"]
                    kinds[side][one.kind] += pair["n"]
    return {
        "kinds": [
            {"kind": kind, "missing": kinds["missing"][kind], "extra": kinds["extra"][kind]}
            for kind, _ in (kinds["missing"] + kinds["extra"]).most_common()
        ],
        **{
            side: [{"operation": text, "samples": n} for text, n in counts[side].most_common(MOST)]
            for side in ("missing", "extra")
        },
        "unread": unread,
    }
