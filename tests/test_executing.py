"""What the SQLite executor says of every kind of statement, database and result."""

from __future__ import annotations

import os
import pickle
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest
from bounds import LONG, assert_linear

from finer_rewards._util.sql_text import normalise
from finer_rewards.engines.duckdb import DuckDB
from finer_rewards.engines.sqlite import SQLite
from finer_rewards.engines.sqlite.files import resolve_database
from finer_rewards.errors import ConfigError
from finer_rewards.executing import Executor, Query
from finer_rewards.types import Execution, Status

COUNT_FOR_EVER = "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c) SELECT count(*) FROM c"
# One opcode, no limit in its way, and the progress handler is not called inside it.
ONE_LONG_OPCODE = (
    "SELECT instr(a, b) FROM (SELECT replace(hex(zeroblob(400000)), '0', 'a') AS a, "
    "replace(hex(zeroblob(200000)), '0', 'a') || 'b' AS b)"
)


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    folder = tmp_path_factory.mktemp("databases")
    (folder / "shop").mkdir()
    connection = sqlite3.connect(folder / "shop" / "shop.sqlite")
    connection.executescript(
        """
        CREATE TABLE Customer (id INTEGER PRIMARY KEY, name TEXT NOT NULL, city TEXT);
        CREATE TABLE orders (id INTEGER PRIMARY KEY, customer REFERENCES Customer, day);
        CREATE VIEW lately AS SELECT id FROM orders WHERE day < date('now');
        CREATE VIEW oslo AS SELECT name FROM Customer WHERE city = 'Oslo';
        CREATE UNIQUE INDEX once_a_day ON orders (customer, day);
        CREATE INDEX by_city ON Customer (city);
        INSERT INTO Customer VALUES (1, 'Alice', 'Oslo'), (2, 'Bob', 'Bergen');
        INSERT INTO Customer VALUES (3, CAST(x'4361726cff61' AS TEXT), NULL);
        INSERT INTO orders VALUES (1, 1, '2024-01-05'), (2, 3, '2024-02-11');
        """
    )
    connection.close()
    return folder


@pytest.fixture(scope="module", params=["sqlite3", "apsw"])
def executor(root, request):
    if request.param == "apsw":
        pytest.importorskip("apsw")
    with SQLite(root, timeout=5, workers=2, engine=request.param) as executor:
        yield executor


@pytest.fixture(
    scope="module", params=["sqlite3 wall", "sqlite3 cpu", pytest.param("apsw wall", marks=pytest.mark.slow)]
)
def hasty(root, request):
    engine, clock = request.param.split()
    if engine == "apsw":
        pytest.importorskip("apsw")
    with SQLite(root, timeout=0.5, workers=2, memory_limit="512MiB", engine=engine, clock=clock) as executor:
        yield executor


def snapshot(folder: Path) -> dict[str, tuple[bytes, int]]:
    return {
        str(path): (path.read_bytes(), path.stat().st_mtime_ns)
        for path in folder.rglob("*")
        if path.is_file()
    }


@pytest.mark.parametrize(
    ("sql", "status"),
    [
        ("SELECT 1", Status.ok),
        ("  select name from customer ;; ", Status.ok),
        ("-- why\nSELECT 1 /* ; */ ; -- done", Status.ok),
        ("WITH x AS (SELECT 1 AS a) SELECT a FROM x", Status.ok),
        ("VALUES (1), (2)", Status.ok),
        ("SELECT value FROM json_each('[1, 2]')", Status.ok),
        ("SELECT 'DROP TABLE orders; PRAGMA x'", Status.ok),
        ("SELECT name FROM nowhere", Status.failed),
        ("Sure, here is the query you asked for", Status.failed),
        ("(SELECT 1)", Status.failed),
        ("SELECT ?", Status.failed),
        ("SELECT 'a\x00b'", Status.failed),
        ("SELECT '\ud800'", Status.failed),
        ("", Status.not_a_query),
        (";", Status.not_a_query),
        ("-- nothing", Status.not_a_query),
        ("/* never closed", Status.not_a_query),
        ("EXPLAIN SELECT 1", Status.not_a_query),
        ("EXPLAIN QUERY PLAN SELECT 1", Status.not_a_query),
        ("/* x */ PRAGMA user_version", Status.not_a_query),
        ("REINDEX", Status.not_a_query),
        ("SELECT 1; SELECT 2", Status.several_statements),
        ("SELECT 1; DROP TABLE orders", Status.several_statements),
        ("DROP TABLE orders", Status.refused),
        ("INSERT INTO orders VALUES (9, 9, 9) RETURNING id", Status.refused),
        ("WITH x AS (SELECT 1) DELETE FROM orders", Status.refused),
        ("REPLACE INTO orders VALUES (1, 1, 1)", Status.refused),
        ("CREATE TEMP TABLE customer (id)", Status.refused),
        ("ATTACH 'other.db' AS other", Status.refused),
        ("VACUUM INTO 'copy.db'", Status.refused),
        ("BEGIN", Status.refused),
        ("SAVEPOINT s", Status.refused),
        ("SELECT load_extension('x')", Status.refused),
        ("SELECT * FROM pragma_database_list", Status.refused),
        ("SELECT hex(zeroblob(400000000))", Status.too_large),
        ("SELECT " + "1," * 200_000 + "1", Status.too_large),
    ],
)
def test_status(executor, sql, status):
    execution = executor.execute(sql, "shop")
    assert execution.status is status, execution
    assert bool(execution.error) == (status is not Status.ok)
    assert (execution.tables is None) == (status is not Status.ok)


