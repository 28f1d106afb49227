# ruff: noqa: E501 - a query is easier to read on one line
"""Whatever a model writes, reading it gives operations or says why it cannot: nothing else is ever raised."""

from __future__ import annotations

import random
import re
from pathlib import Path

import pytest

from finer_rewards.operations import OperationsError, sql_operations
from finer_rewards.schema import Schema, schema_from_ddl

QUERIES = (
    "SELECT count(*), count(DISTINCT s.name), min(age) FROM singer AS s WHERE s.age > 20 GROUP BY s.country HAVING count(*) > 1",
    "SELECT T1.name FROM singer AS T1 JOIN concert AS T2 ON T1.id = T2.singer WHERE T2.year = 2014 ORDER BY T1.age DESC LIMIT 3",
    "SELECT name FROM singer WHERE id NOT IN (SELECT singer FROM concert WHERE year BETWEEN 2013 AND 2015)",
    "SELECT name FROM singer WHERE age = (SELECT max(age) FROM singer) OR name LIKE '%a%' AND country IS NOT NULL",
    "SELECT CASE WHEN age > 30 THEN 'old' ELSE 'young' END, sum(age) * 1.0 / count(*) FROM singer GROUP BY 1 ORDER BY 2",
    "WITH old AS (SELECT id, name FROM singer WHERE age > 30) SELECT o.name FROM old o LEFT JOIN concert c ON c.singer = o.id WHERE c.id IS NULL",
    "SELECT country FROM singer WHERE age < 20 INTERSECT SELECT country FROM singer WHERE age > 40 EXCEPT SELECT 'France'",
    "SELECT name, rank() OVER (PARTITION BY country ORDER BY age DESC) FROM singer WHERE EXISTS (SELECT 1 FROM concert WHERE singer = singer.id)",
    "SELECT strftime('%Y', CAST(born AS TEXT)), IIF(age > 1, 2, 3), substr(name, 1, 2) || '-' FROM singer, concert WHERE singer.id = singer",
)
PIECES = (
    "@x", ":x", "?", "$1", "::", "->", "->>", "[1]", "{", "}", "#", "case", "when", "end", "over", "(", ")", "()", "filter", "lateral",
    "values", "collate nocase", "escape", "is", "not", "null", "cast", "as", "int", "1e5", "0x1F", "x'ff'", "*", "t.*", "exists", "union all",
    "limit", "offset", "-", "1", "interval", "distinct", "on", "using", "natural", "returning", "/*", "*/", "--", "\n", "'", '"', "`", ".", ",",
    "count", "min", "in", "between", "and", "or", "like", "=", "<>", "select", "from", "where", "group by", "having", "order by", "é", "\x00",
)  # fmt: skip
WORDS = re.compile(r"\s+|\w+|'[^']*'|[^\w\s]")
OTHERS = sorted({word for query in QUERIES for word in WORDS.findall(query)}) + list(PIECES)
SCHEMA = schema_from_ddl(
    "CREATE TABLE singer (id INTEGER PRIMARY KEY, name TEXT, country TEXT, age INTEGER NOT NULL, born DATE);"
    "CREATE TABLE concert (id INTEGER PRIMARY KEY, singer INTEGER REFERENCES singer (id), year INTEGER);"
)


def damaged(sql: str, chance: random.Random) -> str:
    """Return the text with some words left out, doubled, replaced or put in."""
    words: list[str] = WORDS.findall(sql)
    for _ in range(chance.randint(1, 2)):
        place, how = chance.randrange(len(words)), chance.random()
        if how < 0.35:
            words[place] = chance.choice(OTHERS)
        elif how < 0.6:
            words.insert(place, f" {chance.choice(OTHERS)} ")
        elif how < 0.8 and len(words) > 1:
            del words[place]
        else:
            words[place : place + 9] *= 2
    return "".join(words)


def read(sql: str, schema: Schema | None, dialect: str) -> bool:
    try:
        sql_operations(sql, schema=schema, dialect=dialect)
    except OperationsError as error:
        assert str(error), sql
        return False
    return True


@pytest.mark.parametrize("schema", [None, SCHEMA], ids=["no schema", "schema"])
@pytest.mark.parametrize("dialect", ["sqlite", "postgres", "duckdb"])
def test_damaged_text_is_read_or_refused(schema: Schema | None, dialect: str) -> None:
    chance = random.Random(7)
    results = [read(damaged(chance.choice(QUERIES), chance), schema, dialect) for _ in range(200)]
    assert 20 < sum(results) < 180  # both happen


@pytest.mark.slow
def test_real_text_damaged_is_read_or_refused(shared_data: Path) -> None:
    chance = random.Random(8)
    texts = (shared_data / "questions" / "spider_train_gold.sql").read_text("utf-8").splitlines()
    for _ in range(8_000):
        read(damaged(chance.choice(texts).partition("\t")[0], chance), None, "sqlite")


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT count(DISTINCT ) FROM t",
        "SELECT t.@x FROM t",
        "SELECT round(t.:x) FROM t",
        "SELECT t.?, t.1, t.'a' FROM t",
    ],
)
@pytest.mark.parametrize("schema", [None, SCHEMA], ids=["no schema", "schema"])
def test_what_was_once_raised_on(sql: str, schema: Schema | None) -> None:
    read(sql, schema, "sqlite")
