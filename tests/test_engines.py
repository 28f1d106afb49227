"""What DuckDB and PostgreSQL do alike behind the same workers; what each alone does is in its own file."""

from __future__ import annotations

import os
import resource
import signal
import sqlite3
import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, NamedTuple

import pytest
from bounds import LONG

import finer_rewards as fr
from finer_rewards import rewards as r
from finer_rewards.engines.registry import ENGINES
from finer_rewards.executing import Query

TIMEOUT = 1.0
SCRIPT = """
CREATE TABLE singer (id INTEGER PRIMARY KEY, name VARCHAR(20) NOT NULL UNIQUE, age INTEGER, born DATE);
INSERT INTO singer VALUES (1, 'Ann', 30, '1990-01-02'), (2, 'Bob', 41, NULL), (3, 'Cid', 41, '1980-05-06'),
    (4, 'Dot', NULL, '2000-12-31');
CREATE TABLE song (title VARCHAR(20), singer INTEGER REFERENCES singer (id));
INSERT INTO song VALUES ('One', 1), ('Two', 3);
CREATE VIEW old AS SELECT name FROM singer WHERE age > 40;
CREATE VIEW drawn AS SELECT name, random() AS x FROM old;
"""


class Engine(NamedTuple):
    """An engine, how to make an executor of it, and one that is made."""

    name: str
    make: Callable[..., Any]
    executor: Any
    databases: Callable[[str, str], None]  # makes one, of a script


@pytest.fixture(scope="module")
def duckdb_engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    duckdb = pytest.importorskip("duckdb", reason="needs DuckDB: pip install 'finer-rewards[duckdb]'")
    folder = tmp_path_factory.mktemp("duckdb")

    def new(name: str, script: str) -> None:
        with duckdb.connect(str(folder / f"{name}.duckdb")) as connection:
            connection.execute(script)

    macros = ["nap(x) AS pg_sleep(x)", "chance() AS random() + 1", "moment() AS TABLE SELECT now() AS at"]
    new("band", SCRIPT + "".join(f"CREATE MACRO {macro};" for macro in macros))
    with fr.DuckDB(folder, timeout=TIMEOUT, workers=1, memory_limit="512MiB") as executor:
        yield Engine("duckdb", partial(fr.DuckDB, folder), executor, new)


@pytest.fixture(scope="module")
def postgres_engine(server: Any) -> Iterator[Engine]:
    def new(name: str, script: str) -> None:
        server.script("postgres", f"CREATE DATABASE {name}")
        server.script(name, script)

    new("band", SCRIPT)
    with fr.Postgres(server.dsn("reader"), timeout=TIMEOUT, workers=1) as executor:
        yield Engine("postgres", partial(fr.Postgres, server.dsn("reader")), executor, new)


@pytest.fixture(params=["duckdb", "postgres"])
def engine(request: pytest.FixtureRequest) -> Engine:
    found: Engine = request.getfixturevalue(f"{request.param}_engine")
    assert found.executor.execute("SELECT 1", "band").ok
    return found


def on(engine: str, *cases: Any) -> list[Any]:
    """Return the cases, each with the engine that it is for."""
    return [(engine, *case) if isinstance(case, tuple) else (engine, case) for case in cases]


ENDLESS = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n"
BOMBS = on(
    "duckdb",
    ENDLESS,
    "SELECT count(*) FROM range(1000000000) a, range(1000000) b",
    "SELECT repeat('x', 2000000000)",
    "SELECT list_sort(range(30000000))",
    "SELECT damerau_levenshtein(repeat('a', 30000), repeat('b', 30000))",
    "SELECT string_agg(repeat('x', 1000000)) FROM range(10000)",
    "WITH c0 AS (SELECT 1 x UNION ALL SELECT 2), "
    + ", ".join(f"c{i + 1} AS (SELECT a.x FROM c{i} a, c{i} b, c{i} c, c{i} d)" for i in range(10))
    + " SELECT count(*) FROM c10",
    "SELECT " + "(" * 5000 + "1" + ")" * 5000,
) + on(
    "postgres",
    ENDLESS,
    "SELECT count(*) FROM generate_series(1, 1000000) a, generate_series(1, 1000000) b",
    "SELECT repeat('x', 2000000000)",
    "SELECT string_agg(repeat('x', 1000000), '') FROM generate_series(1, 5000)",
    "SELECT array_agg(i) FROM generate_series(1, 1000000000) i",
    "SELECT repeat('a', 40) || 'b' ~ '^(a*)*(a*)*(a*)*(a*)*$' FROM generate_series(1, 100000000)",
    "SELECT " + "(" * 20000 + "1" + ")" * 20000,
)


