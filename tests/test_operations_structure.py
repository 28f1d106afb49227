# ruff: noqa: E501 - a query is easier to compare on one line
from __future__ import annotations

import itertools
import random
import sqlite3
from pathlib import Path

import pytest

from finer_rewards.engines.sqlite import SQLite
from finer_rewards.errors import ConfigError
from finer_rewards.operations import OperationsError, sql_operations
from finer_rewards.operations.measure import agreement, beside, by_clause, partial_agreement, shaped
from finer_rewards.operations.structure import (
    canonical_equal,
    canonical_sql,
    exact_set_match,
    ngram_similarity,
    schema_linking,
    schema_links,
    tree_edit_similarity,
)
from finer_rewards.schema import ForeignKey, schema_from_ddl, schema_from_mapping

TABLES = {
    "singer": {"id": "INTEGER", "name": "TEXT", "age": "INTEGER"},
    "concert": {"singer_id": "INTEGER", "year": "TEXT"},
}
SIMPLE = "SELECT name FROM singer WHERE age > 40"
JOINED = "SELECT s.name FROM singer s JOIN concert c ON s.id = c.singer_id WHERE c.year = '2014' ORDER BY s.age LIMIT 1"


def test_schema_links_are_resolved() -> None:
    assert schema_links(JOINED, schema=TABLES) == {
        "singer", "concert", "singer.name", "singer.id", "singer.age", "concert.singer_id", "concert.year"
    }  # fmt: skip
    assert schema_links("WITH x AS (SELECT id FROM singer) SELECT * FROM x", schema=TABLES) == {
        "singer",
        "singer.id",
    }
    found = schema_linking(SIMPLE, JOINED, schema=TABLES)
    assert (found.matched, found.predicted, found.gold) == (3, 3, 7)
    assert found.precision == 1.0 and found.recall == 3 / 7 and found.f() == pytest.approx(0.6)


@pytest.mark.parametrize("sql", [SIMPLE, JOINED, f"{SIMPLE} UNION SELECT year FROM concert"])
def test_every_score_of_a_query_with_itself_is_one(sql: str) -> None:
    assert ngram_similarity(sql, sql, schema=TABLES) == 1.0
    assert set(exact_set_match(sql, sql, schema=TABLES).values()) == {1.0}
    assert canonical_equal(sql, sql, schema=TABLES)


def test_exact_set_match_of_rows_without_a_select() -> None:
    rows, others = "VALUES (1, 'a'), (2, 'b')", "VALUES (1, 'a'), (3, 'b')"
    assert exact_set_match(rows, rows, values=True)["exact"] == 1.0
    assert exact_set_match(others, rows, values=True)["exact"] == 0.0


def test_exact_set_match_is_blind_to_values_unless_asked() -> None:
    other = SIMPLE.replace("40", "41")
    assert exact_set_match(other, SIMPLE, schema=TABLES)["exact"] == 1.0
    assert exact_set_match(other, SIMPLE, schema=TABLES, values=True)["exact"] == 0.0
    scores = exact_set_match("SELECT age FROM singer WHERE age > 40", SIMPLE, schema=TABLES)
    assert scores["select"] == 0.0 and scores["where"] == 1.0 and scores["exact"] == 0.0


def test_canonical_equality() -> None:
    assert canonical_equal("SELECT name FROM singer AS x WHERE NOT x.age <= 40", SIMPLE, schema=TABLES)
    assert not canonical_equal("SELECT name FROM singer WHERE age >= 40", SIMPLE, schema=TABLES)
    assert canonical_sql(SIMPLE, schema=TABLES) == "select singer.name from singer where (singer.age > 40)"


def test_ngrams() -> None:
    near = ngram_similarity(SIMPLE.replace("40", "41"), SIMPLE, schema=TABLES)
    far = ngram_similarity(JOINED, SIMPLE, schema=TABLES)
    assert 0.0 < far < near < 1.0
    with pytest.raises(OperationsError):
        ngram_similarity("no SQL", SIMPLE)


def test_tree_edits() -> None:
    pytest.importorskip("apted")
    near = tree_edit_similarity(SIMPLE.replace("40", "41"), SIMPLE, schema=TABLES)
    far = tree_edit_similarity(JOINED, SIMPLE, schema=TABLES)
    assert 0.0 <= far < near < 1.0 and tree_edit_similarity(SIMPLE, SIMPLE, schema=TABLES) == 1.0


