# ruff: noqa: E501 - a query is easier to compare on one line
"""What SQLite, DuckDB and PostgreSQL say beyond plain SQL: pairs that look alike and are not, and that are and do not look so."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path

import pytest

from finer_rewards.operations import OperationsError, operation_f1, sql_operations
from finer_rewards.schema import schema_from_ddl

DDL = """
CREATE TABLE lot (id INTEGER PRIMARY KEY, units INTEGER, mark, code TEXT, weight REAL, zip STRING, data TEXT);
CREATE TABLE tag (id INTEGER PRIMARY KEY, word TEXT COLLATE NOCASE, slug TEXT);
CREATE TABLE band (id INTEGER PRIMARY KEY, name TEXT, fans INTEGER);
CREATE VIEW labels AS SELECT word FROM tag;
"""
ROWS = """
INSERT INTO lot VALUES (1,7,'7','a',7,'02134','{"x.y":1,"x":{"y":2}}'), (2,7,7,'A',2.5,'7',NULL), (3,1,1,NULL,1,NULL,'{"x":5}');
INSERT INTO tag VALUES (1,'Fog','FOG'), (2,'rain','rain'), (3,'fog','x'), (4,NULL,'Fog');
INSERT INTO band VALUES (1,'A',5), (2,'B',50), (3,'C',20), (4,'D',40);
"""

# Each kind by name; the two differ on the rows above.
APART = [
    ("unary plus", "SELECT id FROM lot WHERE +units = '7'", "SELECT id FROM lot WHERE units = '7'"),
    ("unary plus in a derived table", "SELECT x.u FROM (SELECT +units AS u FROM lot) x WHERE x.u = '7'", "SELECT units FROM lot WHERE units = '7'"),
    ("IFNULL", "SELECT id FROM lot WHERE IFNULL(id, 0) = '2'", "SELECT id FROM lot WHERE id = '2'"),
    ("cast to a type that is none", "SELECT CAST(zip AS STRING) || '' FROM lot", "SELECT CAST(zip AS TEXT) || '' FROM (SELECT '02134' AS zip)"),
    ("cast to BLOB", "SELECT CAST(units AS BLOB) FROM lot", "SELECT CAST(units AS NUMERIC) FROM lot"),
    ("a list has no affinity", "SELECT id FROM lot WHERE '7' IN (units)", "SELECT id FROM lot WHERE '7' = units"),
    ("constant through another column", "SELECT id FROM lot WHERE units = 7 AND mark = units", "SELECT id FROM lot WHERE units = 7 AND mark = 7"),
    ("real is no integer", "SELECT id FROM lot WHERE weight = 7 AND weight / 2 > 3.2", "SELECT id FROM lot WHERE weight = 7 AND 7 / 2 > 3.2"),
    ("collation of the left side", "SELECT t.id FROM tag t JOIN tag u ON t.word = u.slug", "SELECT t.id FROM tag t JOIN tag u ON u.slug = t.word"),
    ("COLLATE", "SELECT id FROM tag WHERE slug COLLATE NOCASE = 'fog'", "SELECT id FROM tag WHERE slug = 'fog'"),
    ("COLLATE of either side", "SELECT id FROM tag WHERE slug = 'fog' COLLATE NOCASE", "SELECT id FROM tag WHERE slug = 'fog'"),
    ("collation and contradiction", "SELECT id FROM tag WHERE word = 'fog' AND word = 'FOG'", "SELECT id FROM tag WHERE 1 = 2"),
    ("collation through a view", "SELECT l.word FROM labels l JOIN tag t ON l.word = t.slug", "SELECT l.word FROM labels l JOIN tag t ON t.slug = l.word"),
    ("collation lost in COALESCE", "SELECT id FROM tag WHERE COALESCE(word, 'x') = 'fog'", "SELECT id FROM tag WHERE word = 'fog'"),
    ("collation lost in CASE", "SELECT COUNT(DISTINCT word) FILTER (WHERE id > 0) FROM tag", "SELECT COUNT(DISTINCT CASE WHEN id > 0 THEN word END) FROM tag"),
    ("NOT NOT", "SELECT NOT NOT units FROM lot", "SELECT units FROM lot"),
    ("AND with itself", "SELECT units AND units FROM lot", "SELECT units FROM lot"),
    ("IS TRUE", "SELECT id FROM lot WHERE id IS TRUE", "SELECT id FROM lot WHERE id = 1"),
    ("7 is 7.0", "SELECT id FROM lot WHERE mark = 7 AND mark = 7.0", "SELECT id FROM lot WHERE 1 = 2"),
    ("7 as a text", "SELECT id FROM lot WHERE zip = '7' AND zip = '7.0'", "SELECT id FROM lot WHERE 1 = 2"),
    ("order under LIMIT", "WITH x AS (SELECT name FROM band ORDER BY fans DESC) SELECT name FROM x LIMIT 2", "WITH x AS (SELECT name FROM band ORDER BY fans) SELECT name FROM x LIMIT 2"),
    ("order two levels down", "SELECT name FROM (SELECT name FROM (SELECT * FROM band ORDER BY fans DESC)) LIMIT 2", "SELECT name FROM band LIMIT 2"),
    ("order in GROUP_CONCAT", "SELECT GROUP_CONCAT(name) FROM (SELECT name FROM band ORDER BY fans DESC)", "SELECT GROUP_CONCAT(name) FROM band"),
    ("order of a scalar subquery", "SELECT (SELECT name FROM band ORDER BY fans DESC)", "SELECT (SELECT name FROM band ORDER BY fans)"),
    ("ORDER BY (1)", "SELECT fans FROM band ORDER BY (1) LIMIT 1", "SELECT fans FROM band ORDER BY id DESC LIMIT 1"),
    ("EXCLUDE TIES", "SELECT SUM(fans) OVER (ORDER BY name ROWS BETWEEN 1 PRECEDING AND 1 FOLLOWING EXCLUDE CURRENT ROW) FROM band", "SELECT SUM(fans) OVER (ORDER BY name ROWS BETWEEN 1 PRECEDING AND 1 FOLLOWING) FROM band"),
    ("window on a window", "SELECT SUM(fans) OVER (w ORDER BY id) FROM band WINDOW w AS (PARTITION BY name)", "SELECT SUM(fans) OVER (w ORDER BY id) FROM band WINDOW w AS (PARTITION BY 1)"),
    ("a name in backticks", "SELECT id FROM lot WHERE code = `a`", "SELECT id FROM lot WHERE code = 'a'"),
    ("a name in brackets", "SELECT id FROM lot WHERE code = [a b]", "SELECT id FROM lot WHERE code = 'a b'"),
    ("a member in brackets", "(SELECT id FROM lot) UNION SELECT id FROM tag", "SELECT id FROM lot UNION SELECT id FROM tag"),
    ("a member with a LIMIT", "SELECT id FROM lot LIMIT 1 UNION SELECT id FROM tag", "SELECT id FROM lot UNION SELECT id FROM tag LIMIT 1"),
    ("a CTE of later on", "WITH x AS (SELECT id FROM band), band AS (SELECT 9 AS id) SELECT id FROM x", "SELECT id FROM band"),
    ("a CTE of its own name", "WITH band AS (SELECT * FROM band) SELECT name FROM band", "SELECT name FROM band"),
    ("MAX of two", "SELECT MAX(units, id) FROM lot ORDER BY id DESC LIMIT 1", "SELECT MAX(units, id) FROM lot"),
    ("label or path", "SELECT data ->> '$.x.y' FROM lot", "SELECT data ->> '$.\"x.y\"' FROM lot"),
]  # fmt: skip
ALIKE = [
    ("SELECT id FROM lot WHERE +units = 7", "SELECT id FROM lot WHERE units = 7"),
    ("SELECT +units FROM lot", "SELECT units FROM lot"),
    ("SELECT id FROM lot WHERE COALESCE(units, NULL) = 7 OR CASE WHEN 1 = 1 THEN code END = 'a'", "SELECT id FROM lot WHERE units = 7 OR code = 'a'"),
    ("SELECT id FROM lot WHERE NOT NOT units AND TRUE", "SELECT id FROM lot WHERE units"),
    ("SELECT id FROM tag WHERE word = 'fog' COLLATE NOCASE", "SELECT id FROM tag WHERE 'fog' = word"),
    ("SELECT id FROM tag WHERE slug = 'FOG' COLLATE BINARY", "SELECT id FROM tag WHERE slug = 'FOG'"),
    ("SELECT name FROM (SELECT name FROM band ORDER BY fans DESC) LIMIT 2", "SELECT name FROM band ORDER BY fans DESC LIMIT 2"),
    ("SELECT name FROM (SELECT * FROM band ORDER BY fans) WHERE fans > 6", "SELECT name FROM band WHERE fans > 6"),
    ("SELECT MAX(fans) FROM (SELECT fans FROM band ORDER BY fans)", "SELECT MAX(fans) FROM band"),
    ("SELECT SUM(fans) OVER (w ORDER BY id) FROM band WINDOW w AS (PARTITION BY name)", "SELECT SUM(fans) OVER (PARTITION BY name ORDER BY id) FROM band"),
    ("SELECT SUM(fans) OVER (ORDER BY id ROWS 1 PRECEDING) FROM band", "SELECT SUM(fans) OVER (ORDER BY id ROWS BETWEEN 1 PRECEDING AND CURRENT ROW EXCLUDE NO OTHERS) FROM band"),
    ("SELECT CAST(fans AS UNSIGNED BIG INT) FROM band", "SELECT CAST(fans AS INTEGER) FROM band"),
    ("SELECT id FROM lot WHERE `units` = [id]", "SELECT id FROM lot WHERE units = id"),
    ("SELECT ROUND(fans, 0), rowid FROM band WHERE name LIKE 'A%' AND fans IS 5 LIMIT -1", "SELECT ROUND(fans), id FROM band WHERE name LIKE 'a%' AND fans = 5"),
    ("SELECT LAG(fans, 1) OVER (ORDER BY id) FROM band", "SELECT LAG(fans) OVER (ORDER BY id) FROM band"),
    ("SELECT GROUP_CONCAT(name, ',') FROM band", "SELECT GROUP_CONCAT(name) FROM band"),
    ("SELECT fans FROM band ORDER BY id LIMIT 3 OFFSET 0", "SELECT fans FROM band ORDER BY id LIMIT 3"),
    ("SELECT fans FROM band ORDER BY +1", "SELECT fans FROM band ORDER BY fans"),
    ("WITH x AS (SELECT id FROM y), y AS (SELECT id FROM band) SELECT id FROM x", "SELECT id FROM band"),
]  # fmt: skip
SCHEMA = schema_from_ddl(DDL)


def f1(first: str, second: str, dialect: str = "sqlite") -> float:
    """Return the F1 of two texts; 0 where one is none that the engine takes."""
    try:
        return operation_f1(*(sql_operations(sql, schema=SCHEMA, dialect=dialect) for sql in (first, second)))
    except OperationsError:
        return 0.0


def rows(sql: str) -> object:
    with sqlite3.connect(":memory:") as connection:
        connection.executescript(DDL + ROWS)
        try:
            return sorted(connection.execute(sql).fetchall(), key=repr)
        except sqlite3.OperationalError as error:
            return str(error)


@pytest.mark.parametrize(("kind", "first", "second"), APART)
def test_sqlite_tells_them_apart(kind: str, first: str, second: str) -> None:
    assert f1(first, second) < 1.0
    assert rows(first) != rows(second)


@pytest.mark.parametrize(("first", "second"), ALIKE)
def test_sqlite_takes_them_alike(first: str, second: str) -> None:
    assert f1(first, second) == 1.0
    assert rows(first) == rows(second)


@pytest.mark.parametrize(
    ("dialect", "first", "second"),
    [
        ("duckdb", "SELECT fans FROM band ORDER BY ALL", "SELECT fans FROM band"),
        ("duckdb", "SELECT fans FROM band WHERE id BETWEEN SYMMETRIC 5 AND 1", "SELECT fans FROM band WHERE id BETWEEN 5 AND 1"),
        ("duckdb", "SELECT id FROM lot WHERE id IN (SELECT id FROM tag ORDER BY slug OFFSET 1)", "SELECT id FROM lot WHERE id IN (SELECT id FROM tag ORDER BY slug DESC OFFSET 1)"),
        ("duckdb", "SELECT id FROM lot WHERE id IN (SELECT DISTINCT fans FROM band ORDER BY fans OFFSET 1)", "SELECT id FROM lot WHERE id IN (SELECT fans FROM band ORDER BY fans OFFSET 1)"),
        ("duckdb", "SELECT id FROM lot WHERE EXISTS (SELECT 1 OFFSET 1)", "SELECT id FROM lot"),
        ("duckdb", "SELECT COUNT(*) FROM (SELECT DISTINCT id FROM lot) OFFSET 1", "SELECT COUNT(DISTINCT id) FROM lot"),
        ("postgres", "SELECT id FROM lot WHERE id IN (SELECT DISTINCT ON (slug) id FROM tag ORDER BY slug, id)", "SELECT id FROM lot WHERE id IN (SELECT DISTINCT ON (slug) id FROM tag ORDER BY slug, id DESC)"),
        ("postgres", "SELECT fans FROM band WHERE id BETWEEN SYMMETRIC 5 AND 1", "SELECT fans FROM band WHERE id BETWEEN 5 AND 1"),
        ("postgres", "SELECT 1 FROM band WHERE 1 = 2 HAVING COUNT(*) = 0", "SELECT 1 FROM band WHERE 1 = 2"),
        ("postgres", "SELECT fans AS f FROM band WHERE f > 1", "SELECT fans AS f FROM band WHERE fans > 1"),
        ("postgres", "SELECT id FROM lot WHERE code IS NOT NULL", "SELECT id FROM lot WHERE code IS NULL"),
        ("postgres", "SELECT id FROM lot WHERE (units > 1) IS NOT TRUE", "SELECT id FROM lot WHERE (units > 1) IS TRUE"),
    ],
)  # fmt: skip
def test_other_engines_tell_them_apart(dialect: str, first: str, second: str) -> None:
    assert f1(first, second, dialect) < 1.0


@pytest.mark.parametrize(
    ("dialect", "first", "second"),
    [
        ("duckdb", "SELECT fans, id FROM band ORDER BY ALL", "SELECT fans, id FROM band ORDER BY 1, 2"),
        (
            "duckdb",
            "SELECT code, COUNT(*) FROM lot GROUP BY ALL",
            "SELECT code, COUNT(*) FROM lot GROUP BY code",
        ),
        ("postgres", "SELECT fans AS f FROM band GROUP BY f", "SELECT DISTINCT fans FROM band"),
        ("postgres", "WITH band AS (SELECT * FROM band) SELECT name FROM band", "SELECT name FROM band"),
        (
            "postgres",
            "SELECT id FROM lot WHERE code IS NOT NULL",
            "SELECT id FROM lot WHERE NOT code IS NULL",
        ),
    ],
)
def test_other_engines_take_them_alike(dialect: str, first: str, second: str) -> None:
    assert f1(first, second, dialect) == 1.0


def test_public_bug_reports(shared_data: Path) -> None:
    lines = (shared_data / "cases" / "bug_reports.jsonl").read_text().splitlines()
    cases = [case for case in map(json.loads, lines) if case["mode"] == "atomic_f1"]
    for case in cases:
        schema = schema_from_ddl(case["schema_sql"])
        try:
            found = operation_f1(
                *(sql_operations(case[side], schema=schema) for side in ("predicted", "gold"))
            )
        except OperationsError:
            found = 0.0
        assert (found == 1.0) == (case["expected"] == 1.0), case["id"]
    assert len(cases) > 20
