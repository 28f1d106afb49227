"""SQL text to canonical query to atomic operations, and scores on them.

A text goes through these files, in this order; `docs/design/operations.md` gives the reasons:

1. `guard` refuses what is no query or too large, and parses. `plain` reads most texts of SQLite without a parser.
2. `reading` resolves names; what comes out are terms, a language of our own (`terms`).
3. `rules` and `predicates` rewrite the terms, by what the schema says (`facts`, `context`), until nothing changes.
4. `naming` numbers the tables and sorts what has no order. This is the canonical query.
5. `emitting` cuts it into operations, which make a multiset (`multiset`).

`canonicalising` calls 1 to 4, `sql_operations` here all of them; `measure` and `structure` compare two results.
"""

from __future__ import annotations

from collections import OrderedDict

from finer_rewards._util.locks import ForkSafeLock
from finer_rewards._util.lru import LRU
from finer_rewards.errors import ConfigError
from finer_rewards.schema import Schema

from .canonicalising import SchemaLike, as_schema, canonical_form, read_query
from .emitting import KINDS, operations_of
from .facts import Facts, facts_of
from .guard import OperationsError, check_version, with_deep_stack
from .measure import WEIGHTS, Agreement, agreement, operation_f1
from .multiset import Difference, Operation, Operations

__all__ = [
    "KINDS",
    "WEIGHTS",
    "Agreement",
    "Difference",
    "Operation",
    "Operations",
    "OperationsError",
    "agreement",
    "operation_f1",
    "sql_operations",
]

check_version()

_KEPT_BYTES = 64 << 20
_lock = ForkSafeLock()
#: By the text, and by what it says once names are resolved: completions often differ in aliases alone.
_operations = LRU[Operations | OperationsError](_KEPT_BYTES)
_schemas: OrderedDict[tuple[str, str], Schema | None] = OrderedDict()


def sql_operations(sql: str, *, schema: SchemaLike = None, dialect: str = "sqlite") -> Operations:
    """Return the atomic operations of a query, as a multiset.

    Two queries that a static analysis can tell to mean the same have equal operations.

    Args:
        sql: the text of one query.
        schema: the database's schema: a `Schema`, a mapping `{table: {column: type}}`, or DDL text.
        dialect: what sqlglot calls the dialect.

    Raises:
        OperationsError: the text is not one query, does not parse, or is too large.
        ConfigError: the schema or the dialect cannot be used.

    Example:
        >>> print(sql_operations("SELECT name FROM singer AS s WHERE 40 < s.age"))
        columns 1
        select singer.name
        from singer
        filter singer.age > 40
        query select singer.name from singer where (singer.age > 40)
    """
    if not isinstance(sql, str):
        raise ConfigError(f"`sql` should be text, but got {sql!r:.80}.")
    known = _known_schema(schema, dialect)
    key = (sql, dialect, known.digest if known is not None else "")
    found = _operations.get(key)
    if found is None:
        try:
            found = with_deep_stack(lambda: _read(sql, facts_of(known, dialect), key[1:]))
        except OperationsError as error:
            found = error.with_traceback(None)
        _operations.put(key, found, _weight(sql))
    if isinstance(found, OperationsError):
        raise OperationsError(found.reason, found.line, found.column)
    return found


def _read(sql: str, facts: Facts, where: tuple[str, str]) -> Operations:
    query = read_query(sql, facts)
    key = (query, *where)
    found = _operations.get(key)
    if not isinstance(found, Operations):
        read = canonical_form(query, facts)
        found = Operations(operations_of(read.query, read.about), read.notes)
        _operations.put(key, found, _weight(sql))
    return found


def _weight(sql: str) -> int:
    """Return about how many bytes an entry takes: 15 a character of the text for its term, 10 for operations."""
    return 1_000 + 30 * len(sql)


def _known_schema(schema: SchemaLike, dialect: str) -> Schema | None:
    if not isinstance(schema, str):
        return as_schema(schema, dialect)
    with _lock:
        if (schema, dialect) in _schemas:
            return _schemas[schema, dialect]
    read = as_schema(schema, dialect)
    with _lock:
        _schemas[schema, dialect] = read
        if len(_schemas) > 256:
            _schemas.popitem(last=False)
    return read
