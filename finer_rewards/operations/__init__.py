"""SQL text to canonical query to atomic operations, and scores on them."""

from __future__ import annotations

from collections import OrderedDict

from finer_rewards.errors import ConfigError
from finer_rewards.locks import ForkSafeLock
from finer_rewards.schema import Schema

from .canonicalising import SchemaLike, as_schema, canonical_query
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

_CACHE_SIZE = 8192
_lock = ForkSafeLock()
_operations: OrderedDict[tuple[str, str, str], Operations | OperationsError] = OrderedDict()
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
    with _lock:
        found = _operations.get(key)
        if found is not None:
            _operations.move_to_end(key)
    if found is None:
        try:
            found = with_deep_stack(lambda: _read(sql, facts_of(known, dialect)))
        except OperationsError as error:
            found = error.with_traceback(None)
        with _lock:
            _operations[key] = found
            if len(_operations) > _CACHE_SIZE:
                _operations.popitem(last=False)
    if isinstance(found, OperationsError):
        raise OperationsError(found.reason, found.line, found.column)
    return found


def _read(sql: str, facts: Facts) -> Operations:
    read = canonical_query(sql, facts)
    return Operations(operations_of(read.query, read.about), read.notes)


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
