# ruff: noqa: E501 - a query is easier to compare on one line
"""Expressions without brackets mean to us what they mean to the engine, by either reader."""

from __future__ import annotations

import random
import sqlite3
from typing import Any

import pytest

from finer_rewards.operations.facts import Facts
from finer_rewards.operations.guard import OperationsError, parse_query
from finer_rewards.operations.plain import read_plain
from finer_rewards.operations.reading import Reader
from finer_rewards.operations.sql import to_sql

OPERATORS = [
    *[
        "=",
        "<>",
        "<",
        "<=",
        ">",
        ">=",
        "IS",
        "LIKE",
        "GLOB",
        "||",
        "+",
        "-",
        "*",
        "/",
        "%",
        "&",
        "|",
        "AND",
        "OR",
    ],
    "IS NOT",
    "NOT LIKE",
    "IS NOT DISTINCT FROM",
]
VALUES = ["0", "1", "2", "3", "5", "NULL", "'1'", "'a'", "''", "1.5", "-2"]


def expression(rng: random.Random) -> str:
    """Return a random expression of some operators, with no brackets."""
    text = rng.choice(VALUES)
    for _ in range(rng.choice([2, 2, 3, 4])):
        match rng.randrange(12):
            case 0:
                text += (
                    rng.choice([" BETWEEN ", " NOT BETWEEN "])
                    + f"{rng.choice(VALUES)} AND {rng.choice(VALUES)}"
                )
            case 1:
                text += rng.choice([" IN ", " NOT IN "]) + f"({rng.choice(VALUES)}, {rng.choice(VALUES)})"
            case 2:
                text = f"NOT {text}"
            case 3:
                text += rng.choice([" IS NULL", " IS NOT NULL"])
            case _:
                text += f" {rng.choice(OPERATORS)} {rng.choice(VALUES)}"
    return text


def test_expressions_are_grouped_as_sqlite_groups_them() -> None:
    rng = random.Random(5)
    connection = sqlite3.connect(":memory:")
    read = {"trees": 0, "plain": 0}
    for _ in range(2_000):
        text = f"SELECT {expression(rng)}"
        expected = connection.execute(text).fetchone()
        for reader, query in (("trees", _by_tree(text, "sqlite")), ("plain", read_plain(text, Facts()))):
            if query is not None:
                read[reader] += 1
                assert connection.execute(to_sql(query)).fetchone() == expected, (reader, text)
    assert read["trees"] > 1_500 and read["plain"] > 200


def _by_tree(sql: str, dialect: str) -> Any:
    try:
        return Reader(Facts({}, False, dialect)).read(parse_query(sql, dialect))
    except OperationsError:
        return None


# What each engine says of a text without brackets, and with them.
GROUPED = [
    ("duckdb", "2 = 3 IN (0)", "2 = (3 IN (0))"),
    ("duckdb", "1 < 2 BETWEEN 0 AND 1", "1 < (2 BETWEEN 0 AND 1)"),
    ("duckdb", "1 < NULL IS NULL", "(1 < NULL) IS NULL"),
    ("duckdb", "4 | 2 * 2", "4 | (2 * 2)"),
    ("duckdb", "5 % 3 * 2", "(5 % 3) * 2"),
    ("postgres", "2 = 3 IN (0)", "2 = (3 IN (0))"),
    ("postgres", "a < b IS NOT NULL", "(a < b) IS NOT NULL"),
    ("postgres", "a || b LIKE c", "(a || b) LIKE c"),
    ("postgres", "1 | 2 + 4", "1 | (2 + 4)"),
    ("sqlite", "a = b IN (c)", "(a = b) IN (c)"),
    ("sqlite", "a < b IS NOT NULL", "(a < b) IS NOT NULL"),
    ("sqlite", "a IS b < c", "a IS (b < c)"),
    ("sqlite", "a || b * c", "(a || b) * c"),
    ("sqlite", "a || b COLLATE nocase", "a || (b COLLATE nocase)"),
    ("sqlite", "a LIKE b > 0", "a LIKE (b > 0)"),
]


@pytest.mark.parametrize(("dialect", "text", "grouped"), GROUPED)
def test_grouping(dialect: str, text: str, grouped: str) -> None:
    sql = [f"SELECT {one} FROM t" for one in (text, grouped)]
    assert _by_tree(sql[0], dialect) == _by_tree(sql[1], dialect)


@pytest.mark.parametrize("grouped", [one[1:] for one in GROUPED if one[0] == "duckdb"])
def test_duckdb_groups_so_itself(grouped: tuple[str, str]) -> None:
    duckdb = pytest.importorskip("duckdb", reason="needs duckdb")
    first, second = (duckdb.connect().execute(f"SELECT {one}").fetchone() for one in grouped)
    assert first == second


@pytest.mark.parametrize(
    ("dialect", "text", "grouped"),
    [
        ("postgres", "SELECT 1 UNION SELECT 2 INTERSECT SELECT 3", "SELECT 1 UNION (SELECT 2 INTERSECT SELECT 3)"),
        ("sqlite", "SELECT 1 UNION SELECT 2 INTERSECT SELECT 3", "SELECT * FROM (SELECT 1 UNION SELECT 2) INTERSECT SELECT 3"),
    ],
)  # fmt: skip
def test_intersect_has_a_rank_of_its_own_but_in_sqlite(dialect: str, text: str, grouped: str) -> None:
    heads = [_by_tree(sql, dialect)[1] for sql in (text, grouped)]
    assert heads[0] == heads[1] == ("union" if dialect == "postgres" else "intersect")


@pytest.mark.parametrize(
    "sql", ["SELECT a = NOT b IN (1) FROM t", "SELECT a FROM t WHERE + NOT (NOT a) IN (1)"]
)
@pytest.mark.parametrize("dialect", ["sqlite", "duckdb", "postgres"])
def test_a_loose_not_is_refused(dialect: str, sql: str) -> None:
    with pytest.raises(OperationsError, match="needs brackets"):
        parse_query(sql, dialect)
