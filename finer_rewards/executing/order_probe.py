"""What a gold query's ORDER BY and LIMIT mean, found by running the query once more with its sort keys shown.

Rows that tie on the sort keys may come in any order, so whoever compares ordered results has to know the
keys; and a LIMIT that cuts through a tie makes the gold one of several right answers. The second query is
the first with the sort keys appended to its select list and one row more than its LIMIT, written by editing
the text between tokens: nothing is parsed, so hostile text costs no more than its length.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any, Literal

from finer_rewards.sql_text import outside_quotes
from finer_rewards.types import Cell, Execution, Row

__all__ = ["Probe", "Sorting", "probes", "with_order"]

_MAX_CHARACTERS = 50_000
_WORD = re.compile(r"\w+")
_SET_OPERATIONS = frozenset(("UNION", "INTERSECT", "EXCEPT", "VALUES"))
_CLAUSES = frozenset(("FROM", "WHERE", "GROUP BY", "HAVING", "WINDOW", "ORDER BY", "LIMIT"))
_NO_ALIAS = frozenset(("END", "NULL", "TRUE", "FALSE", "ISNULL", "NOTNULL"))
_NOT_BEFORE_ALIAS = frozenset(("AND", "OR", "NOT", "IS", "IN", "LIKE", "GLOB", "MATCH", "REGEXP", "BETWEEN"))
_NOT_BEFORE_ALIAS |= frozenset(("COLLATE", "CASE", "WHEN", "THEN", "ELSE", "SELECT", "ALL", "ESCAPE"))


@dataclass(frozen=True)
class Sorting:
    """How an engine sorts where a query does not say.

    Args:
        nulls: `smallest`: NULL comes first in ascending order and last in descending order; `largest`: the other way
            round; `last`: always.
        text_by_bytes: false when text is sorted by the rules of a language.
    """

    nulls: Literal["smallest", "largest", "last"] = "smallest"
    text_by_bytes: bool = True

    def nulls_first(self, descending: bool) -> bool:
        """Whether NULL comes before all else."""
        return self.nulls != "last" and descending == (self.nulls == "largest")


@dataclass(frozen=True)
class _Key:
    """One term of an ORDER BY: the result column it names (from 0), or the expression to append."""

    column: int | None
    expression: str
    descending: bool
    nulls_first: bool


@dataclass(frozen=True)
class Probe:
    """A statement that shows the sort keys of another.

    Args:
        sql: the statement to run.
        keys: the terms of the ORDER BY.
        limit: the LIMIT of the original; `None` when it has none.
        text_by_bytes: false when text is sorted by the rules of a language.
    """

    sql: str
    keys: tuple[_Key, ...]
    limit: int | None
    text_by_bytes: bool = True


def probes(sql: str, dialect: str, sorting: Sorting) -> list[Probe]:
    """Return the statements that show the sort keys of a query, the likeliest first; none when none is safe.

    Example:
        >>> [probe.sql for probe in probes("SELECT name FROM singer ORDER BY age DESC LIMIT 1", "sqlite", Sorting())]
        ['SELECT name, age FROM singer ORDER BY age DESC LIMIT 2']
    """
    if len(sql) > _MAX_CHARACTERS or "order" not in sql.lower():
        return []
    from sqlglot import tokenize
    from sqlglot.errors import TokenError

    try:
        tokens = tokenize(sql, read=dialect)
    except TokenError:
        return []
    return _Statement(sql, tokens, sorting).probes()


class _Statement:
    """The tokens of a statement that lie outside every parenthesis, and the clauses they make."""

    def __init__(self, sql: str, tokens: Sequence[Any], sorting: Sorting) -> None:
        self.sql = sql
        self.sorting = sorting
        self.outer: list[tuple[str, int, int]] = []  # (text, start, end); a parenthesis is one "()"
        depth, opened = 0, 0
        for token in tokens:
            text = token.text
            quoted = sql[token.start] in "'\"`["
            if not quoted and text == "(":
                if not depth:
                    opened = token.start
                depth += 1
            elif not quoted and text == ")":
                depth -= 1
                if not depth:
                    self.outer.append(("()", opened, token.end + 1))
            elif not depth:
                written = sql[token.start : token.end + 1]
                self.outer.append(
                    (written if quoted else " ".join(written.upper().split()), token.start, token.end + 1)
                )
        self.balanced = depth == 0

    def probes(self) -> list[Probe]:
        words = [text for text, _, _ in self.outer]
        if (
            not self.balanced
            or words.count("SELECT") != 1
            or words.count("ORDER BY") != 1
            or words.count("LIMIT") > 1
            or _SET_OPERATIONS & set(words)
        ):
            return []
        first = words.index("SELECT") + 1
        order = words.index("ORDER BY")
        limited = words.index("LIMIT") if "LIMIT" in words else len(words)
        clauses = [index for index in range(first, len(words)) if words[index] in _CLAUSES]
        if not first < clauses[0] or order > limited or words[first] == "DISTINCT":
            return []
        limit, more = self._limit(words, limited)
        if "LIMIT" in words and limit is None:
            return []
        aliases = self._aliases(first, clauses[0])
        terms = self._split(order + 1, limited)
        found = []
        for keys in ([self._key(*term, aliases, resolve) for term in terms] for resolve in (False, True)):
            shown = "".join(f", {key.expression}" for key in keys if key.column is None)
            head = self.outer[clauses[0] - 1][2]
            end = self.outer[limited - 1][2]
            text = f"{self.sql[:head]}{shown}{self.sql[head:end]}{more}"
            probe = Probe(text, tuple(keys), limit, self.sorting.text_by_bytes)
            if probe not in found:
                found.append(probe)
        return found

    def _limit(self, words: list[str], at: int) -> tuple[int | None, str]:
        """Return the LIMIT, and the clause that lets one more row through."""
        match words[at + 1 :]:
            case [count] if count.isdigit():
                return int(count), f" LIMIT {int(count) + 1}"
            case [count, "OFFSET", skipped] if count.isdigit() and skipped.isdigit():
                return int(count), f" LIMIT {int(count) + 1} OFFSET {skipped}"
            case [skipped, ",", count] if count.isdigit() and skipped.isdigit():
                return int(count), f" LIMIT {int(count) + 1} OFFSET {skipped}"
        return None, ""

    def _split(self, start: int, end: int) -> list[tuple[int, int]]:
        """Return the ranges between the commas of a range of tokens."""
        commas = [index for index in range(start, end) if self.outer[index][0] == ","]
        return list(zip([start, *(comma + 1 for comma in commas)], [*commas, end], strict=True))

    def _text(self, start: int, end: int) -> str:
        return self.sql[self.outer[start][1] : self.outer[end - 1][2]] if start < end else ""

    def _aliases(self, start: int, end: int) -> dict[str, str]:
        """Return the expression behind each alias of the select list."""
        aliases = {}
        for begin, stop in self._split(start, end):
            if stop - begin < 2:
                continue
            last, before = self.outer[stop - 1][0], self.outer[stop - 2][0]
            if before == "AS":
                aliases[_name(last)] = self._text(begin, stop - 2)
            elif (
                (_WORD.fullmatch(last) or last[0] in '"`[')
                and last not in _NO_ALIAS
                and (_WORD.fullmatch(before) or before == "()" or before[0] in "'\"`[")
                and before not in _NOT_BEFORE_ALIAS
            ):
                aliases[_name(last)] = self._text(begin, stop - 1)
        return aliases

    def _key(self, start: int, end: int, aliases: dict[str, str], resolve: bool) -> _Key:
        """Read one term; with `resolve`, aliases inside an expression are replaced by what they stand for."""
        nulls, descending = "", False
        if end - start > 2 and self.outer[end - 2][0] == "NULLS":
            nulls, end = self.outer[end - 1][0], end - 2
        if end - start > 1 and self.outer[end - 1][0] in ("ASC", "DESC"):
            descending, end = self.outer[end - 1][0] == "DESC", end - 1
        nulls_first = nulls == "FIRST" if nulls else self.sorting.nulls_first(descending)
        text = self._text(start, end)
        column = None
        if text.isdigit():
            column = int(text) - 1
        elif end - start == 1 and text[:1] != "'" and _name(text) in aliases:
            text = aliases[_name(text)]
        elif resolve and aliases:
            text = _replace_names(text, aliases)
        return _Key(column, text, descending, nulls_first)


def _name(text: str) -> str:
    return (text[1:-1] if text[:1] in "\"`['" else text).lower()


def _replace_names(text: str, aliases: dict[str, str]) -> str:
    def expression(found: re.Match[str]) -> str:
        word = found.group()
        return f"({aliases[word.lower()]})" if word.lower() in aliases else word

    # Neither quoted, nor part of a qualified name, nor the name of a function.
    names = re.compile(r"(?<![\w.])[A-Za-z_]\w*(?![\w.]|\s*[.(])")
    return outside_quotes(text, lambda piece: names.sub(expression, piece))


def with_order(gold: Execution, run: Execution, probe: Probe) -> Execution | None:
    """Return the gold execution with its sort keys, or `None` when the probe does not explain it.

    Args:
        gold: what the gold query did.
        run: what the probe did on the same database.
        probe: the probe.

    Returns:
        The execution with `order` filled, and with `ambiguous` true when a row that its LIMIT let through
        ties with the first row left out, and the two differ.
    """
    width, count = len(gold.columns), len(gold.rows)
    if not run.ok or any(tuple(row[:width]) != one for row, one in zip(run.rows, gold.rows, strict=False)):
        return None
    if len(run.rows) < count or len(run.columns) != width + sum(key.column is None for key in probe.keys):
        return None
    order = tuple(_sort_key(row, width, probe.keys) for row in run.rows)
    if None in order or not _is_sorted(order, probe):
        return None
    ambiguous = False
    if probe.limit is not None and count == probe.limit and len(run.rows) > count > 0:
        left_out, key_left_out = tuple(run.rows[count][:width]), order[count]
        ambiguous = any(
            key == key_left_out and row != left_out for row, key in zip(gold.rows, order[:count], strict=True)
        )
    return replace(gold, order=tuple(key for key in order[:count] if key is not None), ambiguous=ambiguous)


def _sort_key(row: Row, width: int, keys: tuple[_Key, ...]) -> Row | None:
    appended = iter(row[width:])
    if any(key.column is not None and not 0 <= key.column < width for key in keys):
        return None
    return tuple(next(appended) if key.column is None else row[key.column] for key in keys)


def _is_sorted(order: tuple[Row | None, ...], probe: Probe) -> bool:
    """Whether the keys are in the order that the engine sorts in; if not, they are not the keys.

    (A key with a collation of its own may be; then nothing is known, which is safe.)
    """
    for earlier, later in pairwise(order):
        if earlier is None or later is None:
            return False
        for one, two, key in zip(earlier, later, probe.keys, strict=True):
            if one == two:
                continue
            if (one is None) != (two is None):
                in_order = (one is None) == key.nulls_first
            elif isinstance(one, str) and not probe.text_by_bytes:
                in_order = True
            else:
                in_order = (_rank(one) < _rank(two)) != key.descending
            if not in_order:
                return False
            break
    return True


def _rank(value: Cell) -> tuple[int, float | bytes]:
    if value is None:
        return 0, 0
    if isinstance(value, (int, float)):
        return 1, value
    return (2, value.encode("utf-8", "surrogatepass")) if isinstance(value, str) else (3, value)
