"""Files as people have them: packed, as CSV, at an address; a statement in the place of a file; what is shown."""

from __future__ import annotations

import gzip
import json
import os
import sqlite3
import sys
import threading
import tracemalloc
from pathlib import Path

import pytest

from finer_rewards._statement_files import read_pairs, read_statements
from finer_rewards.cli import main
from finer_rewards.datasets.benchmark import Question
from finer_rewards.datasets.preparing import TrainingRow
from finer_rewards.datasets.writing import TRAINERS, records_for
from finer_rewards.errors import DataError
from finer_rewards.remote.wire import sample_from
from finer_rewards.scoring import Scorer
from finer_rewards.types import Evidence, Sample

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


def test_a_file_packed_by_zstandard_is_read(place: Path) -> None:
    zstd = pytest.importorskip("backports.zstd" if sys.version_info < (3, 14) else "compression.zstd")
    Path("pred.jsonl.zst").write_bytes(zstd.compress(Path("pred.jsonl").read_bytes()))
    assert read_statements("pred.jsonl.zst") == read_statements("pred.jsonl")
    Path("pred.jsonl.zst").write_bytes(Path("pred.jsonl.zst").read_bytes()[:-5])
    with pytest.raises(DataError, match="unpacking it fails"):
        read_statements("pred.jsonl.zst")


def test_a_pipe_is_read_as_a_file(place: Path) -> None:
    os.mkfifo("pipe.jsonl")
    writer = threading.Thread(target=lambda: Path("pipe.jsonl").write_bytes(Path("pred.jsonl").read_bytes()))
    writer.start()
    assert read_statements("pipe.jsonl") == read_statements("pred.jsonl")
    writer.join()


