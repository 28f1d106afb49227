"""Files as people have them: packed, as CSV, at an address; a statement in the place of a file; what is shown."""

from __future__ import annotations

import gzip
import json
import sqlite3
from pathlib import Path

import pytest

from finer_rewards.cli import main
from finer_rewards.errors import DataError
from finer_rewards.files import read_statements

GOLD = ("SELECT x FROM t", "SELECT max(x) FROM t", "SELECT count(*) FROM t")
PREDICTED = ("SELECT x FROM t", "SELECT min(x) FROM t", "SELECT nothing FROM t")


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    connection = sqlite3.connect("shop.sqlite")
    connection.executescript("CREATE TABLE t (x INTEGER); INSERT INTO t VALUES (1), (2), (3);")
    connection.close()
    for name, statements in (("gold", GOLD), ("pred", PREDICTED)):
        Path(f"{name}.sql").write_text("".join(f"{sql};\n" for sql in statements))
        Path(f"{name}.jsonl").write_text("".join(json.dumps({"sql": sql}) + "\n" for sql in statements))
    return tmp_path


@pytest.mark.parametrize("name", ["pred.sql", "pred.jsonl"])
def test_a_packed_file_is_read_as_what_is_in_it(place: Path, name: str) -> None:
    packed = Path(f"{name}.gz")
    packed.write_bytes(gzip.compress(Path(name).read_bytes()))
    assert read_statements(packed) == read_statements(name)
    packed.write_bytes(packed.read_bytes()[:-9])
    with pytest.raises(DataError, match="unpacking it fails"):
        read_statements(packed)


@pytest.mark.parametrize(
    ("begins", "says"), [(b"\x28\xb5\x2f\xfd", "unzstd"), (b"PK\x03\x04", "unzip"), (b"BZh9", "bunzip2")]
)
def test_of_another_packer_it_is_said_how_to_unpack(place: Path, begins: bytes, says: str) -> None:
    Path("pred.packed").write_bytes(begins + bytes(20))
    with pytest.raises(DataError, match=says):
        read_statements("pred.packed")


def test_a_table_with_names_is_read_by_them(place: Path) -> None:
    Path("pred.csv").write_text('id,sql,db_id\n1,"SELECT a, b\nFROM t",shop\n2,\'-- one\n3,SELECT 1,shop\n')
    with pytest.raises(DataError, match="row 2, should have 3 cells"):
        read_statements("pred.csv")
    Path("pred.csv").write_text('id,sql,db_id\n1,"SELECT a, b\nFROM t",shop\n2,SELECT 1,shop\n')
    assert [(one.sql, one.db) for one in read_statements("pred.csv")] == [
        ("SELECT a, b\nFROM t", "shop"),
        ("SELECT 1", "shop"),
    ]
    Path("pred.tsv").write_text("sql\tdb_id\nSELECT 1\tshop\n")
    assert [(one.sql, one.db) for one in read_statements("pred.tsv")] == [("SELECT 1", "shop")]


def test_what_score_writes_as_csv_it_reads(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("odd.jsonl").write_text(
        "".join(json.dumps({"sql": sql}) + "\n" for sql in ("-- a\nSELECT 1", "=1", "SELECT 2"))
    )
    assert main(["score", "odd.jsonl", "gold.sql", "--db", "shop.sqlite", "-o", "odd.csv"]) == 0
    assert [one.sql for one in read_statements("odd.csv")] == ["-- a\nSELECT 1", "=1", "SELECT 2"]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (
            "score https://example.org/pred.sql gold.sql --db shop.sqlite",
            "it is an address: nothing is fetched",
        ),
        ("score pred.sql gold.sql --db https://example.org/shop.sqlite", "no engine knows https: addresses"),
        ("score pred.sql gold.sql --db sqlite:///shop.sqlite", "no engine knows sqlite: addresses"),
    ],
)
def test_nothing_is_fetched_and_that_is_said(
    place: Path, capsys: pytest.CaptureFixture[str], arguments: str, says: str
) -> None:
    assert main(arguments.split()) == 2
    assert says in capsys.readouterr().err


@pytest.mark.parametrize(
    "predicted", ["DELETE FROM t", "SELEC x FROM t", "INSERT INTO t VALUES (1)", "EXPLAIN SELECT 1"]
)
def test_a_statement_that_is_no_query_is_scored_as_one(
    place: Path, capsys: pytest.CaptureFixture[str], predicted: str
) -> None:
    assert main(["score", predicted, "SELECT x FROM t", "--db", "shop.sqlite"]) == 0
    assert "mean 0.0000 over 1 scored" in capsys.readouterr().out


def test_the_summary_alone_and_the_wrong_rows_alone(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["score", "pred.sql", "gold.sql", "--db", "shop.sqlite"]
    shown = {}
    for option in ("", "--summary", "--wrong"):
        assert main([*command, *([option] if option else [])]) == 0
        shown[option] = capsys.readouterr().out.splitlines()
    rows = [line for line in shown[""] if line[:1].isdigit()]
    summary = shown[""][shown[""].index("") + 1 :]
    assert len(rows) == 3 and shown["--summary"] == summary
    assert [line for line in shown["--wrong"] if line[:1].isdigit()] == rows[1:]
    assert shown["--wrong"][-len(summary) :] == summary
