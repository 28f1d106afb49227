# ruff: noqa: E501 - a query is easier to compare on one line
"""Every rewrite, executed: both sides on random databases with NULLs and repeats that keep what the schema says."""

from __future__ import annotations

import random
import sqlite3
from collections import Counter, defaultdict
from collections.abc import Iterator

import pytest

from finer_rewards.operations import operation_f1, rules, sql_operations
from finer_rewards.operations.canonicalising import canonical_query
from finer_rewards.operations.context import Context
from finer_rewards.operations.facts import facts_of
from finer_rewards.operations.guard import parse_query
from finer_rewards.operations.reading import Reader
from finer_rewards.operations.rules import RULES, rewrite
from finer_rewards.operations.sql import to_sql
from finer_rewards.operations.terms import Select
from finer_rewards.schema import schema_from_ddl

DDL = """
CREATE TABLE city (id INTEGER PRIMARY KEY NOT NULL, name TEXT, size INTEGER, zone TEXT NOT NULL);
CREATE TABLE shop (id INTEGER PRIMARY KEY NOT NULL, city_id INTEGER NOT NULL REFERENCES city(id), owner INTEGER,
                   label TEXT UNIQUE NOT NULL);
CREATE TABLE visit (shop_id INTEGER NOT NULL REFERENCES shop(id), day INTEGER NOT NULL, guest INTEGER REFERENCES city(id),
                    cost INTEGER, note TEXT, PRIMARY KEY (shop_id, day));
CREATE TABLE loose (a INTEGER, b INTEGER, c TEXT);
"""
SCHEMA = schema_from_ddl(DDL)
FACTS = facts_of(SCHEMA)