@pytest.mark.parametrize(("engine", "sql"), BOMBS, indirect=["engine"])
def test_bombs_end_in_time_and_spare_what_follows(engine: Engine, sql: str) -> None:
    largest = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    began = time.monotonic()
    bomb, after = engine.executor.execute_many([Query(sql, "band"), Query("SELECT name FROM old", "band")])
    assert time.monotonic() - began < LONG
    assert bomb.status.name in ("timeout", "too_large", "failed"), bomb.error
    assert sorted(after.rows) == [("Bob",), ("Cid",)], after.error
    # Of children of other tests too: what they had before is no fault of this one.
    assert resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss <= max(largest, 1500 << 10)


def test_rows_and_bytes_are_capped(engine: Engine) -> None:
    rows = {"duckdb": "range(100000000)", "postgres": "generate_series(1, 3000000)"}[engine.name]
    with engine.make(workers=1, timeout=20, max_rows=100, max_bytes="64KiB") as small:
        long = small.execute(f"SELECT * FROM {rows}", "band")
        wide = small.execute(
            "SELECT repeat('x', 1000) FROM singer a, singer b, singer c, singer d LIMIT 90", "band"
        )
    assert long.ok and long.truncated and len(long.rows) == 100
    assert wide.status.name == "too_large"


CELLS = on(
    "duckdb",
    ("true", 1),
    ("1.50", 1.5),
    ("2.00", 2),
    ("12345678901234567890123::HUGEINT", 12345678901234567890123),
    ("CAST('nan' AS DOUBLE) IS NOT NULL", 1),
    ("DATE '2020-01-02'", "2020-01-02"),
    ("TIMESTAMP '2020-01-02 03:04:05'", "2020-01-02 03:04:05"),
    ("TIMESTAMP '2020-01-02 03:04:05.25'", "2020-01-02 03:04:05.250000"),
    ("TIMESTAMPTZ '2020-01-02 03:04:05+02:00'", "2020-01-02 01:04:05+00"),
    ("TIME '03:04:05'", "03:04:05"),
    ("INTERVAL 25 HOUR", "1 day, 1:00:00"),
    ("UUID 'b71636b5-cf57-49b4-a436-b46721e104e2'", "b71636b5-cf57-49b4-a436-b46721e104e2"),
    ("[1, 2]", "[1,2]"),
    ("{'a': 1.5, 'b': [DATE '2020-01-02']}", '{"a":1.5,"b":["2020-01-02"]}'),
    ("MAP {2: 'x'}", '{"2":"x"}'),
    ("'\\xAA'::BLOB", b"\xaa"),
    ("NULL::DATE", None),
) + on(
    "postgres",
    ("true", 1),
    ("1.50::numeric(9, 2)", 1.5),
    ("2.00::numeric", 2),
    ("-3.0::numeric", -3),
    ("repeat('9', 5000)::numeric", "9" * 5000),
    ("repeat('9', 400)::numeric", "9" * 400),
    ("repeat('9', 300)::numeric", 10**300 - 1),
    ("1.1::real", 1.1),
    ("0.1::float8", 0.1),
    ("9223372036854775807", 9223372036854775807),
    ("DATE '2020-01-02'", "2020-01-02"),
    ("DATE 'infinity'", "infinity"),
    ("TIMESTAMP '2020-01-02 03:04:05'", "2020-01-02 03:04:05"),
    ("TIMESTAMPTZ '2020-01-02 03:04:05+02'", "2020-01-02 01:04:05+00"),
    ("INTERVAL '1 month 2 days'", "1 mon 2 days"),
    ("'ab'::char(5)", "ab"),
    ("ARRAY[1, 2]", "{1,2}"),
    ("'{\"a\": 1}'::jsonb", '{"a": 1}'),
    ("'\\xaa'::bytea", b"\xaa"),
    ("NULL::date", None),
)


