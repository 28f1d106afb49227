"""Golds that cannot be used are found, told apart, and left out of the filtered file."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from finer_rewards import SQLite
from finer_rewards._auditing import KINDS, Gold, audit_golds, misplaced
from finer_rewards.cli import main

MakeDb = Callable[..., Path]

SHOP = """
CREATE TABLE item (id INTEGER PRIMARY KEY, name TEXT, price INT, note TEXT);
INSERT INTO item VALUES (1,'pen',2,NULL),(2,'ink',5,NULL),(3,'pad',5,NULL),(4,'map',9,NULL);
CREATE TABLE sold (item INT, day TEXT); INSERT INTO sold VALUES (1,'mon'),(1,'tue'),(2,'mon'),(4,'sun');
"""
ENDLESS = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n"
EXPECTED = {
    "SELECT nme FROM item": ("fails", "no such column: nme"),
    ENDLESS: ("times_out", "interrupted"),
    "DELETE FROM item": ("writes", "not authorized"),
    "PRAGMA user_version": ("no_query", "not a query"),
    "SELECT 1; SELECT 2": ("no_query", "one statement"),
    "": ("no_query", "not a query"),
    "SELECT a.id FROM item a, item b, item c, item d, item e": ("too_large", "more than 1,000 rows"),
    "SELECT name FROM item WHERE price > 100": ("empty", "no rows"),
    "SELECT max(price), NULL FROM item WHERE price > 100": ("null_only", "1 row of NULL"),
    "SELECT name FROM item ORDER BY random()": ("not_reproducible", "draws random values"),
    "SELECT date('now') FROM item": ("not_reproducible", "reads the clock"),
    "SELECT name FROM item ORDER BY price LIMIT 2": ("tied", "ties with one let through"),
    "SELECT name FROM item LIMIT 2": ("order", "in reverse"),
    "SELECT day, group_concat(item) FROM sold GROUP BY day": ("order", "in reverse"),
}
FINE = (
    "SELECT name FROM item ORDER BY price DESC LIMIT 1",
    "SELECT name FROM item ORDER BY price",  # ties, but no LIMIT cuts them
    "SELECT count(*) FROM item WHERE price > 100",
    "SELECT note, name FROM item",
    "SELECT item FROM sold",
)


def audit(path: Path, *golds: Gold) -> list[list[str]]:
    with SQLite(path.parent, workers=1, timeout=0.5, max_rows=1000) as executor:
        return [[finding.kind for finding in some] for some in audit_golds(golds, executor)]


def test_each_fault_by_its_name(make_db: MakeDb) -> None:
    path = make_db("shop", SHOP)
    with SQLite(path.parent, workers=1, timeout=0.5, max_rows=1000) as executor:
        found = audit_golds([Gold(sql, "shop") for sql in EXPECTED], executor)
    for (sql, (kind, said)), findings in zip(EXPECTED.items(), found, strict=True):
        assert [finding.kind for finding in findings] == [kind], sql
        assert said in findings[0].reason
        assert kind in KINDS


def test_what_can_be_used_is_left_alone(make_db: MakeDb) -> None:
    path = make_db("shop", SHOP)
    assert audit(path, *(Gold(sql, "shop") for sql in FINE)) == [[]] * len(FINE)


def test_a_missing_database(make_db: MakeDb) -> None:
    assert audit(make_db("shop", SHOP), Gold("SELECT 1", "shap")) == [["no_database"]]


def test_nothing_is_written(make_db: MakeDb) -> None:
    path = make_db("shop", SHOP)
    before = path.read_bytes()
    audit(path, *(Gold(sql, "shop") for sql in EXPECTED))
    assert path.read_bytes() == before
    assert [file.name for file in path.parent.iterdir()] == ["shop.sqlite"]


def test_questions_asked_twice(make_db: MakeDb) -> None:
    path = make_db("shop", SHOP)
    golds = (
        Gold("SELECT count(*) FROM item", "shop", "How many items?"),
        Gold("select COUNT(*)  from item;", "shop", "how many  items?"),
        Gold("SELECT count(id) FROM item", "shop", "How many items?"),
        Gold("SELECT count(*) FROM item", "shop", "What is the number of items?"),
        Gold("SELECT count(*) FROM item", "shop"),
        Gold("SELECT count(*) FROM item", "shop"),
    )
    assert audit(path, *golds) == [[], ["duplicate"], ["contradiction"], [], [], []]


def test_golds_in_another_place() -> None:
    ours = [Gold("SELECT 1", "a"), Gold("SELECT 2", "a"), Gold("SELECT 3", "a"), Gold("SELECT 4", "a")]
    theirs = [Gold("select 1 ;", "a"), Gold("SELECT 3", "a"), Gold("SELECT 3", "b")]
    found = misplaced(ours, theirs)
    assert {index: finding.kind for index, finding in found.items()} == dict.fromkeys((1, 2, 3), "misplaced")
    assert (
        "SELECT 3" in found[1].reason and "database b" in found[2].reason and "ends before" in found[3].reason
    )
    assert "place 2" in misplaced([Gold("SELECT 3", "a")], theirs)[0].reason
    assert misplaced(ours, ours) == {}


def test_the_filtered_file_holds_the_rest_as_it_was(
    make_db: MakeDb, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    db = str(make_db("shop", SHOP).parent)
    good, bad = FINE[0], "SELECT nme FROM item"
    records = [
        {
            "db_id": "shop",
            "question": "Which is dearest?",
            "query": good,
            "hardness": "easy",
            "toks": ["a", 1],
        },
        {"db_id": "shop", "question": "Names?", "query": bad},
        {"db_id": "shop", "question": "Which sold?", "query": FINE[4]},
    ]
    files = {
        "golds.json": json.dumps(records),
        "golds.jsonl": "".join(f"{json.dumps(record)}\n\n" for record in records),
        "golds.sql": "".join(f"{record['query']}\tshop\n" for record in records),
    }
    for name, text in files.items():
        data, clean = tmp_path / name, tmp_path / f"clean-{name}"
        data.write_text(text)
        assert (
            main(["check", str(data), "--db", db, "-o", str(clean), "--format", "jsonl", "--workers", "1"])
            == 1
        )
        out, err = capsys.readouterr()
        assert [json.loads(line)["number"] for line in out.splitlines()] == [2]
        assert json.loads(out)["kind"] == "fails"
        assert "2 of 3 golds can be used" in err
        if name.endswith("json"):
            assert json.loads(clean.read_text()) == [records[0], records[2]]
        else:
            assert clean.read_text() == text.replace("\n\n", "\n").replace(
                text.replace("\n\n", "\n").splitlines()[1] + "\n", ""
            )
        assert main(["check", str(clean), "--db", db, "--workers", "1"]) == 0
        capsys.readouterr()


def test_statements_over_several_lines(
    make_db: MakeDb, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = make_db("shop", SHOP)
    data, clean = tmp_path / "golds.sql", tmp_path / "clean.sql"
    data.write_text("SELECT name\nFROM item\nORDER BY id;\nSELECT nme\nFROM item;\n")
    assert main(["check", str(data), "--db", str(path), "-o", str(clean), "--workers", "1"]) == 1
    assert clean.read_text() == "SELECT name\nFROM item\nORDER BY id;\n"
    assert "no such column: nme" in capsys.readouterr().out


def test_benchmark_folders(make_db: MakeDb, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    spider = tmp_path / "spider"
    home = spider / "database" / "shop"
    home.mkdir(parents=True)
    make_db("shop", SHOP).rename(home / "shop.sqlite")
    questions = [{"db_id": "shop", "question": f"{number}?", "query": sql} for number, sql in enumerate(FINE)]
    (spider / "dev.json").write_text(json.dumps(questions))
    assert main(["check", str(spider), "--workers", "1"]) == 0
    assert capsys.readouterr().out == ""
    swapped = [FINE[1], FINE[0], *FINE[2:]]
    (spider / "dev_gold.sql").write_text("".join(f"{sql}\tshop\n" for sql in swapped))
    assert main(["check", str(spider), "--workers", "1", "--format", "json"]) == 1
    assert [record["kind"] for record in json.loads(capsys.readouterr().out)] == ["misplaced"] * 2
    assert main(["check", str(tmp_path)]) == 2
    assert main(["check", str(spider / "dev.json")]) == 2
    assert "`--db` should say" in capsys.readouterr().err


def test_a_record_with_several_golds(
    make_db: MakeDb, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = make_db("shop", SHOP)
    data = tmp_path / "golds.jsonl"
    record = {"question": "Names?", "gold": ["SELECT name FROM item", "SELECT nme FROM item"]}
    data.write_text(json.dumps(record))
    assert main(["check", str(data), "--db", str(path), "--format", "jsonl", "--workers", "1"]) == 1
    assert json.loads(capsys.readouterr().out)["gold"] == "SELECT nme FROM item"


def test_a_column_beside_a_least_value_that_ties_hangs_on_order(tmp_path: Path) -> None:
    from finer_rewards._neighbours.sandbox import SandboxExecutor
    from finer_rewards._neighbours.storage_order import hang_on_order

    path = tmp_path / "versions.sqlite"
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(
            "CREATE TABLE template (id INTEGER PRIMARY KEY, version INTEGER, kind TEXT);"
            "INSERT INTO template VALUES (1, 1, 'PPT'), (2, 1, 'AD'), (3, 1, 'PPT'), (4, 2, 'BK'), (5, NULL, 'BK')"
        )
    golds = {
        "SELECT MIN(version), kind FROM template": True,  # PPT or AD; read backwards it is PPT too
        "SELECT kind, version, MIN(id) FROM template GROUP BY kind": False,
        "SELECT version, kind, MAX(LENGTH(kind)) FROM template GROUP BY version": False,
        "SELECT version, id, MAX(LENGTH(kind)) FROM template GROUP BY version": True,
        "SELECT MAX(version), kind FROM template": False,
        "SELECT MIN(version) FROM template": False,
        "SELECT kind, MIN(version) FROM template GROUP BY kind": False,
    }
    with SQLite(tmp_path) as executor:
        runs = [executor.execute(sql, "versions") for sql in golds]
    with SandboxExecutor(tmp_path, workers=1) as sandbox:
        assert hang_on_order("versions", list(golds), runs, sandbox) == list(golds.values())
