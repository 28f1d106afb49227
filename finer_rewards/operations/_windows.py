"""Windows and sort keys: the part of `expressions` that turns these nodes of sqlglot's trees into terms."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sqlglot import exp

from .leaves import ONE, Number, Operator
from .operators import Aggregate, Other, SortKey, Window, Windowed
from .terms import Term

#: What reads an expression in the scope it stands in.
Read = Callable[[Any], Term]


def argument(node: Any, name: str) -> Any:
    """Return an argument of a node; sqlglot has moved names that are Python keywords to `name_`."""
    value = node.args.get(name)
    return node.args.get(name + "_") if value is None else value


def order_terms(node: Any, read: Read) -> list[SortKey]:
    """Return the keys of an ORDER BY, with the place of NULLs where it is unusual."""
    found: list[SortKey] = []
    for one in node.expressions:
        inner = one.this if isinstance(one, exp.Ordered) else one
        descending = bool(one.args.get("desc")) if isinstance(one, exp.Ordered) else False
        nulls_first = bool(one.args.get("nulls_first")) if isinstance(one, exp.Ordered) else not descending
        key = read(inner)
        direction = "desc" if descending else "asc"
        found.append(
            SortKey(direction, key)
            if nulls_first is not descending
            else SortKey(direction, key, f"nulls {'first' if nulls_first else 'last'}")
        )
    return found


def _over(term: Term) -> Term:
    """Return the function of a window, which folds no rows although it may be named as an aggregate is."""
    if isinstance(term, Aggregate):
        value, *offset = term.arguments or (None,)
        if value is not None and term.name in ("lag", "lead") and offset == [ONE]:
            return Windowed(term.name, term.distinct, value)
        return Windowed(term.name, term.distinct, *term.arguments)
    if isinstance(term, Other) and term.head in ("node", "this", "filtered"):
        return Other(term.head, *(_over(part) if isinstance(part, Operator) else part for part in term.parts))
    return term


def window(node: Any, read: Read, named_window: Callable[[str], Any]) -> Window:
    """Return `function OVER (...)`; a window that is built on a named one has what that one has."""
    inner = _over(read(node.this))
    # A window may be built on a named one, and that on another.
    specs = [node]
    while len(specs) <= _MOST_WINDOWS:
        base = specs[-1].args.get("alias")
        named = named_window(base.name) if base is not None else None
        if named is None:
            break
        specs.append(named)
    partition: list[Any] = next((one for spec in specs if (one := spec.args.get("partition_by"))), [])
    order = next((one for spec in specs if (one := argument(spec, "order")) is not None), None)
    frame = next((one for spec in specs if (one := spec.args.get("spec")) is not None), None)
    return Window(
        inner,
        tuple(map(read, partition)),
        tuple(order_terms(order, read)) if order is not None else (),
        _frame(frame, read) if frame is not None else "",
    )


_MOST_WINDOWS = 8
_ALL_BEFORE = ("unbounded preceding", "current row")


def _frame(node: Any, read: Read) -> str:
    """Return the frame of a window in words; empty for the default."""
    start, end = _bound(node, "start", read), _bound(node, "end", read) or "current row"
    kind = str(node.args.get("kind") or "").lower()
    exclude = node.args.get("exclude")
    excluded = "" if exclude is None else str(getattr(exclude, "name", exclude)).lower()
    excluded = "" if excluded == "no others" else excluded
    if kind == "range" and (start, end) == _ALL_BEFORE and not excluded:
        return ""
    return f"{kind} between {start} and {end}" + (f" exclude {excluded}" if excluded else "")


def _bound(node: Any, name: str, read: Read) -> str:
    said, side = _say_bound(node.args.get(name), read), node.args.get(f"{name}_side")
    return f"{said} {side}".lower() if side else said


def _say_bound(bound: Any, read: Read) -> str:
    """Return a bound of a window's frame in words."""
    if not isinstance(bound, exp.Expression):
        return str(bound or "").lower()
    term = read(bound)
    return term.numeral if isinstance(term, Number) else repr(term)