# For each rule, pairs that it makes one.
MADE_EQUAL: dict[str, list[tuple[str, str]]] = {
    "flatten_conditions": [
        ("SELECT a FROM loose WHERE a > 1 AND a IS NOT NULL", "SELECT a FROM loose WHERE a > 1"),
        ("SELECT a FROM loose WHERE a = 1 AND a = 2", "SELECT a FROM loose WHERE 1 = 2"),
        ("SELECT a FROM loose WHERE a = a", "SELECT a FROM loose WHERE a IS NOT NULL"),
    ],
    "mark_free_duplicates": [
        ("SELECT DISTINCT x.a FROM (SELECT DISTINCT a FROM loose) x, city", "SELECT DISTINCT a FROM loose, city"),
        ("SELECT MAX(a) FROM (SELECT DISTINCT a FROM loose)", "SELECT MAX(a) FROM loose"),
    ],
    "merge_derived": [
        ("SELECT x.p + 1 FROM (SELECT a AS p, b FROM loose WHERE b > 0) x WHERE x.p > 1", "SELECT a + 1 FROM loose WHERE a > 1 AND b > 0"),
        ("WITH w AS (SELECT * FROM city WHERE size > 1) SELECT name FROM w", "SELECT name FROM city WHERE size > 1"),
    ],
    "merge_derived_outer": [
        (
            "SELECT c.id, x.owner FROM city c LEFT JOIN (SELECT * FROM shop WHERE owner > 1) x ON x.city_id = c.id",
            "SELECT c.id, s.owner FROM city c LEFT JOIN shop s ON s.city_id = c.id AND s.owner > 1",
        )
    ],
    "first_row_number": [
        (
            "SELECT id FROM (SELECT id, ROW_NUMBER() OVER (ORDER BY id) AS n FROM city) WHERE n = 1",
            "SELECT id FROM city ORDER BY id LIMIT 1",
        )
    ],
    "drop_unread_columns": [
        (
            "SELECT x.k FROM (SELECT city_id AS k, COUNT(*) AS n, MAX(owner) AS m FROM shop GROUP BY city_id) x, loose WHERE x.n > 1",
            "SELECT x.k FROM (SELECT COUNT(*) AS n, city_id AS k FROM shop GROUP BY city_id) x, loose WHERE x.n > 1",
        )
    ],
    "one_row_to_scalar": [
        (
            "SELECT c.id FROM city c, (SELECT AVG(size) AS m FROM city) x WHERE c.size > x.m",
            "SELECT id FROM city WHERE size > (SELECT AVG(size) FROM city)",
        )
    ],
    "distinct_to_exists": [
        (
            "SELECT s.label FROM shop s JOIN (SELECT DISTINCT guest, day FROM visit WHERE cost > 1) x ON x.guest = s.city_id AND x.day = s.owner",
            "SELECT label FROM shop s WHERE EXISTS (SELECT 1 FROM visit v WHERE v.guest = s.city_id AND v.day = s.owner AND v.cost > 1)",
        ),
        (
            "SELECT l.a, x.k FROM loose l JOIN (SELECT owner AS k FROM shop GROUP BY owner) x ON x.k = l.b",
            "SELECT a, b FROM loose WHERE b IN (SELECT owner FROM shop)",
        ),
    ],
    "outer_to_inner": [
        (
            "SELECT c.id FROM city c LEFT JOIN shop s ON s.city_id = c.id WHERE s.owner = 2",
            "SELECT c.id FROM city c JOIN shop s ON s.city_id = c.id WHERE s.owner = 2",
        )
    ],
    "outer_to_anti": [
        (
            "SELECT c.name FROM city c LEFT JOIN shop s ON s.city_id = c.id WHERE s.id IS NULL",
            "SELECT name FROM city WHERE id NOT IN (SELECT city_id FROM shop)",
        )
    ],
    "drop_unused_outer": [
        ("SELECT v.cost FROM visit v LEFT JOIN shop s ON s.id = v.shop_id", "SELECT cost FROM visit"),
        ("SELECT DISTINCT c.name FROM city c LEFT JOIN shop s ON s.city_id = c.id", "SELECT DISTINCT name FROM city"),
    ],
    "free_foreign_key": [
        (
            "SELECT s.label FROM shop s JOIN city c ON CAST(s.city_id AS REAL) = c.id WHERE c.size > 1",
            "SELECT s.label FROM shop s JOIN city c ON s.city_id = c.id WHERE c.size > 1",
        )
    ],
    "scalar_to_in": [
        (
            "SELECT day FROM visit WHERE shop_id = (SELECT id FROM shop WHERE label = 'x')",
            "SELECT v.day FROM visit v JOIN shop s ON s.id = v.shop_id WHERE s.label = 'x'",
        )
    ],
    "in_to_exists": [
        (
            "SELECT a FROM loose WHERE b IN (SELECT owner FROM shop)",
            "SELECT a FROM loose l WHERE EXISTS (SELECT * FROM shop s WHERE s.owner = l.b)",
        ),
        (
            "SELECT name FROM city WHERE id NOT IN (SELECT city_id FROM shop)",
            "SELECT name FROM city c WHERE NOT EXISTS (SELECT 1 FROM shop WHERE city_id = c.id)",
        ),
        (
            "SELECT name FROM city WHERE size NOT IN (SELECT owner FROM shop UNION SELECT a FROM loose)",
            "SELECT name FROM city WHERE size NOT IN (SELECT a FROM loose) AND size NOT IN (SELECT owner FROM shop)",
        ),
        (
            "SELECT name FROM city WHERE size IN (SELECT owner FROM shop UNION ALL SELECT a FROM loose)",
            "SELECT name FROM city WHERE size IN (SELECT a FROM loose) OR size IN (SELECT owner FROM shop)",
        ),
    ],
    "count_to_group": [
        (
            "SELECT id FROM shop s WHERE (SELECT COUNT(*) FROM city c WHERE c.id = s.owner) >= 2",
            "SELECT id FROM shop WHERE 1 = 2",
        ),
        (
            "SELECT name FROM city c WHERE (SELECT COUNT(*) FROM shop s WHERE s.city_id = c.id) > 1",
            "SELECT c.name FROM city c JOIN shop s ON s.city_id = c.id GROUP BY c.id HAVING COUNT(*) > 1",
        ),
        (
            "SELECT id FROM city c WHERE (SELECT COUNT(owner) FROM shop s WHERE s.city_id = c.id) BETWEEN 1 AND 2",
            "SELECT city_id FROM shop GROUP BY city_id HAVING COUNT(owner) BETWEEN 1 AND 2",
        ),
    ],
    "exists_of_itself": [
        (
            "SELECT id, size FROM city WHERE zone = 'x' AND name IN (SELECT name FROM city WHERE name <> 'b')",
            "SELECT id, size FROM city WHERE zone = 'x' AND name <> 'b'",
        ),
        ("SELECT a FROM loose WHERE b IN (SELECT b FROM loose)", "SELECT a FROM loose WHERE b IS NOT NULL"),
        (
            "SELECT name FROM city WHERE size > 1 INTERSECT SELECT name FROM city",
            "SELECT DISTINCT name FROM city WHERE size > 1",
        ),
    ],
    "grouped_in_to_derived": [
        (
            "SELECT a FROM loose WHERE b IN (SELECT city_id FROM shop GROUP BY city_id HAVING COUNT(*) > 1)",
            "SELECT l.a FROM loose l JOIN (SELECT city_id AS k FROM shop GROUP BY city_id HAVING COUNT(*) >= 2) x ON x.k = l.b",
        )
    ],
    "merge_grouped_derived": [
        (
            "SELECT name FROM city WHERE id IN (SELECT city_id FROM shop GROUP BY city_id HAVING COUNT(*) > 1)",
            "SELECT c.name FROM city c JOIN shop s ON s.city_id = c.id GROUP BY c.id HAVING COUNT(*) > 1",
        ),
        (
            "SELECT c.name, x.n FROM city c JOIN (SELECT city_id, COUNT(*) AS n FROM shop GROUP BY city_id) x ON x.city_id = c.id WHERE x.n > 1",
            "SELECT c.name, COUNT(*) FROM city c JOIN shop s ON s.city_id = c.id GROUP BY c.id, c.name HAVING COUNT(*) > 1",
        ),
    ],
    "exists_to_join": [
        (
            "SELECT DISTINCT name FROM city WHERE id IN (SELECT city_id FROM shop WHERE owner > 1)",
            "SELECT DISTINCT c.name FROM city c JOIN shop s ON c.id = s.city_id WHERE s.owner > 1",
        ),
        (
            "SELECT label FROM shop WHERE city_id IN (SELECT id FROM city WHERE size > 1)",
            "SELECT s.label FROM shop s JOIN city c ON s.city_id = c.id AND c.size > 1",
        ),
    ],
    "merge_equal_columns": [
        (
            "SELECT l.a FROM loose l JOIN shop s ON l.a = s.owner WHERE l.a > 1",
            "SELECT s.owner FROM loose l, shop s WHERE s.owner > 1 AND l.a = s.owner",
        ),
        ("SELECT a FROM loose WHERE a = b AND b = 2", "SELECT a FROM loose WHERE a = 2 AND b = 2"),
    ],
    "merge_self_join": [
        (
            "SELECT x.name FROM city x JOIN city y ON x.id = y.id WHERE y.size > 1",
            "SELECT name FROM city WHERE size > 1",
        )
    ],
    "merge_with_outer": [
        (
            "SELECT c.id FROM city c WHERE NOT EXISTS (SELECT 1 FROM city d, shop s WHERE d.id = c.id AND s.city_id = d.id)",
            "SELECT c.id FROM city c WHERE NOT EXISTS (SELECT 1 FROM shop s WHERE s.city_id = c.id)",
        )
    ],
    "fold_repeated_reading": [
        (
            "SELECT DISTINCT zone FROM city WHERE zone IN (SELECT zone FROM city WHERE size > 1)",
            "SELECT DISTINCT zone FROM city WHERE size > 1",
        )
    ],
    "drop_referenced_table": [
        ("SELECT s.label FROM shop s JOIN city c ON s.city_id = c.id", "SELECT label FROM shop"),
        ("SELECT v.cost FROM visit v JOIN city c ON v.guest = c.id", "SELECT cost FROM visit WHERE guest IS NOT NULL"),
    ],
    "join_folded_subqueries": [
        (
            "SELECT (SELECT COUNT(*) FROM city WHERE zone = 'x') - (SELECT COUNT(*) FROM city WHERE zone = 'a')",
            "SELECT COUNT(CASE WHEN zone = 'x' THEN 1 END) - COUNT(CASE WHEN zone = 'a' THEN 1 END) FROM city",
        ),
        (
            "SELECT COUNT(*) * 100.0 / (SELECT COUNT(*) FROM city) FROM city WHERE size > 1",
            "SELECT COUNT(CASE WHEN size > 1 THEN 1 END) * 100.0 / COUNT(*) FROM city",
        ),
        (
            "SELECT (SELECT SUM(s.owner) FROM shop s JOIN city c ON c.id = s.city_id WHERE c.size = 1 AND c.zone = 'x'), (SELECT MAX(c.name) FROM city c, shop s WHERE s.city_id = c.id AND 'x' = c.zone)",
            "SELECT SUM(CASE WHEN c.size = 1 THEN s.owner END), MAX(c.name) FROM shop s JOIN city c ON c.id = s.city_id WHERE c.zone = 'x'",
        ),
    ],
    "group_to_distinct": [
        ("SELECT a, b FROM loose GROUP BY b, a", "SELECT DISTINCT a, b FROM loose"),
        ("SELECT name FROM city GROUP BY id", "SELECT name FROM city"),
    ],
    "group_to_exists": [
        (
            "SELECT c.name FROM city c JOIN shop s ON s.city_id = c.id GROUP BY c.id",
            "SELECT name FROM city WHERE id IN (SELECT city_id FROM shop)",
        )
    ],
    "drop_determined_keys": [
        ("SELECT name, COUNT(*) FROM city, loose GROUP BY id, name", "SELECT name, COUNT(*) FROM city, loose GROUP BY id"),
    ],
    "having_to_where": [
        (
            "SELECT zone, COUNT(*) FROM city GROUP BY zone HAVING zone > 'a'",
            "SELECT zone, COUNT(*) FROM city WHERE zone > 'a' GROUP BY zone",
        ),
        (
            "SELECT zone, COUNT(*) FROM city GROUP BY zone HAVING zone > (SELECT MIN(c) FROM loose)",
            "SELECT zone, COUNT(*) FROM city WHERE zone > (SELECT MIN(c) FROM loose) GROUP BY zone",
        ),
    ],
    "drop_unseen_nulls": [
        ("SELECT AVG(size) FROM city WHERE size IS NOT NULL", "SELECT AVG(size) FROM city"),
        (
            "SELECT COUNT(DISTINCT v.guest) FROM visit v JOIN city c ON c.id = v.guest",
            "SELECT COUNT(DISTINCT guest) FROM visit",
        ),
        (
            "SELECT COUNT(*), MAX(a + b) FROM loose WHERE a IS NOT NULL",
            "SELECT COUNT(a), MAX(a + b) FROM loose",
        ),
    ],
    "count_forms": [
        ("SELECT COUNT(DISTINCT id) FROM city", "SELECT COUNT(1) FROM city"),
        (
            "SELECT zone, SUM(CASE WHEN size > 1 THEN 1 ELSE 0 END) FROM city GROUP BY zone",
            "SELECT zone, COUNT(CASE WHEN size > 1 THEN 7 END) FROM city GROUP BY zone",
        ),
        ("SELECT COUNT(size) FROM city WHERE size > 1", "SELECT COUNT(*) FROM city WHERE size > 1"),
    ],
    "count_case_to_where": [
        ("SELECT COUNT(CASE WHEN size > 1 THEN 1 END) FROM city", "SELECT COUNT(*) FROM city WHERE size > 1"),
    ],
    "count_distinct_rows": [
        ("SELECT COUNT(*) FROM (SELECT DISTINCT zone FROM city)", "SELECT COUNT(DISTINCT zone) FROM city"),
        (
            "SELECT COUNT(x.size) FROM (SELECT size, zone FROM city WHERE zone = 'x' GROUP BY zone, size) x",
            "SELECT COUNT(DISTINCT size) FROM city WHERE zone = 'x'",
        ),
    ],
    "groups_are_not_empty": [
        ("SELECT zone FROM city GROUP BY zone HAVING COUNT(*) >= 1", "SELECT DISTINCT zone FROM city"),
    ],
    "having_to_exists": [
        (
            "SELECT name FROM city WHERE zone IN ('x', 'a') GROUP BY name HAVING COUNT(DISTINCT zone) = 2",
            "SELECT name FROM city WHERE zone = 'a' INTERSECT SELECT name FROM city WHERE zone = 'x'",
        ),
        (
            "SELECT c.name FROM city c LEFT JOIN shop s ON s.city_id = c.id GROUP BY c.name HAVING SUM(CASE WHEN s.owner = 1 THEN 1 ELSE 0 END) = 0",
            "SELECT name FROM city EXCEPT SELECT c.name FROM city c JOIN shop s ON s.city_id = c.id WHERE s.owner = 1",
        ),
        (
            "SELECT c.id FROM city c LEFT JOIN shop s ON s.city_id = c.id GROUP BY c.id HAVING COUNT(s.id) = 0",
            "SELECT id FROM city WHERE id NOT IN (SELECT city_id FROM shop)",
        ),
    ],
    "drop_needless_distinct": [
        ("SELECT DISTINCT id, name FROM city", "SELECT id, name FROM city"),
        (
            "SELECT DISTINCT name, zone FROM city ORDER BY zone, name LIMIT 1",
            "SELECT name, zone FROM city ORDER BY zone, name LIMIT 1",
        ),
        ("SELECT DISTINCT zone, COUNT(*) FROM city GROUP BY zone", "SELECT zone, COUNT(*) FROM city GROUP BY zone"),
    ],
    "other_than_the_least": [
        (
            "SELECT id FROM city WHERE size <> (SELECT MIN(size) FROM city)",
            "SELECT id FROM city WHERE size > (SELECT MIN(size) FROM city)",
        ),
        (
            "SELECT c.id FROM city c, loose WHERE (SELECT MAX(name) FROM city) <> c.name",
            "SELECT c.id FROM city c, loose WHERE c.name < (SELECT MAX(name) FROM city)",
        ),
    ],
    "count_in_group_of_one": [
        ("SELECT name FROM city GROUP BY id HAVING COUNT(*) > 1", "SELECT name FROM city WHERE 1 = 2"),
        ("SELECT name FROM city GROUP BY id HAVING COUNT(*) = 1 AND COUNT(size) < 2", "SELECT name FROM city"),
    ],
    "bare_empty_block": [
        (
            "SELECT c.name FROM city c JOIN shop s ON s.city_id = c.id WHERE s.owner = 1 AND s.owner = 2 ORDER BY s.id",
            "SELECT name FROM city WHERE 1 = 2",
        ),
    ],
    "drop_needless_order": [
        ("SELECT name FROM city ORDER BY id, name", "SELECT name FROM city ORDER BY id"),
        ("SELECT MAX(a) FROM loose ORDER BY a LIMIT 1", "SELECT MAX(a) FROM loose"),
    ],
}  # fmt: skip

