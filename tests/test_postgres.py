"""PostgreSQL behind the same workers, on a real server: what it refuses, and what becomes of its faults."""

from __future__ import annotations

import json
import os
import pickle
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from bounds import LONG
from postgres_server import Server

import finer_rewards as fr
from finer_rewards import rewards as r
from finer_rewards.errors import ConfigError, MissingExtraError
from finer_rewards.executing import Query

psycopg = pytest.importorskip("psycopg", reason="needs psycopg: pip install 'finer-rewards[postgres]'")

TIMEOUT = 1.0
SCRIPT = """
CREATE TABLE singer (id INTEGER PRIMARY KEY, name VARCHAR(20) NOT NULL UNIQUE, age INTEGER, born DATE, code CHAR(4));
INSERT INTO singer VALUES (1, 'Ann', 30, '1990-01-02', 'a'), (2, 'bob', 41, NULL, 'bc'),
    (3, 'Cid', 41, '1980-05-06', 'c'), (4, 'Dot', NULL, '2000-12-31', NULL);
CREATE TABLE song (title TEXT, singer INTEGER REFERENCES singer (id));
INSERT INTO song VALUES ('One', 1), ('Two', 3);
CREATE VIEW old AS SELECT name FROM singer WHERE age > 40;
CREATE VIEW drawn AS SELECT name, random() AS x FROM old;
CREATE SEQUENCE counter;
CREATE SCHEMA other; CREATE TABLE other.thing AS SELECT 7 AS a;
"""


@pytest.fixture(scope="module")
def server(server: Server) -> Server:
    server.script("postgres", "CREATE ROLE writer LOGIN")
    server.script("postgres", "CREATE DATABASE music")
    server.script("music", SCRIPT)
    server.script(
        "music", "GRANT ALL ON ALL TABLES IN SCHEMA public TO writer; GRANT ALL ON SEQUENCE counter TO writer"
    )
    return server


@pytest.fixture(scope="module")
def executor(server):
    with fr.Postgres(server.dsn("reader"), timeout=TIMEOUT, workers=1) as executor:
        executor.execute("SELECT 1", "music")
        yield executor


def state(server: Server) -> list[tuple[object, ...]]:
    with psycopg.connect(server.dsn("owner", "music")) as connection:
        found = connection.execute("SELECT * FROM singer ORDER BY id").fetchall()
        found += connection.execute("SELECT relname, relkind FROM pg_class ORDER BY 1, 2").fetchall()
        found += connection.execute("SELECT last_value, is_called FROM counter").fetchall()
        found += connection.execute("SELECT locktype FROM pg_locks WHERE locktype = 'advisory'").fetchall()
        return found


