"""A quick parser for plain SELECTs: the trees sqlglot would make, in a sixth of its time, or nothing.

It knows a part of SQL in which each word has one meaning. At the first thing that it does not know it gives up, and
sqlglot reads the text. So it never decides what SQL is: the tests hold its trees against sqlglot's on real queries and
on texts damaged at random.
"""

from __future__ import annotations

import re
from typing import Any

from sqlglot import exp, tokens

__all__ = ["plain_tree"]

# A number takes all that touches it, so that `1e5` and `1a` are not read in part.
_TOKEN = re.compile(
    r"""--[^\n]*|'(?:[^']|'')*'|"[^"]+"(?!")|`[^`]+`(?!`)|[A-Za-z_]\w*|\d[\w.]*|<>|[<>!]=|==|\|\||\S"""
)
_QUOTES = frozenset('"`')
_SIGNS = frozenset(
    {"", "(", ")", ",", ".", "*", "+", "-", "/", "%", "||", "=", "<>", "!=", "<", "<=", ">", ">="}
)

# What sqlglot's tokenizer or parser may take for more than a name.
_MORE_RESERVED = """AT ATTACH AUTO_INCREMENT BULK BY CHANGES CLUSTER CONNECT CONNECT_BY_ROOT DETACH DISTRIBUTE ELSE
GLOB GROUP GROUPING HINT HISTORY IF IGNORE INDEXED INTERVAL MATCH MATCH_RECOGNIZE NEXT NO NULLS OF ONLY ORDER PRIMARY
PRIOR REGEXP RESPECT SAMPLE SEPARATOR SORT START STREAM TIES TOP TRY WAIT WITHIN WITHOUT"""
_RESERVED = {word.split()[0] for word in tokens.Tokenizer.KEYWORDS if word[:1].isalpha()}.union(
    _MORE_RESERVED.split()
)
# Types that are also common names of columns; no column only where a text or a bracket follows.
_COLUMN_TOO = frozenset(
    {"DATE", "YEAR", "TIME", "FORMAT", "LANGUAGE", "TEXT", "RANGE", "FILE", "NUMBER", "LIST"}
)
_ALLOWED_AFTER_TYPE = _SIGNS - {"(", "."} | frozenset(
    {"FROM", "AND", "OR", "ASC", "DESC", "LIMIT", "IS", "LIKE", "BETWEEN", "IN"}
)
_AGGREGATES = {"COUNT": exp.Count, "SUM": exp.Sum, "AVG": exp.Avg, "MIN": exp.Min, "MAX": exp.Max}
# The operators between two operands and how tightly each binds; those of one rank are taken from the left.
_EQUAL, _COMPARED, _RANGE, _JOINED, _SUM, _PRODUCT = range(1, 7)
_OPERATORS: dict[str, tuple[int, Any]] = {
    "=": (_EQUAL, exp.EQ), "==": (_EQUAL, exp.EQ), "<>": (_EQUAL, exp.NEQ), "!=": (_EQUAL, exp.NEQ),
    "<": (_COMPARED, exp.LT), "<=": (_COMPARED, exp.LTE), ">": (_COMPARED, exp.GT), ">=": (_COMPARED, exp.GTE),
    **dict.fromkeys(("IS", "NOT", "LIKE", "BETWEEN", "IN"), (_RANGE, None)),
    "||": (_JOINED, exp.DPipe),
    "+": (_SUM, exp.Add), "-": (_SUM, exp.Sub),
    "*": (_PRODUCT, exp.Mul), "/": (_PRODUCT, exp.Div), "%": (_PRODUCT, exp.Mod),
}  # fmt: skip
_NO_OPERATOR = (0, None)
_SET_OPERATIONS = {"UNION": exp.Union, "INTERSECT": exp.Intersect, "EXCEPT": exp.Except}


class _UnsureError(Exception):
    """The text is not plain."""


