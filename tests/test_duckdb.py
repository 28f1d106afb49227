"""DuckDB behind the same workers: what comes back, what is refused, and what cannot happen."""

from __future__ import annotations

import contextlib
import json
import os
import pickle
import resource
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest
from bounds import LONG

import finer_rewards as fr
from finer_rewards import rewards as r
from finer_rewards.errors import ConfigError, MissingExtraError
from finer_rewards.executing import Query
from finer_rewards.types import Status

duckdb = pytest.importorskip("duckdb", reason="needs DuckDB: pip install 'finer-rewards[duckdb]'")

TIMEOUT = 1.0
SCRIPT = """
CREATE TABLE singer (id INTEGER PRIMARY KEY, name VARCHAR NOT NULL UNIQUE, age INTEGER, born DATE);
INSERT INTO singer VALUES (1, 'Ann', 30, '1990-01-02'), (2, 'Bob', 41, NULL), (3, 'Cid', 41, '1980-05-06'),
    (4, 'Dot', NULL, '2000-12-31');
CREATE TABLE song (title VARCHAR, singer INTEGER REFERENCES singer (id));
INSERT INTO song VALUES ('One', 1), ('Two', 3);
CREATE VIEW old AS SELECT name FROM singer WHERE age > 40;
CREATE VIEW drawn AS SELECT name, random() AS x FROM old;
"""


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    folder = tmp_path_factory.mktemp("duckdb")
    with duckdb.connect(str(folder / "music.duckdb")) as connection:
        connection.execute(SCRIPT)
    (folder / "secret.csv").write_text("a\n1\n")
    return folder


@pytest.fixture(scope="module")
def executor(root):
    with fr.DuckDB(root, timeout=TIMEOUT, workers=1, memory_limit="512MiB") as executor:
        executor.execute("SELECT 1", "music")
        yield executor


