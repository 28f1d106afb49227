"""From text to one parsed query, in bounded time, or a refusal that says why.

sqlglot's parser recurses on nesting and doubles its time with each JOIN that has no ON; so the text
is measured before it is parsed. What passes becomes operations in about half a second of CPU time at most:
`test_no_text_takes_long_at_any_size` checks that, by counting calls. The limits count what the text holds and
never look at a clock, so that no score depends on the machine.
"""

from __future__ import annotations

import re
import sys
import threading
from collections.abc import Callable
from functools import lru_cache
from typing import Any, TypeVar

import sqlglot
from sqlglot import TokenType, exp
from sqlglot.errors import ParseError, TokenError

from finer_rewards._util.locks import ForkSafeLock
from finer_rewards._util.sql_text import COMMENT, QUOTED_ANYWHERE
from finer_rewards._util.sqlglot_log import quiet_sqlglot
from finer_rewards.errors import ConfigError, FinerError

from ._ranks import ENGINES, AmbiguousNotError, mark_brackets, regrouped
from ._sqlite_tokens import as_engine_means, before_operand, refused_by_sqlite

Result = TypeVar("Result")

SUPPORTED_MAJORS = range(28, 31)
LIMITS = {
    "characters": 60_000,
    "nesting": 120,
    "terms": 2_500,
    "operators": 600,
    "joins without ON": 8,
    "joins": 300,
    "sources of one FROM clause": 64,
    "columns merged by USING": 256,
    "list items": 2_000,
    "FULL or RIGHT joins": 30,
    "subqueries": 100,
    "tokens": 20_000,
}

# Frames of the stack: 120 levels of nesting take about 4,500 in sqlglot.
_DEPTH = 12_000
_STACK = 128 * 1024 * 1024
_stack_lock = ForkSafeLock()

# Strings and comments as a whole, and of the rest only what is counted.
_LEXEME = re.compile(
    rf"""{COMMENT} | {QUOTED_ANYWHERE}
      | \b(?:AND|OR|IN|CASE|END|NOT|JOIN|FULL|RIGHT|ON|USING|SELECT|NATURAL|CROSS|UNION|INTERSECT|EXCEPT)\b
      | \bEXCLUDE\s+GROUP\b | \b(?:WHERE|GROUP|HAVING|ORDER|LIMIT)\b
      | [-()+*/%|&~,;]""",
    re.VERBOSE | re.DOTALL | re.IGNORECASE,
)


class OperationsError(FinerError):
    """SQL that cannot be read into operations.

    Args:
        reason: what is wrong, in one sentence.
        line: where the parser stopped; `None` when that is not known.
        column: likewise.
    """

    def __init__(self, reason: str, line: int | None = None, column: int | None = None) -> None:
        where = "" if line is None else f" (line {line}, column {column})"
        super().__init__(f"{reason}{where}")
        self.reason, self.line, self.column = reason, line, column

    def __reduce__(self) -> tuple[type[OperationsError], tuple[str, int | None, int | None]]:
        return type(self), (self.reason, self.line, self.column)


def check_version(version: str = vars(sqlglot)["__version__"]) -> None:
    """Refuse a sqlglot whose trees this package has not been tested with."""
    major = version.split(".", 1)[0]
    if not major.isdigit() or int(major) not in SUPPORTED_MAJORS:
        raise ConfigError(
            f"`sqlglot` should be >={SUPPORTED_MAJORS[0]},<{SUPPORTED_MAJORS[-1] + 1}, but got {version}. "
            f"Install one of them: pip install 'sqlglot>={SUPPORTED_MAJORS[0]},<{SUPPORTED_MAJORS[-1] + 1}'."
        )