def plain_tree(sql: str) -> Any:
    """Return the tree of a plain SELECT in SQLite's dialect, or `None` where sqlglot has to read it.

    Example:
        >>> plain_tree("SELECT a FROM t").sql()
        'SELECT a FROM t'
        >>> plain_tree("SELECT a FROM t TABLESAMPLE (3)")
    """
    found = _TOKEN.findall(sql)
    if "--" in sql:
        found = [token for token in found if token[:2] != "--"]
    if found and found[-1] == ";":
        found.pop()
    if not sql.isascii() and not all(token.isascii() or token[0] in "'\"`" for token in found):
        return None
    parser = _Parser(found)
    try:
        tree = parser.query()
    except _UnsureError:
        return None
    return tree if parser.place == len(found) else None


class _Parser:
    """Reads one text; each method takes what it names from the front of the tokens."""

    def __init__(self, found: list[str]) -> None:
        self.place = 0
        self.tokens = [*found, ""]
        self.words = [token.upper() for token in self.tokens]

    def take(self, word: str) -> None:
        if self.words[self.place] != word:
            raise _UnsureError
        self.place += 1

    def took(self, word: str) -> bool:
        if self.words[self.place] == word:
            self.place += 1
            return True
        return False

    # Names ---------------------------------------------------------------------------------------

    def name(self) -> Any:
        token = self.tokens[self.place]
        if token.isidentifier() and self.words[self.place] not in _RESERVED:
            self.place += 1
            return exp.Identifier(this=token, quoted=False)
        if token[:1] in _QUOTES and len(token) > 2:
            self.place += 1
            return exp.Identifier(this=token[1:-1], quoted=True)
        raise _UnsureError

    def alias(self) -> Any:
        """Take an alias, with AS or without; `None` where there is none."""
        if self.took("AS"):
            return self.name()
        word = self.words[self.place]
        if word in _RESERVED or word in _SIGNS:
            return None
        return self.name()

    # Queries -------------------------------------------------------------------------------------

    def query(self) -> Any:
        common = self.common_tables() if self.took("WITH") else None
        tree = self.select()
        kind = _SET_OPERATIONS.get(self.words[self.place])
        while kind is not None:
            self.place += 1
            if any(tree.args.get(name) is not None for name in ("order", "limit", "offset")):
                raise _UnsureError
            distinct = not (kind is exp.Union and self.took("ALL"))
            right = self.select()
            tail = {name: right.args.pop(name, None) for name in ("order", "limit", "offset")}
            tree = kind(this=tree, expression=right, distinct=distinct)
            for name, value in tail.items():
                if value is not None:
                    tree.set(name, value)
            kind = _SET_OPERATIONS.get(self.words[self.place])
        if common is not None:
            tree.set("with_", common)
        return tree

    def common_tables(self) -> Any:
        found = []
        while True:
            name = self.name()
            self.take("AS")
            self.take("(")
            found.append(exp.CTE(this=self.query(), alias=exp.TableAlias(this=name)))
            self.take(")")
            if not self.took(","):
                return exp.With(expressions=found)

    def select(self) -> Any:
        self.take("SELECT")
        clauses: dict[str, Any] = {}
        if self.took("DISTINCT"):
            clauses["distinct"] = exp.Distinct()
        clauses["expressions"] = self.items()
        if self.took("FROM"):
            clauses["from_"] = exp.From(this=self.source())
            joins = self.joins()
            if joins:
                clauses["joins"] = joins
            if self.took("WHERE"):
                clauses["where"] = exp.Where(this=self.expression())
            if self.took("GROUP"):
                self.take("BY")
                clauses["group"] = exp.Group(expressions=self.several())
            if self.took("HAVING"):
                clauses["having"] = exp.Having(this=self.expression())
        if self.took("ORDER"):
            self.take("BY")
            clauses["order"] = exp.Order(expressions=self.keys())
        if self.took("LIMIT"):
            clauses["limit"] = exp.Limit(expression=self.whole())
            if self.took("OFFSET"):
                clauses["offset"] = exp.Offset(expression=self.whole())
        return exp.Select(**clauses)

    def whole(self) -> Any:
        word = self.words[self.place]
        if not (word.isascii() and word.isdigit()):
            raise _UnsureError
        self.place += 1
        return exp.Literal(this=word, is_string=False)

    def items(self) -> list[Any]:
        found = []
        while True:
            if self.took("*"):
                item: Any = exp.Star()
                if self.words[self.place] not in ("FROM", ",", ")", ""):
                    raise _UnsureError
            else:
                item = self.expression()
                alias = self.alias()
                if alias is not None:
                    item = exp.Alias(this=item, alias=alias)
            found.append(item)
            if not self.took(","):
                return found

    def keys(self) -> list[Any]:
        found = []
        while True:
            inner = self.expression()
            down = self.took("DESC")
            if not down:
                self.took("ASC")
            found.append(exp.Ordered(this=inner, desc=down, nulls_first=not down))
            if not self.took(","):
                return found

    def several(self) -> list[Any]:
        found = [self.expression()]
        while self.took(","):
            found.append(self.expression())
        return found

    def source(self) -> Any:
        if self.took("("):
            clauses = {"this": self.query()}
            self.take(")")
            kind: Any = exp.Subquery
        else:
            clauses = {"this": self.name()}
            kind = exp.Table
        alias = self.alias()
        if alias is not None:
            clauses["alias"] = exp.TableAlias(this=alias)
        return kind(**clauses)

    def joins(self) -> list[Any]:
        found = []
        while True:
            word = self.words[self.place]
            if word == ",":
                self.place += 1
                found.append(exp.Join(this=self.source()))
                continue
            left = word == "LEFT"
            if left or word == "INNER":
                self.place += 1
                if left:
                    self.took("OUTER")
            elif word != "JOIN":
                return found
            self.take("JOIN")
            this = self.source()
            self.take("ON")
            on = self.expression()
            found.append(exp.Join(this=this, on=on, side="LEFT") if left else exp.Join(this=this, on=on))

    # Expressions, loosest first --------------------------------------------------------------------

    def expression(self) -> Any:
        tree = self.conjunction()
        while self.took("OR"):
            tree = exp.Or(this=tree, expression=self.conjunction())
        return tree

    def conjunction(self) -> Any:
        tree = self.negation()
        while self.took("AND"):
            tree = exp.And(this=tree, expression=self.negation())
        return tree

    def negation(self) -> Any:
        return exp.Not(this=self.negation()) if self.took("NOT") else self.operation(_EQUAL)

    def operation(self, lowest: int) -> Any:
        """Take an operand and the operators after it that bind at least as tightly as `lowest`."""
        tree = self.primary()
        while True:
            word = self.words[self.place]
            rank, kind = _OPERATORS.get(word, _NO_OPERATOR)
            if rank < lowest:
                return tree
            self.place += 1
            if rank == _RANGE:
                tree = self.range(tree, word)
            elif rank == _JOINED:
                tree = self.joined(tree)
            else:
                tree = kind(this=tree, expression=self.operation(rank + 1))

    def joined(self, tree: Any) -> Any:
        """Take what follows `||`, whose rank among the operators of arithmetic is a matter of opinion."""
        if isinstance(tree, exp.Binary) and not isinstance(tree, exp.DPipe):
            raise _UnsureError
        tree = exp.DPipe(this=tree, expression=self.primary())
        if _OPERATORS.get(self.words[self.place], _NO_OPERATOR)[0] > _JOINED:
            raise _UnsureError
        return tree

    def range(self, tree: Any, word: str) -> Any:
        """Take what follows one of `IS`, `LIKE`, `BETWEEN` and `IN`, or their NOT."""
        negated = word == "NOT"
        if negated:
            word = self.words[self.place]
            self.place += 1
        if word == "IS" and not negated:
            negated = self.took("NOT")
            self.take("NULL")
            tree = exp.Is(this=tree, expression=exp.Null())
        elif word == "LIKE":
            tree = exp.Like(this=tree, expression=self.operation(_JOINED))
        elif word == "BETWEEN":
            low = self.operation(_JOINED)
            self.take("AND")
            tree = exp.Between(this=tree, low=low, high=self.operation(_JOINED))
        elif word == "IN":
            self.take("(")
            if self.words[self.place] == "SELECT":
                tree = exp.In(this=tree, query=exp.Subquery(this=self.query()))
            elif self.words[self.place] == "(":
                raise _UnsureError
            else:
                tree = exp.In(this=tree, expressions=self.several())
            self.take(")")
        else:
            raise _UnsureError
        if _OPERATORS.get(self.words[self.place], _NO_OPERATOR)[0] >= _RANGE:
            raise _UnsureError
        return exp.Not(this=tree) if negated else tree

    def primary(self) -> Any:
        word = self.words[self.place]
        first = word[:1]
        if first == "(":
            self.place += 1
            tree: Any = (
                exp.Subquery(this=self.query())
                if self.words[self.place] == "SELECT"
                else exp.Paren(this=self.expression())
            )
            self.take(")")
            return tree
        if first == "'":
            text = self.tokens[self.place]
            if len(text) < 2 or self.words[self.place + 1][:1] == "'":
                raise _UnsureError
            self.place += 1
            return exp.Literal(this=text[1:-1].replace("''", "'"), is_string=True)
        if first.isdigit():
            self.place += 1
            if not _NUMBER.fullmatch(word):
                raise _UnsureError
            return exp.Literal(this=word, is_string=False)
        if first == "-":
            self.place += 1
            return exp.Neg(this=self.primary())
        following = self.words[self.place + 1] if word else ""
        if following == "(":
            return self.call(word)
        return self.column(word, following)

    def column(self, word: str, following: str) -> Any:
        if word in _RESERVED:
            return self.special(word, following)
        name = self.name()
        if following != ".":
            return exp.Column(this=name)
        self.place += 1
        if self.took("*"):
            if self.words[self.place] not in ("FROM", ",", ")"):
                raise _UnsureError
            return exp.Column(this=exp.Star(), table=name)
        if self.words[self.place] in _COLUMN_TOO:
            own = exp.Identifier(this=self.tokens[self.place], quoted=False)
            self.place += 1
        else:
            own = self.name()
        if self.words[self.place] in (".", "("):
            raise _UnsureError
        return exp.Column(this=own, table=name)

    def special(self, word: str, following: str) -> Any:
        if word in _COLUMN_TOO and following in _ALLOWED_AFTER_TYPE:
            self.place += 1
            return exp.Column(this=exp.Identifier(this=self.tokens[self.place - 1], quoted=False))
        self.place += 1
        if word == "NULL":
            return exp.Null()
        if word != "CASE":
            raise _UnsureError
        operand = None if self.words[self.place] == "WHEN" else self.expression()
        branches = []
        while self.took("WHEN"):
            when = self.expression()
            self.take("THEN")
            branches.append(exp.If(this=when, true=self.expression()))
        default = self.expression() if self.took("ELSE") else None
        self.take("END")
        if not branches:
            raise _UnsureError
        return exp.Case(this=operand, ifs=branches, default=default)

    def call(self, word: str) -> Any:
        self.place += 2
        if word == "EXISTS" and self.words[self.place] == "SELECT":
            query = self.query()
            self.take(")")
            return exp.Exists(this=query)
        kind: Any = _AGGREGATES.get(word)
        if kind is None:
            raise _UnsureError
        if kind is exp.Count and self.took("*"):
            inner: Any = exp.Star()
        elif self.took("DISTINCT"):
            inner = exp.Distinct(expressions=[self.expression()])
        else:
            inner = self.expression()
        self.take(")")
        return kind(this=inner)


_NUMBER = re.compile(r"\d+(?:\.\d+)?", re.ASCII)
