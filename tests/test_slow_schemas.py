"""Schemas of strangers whose own expressions take for ever: `check` and `testsuite build` end within the limits."""

from __future__ import annotations

import json
import resource
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from finer_rewards._neighbours import building
from finer_rewards.cli import main

SLOW = "length(replace(hex(zeroblob(1000000 + a)), '0', 'ab')) > 0"  # some milliseconds, for each row anew
ENDLESS = "CREATE VIEW v AS WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c) SELECT x FROM c;"
SCHEMAS = {
    "a CHECK clause": f"""PRAGMA writable_schema = 1;
        UPDATE sqlite_master SET sql = 'CREATE TABLE t (id INTEGER PRIMARY KEY, a INT CHECK ('
          || '{SLOW.replace("'", "''")}))' WHERE name = 't'""",
    "a generated column": f"ALTER TABLE t ADD COLUMN slow AS ({SLOW})",
    "a view": ENDLESS,
    "a trigger": f"""CREATE TABLE log (x INT);
        {ENDLESS}
        CREATE TRIGGER slow AFTER INSERT ON t BEGIN INSERT INTO log SELECT x FROM v; END""",
}
GOLDS = {
    "a view": ["SELECT count(*) FROM t WHERE a > 3", "SELECT max(x) FROM v"],
    "a generated column": ["SELECT count(*) FROM t WHERE a > 3", "SELECT sum(slow) FROM t"],
}


def spent() -> float:
    """Return the CPU seconds of the processes that have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


@pytest.mark.parametrize(
    "kind", [pytest.param(kind, marks=() if kind == "a view" else pytest.mark.slow) for kind in SCHEMAS]
)
def test_check_and_testsuite_build_end_within_the_limits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], kind: str
) -> None:
    monkeypatch.setattr(building, "_SECONDS", 0.5)
    with closing(sqlite3.connect(tmp_path / "t.sqlite")) as connection, connection:
        connection.execute("CREATE TABLE t (id INTEGER PRIMARY KEY, a INT)")
        connection.executemany("INSERT INTO t (a) VALUES (?)", [(n % 17,) for n in range(300)])
        connection.commit()
        connection.executescript(SCHEMAS[kind])
    golds = GOLDS.get(kind, ["SELECT count(*) FROM t WHERE a > 3"])
    file = tmp_path / "golds.jsonl"
    file.write_text("".join(json.dumps({"gold": gold, "db": "t"}) + "\n" for gold in golds))
    limits = ["--timeout", "0.5", "--workers", "1"]
    began = spent()
    assert main(["check", str(file), "--db", str(tmp_path), *limits]) == (len(golds) > 1)
    said = capsys.readouterr().out
    assert said.count(" times_out ") == len(golds) - 1
    out = ["-o", str(tmp_path / "neighbours")]
    main(["testsuite", "build", "--db", str(tmp_path), "--gold", str(file), *out, *limits])
    assert spent() - began < 30
