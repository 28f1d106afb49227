"""Finding the sort keys of a gold query's rows, by running the query once more with its ORDER BY terms selected.

Rows that tie on the sort keys may come in any order, so an ordered comparison has to know the keys; and a LIMIT that
cuts through a tie makes the gold one of several right answers. Two kinds of second query are written here:

    probe     the query with its sort keys appended to the select list, and one row more than its LIMIT
    ranking   the same with window functions that count the rows before, up to, and with each row's rank

`right_results.py` runs them. They are written by editing the text between tokens: nothing is parsed, so the time grows
only with the length of the text, however hostile.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any, Literal

from finer_rewards._util.sql_text import outside_quotes
from finer_rewards.types import Cell, Execution, Row

_MAX_CHARACTERS = 50_000
_WORD = re.compile(r"\w+")
_SET_OPERATIONS = frozenset(("UNION", "INTERSECT", "EXCEPT", "VALUES"))
_CLAUSES = frozenset(("FROM", "WHERE", "GROUP BY", "HAVING", "WINDOW", "ORDER BY", "LIMIT"))
# In `SELECT a b`, b is an alias without AS; unless b is a word that ends an expression, or a is one that needs more.
_NO_ALIAS = frozenset(("END", "NULL", "TRUE", "FALSE", "ISNULL", "NOTNULL"))
_NOT_BEFORE_ALIAS = frozenset(("AND", "OR", "NOT", "IS", "IN", "LIKE", "GLOB", "MATCH", "REGEXP", "BETWEEN"))
_NOT_BEFORE_ALIAS |= frozenset(("COLLATE", "CASE", "WHEN", "THEN", "ELSE", "SELECT", "ALL", "ESCAPE"))


@dataclass(frozen=True)
class Sorting:
    """How an engine sorts where a query does not say, and what else the engine leaves to chance.

    Args:
        nulls: `smallest`: NULL comes first in ascending order and last in descending order; `largest`: the other way
            round; `last`: NULL always comes last.
        text_by_bytes: false when text is sorted by the rules of a language.
        bare_columns: true when the engine lets a query select a column that its GROUP BY does not name. Which row of
            the group the value comes from is then left to chance.
    """

    nulls: Literal["smallest", "largest", "last"] = "smallest"
    text_by_bytes: bool = True
    bare_columns: bool = False

    def nulls_first(self, descending: bool) -> bool:
        """Whether NULL comes before every value in this direction."""
        return self.nulls != "last" and descending == (self.nulls == "largest")


@dataclass(frozen=True)
class ProbedKey:
    """One term of an ORDER BY.

    Args:
        column: the result column that the term names by number, counted from 0; `None` for an expression.
        expression: the SQL to append to the select list when `column` is `None`.
        descending: whether it sorts downwards.
        nulls_first: whether NULL comes before every value.
    """

    column: int | None
    expression: str
    descending: bool
    nulls_first: bool


@dataclass(frozen=True)
class Probe:
    """A statement that shows the sort keys of a query's rows.

    Args:
        sql: the statement to run.
        keys: the terms of the ORDER BY.
        limit: the LIMIT of the query; `None` when it has none.
        text_by_bytes: false when text is sorted by the rules of a language.
    """

    sql: str
    keys: tuple[ProbedKey, ...]
    limit: int | None
    text_by_bytes: bool = True


def probes(sql: str, dialect: str, sorting: Sorting) -> list[Probe]:
    """Return the statements that show the sort keys of a query, the likeliest first; none if none is safe.

    There are two when a term of the ORDER BY may mean an alias or a column of the tables.

    Example:
        >>> [probe.sql for probe in probes("SELECT name FROM singer ORDER BY age DESC LIMIT 1", "sqlite", Sorting())]
        ['SELECT name, age FROM singer ORDER BY age DESC LIMIT 2']
    """
    statement = _statement(sql, dialect, sorting)
    return [] if statement is None else statement.probes()


def _statement(sql: str, dialect: str, sorting: Sorting) -> _Statement | None:
    if len(sql) > _MAX_CHARACTERS or "order" not in sql.lower():
        return None
    from sqlglot import tokenize
    from sqlglot.errors import TokenError

    try:
        tokens = tokenize(sql, read=dialect)
    except TokenError:
        return None
    return _Statement(sql, tokens, sorting)


@dataclass(frozen=True)
class Ranking:
    """A statement that shows the rank of each row of a query, by the engine's own rules of sorting.

    Args:
        sql: the statement. After the query's columns come the sort keys that it does not show, then three counts: the
            place, from 1, of the first row that ties with this row, the place of the last, and the number of all rows.
        keys: the terms of the ORDER BY.
        unlimited: the statement up to its LIMIT; empty when it has none.
    """

    sql: str
    keys: tuple[ProbedKey, ...]
    unlimited: str

    def tied(self, first: int, last: int) -> str:
        """Return the statement with another LIMIT: it shows the rows from place `first` to place `last`, from 1."""
        return f"{self.unlimited} LIMIT {last - first + 1} OFFSET {first - 1}"


def rankings(sql: str, dialect: str, sorting: Sorting) -> list[Ranking]:
    """Return the statements that rank the rows of a query, the likeliest first; none if it cannot be edited safely.

    Example:
        >>> sql = "SELECT name FROM singer ORDER BY age LIMIT 1"
        >>> [one.sql for one in rankings(sql, "sqlite", Sorting())]  # doctest: +ELLIPSIS
        ['SELECT name, age, RANK() OVER (ORDER BY age), COUNT(*) ... COUNT(*) OVER () FROM singer ORDER BY age LIMIT 1']
    """
    statement = _statement(sql, dialect, sorting)
    return [] if statement is None else statement.rankings()


class _Statement:
    """The tokens of a statement that lie outside every parenthesis, and where its clauses begin."""

    def __init__(self, sql: str, tokens: Sequence[Any], sorting: Sorting) -> None:
        self.sql = sql
        self.sorting = sorting
        # (text, start, end) of each token; all that stands in one pair of parentheses is a single "()".
        self.outer: list[tuple[str, int, int]] = []
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
            elif not depth and (text != ";" or quoted):
                written = sql[token.start : token.end + 1]
                self.outer.append(
                    (written if quoted else " ".join(written.upper().split()), token.start, token.end + 1)
                )
        self.balanced = depth == 0

    def _places(self) -> tuple[list[str], int, int, int, int] | None:
        """Return the words, and the places of the select list, its end, ORDER BY and LIMIT (or the end of the text).

        `None` for a statement that cannot be edited safely: set operations, DISTINCT, several SELECT.
        """
        words = [text for text, _, _ in self.outer]
        if (
            not self.balanced
            or words.count("SELECT") != 1
            or words.count("ORDER BY") != 1
            or words.count("LIMIT") > 1
            or _SET_OPERATIONS & set(words)
        ):
            return None
        first = words.index("SELECT") + 1
        order = words.index("ORDER BY")
        limited = words.index("LIMIT") if "LIMIT" in words else len(words)
        clauses = [index for index in range(first, len(words)) if words[index] in _CLAUSES]
        if not first < clauses[0] or order > limited or words[first] == "DISTINCT":
            return None
        return words, first, clauses[0], order, limited

    def probes(self) -> list[Probe]:
        """Write the probes, with aliases inside expressions left as they are, then with them resolved."""
        places = self._places()
        if places is None:
            return []
        words, first, after, order, limited = places
        limit, more = self._limit(words, limited)
        if "LIMIT" in words and limit is None:
            return []
        aliases = self._aliases(first, after)
        terms = self._split(order + 1, limited)
        found = []
        for keys in ([self._key(*term, aliases, resolve) for term in terms] for resolve in (False, True)):
            shown = "".join(f", {key.expression}" for key in keys if key.column is None)
            head = self.outer[after - 1][2]
            end = self.outer[limited - 1][2]
            text = f"{self.sql[:head]}{shown}{self.sql[head:end]}{more}"
            probe = Probe(text, tuple(keys), limit, self.sorting.text_by_bytes)
            if probe not in found:
                found.append(probe)
        return found

    def rankings(self) -> list[Ranking]:
        """Write the rankings, with aliases inside expressions left as they are, then with them resolved."""
        places = self._places()
        if places is None:
            return []
        words, first, after, order, limited = places
        aliases, terms = self._aliases(first, after), self._split(order + 1, limited)
        items = self._split(first, after)
        head, end = self.outer[after - 1][2], self.outer[limited - 1][2]
        rest = self.sql[end : self.outer[-1][2]]
        found: list[Ranking] = []
        for resolve in (False, True):
            keys = [self._key(*term, aliases, resolve) for term in terms]
            written = [self._ranked(key, term, items) for key, term in zip(keys, terms, strict=True)]
            if "" in written:
                return found
            by = ", ".join(written)
            shown = "".join(f", {key.expression}" for key in keys if key.column is None)
            shown += f", RANK() OVER (ORDER BY {by}), COUNT(*) OVER (ORDER BY {by}), COUNT(*) OVER ()"
            unlimited = f"{self.sql[:head]}{shown}{self.sql[head:end]}"
            one = Ranking(unlimited + rest, tuple(keys), unlimited if "LIMIT" in words else "")
            if one not in found:
                found.append(one)
        return found

    def _ranked(self, key: ProbedKey, term: tuple[int, int], items: list[tuple[int, int]]) -> str:
        """Return a term of the ORDER BY as a window function takes it; empty when it cannot be written so.

        A window knows neither column numbers nor aliases, so both become the expression that they stand for.
        """
        expression = key.expression
        if key.column is not None:
            if not 0 <= key.column < len(items) or any(self.outer[end - 1][0] == "*" for _, end in items):
                return ""
            start, end = items[key.column]
            alias = [i for i in range(start, end) if self.outer[i][0] == "AS"]
            expression = self._text(start, alias[0] if alias else end)
        start, end = term
        stop = next((i for i in range(start, end) if self.outer[i][0] in ("ASC", "DESC", "NULLS")), end)
        return f"{expression} {self.sql[self.outer[stop][1] : self.outer[end - 1][2]] if stop < end else ''}".rstrip()

    def _limit(self, words: list[str], at: int) -> tuple[int | None, str]:
        """Return the LIMIT, and the clause that lets one more row through; `None` when it is no plain number."""
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

    def _key(self, start: int, end: int, aliases: dict[str, str], resolve: bool) -> ProbedKey:
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
        return ProbedKey(column, text, descending, nulls_first)


def _name(text: str) -> str:
    return (text[1:-1] if text[:1] in "\"`['" else text).lower()


def _replace_names(text: str, aliases: dict[str, str]) -> str:
    def expression(found: re.Match[str]) -> str:
        word = found.group()
        return f"({aliases[word.lower()]})" if word.lower() in aliases else word

    # Names that are neither quoted, nor part of a qualified name, nor followed by a parenthesis (a function).
    names = re.compile(r"(?<![\w.])[A-Za-z_]\w*(?![\w.]|\s*[.(])")
    return outside_quotes(text, lambda piece: names.sub(expression, piece))


def with_order(gold: Execution, run: Execution, probe: Probe) -> Execution | None:
    """Return the gold execution with its sort keys, or `None` when the probe's rows do not fit the gold's.

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
    order = tuple(sort_key(row, width, probe.keys) for row in run.rows)
    if None in order or not _is_sorted(order, probe):
        return None
    ambiguous = False
    if probe.limit is not None and count == probe.limit and len(run.rows) > count > 0:
        left_out, key_left_out = tuple(run.rows[count][:width]), order[count]
        ambiguous = any(
            key == key_left_out and row != left_out for row, key in zip(gold.rows, order[:count], strict=True)
        )
    return replace(gold, order=tuple(key for key in order[:count] if key is not None), ambiguous=ambiguous)


def sort_key(row: Row, width: int, keys: tuple[ProbedKey, ...]) -> Row | None:
    """Return the sort key of a probe's row, `None` when a key names a column that is not there.

    Keys that name a result column are read from it; the others stand after the first `width` columns.
    """
    appended = iter(row[width:])
    if any(key.column is not None and not 0 <= key.column < width for key in keys):
        return None
    return tuple(next(appended) if key.column is None else row[key.column] for key in keys)


def _is_sorted(order: tuple[Row | None, ...], probe: Probe) -> bool:
    """Whether the rows come in the order of their keys. If they do not, these are not the keys that the engine used.

    A key with a collation of its own may fail here although it is right. The order then stays unknown, which is safe.
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
    """Return what cells of different types sort by: NULL, numbers, texts by their bytes, then blobs, as in SQLite."""
    if value is None:
        return 0, 0
    if isinstance(value, (int, float)):
        return 1, value
    if not isinstance(value, str):
        return 3, value
    try:
        # Bytes that are no UTF-8 arrive as surrogate escapes; this gives back the bytes that the engine compared.
        return 2, value.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        return 2, value.encode("utf-8", "surrogatepass")
