"""The published operations: each fault of that code, pinned by an example worked out by hand."""

from __future__ import annotations

import pytest

from finer_rewards.operations.published import published_operations, published_score


@pytest.mark.parametrize(
    ("one", "other"),
    [
        pytest.param("SELECT a FROM t", "SELECT a FROM u", id="no table"),
        pytest.param("SELECT a FROM t", "SELECT a FROM (SELECT a FROM u WHERE b > 1)", id="no derived table"),
        pytest.param("WITH x AS (SELECT b FROM t) SELECT a FROM x", "SELECT a FROM x", id="no CTE"),
        pytest.param(
            "SELECT a FROM t JOIN u ON t.i = u.i", "SELECT a FROM t LEFT JOIN u ON t.i = u.i", id="side"
        ),
        pytest.param("SELECT a FROM t JOIN u USING (i)", "SELECT a FROM t NATURAL JOIN u", id="USING"),
        pytest.param("SELECT t.a FROM t JOIN u", "SELECT u.a FROM t JOIN u", id="whose column"),
        pytest.param("SELECT a FROM t LIMIT 3", "SELECT a FROM t LIMIT 3 OFFSET 7", id="OFFSET"),
        pytest.param("SELECT a + b FROM t", "SELECT a + c FROM t", id="second operand"),
        pytest.param("SELECT ROUND(a, 2) FROM t", "SELECT ROUND(a, 5) FROM t", id="second argument"),
        pytest.param(
            "SELECT CASE WHEN a THEN b END FROM t", "SELECT CASE WHEN c THEN d ELSE e END FROM t", id="CASE"
        ),
        pytest.param(
            "SELECT SUM(a) OVER (ORDER BY b) FROM t", "SELECT SUM(a) OVER (ORDER BY c) FROM t", id="window"
        ),
        pytest.param("SELECT a, a FROM t", "SELECT a FROM t", id="how often"),
        pytest.param("SELECT a, b FROM t", "SELECT b, a FROM t", id="which column first"),
        pytest.param('SELECT a FROM t WHERE b = "Yes"', 'SELECT a FROM t WHERE b = "yES"', id="quoted value"),
    ],
)
def test_different_queries_are_equal(one: str, other: str) -> None:
    assert published_operations(one) == published_operations(other)
    assert published_score(one, (other,)) == 1.0


@pytest.mark.parametrize(
    ("one", "other"),
    [
        pytest.param("SELECT a FROM t WHERE b = 1", "SELECT a FROM t WHERE 1 = b", id="commuted"),
        pytest.param("SELECT a FROM t", "SELECT a AS x FROM t", id="output name"),
        pytest.param(
            "SELECT a FROM t JOIN u ON t.i = u.i",
            "SELECT a FROM t JOIN u AS x ON t.i = x.i",
            id="table's alias",
        ),
        pytest.param(
            "SELECT a FROM t JOIN u ON T.i = u.i", "SELECT a FROM t JOIN u ON t.i = u.i", id="case in ON"
        ),
        pytest.param(
            "SELECT a FROM t WHERE b = 1 AND c = 2",
            "SELECT a FROM t WHERE (b = 1 AND c = 2)",
            id="parentheses",
        ),
        pytest.param("SELECT COUNT(*) FROM t", "SELECT COUNT(a) FROM t", id="COUNT(*)"),
    ],
)
def test_equal_queries_are_different(one: str, other: str) -> None:
    assert published_score(one, (other,)) < 1.0


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT 1, a FROM t",
        "SELECT 'x' FROM t",
        "SELECT TRUE FROM t",
        "SELECT a FROM t WHERE EXISTS (SELECT 1 FROM u)",
        "SELECT my_function(a) FROM t",
        "SELECT a FROM t WHERE my_function(b) = 2",
        "SELECT a FROM",
        "no query",
        "DELETE FROM t",
        "SELECT a FROM t; SELECT a FROM t",
        "",
    ],
)
def test_what_cannot_be_read_has_no_operations_and_scores_nothing_against_itself(sql: str) -> None:
    assert published_operations(sql) == frozenset()
    assert published_score(sql, (sql,)) == 0.0


def test_a_literal_in_a_condition_or_beside_an_operator_can_be_read() -> None:
    assert len(published_operations("SELECT a FROM t WHERE b = 1 AND c LIKE 'x'")) == 3
    assert len(published_operations("SELECT 100 * a FROM t")) == 1


@pytest.mark.parametrize(
    ("sql", "count"),
    [
        # column, begin, column, condition, end, condition
        ("SELECT a FROM t WHERE b > (SELECT AVG(c) FROM u WHERE d = 1)", 6),
        ("SELECT a FROM t WHERE (SELECT c FROM u WHERE d = 1) < b", 6),
        ("SELECT a FROM t WHERE b IN (SELECT c FROM u WHERE d = 1)", 6),
        ("SELECT a FROM t WHERE EXISTS (SELECT c FROM u WHERE d = 1)", 6),
        ("SELECT a FROM t GROUP BY b HAVING SUM(c) > (SELECT d FROM u)", 6),
        # one condition, kept as it is written
        ("SELECT a FROM t WHERE b NOT IN (SELECT c FROM u WHERE d = 1)", 2),
        ("SELECT a FROM t WHERE b = 1 OR c = 2", 2),
        # left column, UNION, begin, right column, end
        ("SELECT a FROM t UNION SELECT b FROM u", 5),
        ("SELECT a FROM t EXCEPT SELECT a FROM u", 4),
        # both joins, though one is in the CTE
        ("WITH x AS (SELECT a FROM t JOIN u USING (i)) SELECT a FROM x JOIN v USING (i)", 3),
        ("SELECT DISTINCT a FROM t ORDER BY b DESC, c LIMIT 5", 5),
        ("SELECT a FROM t JOIN u ON t.i = u.i AND t.j > 3", 4),
    ],
)
def test_how_many_operations_a_query_has(sql: str, count: int) -> None:
    assert len(published_operations(sql)) == count


def test_the_end_of_a_subquery_is_shared_by_all_kinds() -> None:
    union = published_operations("SELECT a FROM t UNION SELECT b FROM u")
    nested = published_operations("SELECT c FROM t WHERE d IN (SELECT e FROM u)")
    assert len(union & nested) == 1


def test_sets_swapped_around_a_minus_keep_their_value() -> None:
    one = "SELECT a FROM t EXCEPT SELECT b FROM u"
    other = "SELECT b FROM u EXCEPT SELECT a FROM t"
    assert published_score(one, (other,)) == 1.0


def test_the_score_is_the_jaccard_index_with_the_nearest_gold() -> None:
    predicted = "SELECT a FROM t WHERE b = 1"
    assert published_score(predicted, ("SELECT a FROM t WHERE b = 2",)) == pytest.approx(1 / 3)
    assert published_score(predicted, ("SELECT c FROM t", "SELECT a FROM t")) == pytest.approx(1 / 2)
    assert published_score(predicted, ()) == 0.0


def test_what_would_take_long_to_parse_counts_as_unreadable() -> None:
    assert published_operations("SELECT a FROM t WHERE " + "(" * 5_000 + "b" + ")" * 5_000) == frozenset()