@pytest.mark.parametrize(
    ("begins", "says"), [(b"PAR1", "JSONL"), (b"PK\x03\x04", "unzip"), (b"BZh9", "bunzip2")]
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
        ("score pred.sql gold.sql --db_path shop.sqlite", "Did you mean '--db'?"),
        ("score pred.sql gold.sql --db shop.sqlite --quiet", "Did you mean '--summary'?"),
        ("score pred.sql gold.sql --db shop.sqlite --mode spider", "Did you mean 'test_suite'?"),
        (
            "score https://example.org/pred.sql gold.sql --db shop.sqlite",
            "it is an address: nothing is fetched",
        ),
        ("score pred.sql gold.sql --db https://example.org/shop.sqlite", "no engine knows https: addresses"),
        ("score pred.sql gold.sql --db sqlite:///shop.sqlite", "no engine knows sqlite: addresses"),
    ],
)
def test_what_cannot_be_meant_is_said_with_what_may_be(
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


def test_a_statement_stands_beside_a_file(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("one.sql").write_text("SELECT x\nFROM t\n")
    for pair in (("one.sql", GOLD[0]), (GOLD[0], "one.sql")):
        assert main(["score", *pair, "--db", "shop.sqlite"]) == 0
        assert "mean 1.0000 over 1 scored" in capsys.readouterr().out
    for pair, says in (
        (("pred.sql", GOLD[0]), "`pred.sql` has 3 and `SELECT x FROM t` has 1"),
        (("my pred.sql", "gold.sql"), "`my pred.sql` should be a file"),
    ):
        assert main(["score", *pair, "--db", "shop.sqlite"]) == 2
        assert says in capsys.readouterr().err


def test_a_folder_with_one_database_serves_statements_that_name_none(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["score", GOLD[0], GOLD[0], "--db", "."]
    assert main(command) == 0 and "shop" in capsys.readouterr().out
    Path("other.sqlite").write_bytes(Path("shop.sqlite").read_bytes())
    assert main(command) == 2
    assert "names none" in (error := capsys.readouterr().err) and "other.sqlite" in error


def test_arguments_that_look_swapped_are_named(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for pair, asked in ((("gold.sql", "pred.sql"), True), (("pred.sql", "gold.sql"), False)):
        assert main(["score", *pair, "--db", "shop.sqlite"]) == 0
        assert ("are they swapped?" in capsys.readouterr().err) == asked


def test_help_is_a_verb_too(capsys: pytest.CaptureFixture[str]) -> None:
    for asked, same in ((["help"], ["--help"]), (["help", "score"], ["score", "--help"])):
        assert main(asked) == 0
        shown = capsys.readouterr().out
        assert main(same) == 0 and capsys.readouterr().out == shown


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


@pytest.mark.slow
def test_many_rollouts_are_not_kept_in_memory(place: Path) -> None:
    rows = [
        {
            "question_id": number,
            "completion": f"SELECT {number} -- {'x' * 2000}",
            "gold_sql": "SELECT x FROM t",
        }
        for number in range(5000)
    ]
    Path("many.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    Path("turned.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in reversed(rows)))
    tracemalloc.start()
    pairs = read_pairs("turned.jsonl", "many.jsonl")
    held, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    size = Path("many.jsonl").stat().st_size
    assert size > 10_000_000 and held < size / 4 and most < 2 * 8 * 2**20 + size / 4
    assert [(one.question_id, other.question_id) for one, other in pairs[:2]] == [("0", "0"), ("1", "1")]


def test_an_interrupted_run_goes_on_where_it_stopped(
    place: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    Path("pred.jsonl").write_text("".join(json.dumps({"sql": PREDICTED[n % 3]}) + "\n" for n in range(99)))
    Path("gold.jsonl").write_text("".join(json.dumps({"sql": GOLD[n % 3]}) + "\n" for n in range(99)))
    command = ["score", "pred.jsonl", "gold.jsonl", "--db", "shop.sqlite", "-o"]
    assert main([*command, "whole.jsonl"]) == 0
    summary = capsys.readouterr().err
    observe, seen = Scorer.observe, []

    def interrupted(self: Scorer, samples: list[Sample]) -> list[Evidence]:
        seen.append(len(samples))
        if sum(seen) > 64:
            raise KeyboardInterrupt
        return observe(self, samples)

    monkeypatch.setattr(Scorer, "observe", interrupted)
    assert main([*command, "out.jsonl"]) == 130
    assert "kept in out.jsonl.part: the same command goes on" in capsys.readouterr().err
    assert not Path("out.jsonl").exists()
    with Path("out.jsonl.part").open("a") as part:
        part.write('{"number": ')  # killed in the middle of a line
    seen.clear()
    monkeypatch.setattr(
        Scorer, "observe", lambda self, samples: seen.append(len(samples)) or observe(self, samples)
    )
    assert main([*command, "out.jsonl"]) == 0
    assert 0 < sum(seen) < 99
    assert Path("out.jsonl").read_text() == Path("whole.jsonl").read_text()
    assert capsys.readouterr().err.endswith(summary) and not Path("out.jsonl.part").exists()
    # Another run's part is not gone on with.
    Path("out.jsonl.part").write_text('["other"]\n{"number": 1}\n')
    assert main([*command, "out.jsonl"]) == 0
    assert Path("out.jsonl").read_text() == Path("whole.jsonl").read_text()


def test_what_is_logged_already_is_noticed(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["score", "pred.sql", "gold.sql", "--db", "shop.sqlite", "--log", "log.jsonl"]
    for mode, noticed in (("strict", False), ("strict", True), ("bird", False)):
        assert main([*command, "--mode", mode]) == 0
        assert ("has these statements already" in capsys.readouterr().err) is noticed


def test_one_shape_of_records_in_every_verb(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    question = Question(0, "7", "shop", ("SELECT x FROM t",), "Which?", "easy")
    for trainer in TRAINERS:
        ((row,),) = records_for(trainer, {"train": [TrainingRow(question, (), 0)]}, "mine").values()
        record = {**row, "completion": "SELECT x FROM t", "step": 4}
        Path("rows.jsonl").write_text(f"{json.dumps(record)}\n")
        assert (
            main(["score", "rows.jsonl", "rows.jsonl", "--db", ".", "--format", "json", "--log", trainer])
            == 0
        )
        (scored,) = json.loads(capsys.readouterr().out)
        assert (scored["value"], scored["db"], scored["question_id"]) == (1.0, "shop", "7")
        assert json.loads(Path(trainer).read_text().splitlines()[-1])["step"] == 4
        assert main(["rescore", "rows.jsonl", "--db", ".", "--format", "json"]) == 0
        (scored,) = json.loads(capsys.readouterr().out)
        assert (scored["after"], scored["question"], scored["step"]) == (1.0, "Which?", 4)
        assert sample_from(record, "samples[0]").gold == "SELECT x FROM t"


def test_the_signature_is_spelled_out_on_request(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["score", "pred.sql", "gold.sql", "--db", "shop.sqlite"]
    assert main(command) == 0
    (short,) = (line for line in capsys.readouterr().err.splitlines() if line.startswith("signature: "))
    assert main([*command, "--signature"]) == 0
    (whole,) = (line for line in capsys.readouterr().err.splitlines() if line.startswith("signature: "))
    digest = short.split(":")[2].split()[0]
    assert len(short) < 80 and "timeout:" in whole and whole.endswith(digest)


def test_a_reason_that_does_not_fit_stands_below_its_row(
    place: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    command = ["score", "SELECT x, x FROM t", "SELECT x, x + 1 FROM t", "--db", "shop.sqlite"]
    assert main([*command, "--format", "json"]) == 0
    reason = json.loads(capsys.readouterr().out)[0]["reason"]
    monkeypatch.setattr("finer_rewards.cli.score.width", lambda stream: 50)
    monkeypatch.setattr("finer_rewards.cli.terminal.width", lambda stream: 50)
    monkeypatch.setenv("COLUMNS", "50")
    assert main(command) == 0
    lines = capsys.readouterr().out.split("\n\n")[0].splitlines()[1:]
    assert max(map(len, lines)) <= 50 and len(lines) > 1
    assert " ".join(line.strip() for line in lines).endswith(reason)


@pytest.mark.slow
def test_a_parquet_file_is_a_database(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    duckdb = pytest.importorskip("duckdb")
    with duckdb.connect() as connection:
        connection.execute("COPY (SELECT 1 AS x UNION ALL SELECT 2) TO 't.parquet'")
    for engine in ([], ["--engine", "duckdb"]):
        assert (
            main(["score", "SELECT sum(x) FROM t", "SELECT 3", "--db", "t.parquet", *engine, "--summary"])
            == 0
        )
        assert "mean 1.0000" in capsys.readouterr().out