def test_nothing_is_written(root, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    before = snapshot(root)
    with SQLite(root, timeout=1, workers=1) as executor:
        for sql in (
            "VACUUM INTO 'copy.db'",
            "ATTACH 'other.db' AS x",
            "UPDATE orders SET day = 1",
            "PRAGMA journal_mode = WAL",
            "PRAGMA user_version = 7",
            "CREATE TABLE x (y)",
            "SELECT name FROM customer ORDER BY name",
            "SELECT writefile('x', 'y')",
        ):
            executor.execute(sql, "shop")
    assert snapshot(root) == before
    assert not list(tmp_path.iterdir())


def test_result(executor):
    execution = executor.execute("SELECT id, name AS who, id FROM Customer WHERE id < 3 ORDER BY id", "shop")
    assert execution.columns == ("id", "who", "id")
    assert execution.rows == ((1, "Alice", 1), (2, "Bob", 2))
    assert execution.seconds > 0


def test_values_survive(executor):
    sql = "SELECT NULL, 9223372036854775807, -1.5e308, 9e999, x'00ff', 'é\U0001f600', ''"
    assert executor.execute(sql, "shop").rows == (
        (None, 2**63 - 1, -1.5e308, float("inf"), b"\x00\xff", "é\U0001f600", ""),
    )


def test_undecodable_text_keeps_its_bytes(executor):
    assert executor.execute("SELECT name FROM customer WHERE id = 3", "shop").rows == (("Carl\udcffa",),)
    assert executor.execute("SELECT name FROM customer WHERE id = 1", "shop").rows == (("Alice",),)


@pytest.mark.parametrize(
    ("sql", "tables"),
    [
        ("SELECT 1", ()),
        ("SELECT count(*) FROM orders", ("orders",)),
        ("SELECT 1 FROM CUSTOMER", ("customer",)),
        ("SELECT name FROM oslo", ("customer",)),
        ("SELECT * FROM sqlite_master", ()),
        ("SELECT * FROM json_each('[1]')", ()),
        ("WITH orders AS (SELECT 1 AS id) SELECT * FROM orders", ()),
        (
            "SELECT 1 WHERE EXISTS (SELECT 1 FROM orders) UNION SELECT id FROM customer",
            ("customer", "orders"),
        ),
    ],
)
def test_tables_read(executor, sql, tables):
    # Twice: a statement that SQLite keeps compiled would report nothing the second time.
    assert executor.execute(sql, "shop").tables == frozenset(tables)
    assert executor.execute(sql, "shop").tables == frozenset(tables)


@pytest.mark.parametrize(
    ("sql", "volatile"),
    [
        ("SELECT random()", "random"),
        ("SELECT id FROM orders ORDER BY RANDOM() LIMIT 1", "random"),
        ("SELECT hex(randomblob(4))", "random"),
        ("SELECT total_changes()", "random"),
        ("SELECT CURRENT_TIMESTAMP", "clock"),
        ("SELECT date('NOW', 'localtime')", "clock"),
        ("SELECT strftime('%s', 'now')", "clock"),
        ("SELECT strftime('%Y')", "clock"),
        ("SELECT julianday( )", "clock"),
        ("SELECT * FROM lately", "clock"),
        ("SELECT date('no' || 'w')", "clock"),
        ('SELECT date("no" || "w")', "clock"),
        ("SELECT date(lower('NOW'))", "clock"),
        ("SELECT date(x) FROM (SELECT char(110, 111, 119) AS x)", "clock"),
        ("SELECT julianday(CAST(x'6e6f77' AS TEXT))", "clock"),
        ("SELECT date(replace('n.o.w', '.', ''))", "clock"),
        ("SELECT date(substr(day, 1, 4) || '-01-01') FROM orders", ""),
        ("SELECT julianday(a) - julianday(b) FROM (SELECT max(day) AS a, min(day) AS b FROM orders)", ""),
        ("SELECT date(replace(day, '/', '-')) FROM orders", ""),
        ("SELECT date('2024-01-01', '+1 day')", ""),
        ("SELECT strftime('%Y', day) FROM orders", ""),
        ("SELECT 'now', sqlite_version()", ""),
    ],
)
def test_volatile(executor, sql, volatile):
    assert executor.execute(sql, "shop").volatile == volatile


def test_equal_pairs_run_once(executor):
    queries = [
        Query("SELECT random()", "shop"),
        Query(" SELECT\n random() ;", "shop"),
        Query("SELECT 2", "shop"),
    ]
    first, second, third = executor.execute_many(queries)
    assert first is second
    assert third.rows == ((2,),)
    assert executor.execute_many([]) == []


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT 'a  b'",
        'SELECT 1 AS "a  b"',
        "SELECT 1 -- a  b\n, 2",
        "SELECT 1 AS [a  b]",
        "SELECT /* '  */ 1",
    ],
)
def test_quoted_space_and_comments_are_left_alone(sql):
    assert normalise(f" {sql} ;\n") == sql


