"""From SQL text to the canonical query: calls the reader, the rewrites and the naming in turn.

A query has two canonical forms. The sound one decides equality; the loose one, in which NULLs, ties and repeats do not
count, only brings queries that are nearly right closer to the gold.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from finer_rewards.errors import ConfigError
from finer_rewards.schema import Schema, schema_from_ddl, schema_from_mapping

from .context import Context
from .facts import Facts
from .guard import is_small, parse_query, refuse_unreadable
from .leaves import Column
from .naming import canonical
from .operators import Other
from .plain import read_plain
from .reading import Reader
from .rules import LOOSENED, loosens, rewrite
from .rules.joins import equal_classes
from .terms import Query, Select
from .walks import remake

SchemaLike = Schema | Mapping[str, Mapping[str, str]] | str | None


def as_schema(schema: SchemaLike, dialect: str) -> Schema | None:
    """Return a schema in any accepted form as a `Schema`."""
    if schema is None or isinstance(schema, Schema):
        return schema
    if isinstance(schema, str):
        return schema_from_ddl(schema, dialect)
    if isinstance(schema, Mapping):
        return schema_from_mapping(schema)
    raise ConfigError(
        f"`schema` should be a Schema, a mapping {{table: {{column: type}}}} or DDL text, but got {schema!r:.80}. "
        "Pass what `executor.schema(db)` returns."
    )


def canonical_query(sql: str, facts: Facts) -> Canonical:
    """Return the canonical query of a text.

    Raises:
        OperationsError: the text is not one query, or is too large.
    """
    return canonical_form(read_query(sql, facts), facts)


def canonical_form(query: Query, facts: Facts) -> Canonical:
    """Return the canonical form of what `read_query` returned."""
    context = Context(facts)
    context.survey(query)
    unknown = context.unknown
    query = rewrite(query, context)
    heads = context.survey(query)
    if facts.dialect == "sqlite":
        query = _keep_unknown(query, unknown - context.unknown)
    loosely = named = canonical(query, lambda block: equal_classes(block, context), context.nested)
    if heads & LOOSENED and loosens(query):
        context.loose = True
        about = rewrite(query, context)
        context.loose = False
        if about != query:
            loosely = canonical(about, lambda block: equal_classes(block, context))
    return Canonical(named, loosely, tuple(context.notes))


def _keep_unknown(query: Query, lost: set[Column]) -> Query:
    """Return a rewritten query with the columns of no source that the rewrites have lost.

    With them it fails, whatever a rewrite finds.
    """
    if not lost:
        return query
    said = Other("unknown", *sorted(lost))
    if isinstance(query, Select):
        return query._replace(extra=(*query.extra, said))
    return remake(query, [*query, said])


class Canonical(NamedTuple):
    """A canonical query, the form it has when NULLs, ties and repeats do not count, and notes."""

    query: Query
    about: Query
    notes: tuple[str, ...]


def read_query(sql: str, facts: Facts) -> Query:
    """Return the query of a text with its names resolved and nothing rewritten.

    Raises:
        OperationsError: the text is not one query, or is too large.
    """
    if facts.dialect == "sqlite":
        refuse_unreadable(sql)
        query = read_plain(sql, facts) if is_small(sql.upper()) else None
        if query is not None:
            return query
    return Reader(facts).read(parse_query(sql, facts.dialect))