@pytest.mark.parametrize(("engine", "sql", "cell"), CELLS, indirect=["engine"])
def test_cells_come_as_sqlite_would_have_them(engine: Engine, sql: str, cell: object) -> None:
    found = engine.executor.execute(f"SELECT {sql}", "band").rows[0][0]
    assert found == cell and type(found) is type(cell)


def test_a_nan_is_a_nan_whenever_it_came(engine: Engine) -> None:
    gold = "SELECT CAST('nan' AS DOUBLE PRECISION) AS a FROM singer"
    with fr.Scorer("execution_match(mode='bird')", engine.executor) as scorer:
        for number in range(3):
            sample = fr.Sample(gold.replace(" a ", f" a{number} "), gold, "band")
            assert scorer.score_one(sample).value == 1


FACTS = {
    "duckdb": [
        ("SELECT name FROM singer USING SAMPLE 2", {"singer"}, "random"),
        ("SELECT uuid()", frozenset(), "random"),
        ("SELECT ago(INTERVAL 1 DAY)", frozenset(), "clock"),
        ("SELECT chance()", frozenset(), "random"),
        ("SELECT * FROM moment()", frozenset(), "clock"),
        ("SELECT current_database(), array_append([1], 2)", frozenset(), ""),
    ],
    "postgres": [
        ("SELECT relname FROM pg_class", frozenset(), ""),
        ("SELECT name FROM singer TABLESAMPLE SYSTEM (50)", {"singer"}, "random"),
        ("SELECT current_date - born FROM singer", {"singer"}, "clock"),
        ("SELECT name FROM singer WHERE born < 'now'", {"singer"}, "clock"),
        (
            "SELECT ('n' || 'ow')::text::date IS NULL OR 'now'::text::date IS NULL FROM singer",
            {"singer"},
            "clock",
        ),
        ("SELECT name FROM singer WHERE name IN ('now', 'Today')", {"singer"}, ""),
        ("SELECT txid_current()", frozenset(), "random"),
        ("SELECT pg_backend_pid()", frozenset(), "random"),
        ("SELECT pg_stat_get_numscans(1)", frozenset(), "random"),
        ("SELECT current_database(), current_user", frozenset(), ""),
    ],
}


def test_what_was_read_and_whether_it_would_come_again(engine: Engine) -> None:
    for sql, tables, volatile in [
        ("SELECT title FROM song JOIN singer ON singer = id", {"song", "singer"}, ""),
        ("WITH song AS (SELECT 1) SELECT * FROM song", frozenset(), ""),
        ("SELECT * FROM drawn", {"singer"}, "random"),
        ("SELECT now()", frozenset(), "clock"),
        ("SELECT current_timestamp", frozenset(), "clock"),
        *FACTS[engine.name],
    ]:
        run = engine.executor.execute(sql, "band")
        assert (run.tables, run.volatile, run.steps) == (tables, volatile, None), (sql, run.error)


def test_gold_order_is_found(engine: Engine) -> None:
    def gold(sql: str) -> Any:
        return engine.executor.execute_many([Query(sql, "band", keep=True)])[0]

    ages = ((41,), (41,), (30,))
    # DuckDB puts NULL last, both ways; to PostgreSQL it is larger than all else.
    falling = (*ages, (None,)) if engine.name == "duckdb" else ((None,), *ages)
    assert gold("SELECT name FROM singer ORDER BY age").order == (*ages[::-1], (None,))
    assert gold("SELECT name FROM singer ORDER BY age DESC").order == falling
    assert gold("SELECT name FROM singer WHERE age > 1 ORDER BY age DESC LIMIT 1").ambiguous
    assert not gold("SELECT name FROM singer ORDER BY age, name LIMIT 2").ambiguous
    assert gold("SELECT name FROM singer ORDER BY born DESC NULLS LAST LIMIT 1").order == (("2000-12-31",),)
    names = (("ann",), ("bob",), ("cid",), ("dot",))
    assert gold("SELECT id FROM singer ORDER BY lower(name)").order == names