def test_deadlines(hasty):
    for sql in (COUNT_FOR_EVER, ONE_LONG_OPCODE, "SELECT printf('%.*c', 900000000, 'x')"):
        began = time.monotonic()
        execution = hasty.execute(sql, "shop")
        assert execution.status in (Status.timeout, Status.too_large), (sql, execution)
        assert time.monotonic() - began < LONG
        assert hasty.execute("SELECT 1", "shop").ok


def test_a_slow_query_harms_nobody(hasty):
    queries = [Query(f"SELECT {number}", "shop") for number in range(100)]
    queries[3:3] = [Query(ONE_LONG_OPCODE, "shop"), Query(COUNT_FOR_EVER, "shop")]
    executions = hasty.execute_many(queries)
    assert [execution.status for execution in executions[3:5]] == [Status.timeout, Status.timeout]
    assert [execution.rows[0][0] for execution in executions[:3] + executions[5:]] == list(range(100))


def test_large_results(root):
    rows = (
        "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c WHERE x < 2000000) SELECT {} FROM c"
    )
    with SQLite(root, timeout=LONG, workers=1, memory_limit="512MiB") as patient:
        many = patient.execute(rows.format("x"), "shop")
        assert many.ok and many.truncated and len(many.rows) == 10_000 and many.rows[-1] == (10_000,)
        exactly = patient.execute(rows.replace("2000000", "10000").format("x"), "shop")
        assert exactly.ok and not exactly.truncated and len(exactly.rows) == 10_000
        assert patient.execute(rows.format("zeroblob(1000000)"), "shop").status is Status.too_large


def test_results_that_grow_and_grow(hasty):
    doubling = (
        "WITH RECURSIVE c(s) AS (SELECT 'x' UNION ALL SELECT s || s FROM c) SELECT max(length(s)) FROM c"
    )
    # Before Python 3.11 the length of a text cannot be limited, and memory or time runs out instead.
    assert hasty.execute(doubling, "shop").status in (Status.too_large, Status.timeout)
    nested = "WITH " + ", ".join(
        f"c{level} AS (SELECT * FROM {', '.join(f'c{level - 1} AS t{i}' for i in range(8))})"
        for level in range(1, 8)
    )
    bomb = hasty.execute(
        nested.replace("c1 AS (SELECT * FROM", "c0 AS (SELECT 1), c1 AS (SELECT * FROM", 1), "shop"
    )
    assert bomb.status is not Status.ok
    assert hasty.execute("SELECT 1", "shop").ok


