"""What is said of databases that are not as one would wish: one table, then what changes under the cache."""

from __future__ import annotations

import contextlib
import os
import resource
import shutil
import sqlite3
import subprocess
import sys
import textwrap
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from bounds import LONG

import finer_rewards as fr
from finer_rewards.engines.sqlite import SQLite
from finer_rewards.executing import Query, file_executor
from finer_rewards.types import Status

SQL = "SELECT a FROM t"
Make = Callable[[Path], "contextlib.AbstractContextManager[object] | None"]


def good(path: Path, value: int = 1) -> None:
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.executescript(f"CREATE TABLE t (a); INSERT INTO t VALUES ({value})")


def wal(path: Path) -> contextlib.AbstractContextManager[object]:
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA journal_mode=wal")
    connection.executescript("CREATE TABLE t (a); INSERT INTO t VALUES (1)")
    return contextlib.closing(connection)  # open, so that the log stays


def locked(path: Path) -> contextlib.AbstractContextManager[object]:
    good(path)
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("PRAGMA cache_size=2")
    connection.execute("BEGIN EXCLUSIVE")
    connection.executemany("INSERT INTO t VALUES (?)", ((f"{n:4000}",) for n in range(50)))  # half is on disk
    return contextlib.closing(connection)


def corrupt(path: Path) -> None:
    good(path)
    data = path.read_bytes()
    path.write_bytes(data[:100] + b"\xff" * (len(data) - 100))


def huge(path: Path) -> None:
    good(path)
    os.truncate(path, 10 << 30)


def read_only(path: Path) -> contextlib.AbstractContextManager[object]:
    good(path)
    path.chmod(0o444)
    path.parent.chmod(0o555)
    return contextlib.closing(Reopened(path.parent))


class Reopened:
    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def close(self) -> None:
        self.folder.chmod(0o755)


TABLE: list[tuple[str, Make, Status, str]] = [
    ("ordinary.sqlite", good, Status.ok, ""),
    ("wal.sqlite", wal, Status.ok, ""),
    ("locked.sqlite", locked, Status.unavailable, "database"),
    ("corrupt.sqlite", corrupt, Status.unavailable, "malformed"),
    ("encrypted.sqlite", lambda path: path.write_bytes(os.urandom(8192)) and None, Status.unavailable, "begins with"),
    ("zero.sqlite", Path.touch, Status.unavailable, "is empty (0 bytes)"),
    ("huge.sqlite", huge, Status.ok, ""),
    ("read-only.sqlite", read_only, Status.ok, ""),
    ("with space.sqlite", good, Status.ok, ""),
    ("späß 数据库.sqlite", good, Status.ok, ""),
    ("a?mode=rwc&x=1.sqlite", good, Status.ok, ""),
    ("a%20b%00.sqlite", good, Status.ok, ""),
    ("a#b.sqlite", good, Status.ok, ""),
    ("'quote\"; DROP.sqlite", good, Status.ok, ""),
]  # fmt: skip


@pytest.mark.parametrize("engine", ["sqlite3", "apsw"])
@pytest.mark.parametrize(("name", "make", "status", "said"), TABLE, ids=[row[0] for row in TABLE])
def test_weird_databases(tmp_path, name, make, status, said, engine):
    if engine == "apsw":
        pytest.importorskip("apsw")
    path = tmp_path / "place" / name
    path.parent.mkdir()
    with make(path) or contextlib.nullcontext():
        before = {one.name: one.stat().st_mtime_ns for one in path.parent.iterdir()}
        with SQLite(path.parent, workers=1, timeout=2, engine=engine) as executor:
            for db in (path.stem, name, str(path)):
                execution = executor.execute(SQL, db)
                assert execution.status is status, execution
                assert said in execution.error
                assert execution.rows == (((1,),) if status is Status.ok else ())
        assert {one.name: one.stat().st_mtime_ns for one in path.parent.iterdir()} == before


def test_a_database_replaced_under_the_caches_is_noticed(tmp_path):
    sample = fr.Sample(SQL, gold="SELECT 1 AS a FROM t", db="t")
    good(tmp_path / "t.sqlite")
    with fr.Scorer("execution_match()", SQLite(tmp_path, workers=1), neighbours=0) as scorer:
        for value in (1, 2, 1, 3):
            good(tmp_path / "new", value)
            (tmp_path / "new").replace(tmp_path / "t.sqlite")
            for _ in range(2):
                assert scorer.score_one(sample).value == float(value == 1)
        # Nor is anything kept of what it held before.
        assert isinstance(scorer.executor, SQLite)
        assert len(scorer.executor._golds._kept._young) == 1


def test_a_database_emptied_under_the_caches_is_nobodys_zero(tmp_path):
    good(tmp_path / "t.sqlite")
    whole = (tmp_path / "t.sqlite").read_bytes()
    sample = fr.Sample(SQL, gold=SQL, db="t")
    with fr.Scorer("executable()", SQLite(tmp_path, workers=1)) as scorer:
        for content, value in ((whole, 1.0), (b"", None), (whole, 1.0)):
            (tmp_path / "t.sqlite").write_bytes(content)
            score = scorer.score_one(sample)
            assert score.value == value
        (tmp_path / "t.sqlite").write_bytes(b"")
        assert "is empty (0 bytes)" in scorer.score_one(sample).reason