STATEMENTS = [
    ("TABLE singer", "ok"),
    ("(SELECT 1)", "ok"),
    ("VALUES (1)", "ok"),
    ("WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 9) SELECT * FROM n", "ok"),
    ("SELECT name FROM singer -- the end", "ok"),
    ("SELECT name FROM singer WHERE", "failed"),
    ("SELECT nme FROM singer", "failed"),
    ("DROPP TABLE singer", "failed"),
    ("SELECT 1 / 0", "failed"),
    ("", "not_a_query"),
    ("-- nothing", "not_a_query"),
    ("EXPLAIN ANALYZE SELECT 1", "not_a_query"),
    ("SHOW ALL", "not_a_query"),
    ("SELECT 1; SELECT 2", "several_statements"),
    ("SELECT 1; COMMIT; DROP TABLE song", "several_statements"),
    ("INSERT INTO song VALUES ('x', 1)", "refused"),
    ("DELETE FROM song", "refused"),
    ("TRUNCATE song", "refused"),
    ("DROP TABLE song", "refused"),
    ("CREATE TEMP TABLE singer AS SELECT 1", "refused"),
    ("WITH x AS (DELETE FROM song RETURNING title) SELECT * FROM x", "refused"),
    ("SELECT * INTO copy FROM song", "refused"),
    ("SELECT * FROM song FOR UPDATE", "refused"),
    ("COPY song TO '/tmp/out'", "refused"),
    ("COPY (SELECT 1) TO PROGRAM 'touch /tmp/out'", "refused"),
    ("SET statement_timeout = 0", "refused"),
    ("SET TRANSACTION READ WRITE", "refused"),
    ("BEGIN", "refused"),
    ("LOCK TABLE song", "refused"),
    ("NOTIFY x", "refused"),
    ("LISTEN x", "refused"),
    ("DO $$ BEGIN PERFORM pg_sleep(9); END $$", "refused"),
    ("PREPARE p AS SELECT 1", "refused"),
    ("DISCARD ALL", "refused"),
    ("SELECT nextval('counter')", "refused"),
    ("SELECT setval('counter', 9)", "refused"),
    ("SELECT set_config('transaction_read_only', 'off', false)", "refused"),
    ("SELECT set_config('statement_timeout', '0', false)", "refused"),
    ("SELECT pg_sleep(9)", "refused"),
    ('SELECT 1 FROM pg_catalog . "pg_sleep" /* */ (9)', "refused"),
    ('SELECT U&"pg\\005fsleep"(9)', "refused"),
    ("SELECT pg_advisory_lock(1)", "refused"),
    ("SELECT pg_notify('x', 'y')", "refused"),
    ("SELECT pg_read_file('/etc/passwd')", "refused"),
    ("SELECT pg_ls_dir('/')", "refused"),
    ("SELECT lo_export(1, '/tmp/out')", "refused"),
    ("SELECT lo_create(1)", "refused"),
    ("SELECT pg_terminate_backend(pid) FROM pg_stat_activity", "refused"),
    ("SELECT pg_cancel_backend(pid) FROM pg_stat_activity", "refused"),
    ("SELECT pg_reload_conf()", "refused"),
    ("SELECT query_to_xml('SELECT pg_sleep(9)', true, true, '')", "refused"),
    ("SELECT database_to_xml(true, true, '')", "refused"),
    # The extension is not there; where it is, it is refused.
    ("SELECT dblink('host=x', 'SELECT 1')", "failed"),
    ("SET ROLE owner", "refused"),
    ("SET SESSION AUTHORIZATION owner", "refused"),
    ("RESET ALL", "refused"),
    ("SHOW data_directory", "not_a_query"),
    ("SELECT currval('counter')", "refused"),
    ("SELECT pg_try_advisory_xact_lock(1)", "refused"),
    ("SELECT pg_read_binary_file('/etc/passwd')", "refused"),
    ("SELECT * FROM pg_stat_file('/etc/passwd')", "refused"),
    ("SELECT lo_import('/etc/passwd')", "refused"),
    ("SELECT lo_from_bytea(0, 'x')", "refused"),
    ("SELECT pg_export_snapshot()", "refused"),
    ("SELECT pg_switch_wal()", "refused"),
    ("SELECT pg_logical_emit_message(false, 'x', 'y')", "refused"),
    ("SELECT pg_stat_reset()", "refused"),
    ("SELECT pg_promote()", "refused"),
    ("SELECT table_to_xml('song', true, true, '')", "refused"),
    ("SELECT * FROM pg_authid", "refused"),
    ("SELECT passwd FROM pg_shadow", "refused"),
    ("MERGE INTO song USING singer ON true WHEN MATCHED THEN DELETE", "refused"),
    ("EXPLAIN ANALYZE DELETE FROM song", "not_a_query"),
    ("CREATE FUNCTION f() RETURNS int LANGUAGE sql AS 'SELECT 1'", "refused"),
    ("LOAD 'auto_explain'", "refused"),
    ("CHECKPOINT", "refused"),
]


@pytest.mark.parametrize("role", ["reader", "writer"])
def test_one_query_that_reads_and_nothing_else(server, role):
    before = state(server)
    with fr.Postgres(server.dsn(role), timeout=TIMEOUT, workers=1) as executor:
        found = [
            (sql, run.status.name, run.error)
            for sql, _ in STATEMENTS
            for run in [executor.execute(sql, "music")]
        ]
        wrong = [
            (one, status) for one, (_, status) in zip(found, STATEMENTS, strict=True) if one[1] != status
        ]
        assert wrong == []
        assert executor.execute("SELECT count(*) FROM singer", "music").rows == ((4,),)
    assert state(server) == before