def test_unusable_databases(root, tmp_path):
    (tmp_path / "text.sqlite").write_text("name,city\nAlice,Oslo\n" * 100)
    (tmp_path / "empty.sqlite").touch()
    (tmp_path / "folder.sqlite").mkdir()
    data = bytearray((root / "shop" / "shop.sqlite").read_bytes())
    (tmp_path / "cut.sqlite").write_bytes(data[:5000])
    data[100:] = b"\xff" * (len(data) - 100)
    (tmp_path / "corrupt.sqlite").write_bytes(data)
    before = snapshot(tmp_path)
    with SQLite(tmp_path, workers=1) as executor:
        for db in (
            "text",
            "empty",
            "folder",
            "folder.sqlite",
            "cut",
            "corrupt",
            "missing",
            "../x",
            "a\x00b",
            "x" * 5000,
        ):
            execution = executor.execute("SELECT name FROM customer", db)
            assert execution.status is Status.unavailable, (db, execution)
            assert execution.error
            if db not in ("cut", "corrupt"):
                with pytest.raises(ConfigError):
                    executor.schema(db)
    assert snapshot(tmp_path) == before


def test_resolving(root):
    path = root / "shop" / "shop.sqlite"
    assert resolve_database("shop", root) == path
    assert resolve_database("shop/shop.sqlite", root) == path
    assert resolve_database(str(path), "/nowhere") == path
    assert resolve_database("shop", root / "shop") == path
    with pytest.raises(ConfigError, match="Did you mean 'shop'"):
        resolve_database("shopp", root)
    with pytest.raises(ConfigError, match="not a folder"):
        resolve_database("shop", root / "nowhere")


def test_a_replaced_database_is_noticed(tmp_path):
    path = tmp_path / "x y é.sqlite"

    def write(value: int) -> None:
        connection = sqlite3.connect(path)
        connection.executescript(
            f"DROP TABLE IF EXISTS t; CREATE TABLE t (a{value}); INSERT INTO t VALUES ({value})"
        )
        connection.close()

    with SQLite(tmp_path, workers=1) as executor:
        write(1)
        assert executor.execute("SELECT * FROM t", "x y é").rows == ((1,),)
        assert executor.schema("x y é").tables[0].columns[0].name == "a1"
        write(2)
        assert executor.execute("SELECT * FROM t", "x y é").rows == ((2,),)
        assert executor.schema("x y é").tables[0].columns[0].name == "a2"
        path.unlink()
        assert executor.execute("SELECT * FROM t", "x y é").status is Status.unavailable
        assert not list(tmp_path.iterdir())


def test_write_ahead_log(tmp_path):
    path = tmp_path / "wal.sqlite"
    writer = sqlite3.connect(path)
    writer.executescript("PRAGMA journal_mode = WAL; CREATE TABLE t (a); INSERT INTO t VALUES (1)")
    with SQLite(tmp_path, workers=1) as executor:
        assert executor.execute("SELECT * FROM t", "wal").rows == ((1,),)
        writer.execute("INSERT INTO t VALUES (2)")
        writer.commit()
        assert len(executor.execute("SELECT * FROM t", "wal").rows) == 2
        writer.close()
        assert len(executor.execute("SELECT * FROM t", "wal").rows) == 2
        assert [file.name for file in tmp_path.iterdir()] == ["wal.sqlite"]


def test_a_log_that_nobody_can_read_without_writing(tmp_path):
    whole, left = tmp_path / "whole.sqlite", tmp_path / "left.sqlite"
    writer = sqlite3.connect(whole)
    writer.executescript("PRAGMA journal_mode = WAL; CREATE TABLE t (a); INSERT INTO t VALUES (1)")
    # As a copy made while somebody wrote: the log has content, and there is no index to it.
    left.write_bytes(whole.read_bytes())
    Path(f"{left}-wal").write_bytes(Path(f"{whole}-wal").read_bytes())
    writer.close()
    before = snapshot(tmp_path)
    with SQLite(tmp_path, workers=1) as executor:
        execution = executor.execute("SELECT * FROM t", "left")
        assert execution.status is Status.unavailable and execution.error
        assert executor.execute("SELECT * FROM t", "whole").ok
    assert snapshot(tmp_path) == before