OTHERS = [
    ("SELECT COUNT(id) FROM city", "SELECT COUNT(*) FROM city"),
    ("SELECT a FROM loose WHERE (a > 1 AND b < 2) AND c = 'x'", "SELECT a FROM loose WHERE a > 1 AND (c = 'x' AND b < 2)"),
    ("SELECT zone FROM city WHERE size > 1 UNION SELECT zone FROM city WHERE name = 'x'", "SELECT DISTINCT zone FROM city WHERE size > 1 OR name = 'x'"),
    ("SELECT zone FROM city EXCEPT SELECT zone FROM city GROUP BY zone HAVING COUNT(*) > 1", "SELECT DISTINCT zone FROM city WHERE zone NOT IN (SELECT zone FROM city GROUP BY zone HAVING COUNT(*) > 1)"),
    ("SELECT zone FROM city EXCEPT SELECT label FROM shop", "SELECT DISTINCT zone FROM city WHERE zone NOT IN (SELECT label FROM shop)"),
    ("SELECT zone FROM city INTERSECT SELECT label FROM shop", "SELECT DISTINCT zone FROM city WHERE zone IN (SELECT label FROM shop)"),
    ("SELECT x.n FROM (SELECT zone, COUNT(*) AS n FROM city GROUP BY zone) x WHERE x.n > 1 ORDER BY x.n", "SELECT COUNT(*) FROM city GROUP BY zone HAVING COUNT(*) > 1 ORDER BY COUNT(*)"),
    ("SELECT * FROM (SELECT id FROM city UNION ALL SELECT id FROM shop) WHERE id > 1", "SELECT id FROM city WHERE id > 1 UNION ALL SELECT id FROM shop WHERE id > 1"),
    ("SELECT a FROM loose WHERE (a > 1 AND b = 2) OR (a > 1 AND b = 3)", "SELECT a FROM loose WHERE a > 1 AND b IN (3, 2)"),
    ("SELECT a FROM loose WHERE c = 2", "SELECT a FROM loose WHERE c = '2'"),
    ("SELECT CASE WHEN a IS NOT NULL THEN a END, CASE WHEN b IS NOT NULL THEN b ELSE 0 END FROM loose", "SELECT a, COALESCE(b, 0) FROM loose"),
    ("SELECT a FROM loose WHERE a = 1 AND a IN (1, 2)", "SELECT a FROM loose WHERE a = 1"),
    ("SELECT SUM(CASE WHEN id = id THEN 1 ELSE 0 END), COUNT(*) FROM city GROUP BY zone", "SELECT COUNT(*), COUNT(*) FROM city GROUP BY zone"),
    ("SELECT a FROM loose WHERE c = 'x' UNION ALL SELECT a FROM loose WHERE c = 'a'", "SELECT a FROM loose WHERE c IN ('x', 'a')"),
    ("SELECT SUM(w.a) FROM (SELECT a FROM loose WHERE c = 'x' AND b > 1 UNION ALL SELECT a FROM loose WHERE c = 'a') w", "SELECT SUM(a) FROM loose WHERE (c = 'x' AND b > 1) OR c = 'a'"),
    ("SELECT c.id FROM city c LEFT JOIN (SELECT 1 AS one) x ON x.one = 1", "SELECT id FROM city"),
    ("SELECT s.label FROM shop s NATURAL JOIN (SELECT id FROM city)", "SELECT s.label FROM shop s JOIN city c USING (id)"),
]  # fmt: skip

