from __future__ import annotations

import json
import sqlite3
from pathlib import Path

import pytest

from finer_rewards.cli import main
from finer_rewards.operations import Operations, sql_operations
from finer_rewards.operations.origins import as_written

TABLES = {"t": {"id": "INTEGER", "a": "INTEGER", "b": "INTEGER"}, "u": {"id": "INTEGER", "b": "INTEGER"}}


def clauses(sql: str) -> dict[str, str]:
    told = sql_operations(sql, schema=TABLES)
    found = as_written(told, sql, schema=TABLES)
    assert found == told and hash(found) == hash(told) and isinstance(found, Operations)
    return {str(one): one.clause for one in found}


@pytest.mark.parametrize(
    ("sql", "operation", "clause"),
    [
        ("SELECT t.a FROM t, u WHERE u.id = t.id AND 3 < u.b", "join u on t.id = u.id", "WHERE"),
        ("SELECT t.a FROM t JOIN u ON t.id = u.id AND 3 < u.b", "join u on t.id = u.id", "FROM"),
        ("SELECT t.a FROM t JOIN u ON t.id = u.id AND 3 < u.b", "filter u.b > 3", "FROM"),
        ("SELECT t.a FROM t JOIN u USING (id) WHERE u.b > 3", "join u on t.id = u.id", "FROM"),
        ("SELECT t.a FROM t JOIN u USING (id) WHERE u.b > 3", "filter u.b > 3", "WHERE"),
        ("SELECT b FROM t GROUP BY b HAVING NOT b <= 2 AND COUNT(*) > 1", "filter t.b > 2", "HAVING"),
        ("SELECT x.a FROM (SELECT a, b FROM t WHERE 4 = b) AS x WHERE x.a > 1", "filter t.b = 4", "WHERE"),
        ("SELECT x.a FROM (SELECT a FROM t) AS x JOIN u ON u.id = 1 AND x.a > 1", "filter t.a > 1", "FROM"),
        ("SELECT x.a FROM t x LEFT JOIN u ON x.id = u.id", "left join u on t.id = u.id", "FROM"),
        ("SELECT 1 FROM t x, t y WHERE x.a = y.b AND y.a > 2", "join t#2 on t.b = t#2.a", "WHERE"),
    ],
)
def test_a_moved_condition_keeps_the_clause_of_its_text(sql: str, operation: str, clause: str) -> None:
    assert clauses(sql)[operation] == clause


def test_explain_tells_the_clause_of_each_text(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    connection = sqlite3.connect(tmp_path / "x.sqlite")
    connection.executescript("CREATE TABLE t (id INTEGER, a INTEGER); CREATE TABLE u (id INTEGER, b INTEGER)")
    connection.close()
    predicted, gold = "SELECT a FROM t, u WHERE t.id = u.id", "SELECT a FROM t JOIN u ON u.id = t.id"
    main(["explain", predicted, gold, "--db", str(tmp_path / "x.sqlite"), "--format", "jsonl"])
    record = json.loads(capsys.readouterr().out.splitlines()[0])
    (join,) = (one for one in record["operations"]["matched"] if one["kind"] == "join")
    assert (join["clause"], join["gold_clause"]) == ("WHERE", "FROM")
    main(["explain", predicted, gold, "--db", str(tmp_path / "x.sqlite")])
    assert "WHERE / FROM" in capsys.readouterr().out
