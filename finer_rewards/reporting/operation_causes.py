"""Counting, over wrong predictions, the missing and extra operations and the causes of failure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from finer_rewards._util.lossless_json import parse_json
from finer_rewards.causes import CAUSES, failure_causes, nearest_operations
from finer_rewards.types import Status

if TYPE_CHECKING:
    from finer_rewards.schema import Schema

# So many missing and so many extra operations are told.
MOST = 20


def wrong_operations(
    pairs: Iterable[Mapping[str, Any]], schemas: Mapping[str, tuple[Schema, str]] | None = None
) -> dict[str, Any]:
    """Return the operations, and kinds of operation, that are most often missing and extra.

    Args:
        pairs: each with `predicted`, `gold` (SQL, or a JSON list of it; the most similar one counts), `n`, how often
            the pair occurs, and `db`.
        schemas: the schema and dialect of each database, with which rewards read statements; without it, a text in
            double quotes is taken for a column, and columns belong to no table.

    Returns:
        `kinds`, `missing` and `extra`, the commonest first, and `unread`: of how many samples the SQL could not be
        read.

    Example:
        >>> found = wrong_operations(
        ...     [{"predicted": "SELECT a FROM t", "gold": "SELECT a FROM t WHERE b = 1", "n": 3}]
        ... )
        >>> found["missing"][0]
        {'operation': 'filter t.b = 1', 'samples': 3}
    """
    counts = {"missing": Counter[str](), "extra": Counter[str]()}
    kinds = {"missing": Counter[str](), "extra": Counter[str]()}
    unread = 0
    for pair in pairs:
        schema, dialect = (schemas or {}).get(pair.get("db", ""), (None, "sqlite"))
        read = nearest_operations(pair["predicted"], _golds(pair["gold"]), schema, dialect)
        if read is None:
            unread += pair["n"]
            continue
        predicted, gold = read
        difference = gold.diff(predicted)
        for side in ("missing", "extra"):
            for one in getattr(difference, side):
                # The kind `query` stands for the statement as a whole, and nearly always differs.
                if one.kind != "query":
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


def wrong_causes(
    pairs: Iterable[Mapping[str, Any]], schemas: Mapping[str, tuple[Schema, str]] | None = None
) -> list[dict[str, Any]]:
    """Return why predictions are wrong, the commonest main cause first.

    Args:
        pairs: each with `predicted`, `gold` (SQL, or a JSON list of it), `status`, `empty`, `n` and `db`.
        schemas: as `wrong_operations` takes them.

    Returns:
        `cause`, `main` (samples of which it is the main cause) and `in` (samples that have it at all).

    Example:
        >>> pair = {"predicted": "SELECT a FROM t", "gold": "SELECT b FROM t", "status": "ok", "empty": False, "n": 3}
        >>> wrong_causes([pair])
        [{'cause': 'wrong_column', 'main': 3, 'in': 3}]
    """
    main, there = Counter[str](), Counter[str]()
    for pair in pairs:
        schema, dialect = (schemas or {}).get(pair.get("db", ""), (None, "sqlite"))
        causes = failure_causes(
            pair["predicted"],
            _golds(pair["gold"]),
            status=Status[pair["status"]],
            empty=pair["empty"],
            schema=schema,
            dialect=dialect,
        )
        main[causes[0]] += pair["n"]
        there.update(dict.fromkeys(causes, pair["n"]))
    found = [{"cause": cause, "main": main[cause], "in": there[cause]} for cause in CAUSES if there[cause]]
    return sorted(found, key=lambda one: (-one["main"], -one["in"]))


def _golds(text: str | None) -> list[str]:
    """Return the golds of a line of a log, where one gold is a text and several are a JSON list."""
    if text is None or not text.startswith("["):
        return [text or ""]
    try:
        return [str(one) for one in parse_json(text)]
    except ValueError:
        # It is SQL that begins with a bracket.
        return [text]