# What a rule must leave alone where the fact it needs is missing.
KEPT_APART = [
    ("SELECT c.id FROM city c LEFT JOIN shop s ON s.city_id = c.id WHERE s.owner NOT IN (SELECT a FROM loose WHERE b > 2)", "SELECT c.id FROM city c JOIN shop s ON s.city_id = c.id WHERE s.owner NOT IN (SELECT a FROM loose WHERE b > 2)"),
    ("SELECT v.cost FROM visit v JOIN city c ON v.guest = c.id", "SELECT cost FROM visit"),
    ("SELECT name FROM city c JOIN shop s ON s.city_id = c.id", "SELECT name FROM city WHERE id IN (SELECT city_id FROM shop)"),
    ("SELECT a FROM loose WHERE a NOT IN (SELECT b FROM loose)", "SELECT a FROM loose l WHERE NOT EXISTS (SELECT 1 FROM loose m WHERE m.b = l.a)"),
    ("SELECT COUNT(size) FROM city", "SELECT COUNT(*) FROM city"),
    ("SELECT DISTINCT name FROM city", "SELECT name FROM city"),
    ("SELECT name, COUNT(*) FROM city GROUP BY id", "SELECT name, COUNT(*) FROM city GROUP BY name"),
    ("SELECT SUM(CASE WHEN size > 1 THEN 1 ELSE 0 END) FROM city", "SELECT COUNT(CASE WHEN size > 1 THEN 1 END) FROM city"),
    ("SELECT c.name FROM city c LEFT JOIN shop s ON s.city_id = c.id WHERE s.owner IS NULL", "SELECT name FROM city WHERE id NOT IN (SELECT city_id FROM shop)"),
    ("SELECT c.id FROM city c LEFT JOIN shop s ON s.city_id = c.id", "SELECT id FROM city"),
    ("SELECT name FROM city INTERSECT SELECT c FROM loose", "SELECT DISTINCT name FROM city WHERE name IN (SELECT c FROM loose)"),
    ("SELECT x.a FROM loose x JOIN loose y ON x.a = y.a WHERE y.b > 1", "SELECT a FROM loose WHERE b > 1"),
    ("SELECT a FROM loose WHERE b = (SELECT owner FROM shop)", "SELECT a FROM loose WHERE b IN (SELECT owner FROM shop)"),
    ("SELECT name FROM city WHERE size = (SELECT MAX(size) FROM city)", "SELECT name FROM city ORDER BY size DESC LIMIT 1"),
    ("SELECT COUNT(*) FROM (SELECT DISTINCT size FROM city)", "SELECT COUNT(DISTINCT size) FROM city"),
    ("SELECT c.zone FROM city c LEFT JOIN shop s ON s.city_id = c.id AND s.owner > 1", "SELECT c.zone FROM city c LEFT JOIN shop s ON s.city_id = c.id WHERE s.owner > 1"),
    ("SELECT a FROM loose WHERE a = b", "SELECT a FROM loose"),
    ("SELECT a, b FROM loose", "SELECT b, a FROM loose"),
    ("SELECT s.label FROM shop s JOIN city c ON CAST(s.city_id AS BLOB) = c.id", "SELECT label FROM shop"),
    ("SELECT (SELECT COUNT(*) FROM city WHERE zone = 'x') + (SELECT COUNT(*) FROM city WHERE zone = 'a')", "SELECT COUNT(*) + COUNT(*) FROM city WHERE zone IN ('x', 'a')"),
    ("SELECT (SELECT COUNT(*) FROM city WHERE zone = 'x') FROM city", "SELECT COUNT(*) FROM city WHERE zone = 'x'"),
    ("SELECT (SELECT SUM(size) FROM city WHERE zone = 'x')", "SELECT SUM(CASE WHEN zone = 'x' THEN size ELSE 0 END) FROM city"),
    ("SELECT (SELECT COUNT(*) FROM city WHERE zone = 'x') WHERE EXISTS (SELECT 1 FROM shop)", "SELECT COUNT(*) FROM city WHERE zone = 'x'"),
    ("SELECT COUNT(*), (SELECT GROUP_CONCAT(id) FROM city WHERE size = 1) FROM city", "SELECT COUNT(*), GROUP_CONCAT(id) FROM city"),
    ("SELECT id FROM city WHERE size <> (SELECT MAX(size) FROM city WHERE zone = 'x')", "SELECT id FROM city WHERE size < (SELECT MAX(size) FROM city WHERE zone = 'x')"),
    ("SELECT id FROM city WHERE size <> (SELECT MAX(owner) FROM shop)", "SELECT id FROM city WHERE size < (SELECT MAX(owner) FROM shop)"),
    ("SELECT id FROM shop s WHERE (SELECT COUNT(*) FROM city c WHERE c.size = s.owner) >= 2", "SELECT id FROM shop WHERE 1 = 2"),
    ("SELECT name FROM city GROUP BY id HAVING COUNT(size) > 0", "SELECT name FROM city"),
    ("SELECT COUNT(*) FROM city WHERE id = 1 AND id = 2", "SELECT id FROM city WHERE 1 = 2"),
    ("SELECT a FROM loose WHERE c = 'x' UNION ALL SELECT a FROM loose WHERE b = 1", "SELECT a FROM loose WHERE c = 'x' OR b = 1"),
    ("SELECT DISTINCT a FROM loose WHERE c = 'x' UNION ALL SELECT DISTINCT a FROM loose WHERE c = 'a'", "SELECT a FROM loose WHERE c IN ('x', 'a')"),
    ("SELECT DISTINCT name, zone FROM city ORDER BY zone, name LIMIT 2", "SELECT name, zone FROM city ORDER BY zone, name LIMIT 2"),
    ("SELECT zone FROM city GROUP BY zone HAVING (SELECT MIN(c) FROM loose WHERE a = size) > 'a'", "SELECT DISTINCT zone FROM city WHERE (SELECT MIN(c) FROM loose WHERE a = size) > 'a'"),
    ("SELECT b FROM loose GROUP BY b HAVING COUNT(DISTINCT a) = 2", "SELECT b FROM loose WHERE a = 1 INTERSECT SELECT b FROM loose WHERE a = 2"),
    ("SELECT b FROM loose WHERE a IN (1, 2, 3) GROUP BY b HAVING COUNT(DISTINCT a) = 2", "SELECT b FROM loose WHERE a = 1 INTERSECT SELECT b FROM loose WHERE a = 2"),
    ("SELECT b, COUNT(*) FROM loose GROUP BY b HAVING SUM(CASE WHEN a = 1 THEN 1 ELSE 0 END) > 0", "SELECT b, COUNT(*) FROM loose WHERE a = 1 GROUP BY b"),
    ("SELECT b FROM loose GROUP BY b HAVING COUNT(CASE WHEN a = 1 THEN 1 END) = 0", "SELECT DISTINCT b FROM loose WHERE a <> 1"),
    ("SELECT a FROM loose WHERE a = 1 AND a IN (1, 2)", "SELECT a FROM loose WHERE a IN (1, 2)"),
    ("SELECT id FROM city c WHERE (SELECT COUNT(*) FROM shop s WHERE s.city_id = c.id) < 2", "SELECT city_id FROM shop GROUP BY city_id HAVING COUNT(*) < 2"),
    ("SELECT a FROM loose l WHERE (SELECT COUNT(*) FROM shop s WHERE s.owner = l.b) > 1", "SELECT a FROM loose l JOIN shop s ON s.owner = l.b GROUP BY a, b HAVING COUNT(*) > 1"),
    ("SELECT l.a FROM loose l JOIN (SELECT DISTINCT owner, city_id FROM shop) x ON x.owner = l.b", "SELECT a FROM loose WHERE b IN (SELECT owner FROM shop)"),
    ("SELECT size FROM city WHERE size IN (SELECT owner FROM shop INTERSECT SELECT a FROM loose)", "SELECT size FROM city WHERE size IN (SELECT a FROM loose) OR size IN (SELECT owner FROM shop)"),
    ("SELECT zone FROM city EXCEPT SELECT zone FROM city GROUP BY zone HAVING COUNT(*) < 2", "SELECT zone FROM city WHERE zone NOT IN (SELECT zone FROM city GROUP BY zone HAVING COUNT(*) < 2)"),
    ("SELECT AVG(size), COUNT(*) FROM city WHERE size IS NOT NULL", "SELECT AVG(size), COUNT(*) FROM city"),
    ("SELECT AVG(size), SUM(id) FROM city WHERE size IS NOT NULL", "SELECT AVG(size), SUM(id) FROM city"),
    ("SELECT zone, AVG(size) FROM city WHERE size IS NOT NULL GROUP BY zone", "SELECT zone, AVG(size) FROM city GROUP BY zone"),
    ("SELECT MAX(a), COALESCE(SUM(b), 7) FROM loose WHERE b IS NOT NULL", "SELECT MAX(a), COALESCE(SUM(b), 7) FROM loose"),
    ("SELECT a FROM loose WHERE b IN (SELECT b FROM loose WHERE c = 'x')", "SELECT a FROM loose WHERE b IS NOT NULL AND c = 'x'"),
    ("SELECT a FROM loose WHERE b IN (SELECT a FROM loose)", "SELECT a FROM loose WHERE b IS NOT NULL"),
    ("SELECT a FROM loose WHERE b NOT IN (SELECT b FROM loose WHERE b > 1)", "SELECT a FROM loose WHERE NOT b > 1"),
    ("SELECT COUNT(*) FROM (SELECT DISTINCT size FROM city WHERE zone = 'x')", "SELECT COUNT(DISTINCT size) FROM city WHERE zone = 'x'"),
    ("SELECT a FROM loose UNION SELECT b FROM loose", "SELECT a FROM loose UNION ALL SELECT b FROM loose"),
]  # fmt: skip


