# ruff: noqa: E501 - a query is easier to compare on one line
"""The quick parser says what sqlglot says, or nothing."""

from __future__ import annotations

import gzip
import json
import random
import re
from pathlib import Path

import pytest

from finer_rewards.operations.facts import facts_of
from finer_rewards.operations.guard import OperationsError, measure, parse_query
from finer_rewards.operations.plain import plain_tree
from finer_rewards.operations.reading import Reader

PLAIN = (
    "SELECT a FROM t",
    "select DISTINCT t1.a, count(*), COUNT(DISTINCT b) AS n FROM t AS t1 JOIN u x ON t1.id = x.id AND NOT x.c LIKE 'a%';",
    "SELECT * FROM t, u WHERE a = 'it''s' AND (b > 1.50 OR c IS NOT NULL) -- why\n AND d NOT IN (1, 'x', -2)",
    "SELECT t.*, max(a) - min(a), a || b || c, a / b * c % 2 FROM t LEFT OUTER JOIN u ON t.id = u.id",
    "SELECT a FROM t WHERE b IN (SELECT b FROM u WHERE u.a = t.a) AND EXISTS (SELECT 1 FROM u) AND c BETWEEN 1 AND 2",
    "SELECT avg(a) FROM (SELECT a, b FROM t GROUP BY a, b HAVING count(*) >= 2) AS x ORDER BY 1 DESC, b LIMIT 3 OFFSET 2",
    "SELECT a FROM t UNION ALL SELECT b FROM u INTERSECT SELECT c FROM v EXCEPT SELECT d FROM w ORDER BY 1 LIMIT 1",
    "WITH x AS (SELECT a FROM t), y AS (SELECT b FROM u) SELECT x.a FROM x JOIN y ON x.a = y.b WHERE NOT x.a = (SELECT max(b) FROM y)",
    "SELECT CASE WHEN a > 1 THEN 'x' WHEN b = 2 THEN NULL ELSE c END, CASE a WHEN 1 THEN 2 END FROM t",
    'SELECT "a b", `c`, t.date, year FROM "t" WHERE `c` = "x" AND date = \'2020\' OR NOT a <> -b AND a == 1 AND a != 2',
    "SELECT a FROM t WHERE a < b = c AND a = b < c AND (a) + (b - c) - d = ((SELECT 1))",
)
NOT_PLAIN = (
    "", ";", "SELECT", "SELECT a b c FROM t", "SELECT a FROM t JOIN u", "SELECT a FROM t NATURAL JOIN u", "SELECT 1e5",
    "SELECT a FROM t; SELECT b FROM t", "DELETE FROM t", "SELECT f(a) FROM t", "SELECT sum(a) OVER (ORDER BY b) FROM t",
    "SELECT a FROM t WHERE b LIKE 'x' ESCAPE '!'", "SELECT /* x */ a FROM t", "SELECT x'61'", "SELECT 'a' 'b'", "SELECT 'a",
    "SELECT a FROM t ORDER BY a NULLS LAST", "SELECT a FROM t LIMIT 1, 2", "(SELECT a FROM t)", "SELECT a.b.c FROM d.e",
    "WITH RECURSIVE x AS (SELECT 1) SELECT * FROM x", "SELECT a FROM t TABLESAMPLE (3)", "SELECT date '2020-01-01'", "VALUES (1)",
    "SELECT a || b * c FROM t", "SELECT a + b || c FROM t", "SELECT a IS NOT NULL || b FROM t", "SELECT a LIKE b LIKE c FROM t",
    "SELECT \u00e9tage FROM t", "\u017fELECT a FROM t",
)  # fmt: skip
_PIECE = re.compile(r"--[^\n]*\n?|'(?:[^']|'')*'|\"[^\"]*\"|`[^`]*`|\w+|[<>=!|]+|\S")
_STRAY_TEXT = """date year of desc top as nulls at -- " ` ' 1 . rank key row if left right full first cast over window filter
values escape collate glob end all any some with kind limit offset fetch for into qualify natural cross using semi next
range format type comment == ( ) , * - + not and or in is null like between select from where union distinct 1.5 0x1 1e5
case when then else exists join on group by having order count max : ? @x [ ] { } ; | || ~ ^ & << >> -> := #"""
_STRAY = _STRAY_TEXT.split()


def agreement(sql: str) -> str:
    """Return whether both parsers give one query, `nothing` where the quick one gives up."""
    try:
        measure(sql)
        tree = plain_tree(sql)
    except OperationsError:
        return "refused"
    if tree is None:
        return "nothing"
    try:
        theirs: object = parse_query(sql, "sqlite")
    except OperationsError as error:
        return f"sqlglot refuses: {error}"
    return "same" if _term(tree) == _term(theirs) else "different"


def _term(tree: object) -> object:
    try:
        return Reader(facts_of(None)).read(tree)
    except OperationsError as error:
        return str(error)


def damaged(sql: str, rng: random.Random) -> str:
    """Return a text with a few pieces lost, doubled, swapped or strange."""
    pieces = _PIECE.findall(sql)
    for _ in range(rng.choice((1, 1, 2, 3))):
        place, other = rng.randrange(len(pieces)), rng.randrange(len(pieces))
        match rng.randrange(5):
            case 0 if len(pieces) > 1:
                del pieces[place]
            case 1:
                pieces.insert(place, rng.choice(_STRAY))
            case 2:
                pieces[place] = rng.choice(_STRAY)
            case 3:
                pieces[place], pieces[other] = pieces[other], pieces[place]
            case _:
                pieces.insert(place, pieces[other])
    return rng.choice((" ", " ", " ", "")).join(pieces)


@pytest.mark.parametrize("sql", PLAIN)
def test_plain_texts_are_read_alike(sql: str) -> None:
    assert agreement(sql) == "same"


@pytest.mark.parametrize("sql", NOT_PLAIN)
def test_what_is_not_plain_is_left_to_sqlglot(sql: str) -> None:
    assert plain_tree(sql) is None


def test_damaged_texts_are_never_read_otherwise() -> None:
    rng = random.Random(20)
    found: dict[str, int] = {}
    for _ in range(4_000):
        sql = damaged(rng.choice(PLAIN), rng)
        verdict = agreement(sql)
        assert verdict in ("same", "nothing", "refused"), sql
        found[verdict] = found.get(verdict, 0) + 1
    assert found["same"] > 100 and found["nothing"] > 1_000


@pytest.mark.slow
def test_real_texts_are_read_alike(shared_data: Path) -> None:
    rng = random.Random(21)
    found: dict[str, int] = {}
    for name in ("spider_dev_dev", "bird_dev_dev", "bird_mini_dev_dev"):
        with gzip.open(shared_data / "candidates" / f"{name}.jsonl.gz", "rt") as lines:
            questions = [json.loads(line) for line in lines]
        texts = {one["sql"] for question in questions for one in question["candidates"].values()}
        for sql in sorted(texts):
            for text in (sql, damaged(sql, rng)) if _PIECE.search(sql) else (sql,):
                verdict = agreement(text)
                assert verdict in ("same", "nothing", "refused"), text
                found[verdict] = found.get(verdict, 0) + 1
    assert found["same"] > 20_000