def test_a_locked_database_is_nobodys_fault(tmp_path):
    path = tmp_path / "locked.sqlite"
    writer = sqlite3.connect(path, isolation_level=None)
    writer.executescript("PRAGMA cache_size = 1; CREATE TABLE t (a); INSERT INTO t VALUES (1)")
    writer.execute("BEGIN EXCLUSIVE")
    writer.execute("INSERT INTO t SELECT zeroblob(100000)")
    with SQLite(tmp_path, workers=1, timeout=0.5) as executor:
        assert executor.execute("SELECT * FROM t", "locked").status is Status.unavailable
        writer.execute("ROLLBACK")
        assert executor.execute("SELECT * FROM t", "locked").rows == ((1,),)
    writer.close()


def test_a_schema_that_is_not_utf8(tmp_path):
    path = tmp_path / "latin.sqlite"
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE t (a /* XXX */, b)")
    connection.commit()
    connection.close()
    path.write_bytes(path.read_bytes().replace(b"XXX", b"\xe9\xff\xe8"))
    with SQLite(tmp_path, workers=1) as executor:
        assert executor.execute("SELECT a FROM t", "latin").ok
        assert executor.schema("latin").tables[0].name == "t"


def test_hostile_text_is_read_once():
    for text in ("[", "'", '"', "`", "(", "[ \n", "''  ", "- "):
        normalise("SELECT \n " + text * 100_000)
        assert_linear(lambda length, text=text: normalise("SELECT \n " + text * length), 10_000)


def test_schema(executor):
    schema = executor.schema("shop")
    by_name = {table.name: table for table in schema.tables}
    assert list(by_name) == ["Customer", "orders", "lately", "oslo"]
    customer, orders = by_name["Customer"], by_name["orders"]
    assert customer.primary_key == ("id",)
    assert [(column.name, column.type, column.not_null) for column in customer.columns] == [
        ("id", "INTEGER", False),
        ("name", "TEXT", True),
        ("city", "TEXT", False),
    ]
    assert orders.unique == (("customer", "day"),)
    assert [(key.columns, key.to_table, key.to_columns) for key in orders.foreign_keys] == [
        (("customer",), "Customer", ("id",))
    ]
    assert by_name["oslo"].view and not customer.view
    assert executor.schema("shop") is schema


def test_parameters(root):
    executor = SQLite(root, timeout=3, workers=1)
    assert isinstance(executor, Executor)
    assert executor.describe()["timeout"] == 3
    copy = pickle.loads(pickle.dumps(executor))
    assert repr(copy) == repr(executor)
    with copy:
        assert copy.execute("SELECT 1", "shop") is not None
    for wrong in (
        {"timeout": 0},
        {"max_rows": -1},
        {"workers": 0},
        {"memory_limit": "much"},
        {"timeout": True},
    ):
        with pytest.raises(ConfigError, match="should be"):
            SQLite(root, **wrong)


def test_closing_is_not_the_end(root):
    executor = SQLite(root, workers=1)
    assert executor.execute("SELECT 1", "shop").ok
    executor.close()
    executor.close()
    assert executor.execute("SELECT 1", "shop").ok
    executor.close()


def test_starts_lazily_and_imports_little():
    code = (
        "import sys, finer_rewards as e; e.SQLite(); "
        "assert not {'numpy', 'pandas', 'multiprocessing', 'asyncio'} & set(sys.modules)"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    subprocess.run([sys.executable, "-c", code], check=True, env=environment)


def test_an_execution_is_what_comes_back(executor):
    assert all(
        isinstance(e, Execution) for e in executor.execute_many([Query("SELECT 1", "shop", keep=True)] * 3)
    )


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("max_rows", 1.5), ("max_rows", 2**40), ("workers", 0.5), ("workers", True), ("timeout", 1e300),
        ("timeout", "3"), ("max_length", 1 << 40), ("max_bytes", "1000GiB"), ("memory_limit", 1 << 70),
    ],
)  # fmt: skip
def test_a_limit_that_cannot_hold_is_refused(name: str, value: object) -> None:
    with pytest.raises(ConfigError, match=f"`{name}` should be"):
        SQLite(**{name: value})  # type: ignore[arg-type]


@pytest.mark.parametrize("executor", [SQLite, DuckDB])
def test_a_root_that_is_no_folder_is_said_at_once(tmp_path, executor):
    (tmp_path / "databases").mkdir()
    (tmp_path / "shop.sqlite").write_bytes(b"")
    with pytest.raises(ConfigError, match=r"is not there\. Did you mean 'databases'"):
        executor(tmp_path / "database")
    with pytest.raises(ConfigError, match=r"is a file\. Pass its folder"):
        executor(tmp_path / "shop.sqlite")
