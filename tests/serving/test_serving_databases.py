"""Which databases a server opens: those of its root, and their neighbours."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

import finer_rewards as fr
from finer_rewards.engines.sqlite import SQLite
from finer_rewards.errors import ConfigError
from finer_rewards.executing import Query
from finer_rewards.executing.siblings import Siblings
from finer_rewards.remote import Remote
from finer_rewards.remote import remote_executor as remote_module
from finer_rewards.remote.client import ServerLostError
from finer_rewards.types import Status

pytest.importorskip("fastapi", reason="needs the extra [server]")
pytest.importorskip("uvicorn", reason="needs the extra [server]")

from servers import GOLD, QUICK, SAMPLE, SCRIPT, SPEC, Held, ask, seen, serving

from finer_rewards._serving.confined import ConfinedExecutor


def test_databases_elsewhere_are_not_opened(tmp_path: Path, root: Path, monkeypatch) -> None:
    connection = sqlite3.connect(tmp_path / "secret.sqlite")
    connection.executescript(SCRIPT)
    connection.close()
    monkeypatch.chdir(tmp_path)  # executors look there last
    elsewhere = (
        str(tmp_path / "secret.sqlite"),
        f"{root}/../{tmp_path.name}/secret.sqlite",
        "secret.sqlite",
        "../secret",
        "x" * 5000,
        "a\0b",
        "postgresql://somewhere/else",
        "host=somewhere",
    )
    with SQLite(root, workers=1) as executor:
        assert executor.execute(GOLD, elsewhere[0]).ok
        with serving(fr.Scorer(SPEC, executor)) as (url, _), Remote(url) as remote:
            for db in elsewhere:
                assert remote.execute(GOLD, db).status is Status.unavailable, db
                with pytest.raises(ConfigError):
                    remote.schema(db)
                status, _, answer = ask(url, "/score", {"samples": [{**SAMPLE, "db": db}]})
                assert (status, answer["scores"][0]["value"]) == (200, None)
            for db in ("shop", "shop.sqlite", str(root / "shop.sqlite")):
                assert remote.execute(GOLD, db).ok, db


def test_a_folder_of_the_name_is_no_way_out(tmp_path: Path, monkeypatch) -> None:
    root, elsewhere = tmp_path / "root", tmp_path / "elsewhere"
    (root / "trap").mkdir(parents=True)
    elsewhere.mkdir()
    connection = sqlite3.connect(elsewhere / "trap")
    connection.executescript(SCRIPT)
    connection.close()
    monkeypatch.chdir(elsewhere)
    with SQLite(root, workers=1) as executor:
        assert executor.execute(GOLD, "trap").ok
        assert ConfinedExecutor(executor).execute(GOLD, "trap").status is Status.unavailable


def test_an_executor_of_ones_own_is_confined_to_its_folders(root: Path, tmp_path: Path) -> None:
    class HandsOn(Held):
        def __init__(self, executor: SQLite) -> None:
            self.folders, self.execute_many = executor.folders, executor.execute_many

    (tmp_path / "secret.sqlite").write_bytes((root / "shop.sqlite").read_bytes())
    with SQLite(root, workers=1) as executor:
        confined = ConfinedExecutor(HandsOn(executor))
        assert confined.execute(GOLD, "shop").ok
        assert confined.execute(GOLD, str(tmp_path / "secret.sqlite")).status is Status.unavailable


def test_duckdb_is_served_as_it_is(tmp_path: Path) -> None:
    duckdb = pytest.importorskip("duckdb", reason="needs the extra [duckdb]")
    with duckdb.connect(str(tmp_path / "shop.duckdb")) as connection:
        connection.execute(
            "CREATE TABLE t AS SELECT 170141183460469231731687303715884105727::HUGEINT a, 'é' b"
        )
        connection.execute("INSERT INTO t VALUES (1, NULL), (-1, 'x')")
    statements = (
        "SELECT * FROM t ORDER BY a",
        "SELECT 'nan'::DOUBLE, -0.0::DOUBLE, b::BLOB FROM t",
        "SELECT [a, 1] FROM t",
        "SELECT 1.50::DECIMAL(9, 2), DATE '2026-01-02', TRUE",
        "SELECT nothing FROM t",
    )
    local = fr.DuckDB(tmp_path, workers=1)
    with local, serving(fr.Scorer(SPEC, local)) as (url, _), Remote(url) as remote:
        for keep in (True, False):
            queries = [Query(sql, "shop", keep) for sql in statements]
            for here, there in zip(local.execute_many(queries), remote.execute_many(queries), strict=True):
                assert seen(there) == seen(here)
        assert (remote.dialect, remote.schema("shop")) == ("duckdb", local.schema("shop"))
        assert remote.describe() == local.describe()


def test_neighbours_of_the_server_are_used(tmp_path: Path, monkeypatch) -> None:
    from finer_rewards._neighbours import build_neighbours

    folder = tmp_path / "shop"
    folder.mkdir()
    connection = sqlite3.connect(folder / "shop.sqlite")
    connection.executescript(
        "CREATE TABLE singer (id INTEGER PRIMARY KEY, name TEXT, age INT);"
        "INSERT INTO singer VALUES (1, 'Joe', 52), (2, 'Tim', 32), (3, 'Ann', 41), (4, 'Eva', 25);"
    )
    connection.close()
    gold = "SELECT name FROM singer WHERE age > 40"
    build_neighbours(folder / "shop.sqlite", [gold], workers=1)
    lucky = [fr.Sample(sql, gold, "shop") for sql in (gold, "SELECT name FROM singer WHERE id IN (1, 3)")]
    local = SQLite(tmp_path, workers=1)
    beside = fr.Scorer("execution_match()", local, neighbours=4)
    with local, serving(beside) as (url, _), Remote(url, **QUICK) as remote:
        scorer = fr.Scorer("execution_match()", remote, neighbours=4)
        assert [score.value for score in scorer.score(lucky)] == [1.0, 0.0]
        assert scorer.signature == beside.signature
        _, _, answer = ask(url, "/score", {"samples": [{"completion": one.completion, "gold": gold, "db": "shop"}
                                                       for one in lucky]})  # fmt: skip
        assert [score["value"] for score in answer["scores"]] == [1.0, 0.0]
        # Where they cannot be asked for, a lucky guess is not called right.
        post = remote._client.post
        lost = ServerLostError("lost")
        monkeypatch.setattr(
            remote._client,
            "post",
            lambda path, *rest, **options: (
                throw(lost) if path == "/neighbours" else post(path, *rest, **options)
            ),
        )
        assert [score.value for score in scorer.score(lucky)] == [None, None]


def test_neighbours_of_many_golds_are_asked_for_in_parts(monkeypatch) -> None:
    class Neighbourly(Held):
        asked = 0

        def siblings(self, asked, *, most, folder=None):
            self.asked += len(asked)
            return [Siblings((f"next to {db}",) * most) for db, _ in asked]

        def siblings_digest(self, folder=None):
            return "digest"

    monkeypatch.setattr(remote_module, "_BATCH", 2)
    executor = Neighbourly()
    asked = [(f"db{number}", GOLD) for number in range(5)]
    with serving(fr.Scorer("executable()", executor), max_batch=2) as (url, _), Remote(url) as remote:
        assert remote.siblings(asked, most=2) == [Siblings((f"next to {db}",) * 2) for db, _ in asked]
        assert remote.siblings_digest() == "digest"
        assert executor.asked == 5


def throw(error: Exception) -> None:
    raise error


def test_a_link_and_two_dots_are_no_way_out(tmp_path: Path, root: Path) -> None:
    data = tmp_path / "elsewhere" / "data"
    data.mkdir(parents=True)
    for place in (data / "inner.sqlite", data.parent / "secret.sqlite"):
        place.write_bytes((root / "shop.sqlite").read_bytes())
    (root / "linked").symlink_to(data)
    with SQLite(root, workers=1) as executor:
        confined = ConfinedExecutor(executor)
        assert confined.execute(GOLD, str(root / "linked" / "inner.sqlite")).ok
        for db in (f"{root}/linked/../secret.sqlite", "linked/../secret.sqlite", f"{root}/x/../shop.sqlite"):
            assert confined.execute(GOLD, db).status is Status.unavailable, db
            with pytest.raises(ConfigError, match="root"):
                confined.schema(db)