def test_a_query_that_fills_the_disk_leaves_nothing_there(server):
    """`temp_file_limit` takes a right that a reader has not: then time is the limit."""
    sql = "SELECT max(t) FROM (SELECT repeat(md5(n::text), 30) t FROM generate_series(1, 5000000) n ORDER BY 1) x"

    def left() -> list[Path]:
        return [path for path in (server.folder / "data" / "base").glob("pgsql_tmp/*") if path.is_file()]

    with fr.Postgres(server.dsn("reader"), timeout=TIMEOUT, workers=1, work_mem="64KiB") as executor:
        assert executor.execute(sql, "music").status.name == "timeout"
    until(lambda: not left())
    options = {"timeout": 20, "workers": 1, "work_mem": "64KiB", "temp_file_limit": "1MiB"}
    with fr.Postgres(server.dsn("owner"), superuser=True, **options) as executor:
        assert executor.execute(sql, "music").status.name == "too_large"
    until(lambda: not left())


@pytest.mark.slow
def test_the_attacks_on_other_engines_are_contained(server, shared_data):
    """As they stand, and written for PostgreSQL where sqlglot can."""
    import sqlglot

    attacks = [
        (json.loads(line)["sql"], dialect)
        for dialect in ("sqlite", "duckdb")
        for line in (shared_data / "adversarial" / f"{dialect}.jsonl").read_text().splitlines()
    ]
    for line in (shared_data / "hacks" / "hacks.jsonl").read_text().splitlines():
        item = json.loads(line)
        if item["kind"] in ("resource", "side_effect", "robustness", "truncation"):
            attacks.append((fr.parse_completion(item["completion"]).sql or item["completion"], "sqlite"))
    before = state(server)
    wrong = []
    with fr.Postgres(server.dsn("reader"), timeout=0.5, workers=1) as executor:
        executor.execute("SELECT 1", "music")
        for attack, dialect in attacks:
            texts = [attack]
            if len(attack) < 2000 and attack.count("JOIN") < 9:  # sqlglot takes exponential time
                with suppress(sqlglot.errors.SqlglotError, RecursionError):
                    texts += sqlglot.transpile(attack, dialect, "postgres")
            for text in dict.fromkeys(texts):
                began = time.monotonic()
                run = executor.execute(text, "music")
                seconds = time.monotonic() - began
                if run.status.blame == "system" or seconds > LONG:
                    wrong.append((text[:90], run.status.name, run.error[:80], round(seconds, 1)))
        assert executor.execute("SELECT count(*) FROM singer", "music").rows == ((4,),)
    assert wrong == []
    assert state(server) == before


def active(server: Server) -> set[int]:
    """The server's sessions that run a query of the reader."""
    with psycopg.connect(server.dsn("owner", "music")) as connection:
        found = connection.execute(
            "SELECT pid FROM pg_stat_activity WHERE usename = 'reader' AND state = 'active'"
        ).fetchall()
        return {pid for (pid,) in found}


def test_no_session_burns_on_after_its_client_was_killed(server):
    endless = "SELECT count(*) FROM generate_series(1, 1000000) a, generate_series(1, 1000000) b"
    done: list[fr.Execution] = []
    seen: set[int] = set()
    with fr.Postgres(server.dsn("reader"), timeout=60, workers=1) as executor:
        thread = threading.Thread(target=lambda: done.append(executor.execute(endless, "music")))
        thread.start()
        for _ in range(2):
            until(lambda: bool(active(server) - seen))
            seen.update(active(server))
            (process,) = executor.process_ids
            os.kill(process, signal.SIGKILL)
        thread.join(LONG)
    assert done[0].status.name == "unavailable"
    until(lambda: not active(server))