def test_partial_credit_takes_the_best_pairs_and_stays_below_one() -> None:
    gold = sql_operations("SELECT name FROM singer WHERE age > 40 AND id = 3", schema=TABLES)
    wrong_value = sql_operations("SELECT name FROM singer WHERE age > 41 AND id = 3", schema=TABLES)
    wrong_everything = sql_operations("SELECT name FROM singer WHERE name LIKE 'x' AND id = 3", schema=TABLES)
    plain, partial = agreement(wrong_value, gold), partial_agreement(wrong_value, gold)
    assert plain.f() < partial.f() < 1.0
    assert partial.matched - plain.matched == pytest.approx(0.5 * 2 / 3)
    assert partial_agreement(wrong_everything, gold).f() < partial.f()
    assert partial_agreement(gold, gold).f() == 1.0


def test_measures() -> None:
    ours, theirs = (sql_operations(sql, schema=TABLES) for sql in (SIMPLE, "SELECT name FROM singer"))
    found = agreement(ours, theirs, {})
    assert found.matched == 3 and found.predicted == 5 and found.gold == 4
    assert found.jaccard == pytest.approx(3 / 6) and found.f() == pytest.approx(6 / 9)
    assert found.f(2.0) == pytest.approx(5 * 3 / (4 * 4 + 5))
    assert agreement(ours, theirs, {"query": 0.0, "filter": 0.0}).f() == 1.0
    assert by_clause(beside(ours, theirs))["WHERE"] == (0, 1, 0)
    assert shaped(0.0) == 0.0 and shaped(1.0) == pytest.approx(0.8005)


def test_f1_is_symmetric_and_bounded() -> None:
    queries = [
        SIMPLE,
        JOINED,
        "SELECT 1",
        "SELECT COUNT(*) FROM concert",
        f"{SIMPLE} EXCEPT SELECT year FROM concert",
    ]
    for first, second in itertools.product(queries, queries):
        a, b = sql_operations(first, schema=TABLES), sql_operations(second, schema=TABLES)
        assert agreement(a, b).f() == agreement(b, a).f()
        assert 0.0 <= agreement(a, b).f() <= 1.0
        assert (agreement(a, b).f() == 1.0) == (first == second)


def test_schema_in_three_forms(tmp_path: Path) -> None:
    ddl = """
    CREATE TABLE city (id INTEGER PRIMARY KEY NOT NULL, name TEXT UNIQUE NOT NULL);
    CREATE TABLE shop (id INT, city INT NOT NULL REFERENCES city(id), label TEXT,
                       PRIMARY KEY (id), FOREIGN KEY (label) REFERENCES city (name));
    CREATE UNIQUE INDEX one ON shop (label, city);
    """
    path = tmp_path / "x #1?.sqlite"
    with sqlite3.connect(path) as connection:
        connection.executescript(ddl)
    connection.close()
    with SQLite() as executor:
        declared, read = schema_from_ddl(ddl), executor.schema(str(path))
    for schema in (declared, read):
        city, shop = schema.tables
        assert city.primary_key == ("id",) and ("name",) in city.unique and city.columns[1].not_null
        assert shop.primary_key == ("id",) and ("label", "city") in shop.unique
        assert set(shop.foreign_keys) == {
            ForeignKey(("city",), "city", ("id",)),
            ForeignKey(("label",), "city", ("name",)),
        }
    assert [table.name for table in schema_from_mapping({"t": {"a": "INT"}, "u": ["b"]}).tables] == ["t", "u"]
    with pytest.raises(ConfigError, match="CREATE"):
        schema_from_ddl("CREATE TABLE (")


def test_answers_do_not_depend_on_the_order_of_the_text() -> None:
    """Renaming aliases and shuffling FROM, AND and IN leaves the operations as they are."""
    rng = random.Random(3)
    first = sql_operations(
        "SELECT a.name FROM singer a, singer b, concert c WHERE a.age = b.age AND b.id = c.singer_id AND c.year IN ('1', '2')",
        schema=TABLES,
    )
    for _ in range(20):
        names = rng.sample(["p", "q", "r", "s"], 3)
        a, b, c = names
        sources = [f"singer {a}", f"singer {b}", f"concert {c}"]
        years = ["'1'", "'2'"]
        rng.shuffle(years)
        conditions = [f"{a}.age = {b}.age", f"{c}.singer_id = {b}.id", f"{c}.year IN ({', '.join(years)})"]
        rng.shuffle(sources)
        rng.shuffle(conditions)
        sql = f"SELECT {a}.name FROM {', '.join(sources)} WHERE {' AND '.join(conditions)}"
        assert sql_operations(sql, schema=TABLES) == first