def database(rng: random.Random) -> sqlite3.Connection:
    """Return a database that keeps keys, NOT NULL and foreign keys, with NULLs and repeats elsewhere."""
    connection = sqlite3.connect(":memory:")
    connection.executescript(DDL)

    def maybe(values: list[object], share: float = 0.3) -> object:
        return None if rng.random() < share else rng.choice(values)

    names: list[object] = ["x", "a", "b", "2"]
    cities = list(range(1, rng.choice([1, 2, 4, 6])))
    for one in cities:
        connection.execute(
            "INSERT INTO city VALUES (?,?,?,?)", (one, maybe(names), maybe([1, 2, 3]), rng.choice(names))
        )
    shops = list(range(1, rng.choice([1, 3, 5]))) if cities else []
    labels = rng.sample(["x", "a", "b", "c", "2"], len(shops))
    for one, label in zip(shops, labels, strict=True):
        connection.execute(
            "INSERT INTO shop VALUES (?,?,?,?)", (one, rng.choice(cities), maybe([1, 2, 3]), label)
        )
    for shop in shops:
        for day in range(rng.choice([0, 1, 3])):
            row = (shop, day, maybe(list(cities)), maybe([1, 2, 3]), maybe(names))
            connection.execute("INSERT INTO visit VALUES (?,?,?,?,?)", row)
    for _ in range(rng.choice([0, 2, 5, 7])):
        row = (maybe([1, 2, 3]), maybe([1, 2, 3]), maybe(names))
        connection.execute("INSERT INTO loose VALUES (?,?,?)", row)
    return connection


