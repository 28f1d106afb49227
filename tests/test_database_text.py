"""Databases given as text: made once under the limits of a query, kept by content; failing is the data's fault."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

import finer_rewards as fr
from finer_rewards.adapters._training_rows import Fields
from finer_rewards.adapters.trl import TRLReward
from finer_rewards.adapters.verl import compute_score
from finer_rewards.cli import main
from finer_rewards.engines.sqlite import text_files
from finer_rewards.engines.sqlite.text_database import LARGEST
from finer_rewards.errors import ConfigError
from finer_rewards.executing.databases import is_database_text
from finer_rewards.executing.pool import Pool
from finer_rewards.executing.process import Task, ended
from finer_rewards.executing.protocol import Query

SINGERS = """-- two singers
CREATE TABLE singer (id INTEGER PRIMARY KEY, name TEXT, age INTEGER);
INSERT INTO singer VALUES (1, 'Joe', 40), (2, 'Ann', 30);
INSERT INTO singer VALUES (3, 'a;b', 50);
"""
DUMP = (
    "PRAGMA foreign_keys=OFF;\nBEGIN TRANSACTION;\nCREATE TABLE t (x);\nINSERT INTO t VALUES (7);\nCOMMIT;\n"
)


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("FINER_REWARDS_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def made(cache: Path) -> list[str]:
    return sorted(path.name for path in (cache / "texts").glob("*")) if (cache / "texts").exists() else []


def test_a_text_is_a_database_like_any_other(cache: Path) -> None:
    gold = "SELECT max(age) FROM singer"
    tries = [
        gold,
        "SELECT max(id) + 47 FROM singer",
        "SELECT max(id) FROM singer",
        "SELECT nme FROM singer",
    ]
    with fr.Scorer("execution_match() + atomic_f1()", fr.SQLite(workers=1)) as scorer:
        scores = scorer.score([fr.Sample(sql, gold, SINGERS) for sql in tries])
        match = [score.parts[0][1].value for score in scores]
        assert match == [1, 0, 0, 0]  # the second is refused by a neighbour, so there are some
        assert [score.value for score in scores][2] > 0.3 and scores[3].status.name == "ok"
        assert scorer.executor is not None
        assert [table.name for table in scorer.executor.schema(SINGERS).tables] == ["singer"]
        assert scorer.executor.execute("SELECT count(*), max(name) FROM singer", SINGERS).rows == (
            (3, "a;b"),
        )
        assert scorer.executor.execute("DELETE FROM singer", SINGERS).status is fr.Status.refused
    assert len(made(cache)) == 1


def test_it_is_made_once_whoever_asks_and_again_where_it_is_gone(cache: Path) -> None:
    with fr.SQLite(workers=1) as one:
        assert one.execute("SELECT x FROM t", DUMP).rows == ((7,),)
        (path,) = (cache / "texts").iterdir()
        seen = path.stat()
        with fr.SQLite(workers=1) as other:
            assert other.execute("SELECT x FROM t", DUMP).rows == ((7,),)
        assert (path.stat().st_ino, path.stat().st_mtime_ns) == (seen.st_ino, seen.st_mtime_ns)
        path.unlink()
        assert one.execute("SELECT x + 1 FROM t", DUMP).rows == ((8,),) and path.exists()


BROKEN = {
    "CREATE TABLE t (x); INSERT INTO u VALUES (1)": "no such table: u",
    "CREATE TABLE t (x) ENGINE=InnoDB": "syntax error",
    "CREATE TABLE t (x); DROP TABLE t": "make no table",
    "CREATE TABLE t (x); ATTACH '{}' AS other; CREATE TABLE other.u (y)": "not authorized",
    "CREATE TABLE t (x); VACUUM INTO '{}'": "denied",
    "CREATE TABLE t (x); INSERT INTO t SELECT load_extension('{}')": "not authorized",
    "CREATE TABLE t (x); PRAGMA writable_schema = 1; DELETE FROM sqlite_master": "may not be modified",
    "CREATE TABLE t (x); CREATE TEMP TABLE u (y)": "not authorized",
    "CREATE TABLE t (x); CREATE TRIGGER r AFTER INSERT ON t BEGIN SELECT 1; END": "not authorized",
    "CREATE TABLE t (x); INSERT INTO t SELECT zeroblob(8000000) FROM (" + " UNION ALL ".join(["SELECT 1"] * 9) + ")": (
        "full"
    ),
}  # fmt: skip


@pytest.mark.parametrize("text", BROKEN, ids=[text[20:60] for text in BROKEN])
def test_what_makes_no_database_is_the_datas_fault_and_touches_nothing(
    text: str, cache: Path, tmp_path: Path
) -> None:
    target = tmp_path / "target.sqlite"
    db = text.format(target) if "{}" in text else text
    for reward in ("execution_match()", "atomic_f1()", "executable()"):
        with fr.Scorer(reward, fr.SQLite(workers=1)) as scorer:
            score = scorer.score_one(fr.Sample("SELECT x FROM t", "SELECT x FROM t", db))
        assert score.value is None and score.status is fr.Status.database_failed
        assert score.status.blame == "data" and BROKEN[text] in score.reason
    assert not target.exists() and made(cache) == []


def test_a_text_that_never_ends_is_stopped_and_not_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    from finer_rewards.engines.sqlite import executor as module

    monkeypatch.setattr(module, "_BUILDING", 0.3)
    endless = (
        "CREATE TABLE t (x); INSERT INTO t WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c)"
        " SELECT count(*) FROM c"
    )
    with fr.SQLite(workers=1, timeout=0.3) as executor:
        first, second = (executor.execute("SELECT 1 FROM t", endless) for _ in range(2))
        assert first.status is second.status is fr.Status.database_failed and first.error == second.error
        assert "interrupted" in first.error or "limit" in first.error
    monkeypatch.undo()
    with fr.SQLite(workers=1) as executor:
        assert executor.execute("SELECT x FROM t", DUMP).rows == ((7,),)


def test_a_machine_without_time_is_no_fault_of_the_text(monkeypatch: pytest.MonkeyPatch) -> None:
    def too_late(pool: Pool, tasks: Sequence[Task], *_: Any) -> None:
        for task in tasks:
            task.answer = ended("timeout", "interrupted after 120 s", 120.0, 2.0)

    with fr.SQLite(workers=1) as executor:
        with monkeypatch.context() as busy:
            busy.setattr(Pool, "run", too_late)
            found = executor.execute("SELECT x FROM t", DUMP)
        assert found.status is fr.Status.unavailable and "Try again" in found.error
        assert executor.execute("SELECT x FROM t", DUMP).rows == ((7,),)


def test_the_oldest_files_make_room(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(text_files, "MOST_BYTES", 25_000)
    monkeypatch.setattr(text_files, "_BETWEEN", 1)
    texts = [f"CREATE TABLE t (x); INSERT INTO t VALUES ({number})" for number in range(5)]
    with fr.SQLite(workers=1) as executor:
        for number, text in enumerate(texts):
            assert executor.execute("SELECT x FROM t", text).rows == ((number,),)
            os.utime(text_files.text_file(text), (number, number))
        kept = [text_files.text_file(text).exists() for text in texts]
        assert kept == [False, False, True, True, True]
        # It is made again, by whoever knew it too.
        assert executor.execute("SELECT x + 1 FROM t", texts[0]).rows == ((1,),)
    assert sum(path.stat().st_size for path in (cache / "texts").iterdir()) <= 25_000


def test_a_file_in_use_makes_no_room(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(text_files, "MOST_BYTES", 1)
    monkeypatch.setattr(text_files, "_BETWEEN", 1)
    texts = [f"CREATE TABLE t (x); INSERT INTO t VALUES ({number})" for number in range(5)]
    with fr.SQLite(workers=1) as executor:
        executor.execute("SELECT x FROM t", texts[0])
        os.utime(text_files.text_file(texts[0]), (0, 0))
        found = executor.execute_many([Query("SELECT x FROM t", text) for text in texts])
    assert [one.rows for one in found] == [((number,),) for number in range(5)]


def test_the_size_of_what_is_made_and_of_the_text_is_bounded(cache: Path) -> None:
    text = "CREATE TABLE t (x);" + " " * (16 << 20)
    with fr.SQLite(workers=1) as executor:
        assert "at most" in executor.execute("SELECT 1", text).error
        assert executor.execute("SELECT x FROM t", DUMP).ok
    assert all(path.stat().st_size < LARGEST for path in (cache / "texts").iterdir())


def test_a_cache_that_cannot_be_written_is_the_systems_fault(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("FINER_REWARDS_CACHE", str(tmp_path / "file"))
    with fr.SQLite(workers=1) as executor:
        found = executor.execute("SELECT x FROM t", DUMP)
    assert found.status is fr.Status.unavailable and "FINER_REWARDS_CACHE" in found.error


@pytest.mark.parametrize(
    ("text", "is_text"),
    [
        (SINGERS, True),
        (DUMP, True),
        ("create table if not exists t(x)", True),
        ("/* a */ CREATE TABLE t(x)", True),
        ("\n\n  CREATE TABLE t AS SELECT 1 AS x", True),
        ("DROP TABLE IF EXISTS t; CREATE TABLE t(x)", True),
        ("concert_singer", False),
        ("databases/create table/x.sqlite", False),
        ("postgresql://host/create", False),
        ("SELECT 'CREATE TABLE t(x)'", False),
    ],
)  # fmt: skip
def test_statements_are_told_from_names(text: str, is_text: bool) -> None:
    assert is_database_text(text) is is_text


def test_rows_may_have_it_in_a_column_of_its_own_or_in_that_of_the_database() -> None:
    gold = "SELECT x FROM t"
    for column in ("db", "db_text"):
        sample = Fields().sample({"gold": gold, column: DUMP}, gold)
        assert isinstance(sample, fr.Sample) and sample.db == DUMP
        with fr.Scorer("execution_match()", fr.SQLite(workers=1)) as scorer:
            values = TRLReward(scorer)(
                prompts=["?"] * 2,
                completions=[gold, "SELECT 1 FROM t"],
                gold=[gold] * 2,
                **{column: [DUMP] * 2},
            )
            assert values == [1, 0]
            TRLReward(scorer).check([{"prompt": "?", "gold": gold, column: DUMP}])
            with pytest.raises(ConfigError, match="no such table"):
                TRLReward(scorer).check(
                    [{"prompt": "?", "gold": gold, column: DUMP + "INSERT INTO u VALUES (1);"}]
                )
        found = compute_score("any", gold, gold, {column: DUMP}, spec="execution_match()")
        assert found["score"] == 1
    # A path that is there goes first.
    both = Fields().sample({"gold": gold, "db": "concert", "db_text": DUMP}, gold)
    assert isinstance(both, fr.Sample) and both.db == "concert"
    with pytest.raises(ConfigError, match="'db'"):
        Fields().check(["gold"], where="The row", caller="X")


def test_duckdb_takes_it_too() -> None:
    pytest.importorskip("duckdb")
    with fr.DuckDB(workers=1) as executor:
        assert executor.execute("SELECT name FROM singer ORDER BY id LIMIT 1", SINGERS).rows == (("Joe",),)
        assert executor.execute("SELECT 1", "CREATE TABLE t (x) nonsense").status is fr.Status.database_failed


def test_duckdb_tries_what_makes_no_database_once(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("duckdb")
    built: list[str] = []
    run = Pool.run

    def counted(pool: Pool, tasks: Sequence[Task], *more: Any) -> None:
        built.extend(task.sql for task in tasks if task.kind == "build")
        run(pool, tasks, *more)

    monkeypatch.setattr(Pool, "run", counted)
    broken = "CREATE TABLE t (x); INSERT INTO u VALUES (1)"
    with fr.DuckDB(workers=1) as executor:
        for _ in range(2):
            assert executor.execute("SELECT 1", broken).status is fr.Status.database_failed
            assert executor.execute("SELECT x FROM t", DUMP).rows == ((7,),)
            assert executor.schema(DUMP).tables[0].name == "t"
    assert built == [broken, DUMP]


def test_a_server_makes_no_databases_for_others(cache: Path, tmp_path: Path) -> None:
    from finer_rewards._serving.confined import ConfinedExecutor

    with ConfinedExecutor(fr.SQLite(tmp_path, workers=1)) as executor:
        found = executor.execute("SELECT x FROM t", DUMP)
    assert found.status is fr.Status.unavailable and "statements" in found.error and made(cache) == []


def test_a_log_of_such_rows_is_rescored_and_reported(tmp_path: Path, capsys: Any) -> None:
    pytest.importorskip("duckdb")
    log = tmp_path / "scores.jsonl"
    with fr.Scorer("execution_match()", fr.SQLite(workers=1), log=log) as scorer:
        scorer.score(
            [fr.Sample(sql, "SELECT x FROM t", DUMP, "x?") for sql in ("SELECT x FROM t", "SELECT 1 FROM t")]
        )
    assert main(["rescore", str(log), "--db", str(tmp_path), "--format", "jsonl"]) == 0
    assert [json.loads(line)["after"] for line in capsys.readouterr().out.splitlines()] == [1, 0]
    assert main(["report", str(log)]) == 0