def parse_query(sql: str, dialect: str) -> Any:
    """Return the tree of the one query that a text holds.

    Args:
        sql: the text.
        dialect: sqlglot's name of the dialect.

    Raises:
        OperationsError: the text is too large, does not parse, or is not exactly one query.
        ConfigError: sqlglot does not know the dialect.
    """
    measure(sql)
    try:
        read = sqlglot.Dialect.get_or_raise(dialect)
    except ValueError as error:
        raise ConfigError(
            f"`dialect` should be one that sqlglot knows, but got {dialect!r}. {error}"
        ) from None
    # Keep the label of `->>` as written: sqlglot makes a path of it, but SQLite versions differ in which are paths.
    vars(read)["to_json_path"] = _as_written
    try:
        with quiet_sqlglot():
            tokens = read.tokenize(sql)
            leading_not = _leading_not(tokens)
            parsed = read.parser().parse(_prepared(tokens, sql, dialect), sql)
    except ParseError as error:
        first = error.errors[0] if error.errors else {}
        raise OperationsError(
            f"The SQL does not parse: {first.get('description') or 'syntax error'}",
            first.get("line"),
            first.get("col"),
        ) from None
    except TokenError as error:
        raise OperationsError(f"The SQL does not parse: {str(error).splitlines()[0]}") from None
    except (AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
        # On malformed text sqlglot's own code sometimes fails in these ways.
        raise OperationsError(f"The SQL does not parse: {type(error).__name__} in the parser") from None
    tree = _only_query(parsed)
    for node in list(tree.find_all(exp.Is)):
        # Newer releases write PostgreSQL's IS NOT NULL as one node, all others as NOT and IS.
        if node.args.get("negate"):
            node.replace(exp.Not(this=exp.Is(this=node.this, expression=node.expression)))
    try:
        return regrouped(tree, dialect, leading_not)
    except AmbiguousNotError:
        raise OperationsError("The SQL is unclear: put brackets around what NOT belongs to") from None


def _prepared(tokens: list[Any], sql: str, dialect: str) -> list[Any]:
    """Return the tokens as the parser needs them to read what the engine does; refuse what the engine refuses."""
    mark_brackets(tokens, dialect)
    refused = refused_by_sqlite(tokens) if dialect == "sqlite" else None
    if refused is not None:
        raise OperationsError(f"The SQL does not parse: {refused}")
    if dialect in ENGINES:
        tokens = as_engine_means(tokens, sql, dialect)
    if dialect == "duckdb" and any(token.text.upper() == "SYMMETRIC" for token in tokens):
        raise OperationsError("The SQL does not parse: DuckDB has no BETWEEN SYMMETRIC")
    return tokens


def _only_query(parsed: list[Any]) -> Any:
    """Return the tree of the one statement that was parsed, if it is a query."""
    statements = [one for one in parsed if one is not None and type(one) is not exp.Semicolon]
    if len(statements) != 1:
        found = "no statement" if not statements else f"{len(statements)} statements"
        raise OperationsError(f"One query is needed, but the text holds {found}")
    tree = statements[0]
    if not isinstance(tree, (exp.Query, exp.Values)):
        raise OperationsError(f"A query is needed, but the text is {tree.key.upper()}")
    return tree


@lru_cache(maxsize=4096)
def tree_of(sql: str, dialect: str = "sqlite") -> exp.Expression | None:
    """Return the tree of a query, or `None` when the text is not one; it is shared, so do not change it."""
    try:
        tree: exp.Expression = with_deep_stack(lambda: parse_query(sql, dialect))
    except OperationsError:
        return None
    return tree


def _as_written(path: Any) -> Any:
    return path


def _leading_not(tokens: list[Any]) -> bool:
    """Return whether any NOT stands in front of an operand, and not after one as in `a NOT IN (b)`.

    Raises:
        OperationsError: it stands after a sign: the tree of `a = NOT b IN (c)` is that of `a = b NOT IN (c)`.
    """
    found = False
    for place, token in enumerate(tokens):
        if token.token_type is TokenType.NOT and before_operand(tokens, place):
            before = tokens[place - 1] if place else None
            if before is not None and before.text in _SIGNS:
                raise OperationsError(
                    "The SQL does not parse: NOT after a sign needs brackets", token.line, token.col
                )
            # `IS NOT` is one operator.
            found |= before is None or before.token_type is not TokenType.IS
    return found


def measure(sql: str) -> None:
    """Refuse a text that would take too long, in time linear in its length."""
    refuse_unreadable(sql)
    _refuse_oversized(sql)


def refuse_unreadable(sql: str) -> None:
    """Refuse a text that is too long, empty, or has characters that no SQL has: that takes no parser."""
    within("characters", len(sql))
    if not sql.strip():
        raise OperationsError("The SQL is empty")
    if "\x00" in sql:
        raise OperationsError("The SQL holds a NUL character")
    if not sql.isascii() and any("\ud800" <= character <= "\udfff" for character in sql):
        raise OperationsError("The SQL holds half a surrogate pair")


def _refuse_oversized(sql: str) -> None:
    text = sql.upper()
    if is_small(text) and _ordered(text):
        return
    depth = deepest = terms = operators = prefixes = loose = most_loose = outer = joins = subqueries = end = 0
    ranks = [0]
    items, before = 0, ""
    # For each open bracket, whether it is that of IN: its list may be long, so its commas are not counted.
    lists = [False]
    for match in _LEXEME.finditer(sql):
        word = match.group()
        if word[0] in "'\"`" or word.startswith(("--", "/*")):
            continue
        upper = word.upper()
        if upper in _OPENING:
            depth += 1
            ranks.append(0)
            lists.append(before == "IN" and not sql[end : match.start()].strip())
        elif upper in _CLOSING:
            depth -= 1
            del lists[max(1, len(lists) - 1) :]
            del ranks[max(1, len(ranks) - 1) :]
        elif upper in _RESTART:
            ranks[-1] = 0
        elif upper in _RANKS:
            if _RANKS[upper] < ranks[-1]:
                raise OperationsError(
                    f"The SQL does not parse: {upper} stands after a clause that must follow it"
                )
            ranks[-1] = _RANKS[upper]
        before = upper
        items += upper == "," and not lists[-1]
        terms += upper in ("AND", "OR")
        operators += upper in _OPERATORS
        outer += upper in ("FULL", "RIGHT")
        joins += upper == "JOIN"
        subqueries += upper == "SELECT" and depth > 0
        follows = not sql[end : match.start()].strip()
        prefixes = 0 if upper not in _PREFIX else prefixes + 1 if follows else 1
        end = match.end()
        deepest = max(deepest, depth + prefixes)
        if upper == "JOIN":
            loose += 1
            most_loose = max(most_loose, loose)
        elif upper in ("ON", "USING"):
            loose = max(0, loose - 1)
        elif upper in ("SELECT", ",", "NATURAL", "CROSS"):
            loose = 0
    within("nesting", deepest)
    within("terms", terms)
    within("operators", operators)
    within("joins without ON", most_loose)
    within("joins", joins)
    within("list items", items)
    within("FULL or RIGHT joins", outer)
    within("subqueries", subqueries)


def is_small(upper: str) -> bool:
    """Return whether a short text is surely within every limit; most texts are."""
    return (
        len(upper) <= 2_000
        and upper.count("JOIN") <= LIMITS["joins without ON"]
        and sum(map(upper.count, ("(", "CASE", *_PREFIX))) <= LIMITS["nesting"]
    )


def _ordered(upper: str) -> bool:
    """Return whether the clauses of a text are surely in order; the quick reader takes them in no other."""
    last = -1
    for word in _RANKS:
        first = upper.find(word)
        if first >= 0:
            if first < last:
                return False
            last = upper.rfind(word)
    return True


_COMPARES = frozenset({"=", "==", "<>", "!=", "<", "<=", ">", ">="})
_SIGNS = _COMPARES | frozenset({"+", "-", "~", "*", "/", "%", "||", "&", "|", "<<", ">>"})
_OPENING = frozenset({"(", "CASE"})
_CLOSING = frozenset({")", "END"})
# After these the clauses of a SELECT begin anew.
_RESTART = frozenset({"SELECT", "UNION", "INTERSECT", "EXCEPT", ";"})
# sqlglot takes the clauses of a SELECT in any order; no engine does.
_RANKS = {"JOIN": 1, "WHERE": 2, "GROUP": 3, "HAVING": 4, "ORDER": 5, "LIMIT": 6}
_OPERATORS = frozenset("+-*/%|&")
_PREFIX = frozenset({"NOT", "-", "+", "~"})


def within(what: str, amount: int) -> None:
    """Refuse a text that has more of something, a key of `LIMITS`, than is read."""
    if amount > LIMITS[what]:
        raise OperationsError(f"The SQL is too large: {amount} {what}, {LIMITS[what]} are read")


def with_deep_stack(call: Callable[[], Result]) -> Result:
    """Run `call`; if the stack runs out, run it again on a deep one, so that the caller's depth is no matter."""
    try:
        return call()
    except RecursionError:
        pass
    outcome: list[Result] = []
    failure: list[BaseException] = []

    def work() -> None:
        try:
            outcome.append(call())
        except RecursionError:
            failure.append(OperationsError("The SQL is nested too deeply"))
        except BaseException as error:  # noqa: BLE001 - handed to the caller below
            failure.append(error)

    with _stack_lock:
        limit, size = sys.getrecursionlimit(), threading.stack_size(_STACK)
        sys.setrecursionlimit(max(limit, _DEPTH))
        try:
            thread = threading.Thread(target=work, name="finer-rewards-deep-sql")
            thread.start()
            thread.join()
        finally:
            sys.setrecursionlimit(limit)
            threading.stack_size(size)
    if failure:
        raise failure[0]
    return outcome[0]
