"""Statements written to hang, to eat memory or to write: every one is contained."""

from __future__ import annotations

import json
import sqlite3
import time
from pathlib import Path

import pytest
from bounds import LONG

from finer_rewards.engines.sqlite import SQLite
from finer_rewards.executing import Query
from finer_rewards.types import Execution, Status

TIMEOUT = 0.5
DENIED = ("attach", "vacuum", "load_extension", "pragma", "write", "transaction")


def contents(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture(scope="module")
def items(shared_data):
    lines = (shared_data / "adversarial" / "sqlite.jsonl").read_text().splitlines()
    return [json.loads(line) for line in lines]


@pytest.fixture(scope="module")
def executions(items, tmp_path_factory):
    """Run everything, one by one and at once; on the way, nothing hangs and nothing is touched."""
    folder = tmp_path_factory.mktemp("attacked")
    connection = sqlite3.connect(folder / "target.sqlite")
    connection.executescript(
        "CREATE TABLE t (a, b, c); INSERT INTO t VALUES (1, 2, 'x'), (3, 4, 'y');"
        "CREATE TABLE u (a, b); INSERT INTO u VALUES (1, 1);"
    )
    connection.close()
    before = contents(folder)
    found: dict[str, Execution] = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        with SQLite(folder, timeout=TIMEOUT, workers=2, memory_limit="512MiB") as executor:
            for item in items:
                began = time.monotonic()
                found[item["id"]] = executor.execute(item["sql"], "target")
                assert time.monotonic() - began < LONG, item["id"]
            at_once = executor.execute_many([Query(item["sql"], "target", keep=True) for item in items])
            assert executor.execute("SELECT a FROM t", "target").rows == ((1,), (3,))
    assert contents(folder) == before
    for item, execution in zip(items, at_once, strict=True):
        statuses = {execution.status, found[item["id"]].status}
        # What ends just within the time limit when alone may end just past it beside others.
        assert Status.timeout in statuses or len({status.blame for status in statuses}) == 1
        assert Status.unavailable not in statuses
    return found


def test_nothing_is_the_systems_fault(items, executions):
    assert [item["id"] for item in items if executions[item["id"]].status is Status.unavailable] == []


def test_what_is_not_reading_is_denied(items, executions):
    denied = [item for item in items if item["kind"] in DENIED]
    assert denied
    allowed = [
        item["sql"]
        for item in denied
        if executions[item["id"]].status
        not in (Status.refused, Status.not_a_query, Status.several_statements, Status.failed)
    ]
    assert allowed == []


def test_what_is_harmless_is_allowed(items, executions):
    refused = [
        (item["sql"], executions[item["id"]].error)
        for item in items
        if item["kind"] == "benign"
        and item["expectation"].startswith("allow")
        and not executions[item["id"]].ok
    ]
    assert refused == []


def test_chance_and_the_clock_are_flagged(items, executions):
    words = ("random", "'now'", "current_timestamp", "julianday()")
    volatile = [item for item in items if item["kind"] == "nondeterministic"]
    volatile = [item for item in volatile if any(word in item["sql"].lower() for word in words)]
    assert volatile
    assert [item["sql"] for item in volatile if not executions[item["id"]].volatile] == []


@pytest.mark.parametrize("engine", ["sqlite3", "apsw"])
def test_no_name_in_a_query_makes_its_failure_the_systems(tmp_path, engine):
    if engine == "apsw":
        pytest.importorskip("apsw")
    connection = sqlite3.connect(tmp_path / "t.sqlite")
    connection.execute("CREATE TABLE t (a)")
    connection.close()
    with SQLite(tmp_path, workers=1, engine=engine) as executor:
        for name in (
            "database is locked",
            "disk I/O error",
            "file is not a database",
            "one statement at a time",
        ):
            for sql in (f"SELECT * FROM [{name}]", f"SELECT [{name}] FROM t", f'SELECT "{name}"() FROM t'):
                assert executor.execute(sql, "t").status is Status.failed, sql
