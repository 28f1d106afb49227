"""The last step of the canonical form: names and order that do not depend on how the text was written.

Sources are called after their tables, several readings of one table numbered by what is done with each, and what has no
order (conditions, joins) is sorted.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from itertools import islice, permutations, product
from typing import Any

from ._colours import COMMUTATIVE, colours_of
from ._values import BY_COLLATION, BY_PLACE
from .leaves import CONSTANTS, Column, Label, SourceName
from .operators import Comparison, Equal, Of, Same, equates_columns
from .terms import (
    CLOSED,
    QUERIES,
    Derived,
    Full,
    FunctionSource,
    Group,
    Itself,
    Outer,
    Query,
    Recursive,
    Select,
    SetOperation,
    Source,
    Table,
    Term,
    Values,
)
from .walks import T, fold, larger_than, remake, substitute

#: What has no columns to name.
_NAMELESS = CLOSED - {Column}
_TRIES = 24
_LONGEST_SPELLED = 200

Names = dict[Label, SourceName]
Classes = Callable[[Select], list[set[Term]]]


def canonical(query: Query, classes: Classes | None = None, nested: bool = True) -> Query:
    """Return the query with sources named and everything whose order does not matter sorted.

    Args:
        query: what is left after the rewrites.
        classes: the sets of columns that a block makes the same value; none of them leads the others.
        nested: whether the query may hold another one.
    """
    if classes is not None:
        query = (
            fold(query, {Select: _lead}, classes)
            if nested or not isinstance(query, Select)
            else _lead(query, classes)
        )
    return _query(query, {}, 0)


def _lead(block: Select, classes: Classes) -> Select:
    """Let the whole class stand wherever one of its columns does, so that none is preferred before all are named."""
    if not any(map(equates_columns, block.where)):
        return block
    groups = [group for group in classes(block) if not any(isinstance(one, CONSTANTS) for one in group)]
    if not groups:
        return block
    whole: dict[Term, Same] = {}
    for group in groups:
        whole.update(dict.fromkeys(group, Same(*sorted(group, key=repr))))
    where = tuple(one for one in block.where if not _within_class(one, whole))
    changed = substitute(block._replace(where=where), whole)
    return changed._replace(
        where=(*changed.where, *(Equal(*same.columns) for same in dict.fromkeys(whole.values())))
    )


def _within_class(term: Term, whole: dict[Term, Same]) -> bool:
    """Return whether a condition equates two columns of one class."""
    if not isinstance(term, Comparison) or term.head != "=":
        return False
    same = whole.get(term.left)
    return same is not None and same == whole.get(term.right)


def _query(query: Query, names: Names, depth: int) -> Query:
    if isinstance(query, Select):
        return _select(query, names, depth)
    if isinstance(query, SetOperation):
        branches = [_query(branch, names, depth) for branch in query.branches]
        if not query.operator.startswith("except") and not {BY_COLLATION, BY_PLACE} & {*query.extra}:
            branches.sort(key=repr)
        return SetOperation(
            query.operator,
            tuple(branches),
            _term(query.order, names, depth),
            _term(query.limit, names, depth),
            _term(query.offset, names, depth),
            *_term(query.extra, names, depth),
        )
    return Values(tuple(_term(row, names, depth) for row in query.rows))


def _term(term: T, names: Names, depth: int) -> T:
    """Return a term with its columns named and its operands in their one order."""
    named: T = _named(term, names, depth)
    return named


def _named(term: Any, names: Names, depth: int) -> Any:
    kind = term.__class__
    if kind is Column:
        source = names.get(term.source)
        return term if source is None else term.of_source(source)
    if kind in CLOSED or not term:
        return term
    if kind is Same:
        return min((_named(column, names, depth) for column in term.columns), key=_leading)
    if kind in QUERIES:
        return _query(term, names, depth + 1)
    parts = [part if part.__class__ in _NAMELESS else _named(part, names, depth) for part in term]
    if kind is not tuple and term.head in COMMUTATIVE:
        head, *operands = parts
        parts = [head, *_ordered(operands)]
    return remake(term, parts)


def _ordered(operands: list[Any]) -> list[Any]:
    """Return operands in their one order; constants come last."""
    if len(operands) == 2:
        first, second = operands
        if second.__class__ in CONSTANTS and first.__class__ not in CONSTANTS:
            # The order is seen without a look inside.
            return operands
    return sorted(operands, key=_rank) if len(operands) > 1 else operands


def _rank(term: Term) -> tuple[bool, str]:
    return isinstance(term, CONSTANTS), repr(term)


def _leading(column: Column) -> tuple[bool, str]:
    """Return what sorts columns that have one value: those of tables lead those of derived tables."""
    return isinstance(column.name, Of), repr(column)


def _select(block: Select, names: Names, depth: int) -> Select:
    own = _sources(block)
    spelled = _spelled(own, names, depth)
    if spelled:
        block = substitute(block, spelled)
    groups: dict[str, list[Label]] = {}
    for source in own:
        groups.setdefault(_base(source), []).append(source.label)
    inner = dict(names)
    if len(groups) == len(own):
        inner.update((label, SourceName(base, depth, 1)) for base, [label] in groups.items())
        return _render(block, inner, depth)
    bases = {label: base for base, labels in groups.items() for label in labels}
    ties = _named_by_colour(groups, colours_of(block, own, bases), inner, depth)
    if not ties:
        return _render(block, inner, depth)
    best: Select | None = None
    for choice in islice(product(*ties), _TRIES):
        attempt = dict(inner)
        for first, labels in choice:
            for place, label in enumerate(labels, first):
                attempt[label] = SourceName(bases[label], depth, place)
        rendered = _render(block, attempt, depth)
        if best is None or repr(rendered) < repr(best):
            best = rendered
    assert best is not None
    return best


#: The place of the first of some sources alike, and an order of them.
Choice = tuple[int, tuple[Label, ...]]


def _named_by_colour(
    groups: dict[str, list[Label]], colours: dict[Label, str], names: Names, depth: int
) -> list[list[Choice]]:
    """Name the sources that their colours tell apart; return the orders of those that they do not."""
    ties: list[list[Choice]] = []
    for base, labels in groups.items():
        alike: dict[str, list[Label]] = {}
        for label in labels:
            alike.setdefault(colours[label], []).append(label)
        place = 1
        for _, same in sorted(alike.items()):
            if len(same) > 1:
                ties.append([(place, order) for order in islice(permutations(same), _TRIES)])
            else:
                [label] = same
                names[label] = SourceName(base, depth, place)
            place += len(same)
    return ties


def _spelled(own: list[Source], names: Names, depth: int) -> dict[Column, Term]:
    """Return what each column of a derived table is, in place of its position, which the text is free to choose."""
    found: dict[Column, Term] = {}
    for source in own:
        if isinstance(source, Derived) and isinstance(source.query, Select):
            inner = _select(source.query, names, depth + 1)
            for place, item in enumerate(inner.items):
                # A long one keeps its position: spelled out level by level it could double each time.
                star = isinstance(item, Column) and item.name == "*"
                if not star and not larger_than(item, _LONGEST_SPELLED):
                    found[Column(source.label, place)] = Column(source.label, Of(item))
    return found


def _sources(block: Select) -> list[Source]:
    """Return the sources of a block's FROM clause, those of outer joins included."""
    found: list[Source] = []
    stack: list[Source | Outer | Group] = [*block.sources, *block.outers]
    while stack:
        top = stack.pop()
        if isinstance(top, (Outer, Group)):
            stack += [*top.sources, *top.outers]
        else:
            found.append(top)
            if isinstance(top, Full):
                stack += [top.left, top.right]
    return found