def contents(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize(
    ("sql", "status"),
    [
        ("FROM singer SELECT name", "ok"),
        ("(SELECT 1)", "ok"),
        ("VALUES (1)", "ok"),
        ("WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 9) SELECT * FROM n", "ok"),
        ("SELECT name FROM singer WHERE", "failed"),
        ("SELECT nme FROM singer", "failed"),
        ("", "not_a_query"),
        ("-- nothing", "not_a_query"),
        ("DESCRIBE singer", "not_a_query"),
        ("EXPLAIN SELECT 1", "not_a_query"),
        # Before 2.0 the engine makes a SELECT of it that it does not show.
        ("PRAGMA table_info('singer')", "not_a_query" if duckdb.__version__ >= "2" else "refused"),
        ("SELECT 1; SELECT 2", "several_statements"),
        ("SELECT 1; DROP TABLE singer", "several_statements"),
        ("DELETE FROM singer", "refused"),
        ("CREATE TEMP TABLE singer AS SELECT 1", "refused"),
        ("CREATE TEMP MACRO count(x) AS 7", "refused"),
        ("BEGIN", "refused"),
        ("CHECKPOINT", "refused"),
        ("SET threads = 8", "refused"),
        ("RESET memory_limit", "refused"),
        ("ATTACH 'other.duckdb' AS other", "refused"),
        ("INSTALL httpfs", "refused"),
        ("LOAD httpfs", "refused"),
        ("COPY singer TO 'out.csv'", "refused"),
        ("EXPORT DATABASE 'out'", "refused"),
        ("CREATE SECRET s (TYPE s3)", "refused"),
        ("CALL pragma_version()", "refused"),
        ("SELECT * FROM read_csv('/etc/passwd')", "refused"),
        ("SELECT * FROM read_text('secret.csv')", "refused"),
        ("SELECT (SELECT content FROM read_text('/etc/passwd'))", "refused"),
        ("WITH x AS (FROM glob('*')) FROM x", "refused"),
        ("SELECT * FROM query('SELECT 1')", "refused"),
        ("SELECT * FROM query_table('singer')", "refused"),
        ("SELECT * FROM duckdb_databases()", "refused"),
        ("SELECT * FROM duckdb_databases", "refused"),
        ("SELECT * FROM pragma_database_list", "refused"),
        ("SELECT write_log('x')", "refused"),
        ("SELECT nextval('s')", "refused"),
        ("SELECT * FROM '/etc/passwd'", "failed"),
        ("SELECT * FROM 'secret.csv'", "refused"),
        ("SELECT * FROM settings", "failed"),  # a Python variable of the worker
    ],
)
def test_one_query_that_reads_and_nothing_else(executor, root, monkeypatch, sql, status):
    monkeypatch.chdir(root)
    before = contents(root)
    run = executor.execute(sql, "music")
    assert run.status.name == status, run.error
    assert contents(root) == before
    assert executor.execute("SELECT count(*) FROM singer", "music").rows == ((4,),)


def test_sqlite_files_are_copied_with_their_values(tmp_path, make_db):
    make_db(
        "odd name",
        """CREATE TABLE t (whole INTEGER, mixed, price DECIMAL(8, 2), day DATE, late DATE, at DATETIME, raw BLOB,
                          "a b" TEXT, empty INTEGER);
        INSERT INTO t VALUES (1, 'x', 1.5, '2020-01-02', '2020-01-02', '2020-01-02 03:04:05', x'00ff', 'é', NULL),
            (-9223372036854775808, 2, 3, '2021-12-31', 'soon', NULL, NULL, '', NULL);
        CREATE VIEW v AS SELECT whole FROM t; CREATE VIEW broken AS SELECT julianday(day) FROM t;
        CREATE TABLE bare (x TEXT PRIMARY KEY)""",
    )
    with fr.DuckDB(tmp_path, workers=1) as executor, fr.SQLite(tmp_path, workers=1) as sqlite:
        ours = executor.execute("SELECT * FROM t", "odd name")
        theirs = sqlite.execute("SELECT * FROM t", "odd name")
        assert ours.columns == theirs.columns and ours.tables == {"t"}
        first, second = ours.rows
        assert first == theirs.rows[0]
        # A column has one type: a number beside text is text.
        assert second == (*theirs.rows[1][:1], "2", *theirs.rows[1][2:])
        types = executor.schema("odd name").as_mapping()["t"]
        assert (types["day"], types["late"], types["at"]) == ("DATE", "VARCHAR", "TIMESTAMP")
        assert {one.name: one.primary_key for one in executor.schema("odd name").tables}["bare"] == ("x",)
        assert executor.execute("SELECT count(*) FROM v", "odd name").rows == ((2,),)
        assert executor.execute("SELECT year(day) FROM t ORDER BY 1", "odd name").rows == ((2020,), (2021,))
        assert executor.execute("SELECT * FROM bare", "odd name").rows == ()
        # Another content under the name is noticed.
        (tmp_path / "odd name.sqlite").unlink()
        make_db("odd name", "CREATE TABLE t (a); INSERT INTO t VALUES (7)")
        assert executor.execute("SELECT a FROM t", "odd name").rows == ((7,),)
    assert {path.name for path in tmp_path.iterdir()} == {"odd name.sqlite"}


def test_a_database_replaced_under_the_cache_is_noticed(tmp_path):
    file = tmp_path / "x.duckdb"
    with fr.DuckDB(tmp_path, workers=1) as executor:
        for value in (1, 2):
            file.unlink(missing_ok=True)
            with duckdb.connect(str(file)) as connection:
                connection.execute(f"CREATE TABLE t AS SELECT {value} AS a")
            (run,) = executor.execute_many([Query("SELECT a FROM t", "x", keep=True)])
            assert run.rows == ((value,),)
        file.unlink()
        assert executor.execute("SELECT a FROM t", "x").status.name == "unavailable"


@contextlib.contextmanager
def held_by_a_writer(path):
    script = "import duckdb, sys; held = duckdb.connect(sys.argv[1]); print(1, flush=True); sys.stdin.read()"
    command = [sys.executable, "-c", script, str(path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as writer:
        writer.stdout.readline()
        yield


def broken(path):
    data = path.read_bytes()
    path.write_bytes(data[:4096] + b"\xff" * (len(data) - 4096))


@pytest.mark.parametrize(
    ("name", "happens", "status", "said"),
    [
        ("with space", None, "ok", ""),
        ("späß 数据库", None, "ok", ""),
        ("a?x=1#b%20'c\"", None, "ok", ""),
        ("huge", lambda path: os.truncate(path, 10 << 30), "ok", ""),
        ("corrupt", broken, "unavailable", "Corrupt"),
        ("held", held_by_a_writer, "unavailable", "lock"),
        ("cut", lambda path: os.truncate(path, 10_000), "unavailable", ""),
        ("empty", lambda path: os.truncate(path, 0), "unavailable", "empty (0 bytes)"),
        ("other", lambda path: path.write_bytes(os.urandom(9000)) and None, "unavailable", "begins with"),
    ],
)
def test_databases_that_are_not_as_one_would_wish(tmp_path, name, happens, status, said):
    path = tmp_path / f"{name}.duckdb"
    with duckdb.connect(str(path)) as connection:
        connection.execute("CREATE TABLE t AS SELECT 1 AS a")
    with (happens and happens(path)) or contextlib.nullcontext():
        before = {one.name: one.stat().st_mtime_ns for one in tmp_path.iterdir()}
        with fr.DuckDB(tmp_path, workers=1, timeout=5) as executor:
            run = executor.execute("SELECT a FROM t", name)
        assert (run.status.name, run.rows) == (status, ((1,),) if status == "ok" else ()), run.error
        assert said in run.error
        assert {one.name: one.stat().st_mtime_ns for one in tmp_path.iterdir()} == before


def test_copying_a_database_with_a_log_leaves_nothing_beside_it(tmp_path):
    file = tmp_path / "x.sqlite"
    writer = sqlite3.connect(file)
    writer.executescript("PRAGMA journal_mode = wal; CREATE TABLE t (a); INSERT INTO t VALUES (1), (2)")

    def count() -> object:
        before = {path.name for path in tmp_path.iterdir()}
        with fr.DuckDB(tmp_path, workers=1) as executor:
            rows = executor.execute("SELECT count(*) FROM t", "x").rows
        assert {path.name for path in tmp_path.iterdir()} == before
        return rows

    assert count() == ((2,),)  # it is being written
    writer.close()
    assert count() == ((2,),)


def test_what_looks_like_a_table_and_is_not_says_so(tmp_path):
    (tmp_path / "lake" / "x.parquet").mkdir(parents=True)
    sample = fr.Sample("SELECT a FROM x", gold="SELECT a FROM x", db="lake")
    with fr.Scorer(r.atomic_f1(), fr.DuckDB(tmp_path, workers=1)) as scorer:
        score = scorer.score_one(sample)
        assert score.value is None and score.status.blame == "system"
        with pytest.raises(ConfigError, match="should be a readable database"):
            scorer.executor.schema("lake")


def test_folders_of_parquet_files(tmp_path):
    folder = tmp_path / "lake"
    folder.mkdir()
    duckdb.sql("SELECT 1 AS a, DATE '2020-01-02' AS day").write_parquet(str(folder / "my table.parquet"))
    with fr.DuckDB(tmp_path, workers=1) as executor:
        run = executor.execute('SELECT * FROM "my table"', "lake")
        assert (run.rows, run.tables) == (((1, "2020-01-02"),), {"my table"})
        assert executor.execute(f"SELECT * FROM '{folder}/my table.parquet'", "lake").status.name == "refused"
        assert executor.schema("lake").as_mapping() == {"my table": {"a": "INTEGER", "day": "DATE"}}
    with fr.DuckDB(tmp_path, max_copy="1KiB", workers=1) as executor:
        (folder / "big.parquet").write_bytes(bytes(2048))
        run = executor.execute("SELECT 1", "lake")
        assert run.status.name == "unavailable" and "max_copy" in run.error


@pytest.mark.parametrize("content", [b"", b"no database at all", b"SQLite format 3\0" + bytes(84), b"PAR1"])
def test_what_is_no_database_is_not_the_models_fault(tmp_path, content):
    (tmp_path / "x.db").write_bytes(content)
    with fr.DuckDB(tmp_path, workers=1) as executor:
        assert executor.execute("SELECT a FROM t", "x").status.name in ("unavailable", "failed")
        assert executor.execute("SELECT a FROM t", "missing").status.name == "unavailable"
        with pytest.raises(ConfigError, match=r"`db` should be"):
            executor.schema("missing")
    (tmp_path / "y.duckdb").write_bytes(bytes(8) + b"DUCK" + bytes(4096))
    with fr.DuckDB(tmp_path, workers=1) as executor:
        assert executor.execute("SELECT 1", "y").status.name == "unavailable"


def test_it_pickles_prints_and_describes_itself(root, monkeypatch):
    executor = fr.DuckDB(root, timeout=2, workers=1)
    again = pickle.loads(pickle.dumps(executor))
    assert repr(again) == repr(executor)
    assert again.execute("SELECT 1", "music").rows == ((1,),)
    assert executor.describe()["engine"] == "duckdb" and executor.describe()["version"] == duckdb.__version__
    again.close()
    with pytest.raises(ConfigError, match="memory_limit"):
        fr.DuckDB(root, memory_limit="1MiB")
    monkeypatch.setattr("finer_rewards._util.extras.find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match=r"pip install 'finer-rewards\[duckdb\]'"):
        fr.DuckDB(root)


def test_a_nan_is_a_nan_whenever_it_came(root, tmp_path):
    gold = "SELECT 'nan'::DOUBLE AS a FROM singer"
    others = [gold.replace(" a ", f" a{number} ") for number in range(3)]
    for _ in range(2):  # the second time the gold is read from the disk
        with fr.Scorer("execution_match(mode='bird')", fr.DuckDB(root, workers=1, cache=tmp_path)) as scorer:
            for sql in others:
                assert scorer.score_one(fr.Sample(sql, gold, "music")).value == 1


def test_a_number_that_no_float_holds_is_text(executor):
    run = executor.execute("SELECT repeat('9', 300)::BIGNUM, repeat('9', 5000)::BIGNUM", "music")
    if "BIGNUM" in run.error:
        pytest.skip("this DuckDB has no BIGNUM")
    assert run.rows == ((10**300 - 1, "9" * 5000),)


@pytest.mark.slow
def test_the_command_line_finds_the_engine(root, tmp_path, capsys):
    from finer_rewards.cli import main

    sql = "SELECT name FROM singer WHERE age > 40"
    assert (
        main(["score", sql, "SELECT name FROM old", "--db", str(root / "music.duckdb"), "--signature"]) == 0
    )
    assert "engine:duckdb" in capsys.readouterr().err
    with sqlite3.connect(tmp_path / "t.sqlite") as connection:
        connection.execute("CREATE TABLE t AS SELECT 1 AS a")
    connection.close()
    file = str(tmp_path / "t.sqlite")
    asked = [
        "score",
        "SELECT a FROM t",
        "SELECT a::INT FROM t",
        "--db",
        file,
        "--engine",
        "duckdb",
        "--signature",
    ]
    assert main(asked) == 0
    assert "engine:duckdb" in capsys.readouterr().err
    again = [
        "score",
        "SELECT a FROM t",
        "SELECT a::INT FROM t",
        "--db",
        file,
        "--engine",
        "duckdb",
        "--neighbours",
        "2",
    ]
    assert main(again) == 2
    assert "should stand beside an executor of SQLite databases, but got DuckDB" in capsys.readouterr().err


@pytest.mark.slow
def test_every_known_attack_is_contained(shared_data, tmp_path, monkeypatch):
    with duckdb.connect(str(tmp_path / "target.duckdb")) as connection:
        connection.execute(
            "CREATE TABLE t (a INT, b INT, c VARCHAR); INSERT INTO t VALUES (1, 2, 'x'), (3, 4, 'y');"
            "CREATE TABLE u (a INT, b INT); INSERT INTO u VALUES (1, 1)"
        )
    for name in ("secret.txt", "data.csv"):
        (tmp_path / name).write_text("a\n1\n")
    monkeypatch.chdir(tmp_path)
    before = contents(tmp_path)
    largest = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    items = [
        json.loads(line)
        for name in ("duckdb", "sqlite")
        for line in (shared_data / "adversarial" / f"{name}.jsonl").read_text().splitlines()
    ]
    wrong = []
    with fr.DuckDB(tmp_path, timeout=0.5, workers=2, memory_limit="512MiB") as executor:
        executor.execute("SELECT 1", "target")
        for item in items:
            began = time.monotonic()
            run = executor.execute(item["sql"], "target")
            seconds = time.monotonic() - began
            denied = item["expectation"].startswith("deny")
            if run.status.name == "unavailable" or seconds > LONG or (denied and run.ok and run.tables):
                wrong.append(
                    (item["id"], item["sql"][:80], run.status.name, run.error[:80], round(seconds, 2))
                )
            if denied and run.ok and "file" in item["kind"]:
                wrong.append((item["id"], item["sql"][:80], run.rows[:1]))
        assert executor.execute("SELECT a FROM t", "target").rows == ((1,), (3,))
    assert wrong == []
    assert contents(tmp_path) == before
    # The largest child so far: of this process, so of tests before this one too.
    assert resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss <= max(largest, 1500 << 10)


@pytest.mark.slow
def test_the_attacks_of_the_collection_are_contained(shared_data, tmp_path, monkeypatch):
    import sqlglot

    items = [json.loads(line) for line in (shared_data / "hacks" / "hacks.jsonl").read_text().splitlines()]
    items = [i for i in items if i["kind"] in ("resource", "side_effect", "robustness", "truncation")]
    assert len(items) > 20
    monkeypatch.chdir(tmp_path)
    wrong = []
    for number, item in enumerate(items):
        path = tmp_path / f"{number}.sqlite"
        connection = sqlite3.connect(path)
        connection.executescript(item["schema_sql"])
        connection.close()
        before = contents(tmp_path)
        answer = fr.parse_completion(item["completion"]).sql or item["completion"]
        try:
            answers = {answer, *sqlglot.transpile(answer, "sqlite", "duckdb")}
        except (sqlglot.errors.SqlglotError, RecursionError):
            answers = {answer}
        limits = item["limits"]
        executor = fr.DuckDB(tmp_path, timeout=limits["timeout_s"], max_rows=limits["max_rows"], workers=1)
        with fr.Scorer(fr.presets.finer(memory=False), executor) as scorer:
            for text in answers:
                began = time.monotonic()
                score = scorer.score_one(fr.Sample(text, item["gold_sql"] or "", str(path)))
                seconds = time.monotonic() - began
                if score.status.blame == "system" or seconds > limits["timeout_s"] + LONG:
                    wrong.append((item["id"], score.reason, seconds))
        if contents(tmp_path) != before:
            wrong.append((item["id"], "something was written"))
    assert wrong == []


@pytest.mark.parametrize(
    ("sql", "kind"),
    [
        ("SELECT id FROM singer WHERE age - 3 > 0 AND age + id < 99", ""),
        (
            "SELECT -age, year(born), strftime(born, '%Y'), date_trunc('month', born), age(born, born) FROM singer",
            "",
        ),
        ("SELECT date_diff('day', born, DATE '2020-01-01'), extract(month FROM born) FROM singer", ""),
        ("SELECT now()", "clock"),
        ("SELECT today() - born FROM singer", "clock"),
        ("SELECT age(born) FROM singer", "clock"),
        ("SELECT current_date", "clock"),
        ("SELECT gen_random_uuid()", "random"),
    ],
)
def test_arithmetic_reads_no_clock(executor, sql, kind):
    found = executor.execute(sql, "music")
    assert (found.status.name, found.volatile) == ("ok", kind)


def test_the_worker_hands_the_engine_no_parameters(root, tmp_path, monkeypatch):
    """Before DuckDB 2 the first one imports numpy and pandas, which may take longer than a query has."""
    (tmp_path / "duckdb.py").write_text(
        f"import sys; sys.path.insert(0, {str(Path(duckdb.__file__).parent.parent)!r}); del sys.modules['duckdb']\n"
        + WITHOUT_PARAMETERS
    )
    monkeypatch.setattr(sys.modules[fr.DuckDB.__module__], "_packages", lambda: [str(tmp_path)])
    with fr.DuckDB(root, workers=1) as executor:
        assert executor.execute("SELECT name FROM old WHERE name <> 'it''s'", "music").ok
        assert executor.schema("music").tables


WITHOUT_PARAMETERS = """
import duckdb as real

class Held:
    def __init__(self, connection): self.connection = connection
    def __getattr__(self, name): return getattr(self.connection, name)
    def cursor(self): return Held(self.connection.cursor())
    def execute(self, sql): return self.connection.execute(sql)

def connect(*args, **options): return Held(real.connect(*args, **options))

class Wrapped:
    def __getattr__(self, name): return connect if name == "connect" else getattr(real, name)

sys.modules["duckdb"] = Wrapped()
"""


@pytest.mark.skipif(
    duckdb.__version__.startswith("1.2."), reason="DuckDB 1.2 hands an infinite DATE over as 9999-12-31"
)
def test_infinite_dates_are_no_others(tmp_path: Path) -> None:
    with duckdb.connect(str(tmp_path / "t.duckdb")) as connection:
        connection.execute(
            "CREATE TABLE t AS SELECT * FROM (VALUES (1, DATE 'infinity', TIMESTAMP '-infinity'), "
            "(2, DATE '9999-12-31', TIMESTAMP '9999-12-31 23:59:59.999999'), "
            "(3, DATE '0001-01-01', NULL)) AS v(a, d, m)"
        )
    with fr.DuckDB(tmp_path, workers=1) as executor:
        run = executor.execute("SELECT a, d, m AS d FROM t ORDER BY a -- all", "t")
        assert run.columns == ("a", "d", "d")
        assert run.rows == (
            (1, "infinity", "-infinity"),
            (2, "9999-12-31", "9999-12-31 23:59:59.999999"),
            (3, "0001-01-01", None),
        )
        with fr.Scorer("execution_match('strict')", executor) as scorer:
            sample = fr.Sample("SELECT DATE '9999-12-31' FROM t LIMIT 1", "SELECT d FROM t WHERE a = 1", "t")
            assert scorer.score_one(sample).value == 0


@pytest.mark.parametrize("sql", ["SELECT pg_sleep(60)", "SELECT nap(60)", "SELECT sleep_ms(60000)"])
def test_a_query_that_would_sleep_does_not_begin_to(tmp_path: Path, sql: str) -> None:
    with duckdb.connect(str(tmp_path / "t.duckdb")) as connection:
        if not connection.execute(
            "SELECT 1 FROM duckdb_functions() WHERE function_name = 'pg_sleep'"
        ).fetchall():
            pytest.skip("this DuckDB cannot sleep")
        connection.execute("CREATE MACRO nap(x) AS pg_sleep(x)")
    with fr.DuckDB(tmp_path, workers=1, timeout=30) as executor:
        assert executor.execute(sql, "t").status is Status.refused
