"""Which operations predictions leave out, and which they add."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from finer_rewards.schema import Schema

__all__ = ["wrong_operations"]

MOST = 20


def wrong_operations(
    pairs: Iterable[Mapping[str, Any]], schemas: Mapping[str, tuple[Schema, str]] | None = None
) -> dict[str, Any]:
    """Return the kinds and the operations that are most often missing and extra.

    Args:
        pairs: each with `predicted`, `gold` (SQL), `n`, how often the pair occurs, and `db`.
        schemas: the schema of each database and the dialect in which it is asked, as a reward reads statements;
            without, a text in double quotes is a column, and a column is of no table.

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
            schema, dialect = (schemas or {}).get(pair.get("db", ""), (None, "sqlite"))
            predicted, gold = (
                sql_operations(pair[side], schema=schema, dialect=dialect) for side in ("predicted", "gold")
            )
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