@pytest.mark.parametrize("name", ["\ud800", "/tmp/\ud800/x", "\ud800/x", "a\0b", "/", "..", "x" * 5000])
def test_a_name_that_no_file_can_have_is_unavailable(tmp_path, name):
    with fr.Scorer("execution_match() + atomic_f1()", SQLite(tmp_path, workers=1)) as scorer:
        score = scorer.score_one(fr.Sample(SQL, gold=SQL, db=name))
        assert (score.value, score.status) == (None, Status.unavailable)


def test_names_are_not_kept_for_ever(tmp_path, monkeypatch):
    monkeypatch.setattr(file_executor, "_MOST_NAMES", 3)
    good(tmp_path / "t.sqlite")
    with SQLite(tmp_path, workers=1) as executor:
        for number in range(10):
            assert executor.execute(SQL, "./" * number + "t").ok
        assert len(executor._paths) <= 3


def test_a_database_removed_in_mid_run(tmp_path):
    good(tmp_path / "t.sqlite")
    good(tmp_path / "u.sqlite")
    count = "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c WHERE x < 100000)"
    slow = f"{count} SELECT {{}}, max(x), a FROM c, t"
    with SQLite(tmp_path, workers=1, timeout=20) as executor:
        timer = threading.Timer(0.3, (tmp_path / "t.sqlite").unlink)
        timer.start()
        # What began goes on with the file that was; the next batch finds none, and says so.
        executions = executor.execute_many([Query(slow.format(n), db) for n in range(5) for db in "tu"])
        timer.join()
        for execution in executions:
            assert (
                execution.rows[0][1:] == (100_000, 1)
                if execution.ok
                else execution.status is Status.unavailable
            )
        gone = executor.execute(SQL, "t")
        assert gone.status is Status.unavailable and "should be a database" in gone.error
        assert executor.execute(SQL, "u").ok
        scores = fr.Scorer("execution_match()", executor).score(
            [fr.Sample(SQL, gold=SQL, db=db) for db in "tu"]
        )
        assert [score.value for score in scores] == [None, 1.0]


@contextlib.contextmanager
def mounted(folder: Path, size: str) -> Iterator[None]:
    """A file system of its own."""
    folder.mkdir()
    mount = shutil.which("mount")
    command = [mount or "", "-t", "tmpfs", "-o", f"size={size}", "none", str(folder)]
    if mount is None or subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("a file system of its own takes the right to mount one")
    try:
        yield
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def test_a_file_system_that_is_read_only(tmp_path):
    place = tmp_path / "place"
    with mounted(place, "4m"):
        good(place / "plain.sqlite")
        with wal(place / "open.sqlite"):
            for end in ("", "-wal"):
                shutil.copy(place / f"open.sqlite{end}", place / f"left.sqlite{end}")
        with locked(place / "writer.sqlite"):
            for end in ("", "-journal"):
                shutil.copy(place / f"writer.sqlite{end}", place / f"hot.sqlite{end}")
        subprocess.run(["mount", "-o", "remount,ro", str(place)], check=True)
        with SQLite(place, workers=1) as executor:
            found = {name: executor.execute(SQL, name) for name in ("plain", "open", "left", "hot")}
    assert [found[name].rows for name in ("plain", "open")] == [((1,),)] * 2
    # A log cannot be read without a file beside it, nor a broken transaction be undone.
    assert {found[name].status for name in ("left", "hot")} == {Status.unavailable}


def check_full_disk(folder: Path, root: Path) -> None:
    with SQLite(root, workers=1, cache=folder) as executor:
        for number in range(40):
            sql = f"SELECT a, {number}, '{'x' * 4000}' FROM t"
            (execution,) = executor.execute_many([Query(sql, "t", keep=True)])
            assert execution.ok and execution.rows[0][1] == number
    with SQLite(root, workers=1, cache=folder) as executor:
        for number in range(40):
            sql = f"SELECT a, {number}, '{'x' * 4000}' FROM t"
            assert executor.execute_many([Query(sql, "t", keep=True)])[0].rows[0][1] == number


def test_a_full_disk_costs_time_and_nothing_else(tmp_path):
    good(tmp_path / "t.sqlite")
    with mounted(tmp_path / "cache", "64k"):
        check_full_disk(tmp_path / "cache", tmp_path)
        assert shutil.disk_usage(tmp_path / "cache").free < 8192


def test_files_that_may_not_grow_cost_time_and_nothing_else(tmp_path):
    good(tmp_path / "t.sqlite")
    script = """
        import resource, sys
        from pathlib import Path
        sys.path.insert(0, sys.argv[1])
        from test_executing_weird import check_full_disk
        resource.setrlimit(resource.RLIMIT_FSIZE, (600, resource.RLIM_INFINITY))
        check_full_disk(Path(sys.argv[2]) / "cache", Path(sys.argv[2]))
    """
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    run = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script), str(Path(__file__).parent), str(tmp_path)],
        env=environment, capture_output=True, text=True, check=False, timeout=LONG,
    )  # fmt: skip
    assert (run.returncode, run.stderr) == (0, "")
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[0] != 600
