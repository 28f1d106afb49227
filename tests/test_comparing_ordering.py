"""What the text of a query says about its order."""

from __future__ import annotations

import pytest
from bounds import assert_linear

from finer_rewards.comparing.ordering import ordering_of

QUERIES: dict[str, tuple[int, ...] | None] = {
    "SELECT a, b FROM t ORDER BY b": (1,),
    "select a, b from t order by 2 desc, A asc": (1, 0),
    "SELECT a, count(*) FROM t GROUP BY a ORDER BY count(*) DESC LIMIT 3": (1,),
    "SELECT a, COUNT( * ) FROM t GROUP BY a ORDER BY count(*)": (1,),
    "SELECT a, count(*) AS n FROM t GROUP BY a ORDER BY n": (1,),
    "SELECT a, count(*) n FROM t GROUP BY a ORDER BY N NULLS LAST": (1,),
    "SELECT T1.name, T2.age FROM t T1 JOIN u T2 ORDER BY T2.age": (1,),
    "SELECT T1.name FROM t T1 ORDER BY name": (0,),
    "SELECT name FROM t AS T1 ORDER BY T1.name": (0,),
    "SELECT DISTINCT name FROM t ORDER BY name": (0,),
    'SELECT "first name" AS f, x FROM t ORDER BY "first name"': (0,),
    "SELECT a FROM t UNION SELECT b FROM u ORDER BY a": (0,),
    "WITH c AS (SELECT x FROM t ORDER BY y) SELECT x, z FROM c ORDER BY z": (1,),
    "SELECT a, max(b, c) FROM t ORDER BY max(b,c), a": (1, 0),
    # A key outside the result, or one that cannot be told.
    "SELECT a FROM t ORDER BY b": None,
    "SELECT T1.name FROM t T1 JOIN u T2 ORDER BY T2.name": None,
    "SELECT a FROM t ORDER BY a, b": None,
    "SELECT a FROM t ORDER BY a COLLATE NOCASE": None,
    "SELECT a, a FROM t ORDER BY a": None,
}


@pytest.mark.parametrize("sql", QUERIES)
def test_the_sort_keys_are_found_among_the_result_columns(sql: str) -> None:
    ordering = ordering_of(sql)
    assert ordering.present
    assert ordering.positions() == QUERIES[sql]


@pytest.mark.parametrize(
    "sql",
    [
        "",
        "SELECT a FROM t",
        "SELECT a FROM (SELECT a FROM t ORDER BY a LIMIT 5)",
        "SELECT rank() OVER (PARTITION BY a ORDER BY b) FROM t",
        "SELECT a FROM t WHERE b = 'ORDER BY a'",
        "SELECT a FROM t -- ORDER BY a",
        "SELECT a FROM t /* ORDER BY a */",
        'SELECT a AS "x order by y" FROM t',
        "SELECT group_concat(a ORDER BY a) FROM t",
    ],
)
def test_no_order_by_outside_parentheses_orders_nothing(sql: str) -> None:
    assert not ordering_of(sql).present


def test_a_star_takes_its_columns_from_the_result() -> None:
    ordering = ordering_of("SELECT * FROM t ORDER BY Age")
    assert ordering.positions() is None
    assert ordering.positions(["name", "age"]) == (1,)
    assert ordering.positions(["name", "age", "age"]) is None


@pytest.mark.parametrize(
    "text",
    [
        "(" * 100_000,
        "'" * 99_999,
        "/*" * 50_000,
        '"`[' * 40_000,
        "ORDER BY " * 20_000,
        "a," * 80_000,
        "\x00\ud800",
    ],
)
def test_hostile_text_is_read_in_linear_time(text: str) -> None:
    def read(length: int) -> None:
        ordering_of("SELECT " + text[:length])
        ordering_of("SELECT a FROM t ORDER BY " + text[:length])

    read(len(text))
    assert_linear(read, len(text) // 16)
