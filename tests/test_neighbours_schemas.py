"""Whatever the schema, building neighbours ends in a stated result."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from finer_rewards._neighbours import GoldReport, Suite, build_neighbours
from finer_rewards.errors import ConfigError

MakeDb = Callable[..., Path]


def build(path: Path, *golds: str) -> Suite:
    return build_neighbours(path, golds, workers=1)


def pinned(path: Path, *golds: str) -> Suite:
    suite = build(path, *golds)
    assert [one.problem for one in suite.golds] == [""] * len(golds)
    assert all(one.pinned for one in suite.golds)
    return suite


def problem(path: Path, gold: str) -> GoldReport:
    (one,) = build(path, gold).golds
    assert not one.pinned and not one.instances
    return one


def rows(file: str, sql: str) -> list[tuple[object, ...]]:
    with closing(sqlite3.connect(file)) as connection:
        return connection.execute(sql).fetchall()


def test_without_keys(make_db: MakeDb) -> None:
    path = make_db("bare", "CREATE TABLE t (a, b); INSERT INTO t VALUES (1,'x'),(1,'x'),(2,'y'),(3,NULL)")
    pinned(path, "SELECT count(*) FROM t WHERE b = 'x'", "SELECT DISTINCT a FROM t")


def test_keys_known_only_from_the_joins_of_golds(make_db: MakeDb) -> None:
    path = make_db(
        "implied",
        """CREATE TABLE town (code TEXT, name TEXT); CREATE TABLE shop (town TEXT, sales INT);
        INSERT INTO town VALUES ('a','Aa'),('b','Bb'),('c','Cc');
        INSERT INTO shop VALUES ('a',3),('a',5),('b',2),('b',9)""",
    )
    suite = pinned(path, "SELECT name, sum(sales) FROM shop JOIN town ON shop.town = town.code GROUP BY name")
    for file in suite.paths:
        assert rows(file, "SELECT 1 FROM shop WHERE town NOT IN (SELECT code FROM town)") == []


@pytest.mark.parametrize("script", ["CREATE TABLE t (id INTEGER PRIMARY KEY, a TEXT, b INT)", ""])
def test_empty_databases(make_db: MakeDb, script: str) -> None:
    path = make_db("empty", script or "CREATE TABLE t (a); DROP TABLE t")
    if script:
        # No row to sample: every row is made, from the types and what the gold looks for.
        pinned(path, "SELECT count(*) FROM t WHERE b > 5", "SELECT a FROM t WHERE b = 7")
    else:
        assert "does not run" in problem(path, "SELECT a FROM t").problem


def test_views(make_db: MakeDb) -> None:
    path = make_db(
        "views",
        """CREATE TABLE t (id INTEGER PRIMARY KEY, a INT); INSERT INTO t (a) VALUES (1),(5),(9);
        CREATE VIEW big AS SELECT * FROM t WHERE a > 3; CREATE VIEW broken AS SELECT * FROM gone""",
    )
    pinned(path, "SELECT count(*) FROM big")


def test_generated_columns_and_checks(make_db: MakeDb) -> None:
    path = make_db(
        "generated",
        """CREATE TABLE t (id INTEGER PRIMARY KEY, a INT CHECK (a >= 0), twice INT AS (a * 2) STORED,
          thrice INT AS (a * 3)); INSERT INTO t (a) VALUES (1),(2),(3),(4)""",
    )
    suite = pinned(path, "SELECT sum(twice), max(thrice) FROM t")
    for file in suite.paths:
        assert rows(file, "SELECT 1 FROM t WHERE twice <> 2 * a OR a < 0") == []


def test_without_rowid_and_strict(make_db: MakeDb) -> None:
    path = make_db(
        "rowless",
        """CREATE TABLE t (a TEXT, b INT, c REAL, PRIMARY KEY (a, b)) WITHOUT ROWID;
        CREATE TABLE s (a TEXT NOT NULL, b INT) STRICT;
        INSERT INTO t VALUES ('x',1,0.5),('x',2,1.5),('y',1,2.5); INSERT INTO s VALUES ('x',1),('y',2)""",
    )
    suite = pinned(path, "SELECT a, sum(c) FROM t GROUP BY a", "SELECT b FROM s WHERE a = 'x'")
    for file in suite.paths:
        assert rows(file, "SELECT 1 FROM s WHERE typeof(b) NOT IN ('integer', 'null')") == []


def test_blobs_and_text_that_is_no_utf8(make_db: MakeDb) -> None:
    path = make_db(
        "blobs",
        "CREATE TABLE t (id INTEGER PRIMARY KEY, a BLOB, b TEXT);"
        "INSERT INTO t (a, b) VALUES (x'00ff', CAST(x'ff41' AS TEXT)), (x'', 'ok'), (NULL, 'ok'), (x'01', 'no')",
    )
    suite = pinned(
        path, "SELECT a FROM t WHERE b = 'ok' AND a IS NOT NULL", "SELECT count(DISTINCT a) FROM t"
    )
    assert {kind for file in suite.paths for (kind,) in rows(file, "SELECT typeof(a) FROM t")} <= {
        "blob",
        "null",
    }


def test_odd_names(make_db: MakeDb) -> None:
    path = make_db(
        "odd",
        """CREATE TABLE "Städte ""alt"" 都市" ("größe km²" INT, "select" TEXT, [näme x] TEXT);
        INSERT INTO "Städte ""alt"" 都市" VALUES (3,'ä','Ö'),(7,'b','P'),(9,'ä','Q')""",
    )
    pinned(path, """SELECT "größe km²" FROM "Städte ""alt"" 都市" WHERE "select" = 'ä'""")


def test_cycles_of_references(make_db: MakeDb) -> None:
    path = make_db(
        "cycle",
        """CREATE TABLE person (id INTEGER PRIMARY KEY, boss INT REFERENCES person, team INT REFERENCES team);
        CREATE TABLE team (id INTEGER PRIMARY KEY, head INT REFERENCES person);
        INSERT INTO team VALUES (1,1),(2,3); INSERT INTO person VALUES (1,NULL,1),(2,1,1),(3,1,2),(4,3,2)""",
    )
    suite = pinned(
        path,
        "SELECT count(*) FROM person p JOIN person b ON p.boss = b.id",
        "SELECT p.id FROM person p JOIN team t ON t.head = p.id",
    )
    for file in suite.paths:
        assert rows(file, "PRAGMA foreign_key_check") == []


def test_a_large_database_is_sampled(make_db: MakeDb) -> None:
    path = make_db(
        "large",
        """CREATE TABLE kind (id INTEGER PRIMARY KEY, name TEXT);
        CREATE TABLE fact (id INTEGER PRIMARY KEY, kind INT REFERENCES kind, amount INT, note TEXT);
        WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 4000)
          INSERT INTO kind SELECT i, 'kind ' || i FROM n;
        WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 100000)
          INSERT INTO fact SELECT i, 1 + i * 37 % 4000, i * 7 % 1000, hex(randomblob(20)) FROM n""",
    )
    suite = pinned(
        path,
        "SELECT amount FROM fact WHERE id = 77777",
        "SELECT k.name FROM fact f JOIN kind k ON k.id = f.kind WHERE f.id < 4",
    )
    assert sum(one.bytes for one in suite.instances) < path.stat().st_size / 10
    for file in suite.paths:
        assert rows(file, "PRAGMA foreign_key_check") == []


@pytest.mark.slow
def test_half_a_gigabyte_is_sampled(make_db: MakeDb) -> None:
    path = make_db(
        "huge",
        """PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF;
        CREATE TABLE kind (id INTEGER PRIMARY KEY, name TEXT);
        CREATE TABLE fact (id INTEGER PRIMARY KEY, kind INT REFERENCES kind, amount INT, note TEXT);
        WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 4000)
          INSERT INTO kind SELECT i, 'kind ' || i FROM n;
        WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 500000)
          INSERT INTO fact SELECT i, 1 + i * 37 % 4000, i * 7 % 1000, printf('%01000d', i) FROM n""",
    )
    assert path.stat().st_size > 500_000_000
    before = path.stat()
    started = time.monotonic()
    suite = pinned(
        path,
        "SELECT amount FROM fact WHERE id = 77777",
        "SELECT k.name FROM fact f JOIN kind k ON k.id = f.kind WHERE f.id < 4",
        "SELECT max(amount) FROM fact",
    )
    assert time.monotonic() - started < 120
    assert sum(one.bytes for one in suite.instances) < 4_000_000
    assert path.stat().st_mtime_ns == before.st_mtime_ns
    path.unlink()


def test_virtual_tables_are_left_out(make_db: MakeDb) -> None:
    path = make_db(
        "search",
        """CREATE VIRTUAL TABLE doc USING fts5(body); INSERT INTO doc VALUES ('a b'),('c d');
        CREATE TABLE t (a INT); INSERT INTO t VALUES (1),(2),(3)""",
    )
    suite = build(path, "SELECT count(*) FROM t", "SELECT body FROM doc WHERE doc MATCH 'a'")
    assert suite.golds[0].pinned
    assert not suite.golds[1].pinned and "no instance serves it" in suite.golds[1].problem
    assert any("doc is virtual" in note for note in suite.notes)


@pytest.mark.parametrize(
    ("gold", "said"),
    [
        ("SELECT nme FROM t", "does not run: The database rejected the query: no such column: nme"),
        ("DELETE FROM t", "does not run"),
        ("SELECT 42", "reads no table"),
        ("SELECT random() FROM t", "changes from run to run"),
        ("SELECT a FROM t WHERE a > 3 AND a < 2", "no instance serves it"),
        (
            "WITH RECURSIVE n(i) AS (SELECT a FROM t UNION ALL SELECT i + 1 FROM n) SELECT max(i) FROM n",
            "time limit",
        ),
        ("this is no SQL", "does not run"),
        ("", "does not run"),
    ],
)
def test_golds_that_nothing_pins_down(make_db: MakeDb, gold: str, said: str) -> None:
    path = make_db("t", "CREATE TABLE t (a INT, b TEXT); INSERT INTO t VALUES (1,'x'),(2,'y'),(3,'z')")
    (one,) = build_neighbours(path, [gold], workers=1, timeout=0.2).golds
    assert said in one.problem
    assert not one.pinned and not one.instances


def test_no_golds_and_no_database(make_db: MakeDb, tmp_path: Path) -> None:
    suite = build(make_db("t", "CREATE TABLE t (a)"))
    assert suite.instances == () and suite.golds == () and suite.kill_rate is None
    with pytest.raises(ConfigError, match="no such file"):
        build_neighbours(tmp_path / "none.sqlite", ["SELECT 1"])
    with pytest.raises(ConfigError, match="`instances` should be a whole number"):
        build_neighbours(make_db("u", "CREATE TABLE t (a)"), [], instances=0)