@pytest.fixture(scope="module")
def databases() -> Iterator[list[sqlite3.Connection]]:
    rng = random.Random(11)
    made = [database(rng) for _ in range(40)]
    yield made
    for connection in made:
        connection.close()


def rows(connection: sqlite3.Connection, sql: str) -> Counter[tuple[object, ...]]:
    return Counter(connection.execute(sql).fetchall())


def f1(first: str, second: str) -> float:
    return operation_f1(sql_operations(first, schema=SCHEMA), sql_operations(second, schema=SCHEMA))


PAIRS = [(name, *pair) for name, pairs in MADE_EQUAL.items() for pair in pairs]


def test_every_rule_has_a_pair() -> None:
    assert {rule.__name__ for rule, _ in RULES} == set(MADE_EQUAL)


@pytest.mark.parametrize(("rule", "first", "second"), PAIRS)
def test_rule(
    rule: str, first: str, second: str, databases: list[sqlite3.Connection], monkeypatch: pytest.MonkeyPatch
) -> None:
    fired: set[str] = set()

    def watched(original: rules.Rule) -> rules.Rule:
        def run(block: Select, context: Context) -> Select:
            changed = original(block, context)
            if changed != block:
                fired.add(original.__name__)
            return changed

        return run

    monkeypatch.setattr(rules, "RULES", tuple((watched(rule), need) for rule, need in RULES))
    queries = [canonical_query(sql, FACTS).query for sql in (first, second)]
    assert rule in fired
    assert queries[0] == queries[1]
    for connection in databases:
        assert rows(connection, first) == rows(connection, second)