def test_schema(engine: Engine) -> None:
    tables = {table.name: table for table in engine.executor.schema("band").tables}
    singer = tables["singer"]
    assert singer.primary_key == ("id",) and singer.unique == (("name",),)
    types = ["INTEGER", "VARCHAR", "INTEGER", "DATE"]
    if engine.name == "postgres":
        types = ["integer", "character varying(20)", "integer", "date"]
    assert [column.type for column in singer.columns] == types
    assert [column.not_null for column in singer.columns] == [True, True, False, False]
    (key,) = tables["song"].foreign_keys
    assert (key.columns, key.to_table, key.to_columns) == (("singer",), "singer", ("id",))
    assert tables["old"].view and not singer.view


def test_rewards_read_the_dialect_of_the_executor(engine: Engine) -> None:
    gold = "SELECT name FROM singer WHERE name ILIKE 'a%' AND born::timestamp > '1980-01-01'"
    sample = fr.Sample(gold, gold=gold, db="band")
    scorer = fr.Scorer(r.execution_match() + r.atomic_f1() + r.ngram_similarity(), engine.executor)
    assert scorer.observe([sample])[0].dialect == engine.name
    assert scorer.score_one(sample).value == 3
    wrong = fr.Sample("SELECT name FROM singer", gold=gold, db="band")
    assert 0 < fr.Scorer(r.atomic_f1(), engine.executor).score_one(wrong).value < 1


NAMES = on("duckdb", "INTERNAL Error", "FATAL Error: gone", "IO Error", "\ud800")
NAMES += on("postgres", "out of memory", "statement timeout", "\ud800")


@pytest.mark.parametrize(("engine", "name"), NAMES, indirect=["engine"])
def test_no_name_in_a_query_costs_a_worker(engine: Engine, name: str) -> None:
    before = engine.executor.process_ids
    assert engine.executor.execute(f'SELECT * FROM "{name}"', "band").status.name == "failed"
    assert engine.executor.process_ids == before and engine.executor.execute("SELECT 1", "band").ok


def test_a_worker_killed_from_outside_is_replaced(engine: Engine) -> None:
    (process,) = engine.executor.process_ids
    os.kill(process, signal.SIGKILL)
    assert engine.executor.execute("SELECT name FROM singer WHERE id = 1", "band").rows == (("Ann",),)


@pytest.mark.parametrize(
    "mode", ["strict", *(pytest.param(mode, marks=pytest.mark.slow) for mode in ("bird", "test_suite"))]
)
def test_scores_are_those_of_sqlite(engine: Engine, make_db, same_in_all, mode: str) -> None:
    script, pairs = same_in_all
    file, name = make_db("shop", script), f"shop_{mode}"
    engine.databases(name, script.replace("REAL", "DOUBLE PRECISION"))
    reward = r.execution_match(mode) + 0.1 * r.executable() + 0.1 * r.atomic_f1()
    values = []
    for executor, db in ((fr.SQLite(workers=1), str(file)), (engine.make(workers=1), name)):
        with fr.Scorer(reward, executor, neighbours=0) as scorer:  # which SQLite alone has
            samples = [fr.Sample(predicted, gold=gold, db=db) for gold, predicted in pairs]
            values.append([(score.value, score.status) for score in scorer.score(samples)])
    differing = [pair[0] for pair, *both in zip(pairs, *values, strict=True) if both[0] != both[1]]
    # NULL sorts elsewhere where the query does not say: the pair is right in one of them.
    elsewhere = ("ORDER BY kind",) if engine.name == "duckdb" else ("ORDER BY kind", "price DESC")
    # SQLite holds no affinity against the sides of EXCEPT, so that only elsewhere it is the same as a filter.
    elsewhere += ("EXCEPT SELECT 1, 2",)
    assert [gold for gold in differing if not any(part in gold for part in elsewhere)] == []


def test_doctor_says_what_the_installed_sqlite_does_otherwise_than_newer_ones() -> None:
    found = {fact.name: fact.found for fact in ENGINES["sqlite"].facts()}["SQLite among versions"]
    connection = sqlite3.connect(":memory:")
    rounded, day, text = connection.execute(
        "SELECT ROUND(2.675, 2), date('2023-02-29'), CAST(0.1 + 0.2 AS TEXT)"
    ).fetchone()
    assert ("ROUND(2.675, 2) is 2.68" in found) == (rounded == 2.68)
    assert ("date('2023-02-29') is itself" in found) == (day == "2023-02-29")
    assert ("15 digits" in found) == (text == "0.3")
