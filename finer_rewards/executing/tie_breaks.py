"""Writing variants of a gold query with every tie broken one way or another: if they differ, several results are right.

SQL leaves to chance which of the tied rows a LIMIT takes, their order where a subquery or a window sorts them, the row
that a bare column of a GROUP BY is read from, and the order in which GROUP_CONCAT concatenates. `right_results.py` runs
the variants and compares them. The text is edited between its tokens; nothing is parsed, so the time grows only with
the length of the text, however hostile.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

_MAX_CHARACTERS = 50_000
# A query without any of these words leaves nothing to chance and needs no variants.
_CONCERNED = re.compile(
    r"\b(?:limit|fetch|over|group\s+by|order\s+by|group_concat|string_agg|json_group_array|count|sum|avg|min|max|total"
    r"|listagg|array_agg|list|json_agg|any_value|arbitrary|first|last|arg_max|arg_min|max_by|min_by)\b",
    re.IGNORECASE,
)
_CUTS = ("LIMIT", "OFFSET", "FETCH")
_ENDS_SELECT_LIST = (
    "FROM", "WHERE", "GROUP BY", "HAVING", "WINDOW", "ORDER BY", "LIMIT", "UNION", "INTERSECT", "EXCEPT",
)  # fmt: skip
_ENDS_GROUP_BY = ("HAVING", "WINDOW", "ORDER BY", "LIMIT", "UNION", "INTERSECT", "EXCEPT")
# Window functions whose value depends on the order of tied rows.
_BY_PLACE = ("ROW_NUMBER", "FIRST_VALUE", "NTH_VALUE", "LAG", "LEAD", "NTILE")
# Aggregates whose value depends on the order in which they see the rows.
_CONCATENATES = (
    "GROUP_CONCAT", "STRING_AGG", "JSON_GROUP_ARRAY", "LISTAGG", "ARRAY_AGG", "LIST", "JSON_AGG", "ANY_VALUE",
    "ARBITRARY", "FIRST", "LAST",
)  # fmt: skip
# Aggregates that show one column of the row where another column is least or greatest.
_EXTREME_OF = ("ARG_MAX", "ARG_MIN", "MAX_BY", "MIN_BY")
_AGGREGATES = frozenset((*_CONCATENATES, "COUNT", "SUM", "AVG", "TOTAL", "MIN", "MAX", "JSON_GROUP_OBJECT"))
_FRAMES = ("ROWS", "RANGE", "GROUPS")
_COLUMN = re.compile(r'(?:\w+|"[^"]*"|`[^`]*`|\[[^\]]*\])')
_VIEW = re.compile(r"\s*CREATE\s.*?\bVIEW\b.*?(?P<columns>\([^)]*\))?\s+AS\s+(?P<select>.*)\Z", re.I | re.S)


class _TieBreak(NamedTuple):
    """One way to break ties: sort by all columns in one direction, from the first (step 1) or from the last (-1)."""

    direction: str
    step: int


_TIE_BREAKS = tuple(_TieBreak(direction, step) for step in (1, -1) for direction in ("", " DESC"))


@dataclass(frozen=True)
class Variants:
    """Variants of a query. If all give the query's own result, nothing in it was left to chance.

    Args:
        choices: the query with its ties broken by its columns, upwards and downwards: each gives a right result.
        checked: the query with NULL in place of every value that is read from one of several differing rows; empty
            when it has no such value.
        extremes: a query that returns a row if a bare column stands beside MIN or MAX and several rows share the
            extreme value; empty when there is no such column.
        unordered: whether the query itself has a LIMIT and no ORDER BY.
    """

    choices: tuple[str, ...] = ()
    checked: str = ""
    extremes: str = ""
    unordered: bool = False


@dataclass
class _Block:
    """The tokens between a pair of parentheses, or of the whole query (`top`).

    Args:
        words: (text, start, end) of each token; a pair of parentheses within is a single `()`.
        inner: the block behind each `()`, by its index in `words`.
        top: whether this is the whole query.
    """

    words: list[tuple[str, int, int]] = field(default_factory=list)
    inner: dict[int, _Block] = field(default_factory=dict)
    top: bool = False

    @property
    def texts(self) -> list[str]:
        """The texts of the words."""
        return [text for text, _, _ in self.words]

    def all(self) -> Iterator[_Block]:
        """Yield this block and all blocks within it."""
        waiting = [self]
        while waiting:
            block = waiting.pop()
            yield block
            waiting += block.inner.values()


def variants(
    sql: str,
    dialect: str,
    *,
    width: int,
    top: bool,
    bare_columns: bool = False,
    views: Mapping[str, str] | None = None,
) -> Variants:
    """Return the variants of a query; none when nothing in it is left to chance.

    Args:
        sql: the query.
        dialect: sqlglot's name of its dialect.
        width: how many columns its result has.
        top: whether ties at its own LIMIT are broken too.
        bare_columns: whether the engine shows columns that a GROUP BY does not name.
        views: the statements that made the views of the database, by name in lower case.

    Example:
        >>> variants("SELECT name FROM singer ORDER BY age LIMIT 1", "sqlite", width=1, top=True).choices
        ('SELECT name FROM singer ORDER BY age, 1 LIMIT 1', 'SELECT name FROM singer ORDER BY age, 1 DESC LIMIT 1')
        >>> variants("SELECT name, age FROM singer", "sqlite", width=2, top=True)
        Variants(choices=(), checked='', extremes='', unordered=False)
    """
    if len(sql) > _MAX_CHARACTERS:
        return Variants()
    shown = _views_used(sql, views or {})
    if not any(_CONCERNED.search(text) for text in (sql, *shown.values())):
        return Variants()
    block = _read(sql, dialect)
    if block is None:
        return Variants()
    choices = []
    for way in _TIE_BREAKS:
        text = _edited(sql, _tie_breaks(block, sql, way, width, top))
        broken = {}
        for name, made in shown.items():
            parts = _VIEW.match(made)
            inside = None if parts is None else _read(parts["select"], dialect)
            if parts is not None and inside is not None:
                edits = list(_tie_breaks(inside, parts["select"], way, 1, True))
                if edits:
                    broken[name] = f"{parts['columns'] or ''} AS ({_edited(parts['select'], edits)})"
        choices.append(_in_front(text, broken))
    choices = [text for text in dict.fromkeys(choices) if text != sql]
    texts = block.texts
    unordered = "ORDER BY" not in texts and any(word in texts for word in _CUTS)
    checked = _edited(sql, _checks(block, sql, bare_columns))
    checked = "" if checked == sql else checked
    extremes = _extremes(block, sql) if bare_columns else ""
    return Variants(tuple(choices), checked, extremes, unordered)


def _views_used(sql: str, views: Mapping[str, str]) -> dict[str, str]:
    """Return the views whose name occurs in the query as a word, with the statements that made them."""
    words = {word.lower() for word in re.findall(r"\w+", sql)} if views else set()
    return {name: made for name, made in views.items() if name in words}


def _in_front(sql: str, views: Mapping[str, str]) -> str:
    """Return the query behind a WITH clause whose tables shadow views, so that ties within a view are broken too."""
    if not views:
        return sql
    shadows = ", ".join(f'"{name}"{rest}' for name, rest in views.items())
    found = re.match(r"\s*WITH\s+(RECURSIVE\s+)?", sql, re.IGNORECASE)
    if found is None:
        return f"WITH {shadows} {sql}"
    return f"{found.group()}{shadows}, {sql[found.end() :]}"


def _read(sql: str, dialect: str) -> _Block | None:
    """Return a statement as nested blocks; `None` when its quotes or parentheses do not balance."""
    from sqlglot import tokenize
    from sqlglot.errors import TokenError

    try:
        tokens: Sequence[Any] = tokenize(sql, read=dialect)
    except TokenError:
        return None
    top = _Block(top=True)
    stack = [(top, 0)]
    for token in tokens:
        quoted = sql[token.start] in "'\"`["
        block, opened = stack[-1]
        if not quoted and token.text == "(":
            stack.append((_Block(), token.start))
        elif not quoted and token.text == ")":
            if len(stack) == 1:
                return None
            stack.pop()
            around = stack[-1][0]
            around.inner[len(around.words)] = block
            around.words.append(("()", opened, token.end + 1))
        elif token.text != ";" or quoted:
            written = sql[token.start : token.end + 1]
            text = written if quoted else " ".join(written.upper().split())
            block.words.append((text, token.start, token.end + 1))
    return top if len(stack) == 1 else None


def _edited(sql: str, edits: Sequence[tuple[int, int, str]] | Iterator[tuple[int, int, str]]) -> str:
    """Return the text after edits (start, end, text): each replaces what stands between two positions."""
    for start, end, text in sorted(edits, reverse=True):
        sql = sql[:start] + text + sql[end:]
    return sql


def _items(block: _Block) -> list[tuple[int, int]]:
    """Return (begin, end) of each term of the select list, as indices of words; none when there is no SELECT."""
    texts = block.texts
    if "SELECT" not in texts:
        return []
    start = texts.index("SELECT") + 1
    if start < len(texts) and texts[start] in ("DISTINCT", "ALL"):
        start += 1
    end = next((i for i in range(start, len(texts)) if texts[i] in _ENDS_SELECT_LIST), len(texts))
    return _split(texts, start, end)


def _split(texts: Sequence[str], start: int, end: int) -> list[tuple[int, int]]:
    commas = [i for i in range(start, end) if texts[i] == ","]
    return list(zip([start, *(comma + 1 for comma in commas)], [*commas, end], strict=True))


def _tie_breaks(
    top: _Block, sql: str, way: _TieBreak, width: int, at_top: bool
) -> Iterator[tuple[int, int, str]]:
    """Yield the edits that break the ties of a query, of its subqueries and of its windows."""
    for block in top.all():
        texts = block.texts
        if "SELECT" in texts and (at_top or not block.top):
            yield from _after_order(block, way, width if block.top else None)
        for place in range(2, len(texts)):
            function = texts[place - 3] if place > 2 else ""
            if texts[place - 1] == "OVER" and place in block.inner and function in _BY_PLACE:
                yield from _in_window(block, block.inner[place], sql, way)
        for place, inner in block.inner.items():
            if texts[max(place - 1, 0)] in _EXTREME_OF and "FILTER" not in texts[place : place + 2]:
                yield from _of_extreme(block.words[place], inner, sql, way)


def _of_extreme(
    whole: tuple[str, int, int], inner: _Block, sql: str, way: _TieBreak
) -> Iterator[tuple[int, int, str]]:
    """Break the ties of `arg_max(shown, value)` by a hash of what is shown, upwards or downwards."""
    terms = _split(inner.texts, 0, len(inner.words))
    if len(terms) != 2 or not all(end > start for start, end in terms):
        return
    shown, value = (sql[inner.words[start][1] : inner.words[end - 1][2]] for start, end in terms)
    order = f"18446744073709551615 - hash({shown})" if way.direction else f"hash({shown})"
    _, start, stop = whole
    yield (
        start, stop,
        f"({shown}, ({value}, {order})) FILTER (WHERE {value} IS NOT NULL AND {shown} IS NOT NULL)",
    )  # fmt: skip


def _after_order(block: _Block, way: _TieBreak, width: int | None) -> Iterator[tuple[int, int, str]]:
    """Yield the edit that sorts a query by all its columns, after the terms of its ORDER BY if it has one."""
    texts = block.texts
    last_select = len(texts) - 1 - texts[::-1].index("SELECT")
    ordered = "ORDER BY" in texts[last_select:]
    cut = next((i for i in range(last_select, len(texts)) if texts[i] in _CUTS), len(texts))
    if cut == len(texts) and (block.top or not ordered):
        return
    if width is None:
        items = _items(block)
        starred = any("*" in texts[start:end] for start, end in items)
        width = 1 if starred else max(1, len(items))
    places = ", ".join(f"{place}{way.direction}" for place in range(1, width + 1)[:: way.step])
    end = block.words[cut - 1][2]
    yield end, end, f", {places}" if ordered else f" ORDER BY {places}"


def _in_window(block: _Block, window: _Block, sql: str, way: _TieBreak) -> Iterator[tuple[int, int, str]]:
    """Yield the edit that adds the plain columns of the select list to the ORDER BY of a window."""
    if "ORDER BY" not in window.texts:
        return
    texts = block.texts
    terms = []
    for start, end in _items(block):
        words = texts[start:end]
        if "OVER" in words or "*" in words or "()" in words:
            continue
        if "AS" in words:
            end = start + words.index("AS")
        elif len(words) == 2:
            # An alias without AS.
            end -= 1
        if _COLUMN.fullmatch(texts[end - 1]):
            terms.append(sql[block.words[start][1] : block.words[end - 1][2]] + way.direction)
    cut = next((i for i, text in enumerate(window.texts) if text in _FRAMES), len(window.words))
    if terms:
        at = window.words[cut - 1][2]
        yield at, at, f", {', '.join(terms[:: way.step])}"


def _checks(top: _Block, sql: str, bare: bool) -> Iterator[tuple[int, int, str]]:
    """Yield the edits that put NULL in place of what depends on the order of rows that differ."""
    for block in top.all():
        texts = block.texts
        sorted_inside = any(
            texts[place - 1] == "FROM" and "ORDER BY" in inner.texts for place, inner in block.inner.items()
        )
        for place, inner in block.inner.items():
            name = texts[place - 1] if place else ""
            if name in _CONCATENATES and not sorted_inside and "ORDER BY" not in inner.texts and inner.words:
                first = _split(inner.texts, 0, len(inner.words))[0]
                begin = first[0] + (inner.texts[first[0]] == "DISTINCT")
                if begin >= first[1]:
                    continue
                term = sql[inner.words[begin][1] : inner.words[first[1] - 1][2]]
                start, end = block.words[place - 1][1], block.words[place][2]
                yield start, end, f"CASE WHEN COUNT(DISTINCT {term}) < 2 THEN {sql[start:end]} END"
        if bare:
            yield from _bare_columns(block, sql)


def _bare_columns(block: _Block, sql: str) -> Iterator[tuple[int, int, str]]:
    # Beside a lone MIN or MAX, SQLite reads a bare column from the row with that value: `_extremes` checks that case.
    if {"MIN", "MAX"}.isdisjoint(_called(block)):
        for start, alias, end in _bare(block):
            begin, stop = block.words[start][1], block.words[alias - 1][2]
            term = sql[begin:stop]
            shown = f"CASE WHEN {_one_value(term)} THEN MIN({term}) END"
            yield begin, stop, shown if alias < end else f"{shown} AS {sql[block.words[end - 1][1] : stop]}"


def _one_value(term: str) -> str:
    """Return the SQL condition that a column has the same value in every row of a group."""
    return f"MIN({term}) IS MAX({term}) AND COUNT({term}) IN (0, COUNT(*))"


def _called(block: _Block) -> set[str]:
    """Return the words before parentheses: the functions called, and keywords such as IN."""
    texts = block.texts
    return {texts[place - 1] for place in block.inner if place}


def _groups(block: _Block) -> list[tuple[int, int]]:
    """Return (begin, end) of each term of the GROUP BY, as indices of words."""
    texts = block.texts
    if "GROUP BY" not in texts:
        return []
    start = texts.index("GROUP BY") + 1
    return _split(
        texts, start, next((i for i in range(start, len(texts)) if texts[i] in _ENDS_GROUP_BY), len(texts))
    )


def _bare(block: _Block) -> Iterator[tuple[int, int, int]]:
    """Yield (begin, end, end with alias) of each selected column that is neither grouped nor aggregated, in words."""
    texts, terms = block.texts, _groups(block)
    if any(texts[start].isdigit() for start, _ in terms):
        return
    if not terms and (not _called(block) & _AGGREGATES or "OVER" in texts):
        return
    group = {_name(texts[end - 1]) for start, end in terms if end > start}
    for start, end in _items(block):
        words = texts[start:end]
        alias = end
        if "AS" in words:
            alias = start + words.index("AS")
        elif len(words) in (2, 4) and not {".", "()"} & set(words[-2:]):
            alias = end - 1
        path = texts[start:alias]
        if len(path) not in (1, 3) or (len(path) == 3 and path[1] != ".") or path[-1].isdigit():
            continue
        if all(map(_COLUMN.fullmatch, path[::2])) and group.isdisjoint(
            (_name(path[-1]), _name(texts[end - 1]))
        ):
            yield start, alias, end


def _extremes(block: _Block, sql: str) -> str:
    """Return a query that has a row if bare columns beside a lone MIN or MAX may come from several differing rows.

    Empty when the query has no such columns or is not of this simple shape.
    """
    texts = block.texts
    places = [i for i in block.inner if i and texts[i - 1] in ("MIN", "MAX")]
    bare = list(_bare(block))
    if (
        len(places) != 1
        or not bare
        or "FROM" not in texts
        or {"HAVING", "LIMIT", "WITH", "OVER"} & set(texts)
    ):
        return ""

    def written(start: int, end: int) -> str:
        return sql[block.words[start][1] : block.words[end - 1][2]]

    inner = block.inner[places[0]]
    if not inner.words or "," in inner.texts:
        return ""
    value = sql[inner.words[0][1] : inner.words[-1][2]]
    if inner.texts[0] == "DISTINCT":
        value = sql[inner.words[1][1] : inner.words[-1][2]] if len(inner.words) > 1 else ""
    source = texts.index("FROM")
    end = next((i for i in range(source, len(texts)) if texts[i] in ("GROUP BY", "ORDER BY")), len(texts))
    keys = [written(*term) for term in _groups(block)]
    shown = [f"{key} AS k{i}" for i, key in enumerate(keys)]
    shown += [f"{written(start, alias)} AS b{i}" for i, (start, alias, _) in enumerate(bare)]
    partition = f"PARTITION BY {', '.join(keys)} " if keys else ""
    order = f"{value}{' DESC' if texts[places[0] - 1] == 'MAX' else ''} NULLS LAST"
    group = f" GROUP BY {', '.join(f'k{i}' for i in range(len(keys)))}" if keys else ""
    several = " OR ".join(f"NOT ({_one_value(f'b{i}')})" for i in range(len(bare)))
    return (
        f"SELECT COUNT(*) FROM (SELECT {', '.join(shown)}, "
        f"RANK() OVER ({partition}ORDER BY {order}) AS r {written(source, end)}) "
        f"WHERE r = 1{group} HAVING {several} LIMIT 1"
    )


def _name(text: str) -> str:
    return (text[1:-1] if text[:1] in '"`[' else text).lower()