@pytest.mark.parametrize(("first", "second"), OTHERS)
def test_other_rewrites(first: str, second: str, databases: list[sqlite3.Connection]) -> None:
    assert f1(first, second) == 1.0
    for connection in databases:
        assert rows(connection, first) == rows(connection, second)


@pytest.mark.parametrize(("first", "second"), KEPT_APART)
def test_kept_apart(first: str, second: str, databases: list[sqlite3.Connection]) -> None:
    assert f1(first, second) < 1.0
    assert any(rows(connection, first) != rows(connection, second) for connection in databases)


# Random queries ----------------------------------------------------------------------------------

COLUMNS = {
    "city": ["id", "name", "size", "zone"],
    "shop": ["id", "city_id", "owner", "label"],
    "visit": ["shop_id", "day", "guest", "cost", "note"],
    "loose": ["a", "b", "c"],
}
TEXT = {"name", "zone", "label", "note", "c"}
LINKS = [("shop", "city_id", "city", "id"), ("visit", "shop_id", "shop", "id"), ("visit", "guest", "city", "id"), ("loose", "a", "city", "id")]  # fmt: skip


class Writer:
    """Writes random queries over the schema above, of the shapes the rules look for."""

    def __init__(self, rng: random.Random) -> None:
        self.rng = rng
        self.next = 0

    def source(self) -> tuple[str, dict[str, str]]:
        """Return a FROM clause and the table of each alias."""
        rng = self.rng
        self.next += 1
        first = f"t{self.next}"
        table = rng.choice(list(COLUMNS))
        aliases = {first: table}
        text = f"{table} AS {first}"
        if rng.random() < 0.15:
            text = f"(SELECT {rng.choice(['DISTINCT ', ''])}* FROM {table} WHERE {self.condition({table: table}, 2)}) AS {first}"
        for _ in range(rng.choice([0, 0, 1, 1, 2])):
            links = [link for link in LINKS if {link[0], link[2]} & set(aliases.values())]
            if not links:
                break
            child, key, parent, to_key = rng.choice(links)
            here = rng.choice([alias for alias, name in aliases.items() if name in (child, parent)])
            self.next += 1
            other = f"t{self.next}"
            if aliases[here] == child:
                aliases[other], on = parent, f"{here}.{key} = {other}.{to_key}"
            else:
                aliases[other], on = child, f"{other}.{key} = {here}.{to_key}"
            if rng.random() < 0.2:
                on += f" AND {self.condition({other: aliases[other]}, 2)}"
            text += f" {rng.choice(['JOIN', 'JOIN', 'LEFT JOIN'])} {aliases[other]} AS {other} ON {on}"
        return text, aliases

    def column(self, aliases: dict[str, str], text: bool | None = None) -> str:
        choices = [
            f"{alias}.{name}"
            for alias, table in aliases.items()
            for name in COLUMNS[table]
            if text is None or (name in TEXT) is text
        ]
        return self.rng.choice(choices)

    def literal(self, column: str) -> str:
        return self.rng.choice(["'x'", "'a'", "'2'"] if column.split(".")[1] in TEXT else ["1", "2", "3"])

    def condition(self, aliases: dict[str, str], depth: int = 0) -> str:
        rng = self.rng
        column = self.column(aliases)
        kind = rng.randrange(15 if depth < 2 else 7)
        if kind < 3:
            return f"{column} {rng.choice(['=', '<>', '<', '>=', '>'])} {self.literal(column)}"
        if kind == 3:
            return f"{column} IS {rng.choice(['', 'NOT '])}NULL"
        if kind == 4:
            return f"{column} {rng.choice(['', 'NOT '])}IN ({self.literal(column)}, {self.literal(column)})"
        if kind == 5:
            text = column.split(".")[1] in TEXT
            return f"{column} {rng.choice(['=', '<>'])} {self.column(aliases, text)}"
        if kind == 6:
            return f"NOT ({column} BETWEEN {self.literal(column)} AND {self.literal(column)})"
        if kind in (8, 13, 14):
            return f"({self.condition(aliases, depth + 1)} {rng.choice(['OR', 'AND'])} {self.condition(aliases, depth + 1)})"
        text = column.split(".")[1] in TEXT
        if kind == 7:
            return self.again(aliases)
        source, inner = self.source()
        item = self.column(inner, text)
        where = self.condition(inner, 2)
        if kind == 9:
            grouped = f" GROUP BY {item} HAVING COUNT(*) > 1" if rng.random() < 0.4 else ""
            return (
                f"{column} {rng.choice(['', 'NOT '])}IN (SELECT {item} FROM {source} WHERE {where}{grouped})"
            )
        if kind == 10:
            return f"{rng.choice(['', 'NOT '])}EXISTS (SELECT 1 FROM {source} WHERE {item} = {column} AND {where})"
        if kind == 11:
            return f"{column} {rng.choice(['=', '>'])} (SELECT {rng.choice(['MAX', 'MIN'])}({item}) FROM {source})"
        return f"{column} = {self.literal(column)}"

    def again(self, aliases: dict[str, str]) -> str:
        """Return a condition that a table is read again for, for columns that are the same, or nearly."""
        rng = self.rng
        alias, table = rng.choice(list(aliases.items()))
        self.next += 1
        other = f"t{self.next}"
        column = rng.choice(COLUMNS[table])
        where = f" WHERE {other}.{column} {rng.choice(['=', '<>', '>'])} {self.literal(f't.{column}')}"
        where = rng.choice(["", where, f" WHERE {self.condition({other: table}, 2)}"])
        return f"{alias}.{column} {rng.choice(['', '', 'NOT '])}IN (SELECT {other}.{column} FROM {table} AS {other}{where})"

    def of_some_row(self, aliases: dict[str, str]) -> str:
        """Return a HAVING condition on some row of a group, or none, or nearly that."""
        rng = self.rng
        case = f"CASE WHEN {self.condition(aliases, 2)} THEN 1"
        counts = [
            f"SUM({case} ELSE 0 END)",
            f"COUNT({case} END)",
            f"COUNT({self.column(aliases)})",
            f"MAX({case} ELSE 0 END)",
        ]
        asked = f"{rng.choice(counts)} {rng.choice(['> 0', '= 0', '>= 1', '> 1', '< 1', '= 1'])}"
        if rng.random() < 0.4:
            return f"{asked} {rng.choice(['AND', 'AND', 'OR'])} {self.of_some_row(aliases)}"
        return asked

    def block(self, width: int) -> str:
        rng = self.rng
        source, aliases = self.source()
        where = f" WHERE {self.condition(aliases)}" if rng.random() < 0.7 else ""
        if rng.random() < 0.3:
            keys = [self.column(aliases) for _ in range(rng.choice([1, 2]))]
            items = [*keys, "COUNT(*)", f"COUNT({self.column(aliases)})", f"COUNT(DISTINCT {self.column(aliases)})", f"SUM({self.column(aliases, False)})", f"MAX({self.column(aliases)})"]  # fmt: skip
            chosen = [rng.choice(items) for _ in range(width)]
            having = rng.choice(["", " HAVING COUNT(*) > 1", f" HAVING {keys[0]} IS NOT NULL"])
            if rng.random() < 0.4:
                return f"SELECT {', '.join(rng.choice(keys) for _ in range(width))} FROM {source}{where} GROUP BY {', '.join(keys)} HAVING {self.of_some_row(aliases)}"
            return f"SELECT {', '.join(chosen)} FROM {source}{where} GROUP BY {', '.join(keys)}{having}"
        if rng.random() < 0.15:
            aggregates = [
                "COUNT(*)",
                f"COUNT({self.column(aliases)})",
                f"COUNT(DISTINCT {self.column(aliases)})",
                f"MIN({self.column(aliases)})",
                f"SUM({self.column(aliases, False)} + {self.column(aliases, False)})",
            ]
            if rng.random() < 0.4:
                where = f"{where or ' WHERE 1'} AND {rng.choice(aggregates[1:4]).partition('(')[2].rpartition(' ')[2].rstrip(')')} IS NOT NULL"
            if rng.random() < 0.4:
                counted = [
                    f"{rng.choice(aggregates)} FROM {source} WHERE {self.condition(aliases, 2)}"
                    for _ in range(width + 1)
                ]
                host = rng.choice(["", f" FROM {source}{where}"])
                first = rng.choice(aggregates) if host else f"(SELECT {counted[-1]})"
                others = [f"(SELECT {one})" for one in counted[: width - 1]]
                return f"SELECT {', '.join([f'{first} || (SELECT {counted[-1]})', *others])}{host}"
            return f"SELECT {', '.join(rng.choice(aggregates) for _ in range(width))} FROM {source}{where}"
        items = [self.column(aliases) for _ in range(width)]
        group = f" GROUP BY {', '.join(items)}" if rng.random() < 0.1 else ""
        return f"SELECT {rng.choice(['', 'DISTINCT '])}{', '.join(items)} FROM {source}{where}{group}"

    def query(self) -> str:
        width = self.rng.choice([1, 1, 2])
        if self.rng.random() < 0.2:
            operator = self.rng.choice(["UNION", "UNION ALL", "INTERSECT", "EXCEPT"])
            return f"{self.block(width)} {operator} {self.block(width)}"
        if self.rng.random() < 0.15:
            names = ", ".join(f"w.c{place}" for place in range(width))
            inner = self.block(width).replace(" FROM ", " FROM ", 1)
            columns = ", ".join(f"c{place}" for place in range(width))
            return f"WITH w({columns}) AS ({inner}) SELECT {self.rng.choice(['', 'DISTINCT '])}{names} FROM w WHERE w.c0 IS NOT NULL"
        return self.block(width)