def _base(source: Source) -> str:
    return source.name if isinstance(source, Table) else f"({source.head})"


def _render(block: Select, names: Names, depth: int) -> Select:
    return Select(
        "select",
        block.distinct,
        _term(block.items, names, depth),
        _from(block.sources, names, depth),
        _outers(block.outers, names, depth),
        _sorted(tuple(_conditions(block.where, names, depth))),
        None if block.group is None else _sorted(_term(block.group, names, depth)),
        _sorted(_term(block.having, names, depth)),
        _term(block.order, names, depth),
        _term(block.limit, names, depth),
        _term(block.offset, names, depth),
        _sorted(_term(block.extra, names, depth)),
    )


def _sorted(terms: tuple[Term, ...]) -> tuple[Term, ...]:
    """Return terms in their one order, each once."""
    return tuple(sorted(dict.fromkeys(terms), key=repr)) if len(terms) > 1 else terms


def _conditions(where: Iterable[Term], names: Names, depth: int) -> Iterator[Term]:
    """Yield conditions, those on equal columns as a chain from the first by name."""
    for one in where:
        if not isinstance(one, Equal):
            yield _term(one, names, depth)
            continue
        first, *rest = sorted((_term(column, names, depth) for column in one.columns), key=_leading)
        for other in rest:
            left, right = sorted((first, other), key=repr)
            yield Comparison("=", left, right)


def _from(sources: Iterable[Source], names: Names, depth: int) -> tuple[Source, ...]:
    found = [_source(one, names, depth) for one in sources]
    if len(found) > 1:
        found.sort(key=repr)
    return tuple(found)


def _source(source: Source, names: Names, depth: int) -> Source:
    label = names.get(source.label, source.label)
    if isinstance(source, Table):
        return Table(label, source.name, *source.options)
    if isinstance(source, Itself):
        return Itself(label, 0)
    if isinstance(source, Full):
        left, right = (_group(side, names, depth) for side in (source.left, source.right))
        return Full(label, left, right, _term(source.where, names, depth))
    if isinstance(source, FunctionSource):
        return FunctionSource(label, _term(source.term, names, depth))
    if isinstance(source.query, Recursive):
        return Derived(label, Recursive(0, _query(source.query.query, names, depth + 1)))
    query = _query(source.query, names, depth + 1)
    if isinstance(query, Select):
        query = query._replace(items=tuple(sorted(dict.fromkeys(query.items), key=repr)))
    return Derived(label, query)


def _group(side: Group, names: Names, depth: int) -> Group:
    where = tuple(sorted((_term(one, names, depth) for one in side.where), key=repr))
    return Group("group", _from(side.sources, names, depth), _outers(side.outers, names, depth), where)


def _outers(outers: Iterable[Outer], names: Names, depth: int) -> tuple[Outer, ...]:
    read = [
        Outer(
            one.head,
            _from(one.sources, names, depth),
            _outers(one.outers, names, depth),
            tuple(sorted((_term(part, names, depth) for part in one.where), key=repr)),
        )
        for one in outers
    ]
    return tuple(sorted(read, key=repr))