def processes(server: Server, of: str) -> list[int]:
    """The server's own process, or those of the sessions of a role."""
    if of == "server":
        return [int((server.folder / "data" / "postmaster.pid").read_text().split()[0])]
    with psycopg.connect(server.dsn("owner", "music")) as connection:
        asked = "SELECT pid FROM pg_stat_activity WHERE usename = %s"
        return [pid for (pid,) in connection.execute(asked, (of,)).fetchall()]


@contextmanager
def stopped(server: Server, *pids: int) -> Iterator[None]:
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in pids:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)


@pytest.mark.parametrize("busy", [True, False])
def test_a_session_that_falls_silent_is_replaced(server, busy, monkeypatch):
    """In the middle of a query, or before it."""
    monkeypatch.setattr("finer_rewards.engines.postgres.executor._PATIENCE", 1.0)
    sql = "SELECT count(*) FROM generate_series(1, 1000000) AS n" if busy else "SELECT name FROM old"
    done: list[fr.Execution] = []
    others = processes(server, "reader")
    with fr.Postgres(server.dsn("reader"), timeout=3, workers=1) as executor:
        assert executor.execute("SELECT 1", "music").ok
        (session,) = set(processes(server, "reader")).difference(others)
        query = threading.Thread(target=lambda: done.append(executor.execute(sql, "music")))
        if busy:
            query.start()
            until(lambda: session in active(server))
        with stopped(server, session):
            if not busy:
                query.start()
            query.join(LONG)
        assert done and done[0].ok, done
        assert executor.restarts == 0


def test_a_silent_server_is_not_the_models_fault(server):
    endless = "SELECT count(*) FROM generate_series(1, 1000000) a, generate_series(1, 1000000) b"
    done: list[fr.Execution] = []
    with fr.Postgres(server.dsn("reader") + " connect_timeout=2", timeout=1.5, workers=1) as executor:
        assert executor.execute("SELECT 1", "music").ok
        query = threading.Thread(target=lambda: done.append(executor.execute(endless, "music")))
        query.start()
        until(lambda: bool(active(server)))
        with stopped(server, *processes(server, "reader"), *processes(server, "server")):
            query.join(LONG)
            assert done[0].status.name == "unavailable", done
            began = time.monotonic()
            scorer = fr.Scorer(r.executable(), executor)
            more = scorer.score([fr.Sample(f"SELECT {n}", gold="", db="music") for n in range(100)])
            # It is known to be silent: no query waits for it in vain.
            assert time.monotonic() - began < LONG  # one by one they would wait 200 s and more
            assert {(score.value, score.status.blame) for score in more} == {(None, "system")}


def test_a_query_that_silences_its_sessions_is_at_fault(server):
    """No function looks whether it was cancelled while it works on one row's values."""
    long = "SELECT repeat(repeat('x', 100000), 200) AS s FROM generate_series(1, 1) OFFSET 0"
    deaf = f"SELECT {' || '.join(['md5(s)'] * 100)} FROM ({long}) AS q"
    with fr.Postgres(server.dsn("reader"), timeout=0.8, workers=1) as executor:
        run, after = executor.execute_many([Query(deaf, "music"), Query("SELECT name FROM old", "music")])
    assert run.status.name == "timeout" and "twice" in run.error, run
    assert after.ok


def until(holds: Callable[[], bool]) -> None:
    """Wait for what should come to pass in much less than 20 seconds."""
    for _ in range(400):
        if holds():
            return
        time.sleep(0.05)
    raise AssertionError("it did not come to pass")


def test_what_a_db_may_be(server, executor):
    dsn = server.dsn("reader", "music")
    assert executor.execute("SELECT count(*) FROM song", dsn).rows == ((2,),)
    with fr.Postgres(dsn, db_means="nothing", workers=1) as one:
        assert one.execute("SELECT count(*) FROM song", "anything").rows == ((2,),)
    with fr.Postgres(dsn, db_means="schema", workers=1) as schemas:
        assert schemas.execute("SELECT a FROM thing", "other").rows == ((7,),)
        assert schemas.execute("SELECT a FROM thing", "public").status.name == "failed"
    missing = executor.execute("SELECT 1", "nowhere")
    assert missing.status.name == "unavailable" and "nowhere" in missing.error
    with pytest.raises(ConfigError, match="nowhere"):
        executor.schema("nowhere")
    with pytest.raises(ConfigError, match="db_means"):
        fr.Postgres(dsn, db_means="table")
    with pytest.raises(ConfigError, match="`dsn` should be a connection string"):
        fr.Postgres("host=localhost oops")