def check_random_queries(seed: int, count: int, databases: list[sqlite3.Connection]) -> int:
    writer = Writer(random.Random(seed))
    found: dict[object, list[str]] = defaultdict(list)
    for _ in range(count):
        sql = writer.query()
        query = Reader(FACTS).read(parse_query(sql, "sqlite"))
        rewritten = to_sql(rewrite(query, Context(FACTS)))
        for connection in databases:
            try:
                assert rows(connection, sql) == rows(connection, rewritten), f"{sql}\n{rewritten}"
            except sqlite3.Error as error:
                pytest.fail(f"{error}: {sql}\n{rewritten}")
        found[canonical_query(sql, FACTS).query].append(sql)
    for first, *rest in found.values():
        for other in rest:
            assert f1(first, other) == 1.0
            for connection in databases:
                assert rows(connection, first) == rows(connection, other), f"{first}\n{other}"
    return sum(len(group) > 1 for group in found.values())


def test_random_queries_keep_their_rows(databases: list[sqlite3.Connection]) -> None:
    assert check_random_queries(5, 300, databases[:8]) > 3


@pytest.mark.slow
def test_many_random_queries_keep_their_rows(databases: list[sqlite3.Connection]) -> None:
    for seed in range(100, 120):
        check_random_queries(seed, 1_000, databases)
