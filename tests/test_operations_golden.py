# ruff: noqa: E501 - a query is easier to compare on one line
"""The operations of some queries, word for word; the same on every sqlglot version that is supported."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from finer_rewards.operations import sql_operations
from finer_rewards.operations.canonicalising import canonical_form, read_query
from finer_rewards.operations.facts import facts_of
from finer_rewards.schema import schema_from_ddl

GOLDEN = Path(__file__).parent / "golden" / "operations.json"

DDL = """
CREATE TABLE singer (id INTEGER PRIMARY KEY NOT NULL, name TEXT NOT NULL, age INTEGER, country TEXT);
CREATE TABLE concert (id INTEGER PRIMARY KEY NOT NULL, singer_id INTEGER NOT NULL REFERENCES singer(id), year TEXT, place TEXT);
CREATE TABLE award (singer_id INTEGER REFERENCES singer(id), title TEXT, year INTEGER, PRIMARY KEY (singer_id, title));
"""

QUERIES = [
    "SELECT name, age AS a FROM singer AS s WHERE 40 < s.age ORDER BY a DESC LIMIT 3 OFFSET 1",
    "SELECT DISTINCT country FROM singer WHERE NOT (age > 3 OR name NOT LIKE 'a%') AND country IS NOT NULL",
    "SELECT * FROM concert WHERE year BETWEEN 2010 AND 2014 OR place IN (\"x\", 'y')",
    "SELECT s.name, COUNT(*) FROM singer s JOIN concert c ON s.id = c.singer_id GROUP BY s.id HAVING COUNT(*) >= 2",
    "SELECT s.name FROM singer s LEFT JOIN concert c ON s.id = c.singer_id AND c.year = '2014'",
    "SELECT name FROM singer WHERE id NOT IN (SELECT singer_id FROM concert WHERE year = 2014)",
    "SELECT name FROM singer WHERE age = (SELECT MAX(age) FROM singer)",
    "SELECT name FROM singer s WHERE EXISTS (SELECT 1 FROM award a WHERE a.singer_id = s.id AND a.year > 2000)",
    "SELECT name FROM singer WHERE age > 3 UNION SELECT place FROM concert EXCEPT SELECT title FROM award",
    "SELECT country FROM singer WHERE age > 40 INTERSECT SELECT country FROM singer WHERE age < 30",
    "WITH old AS (SELECT * FROM singer WHERE age > 60) SELECT country, AVG(age) FROM old GROUP BY country",
    "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 5) SELECT SUM(i) FROM n",
    "SELECT name, RANK() OVER (PARTITION BY country ORDER BY age DESC) FROM singer",
    "SELECT SUM(age) OVER (ORDER BY id ROWS BETWEEN 1 PRECEDING AND CURRENT ROW) FROM singer",
    "SELECT CAST(SUM(CASE WHEN age > 3 THEN 1 ELSE 0 END) AS REAL) * 100 / COUNT(*) FROM singer",
    "SELECT IIF(age > 3, 'old', 'young'), IFNULL(country, '?'), SUBSTR(name, 1, 2), ROUND(age / 2.0, 1) FROM singer",
    "SELECT strftime('%Y', place), date('now'), julianday(place), name || '-' || country, -age FROM singer, concert",
    "SELECT COUNT(DISTINCT country), GROUP_CONCAT(name, ','), TOTAL(age), COUNT(*) FILTER (WHERE age > 3) FROM singer",
    "SELECT a.name FROM singer a JOIN singer b ON a.age = b.age AND a.id <> b.id JOIN concert USING (id)",
    "SELECT x.n FROM (SELECT country, COUNT(*) AS n FROM singer GROUP BY country ORDER BY n DESC LIMIT 2) x",
    "SELECT name FROM singer ORDER BY age IS NULL, age NULLS LAST",
    "VALUES (1, 'a'), (2, 'b')",
    "SELECT name FROM singer WHERE (age, country) IN (SELECT year, title FROM award)",
    "SELECT c.place FROM singer RIGHT JOIN concert c ON c.singer_id = singer.id AND age > 3",
    "SELECT s.name, a.title FROM singer s FULL JOIN award a ON s.id = a.singer_id",
    "SELECT name FROM singer WHERE name GLOB 'A*' AND name LIKE '50!%' ESCAPE '!' AND country COLLATE NOCASE = 'x'",
    "SELECT 1",
]  # fmt: skip


def printed() -> dict[str, list[str]]:
    return {sql: str(sql_operations(sql, schema=DDL)).splitlines() for sql in QUERIES}


def test_golden() -> None:
    if os.environ.get("FINER_REWRITE_GOLDEN"):
        GOLDEN.parent.mkdir(exist_ok=True)
        GOLDEN.write_text(json.dumps(printed(), indent=1) + "\n")
        pytest.skip("written anew")
    expected = json.loads(GOLDEN.read_text())
    assert printed() == expected


def _tuples(term: object) -> list[tuple[object, ...]]:
    found = [term] if isinstance(term, tuple) else []
    for top in found:
        found += [part for part in top if isinstance(part, tuple)]
    return found


@pytest.mark.parametrize("sql", QUERIES)
def test_every_operator_has_a_class(sql: str) -> None:
    """A plain tuple that begins with a word would be an operator that the walks over terms do not see."""
    facts = facts_of(schema_from_ddl(DDL))
    query = read_query(sql, facts)
    canonical = canonical_form(query, facts)
    plain = [one for term in (query, *canonical[:2]) for one in _tuples(term) if type(one) is tuple]
    assert not [one for one in plain if one and isinstance(one[0], str)]