def test_who_may_connect(server):
    with fr.Postgres(server.dsn("owner"), workers=1) as executor:
        refused = executor.execute("SELECT 1", "music")
    assert refused.status.name == "unavailable" and "superuser" in refused.error
    with fr.Postgres(server.dsn("owner", "music"), workers=1, superuser=True) as executor:
        assert executor.execute("SELECT 1", "music").ok
        assert executor.execute("SELECT pg_read_file('/etc/passwd')", "music").status.name == "refused"
        assert executor.describe()["rights"] == "superuser"
    for role, rights in (("reader", "read"), ("writer", "write")):
        with fr.Postgres(server.dsn(role, "music"), workers=1) as executor:
            assert executor.describe()["rights"] == rights
            assert str(executor.describe()["version"])[0].isdigit()


def test_a_server_that_is_gone_is_not_the_models_fault(server, executor):
    gone = fr.Postgres("host=/nowhere", timeout=TIMEOUT, workers=1).execute("SELECT 1", "music")
    assert gone.status.name == "unavailable"
    sample = fr.Sample("SELECT name FROM old", gold="SELECT name FROM old", db="music")
    with fr.Postgres(server.dsn("reader"), timeout=5, workers=1) as other:
        scorer = fr.Scorer(r.execution_match() + r.executable(), other)
        assert scorer.score_one(sample).value == 2
        server.stop()
        try:
            fresh = fr.Sample("SELECT name FROM old WHERE true", gold="SELECT name FROM old", db="music")
            score = scorer.score_one(fresh)
            assert (score.value, score.status.blame) == (None, "system")
        finally:
            server.start()
        assert scorer.score_one(fresh).value == 2
        server.script(
            "music", "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'reader'"
        )
        again = fr.Sample("SELECT name FROM old WHERE 1 = 1", gold="SELECT name FROM old", db="music")
        assert scorer.score_one(again).value == 2


def test_a_locked_table_is_not_the_models_fault(server, executor):
    with psycopg.connect(server.dsn("owner", "music")) as connection:
        connection.execute("LOCK TABLE song IN ACCESS EXCLUSIVE MODE")
        run = executor.execute("SELECT title FROM song", "music")
        connection.rollback()
    assert run.status.name == "unavailable" and "lock" in run.error
    assert executor.execute("SELECT title FROM song", "music").ok


def test_it_pickles_and_keeps_its_password(server, monkeypatch):
    executor = fr.Postgres(f"host={server.folder} user=reader password='se cret'", workers=1)
    assert "se cret" not in repr(executor) and "***" in repr(executor)
    assert "se cret" not in str(executor.describe())
    again = pickle.loads(pickle.dumps(executor))
    assert again.dsn == executor.dsn
    assert again.execute("SELECT 1", "music").ok
    again.close()
    executor.close()
    monkeypatch.setattr("finer_rewards._util.extras.find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match=r"pip install 'finer-rewards\[postgres\]'"):
        fr.Postgres()


def test_the_command_line_takes_a_dsn(server, capsys):
    from finer_rewards.cli import main

    queries = ("SELECT name FROM old", "SELECT name FROM singer WHERE age > 40")
    assert (
        main(["score", *queries, "--db", server.dsn("reader", "music"), "--format", "json", "--signature"])
        == 0
    )
    seen = capsys.readouterr()
    assert '"db": "music"' in seen.out and "engine:postgres" in seen.err and "may write" not in seen.err
    assert main(["score", *queries, "--db", server.dsn("writer", "music")]) == 0
    assert "may write" in capsys.readouterr().err
    assert main(["score", *queries, "--db", server.dsn("reader")]) == 2
