"""Wrong usage and bad input: one sentence, exit 2, nothing created."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from finer_rewards.cli import main

SCRIPT = "CREATE TABLE t (x); INSERT INTO t VALUES (1);"


@pytest.fixture
def place(tmp_path: Path, make_db: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder to stand in, with everything that can be wrong in it."""
    make_db("good", SCRIPT)
    (tmp_path / "one.sql").write_text("SELECT x FROM t\n")
    (tmp_path / "two.sql").write_text("SELECT x FROM t\tgood\nSELECT x FROM t\tother\n")
    (tmp_path / "third.sql").write_text("SELECT x FROM t\tgood\nSELECT x FROM t\tgood\n")
    (tmp_path / "absent.sql").write_text("SELECT x FROM t\tgod\n")
    (tmp_path / "empty.sql").write_text("")
    (tmp_path / "bad.sql").write_bytes(b"SELECT \xff\xfe;\n")
    (tmp_path / "text.sqlite").write_text("hello, not a database\n")
    (tmp_path / "bare" / "databases").mkdir(parents=True)
    (tmp_path / "spider" / "database").mkdir(parents=True)
    (tmp_path / "good.sqlite").rename(tmp_path / "spider" / "database" / "good.sqlite")
    make_db("good", SCRIPT)
    monkeypatch.chdir(tmp_path)
    return tmp_path


GOOD = "score one.sql one.sql --db good.sqlite"


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        ("scroe", ["no verb 'scroe'", "Did you mean 'score'?"]),
        ("--verbose", ["Unrecognized arguments: --verbose"]),
        ("score one.sql", ["GOLD", "--db", "finer-rewards score --help"]),
        ("score one.sql one.sql", ["--db"]),
        (
            "score one.sql one.sql --db god.sqlite",
            ["`--db` should", "nothing at god.sqlite", "'good.sqlite'"],
        ),
        ("score one.sql one.sql --db text.sqlite", ["`--db` should be a SQLite database", "text.sqlite"]),
        ("score one.sql one.sql --db bare", ["no database in the folder bare"]),
        ("score two.sql two.sql --db spider", ["Did you mean spider/database?"]),
        ("score two.sql two.sql --db good.sqlite", ["2 databases", "good, other", "Pass a folder"]),
        ("score absent.sql absent.sql --db spider/database", ["(god)", "holds none", "Did you mean 'good'?"]),
        ("score two.sql third.sql --db spider/database", ["statement 2", "'other'", "'good'", "same order"]),
        ("score one.sql two.sql --db good.sqlite", ["one.sql` has 1", "two.sql` has 2"]),
        ("score empty.sql one.sql --db good.sqlite", ["empty.sql", "it is empty"]),
        ("score bad.sql one.sql --db good.sqlite", ["bad.sql", "UTF-8", "0xff"]),
        ("score none.sql one.sql --db good.sqlite", ["none.sql", "none of that name"]),
        ("score bare one.sql --db good.sqlite", ["`bare`", "folder"]),
        ("score - - --db good.sqlite", ["Only one", "`-`"]),
        (f"{GOOD} --gold-format yaml", ["should be one of", "'yaml'"]),
        (f"{GOOD} --mode brid", ["'brid'", "Did you mean 'bird'?"]),
        (f"{GOOD} --preset artic", ["'artic'", "Did you mean 'arctic'?"]),
        (f"{GOOD} --preset graph_reward --mode bird", ["`--mode` should be left out"]),
        (f"{GOOD} --reward execution_mach()", ["'execution_mach'", "Did you mean 'execution_match'?"]),
        (f"{GOOD} --reward execution_match() --mode bird", ["`--reward` should stand alone", "--mode"]),
        (f"{GOOD} --timeout 1e300", ["`timeout` should be a positive number up to 1e+06"]),
        ("score one.sql one.sql --db=", ["`--db` should be a database file or a folder"]),
        (f"{GOOD} --timeout soon", ["`--timeout` should be a positive number of seconds", "'soon'"]),
        (f"{GOOD} --timeout 0", ["`--timeout`", "'0'"]),
        (f"{GOOD} --timeout nan", ["`--timeout`", "'nan'"]),
        (f"{GOOD} --max-rows 2.5", ["`--max-rows` should be a positive whole number", "'2.5'"]),
        (f"{GOOD} --workers -1", ["`--workers`", "'-1'"]),
        (f"{GOOD} --fail-under much", ["`--fail-under` should be a number", "'much'"]),
        (f"{GOOD} --format xml", ["`--format` should be one of", "xml"]),
        (f"{GOOD} --mdoe strict", ["--mdoe", "Did you mean '--mode'?"]),
        (f"{GOOD} --cache one.sql", ["`--cache` should be a folder", "one.sql"]),
        (f"{GOOD} -o bare", ["`-o`", "is a folder"]),
        (f"{GOOD} -o away/scores.json", ["`-o`", "away"]),
        ("explain one.sql one.sql --db good.sqlite --only 2", ["`--only` should be from 1 to 1", "got 2"]),
        ("demo --keep bare", ["`--keep` should be a new folder"]),
    ],
)
def test_one_sentence_and_nothing_created(
    arguments: str, parts: list[str], place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = sorted(place.rglob("*"))
    assert main(arguments.split()) == 2
    seen = capsys.readouterr()
    assert seen.out == ""
    assert seen.err.startswith("finer-rewards: ")
    assert seen.err.count("\n") == 1
    assert all(part in seen.err for part in parts), seen.err
    assert "Traceback" not in seen.err
    assert sorted(place.rglob("*")) == before


def test_an_id_that_is_not_the_file_is_noted(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["score", "absent.sql", "absent.sql", "--db", "good.sqlite"]) == 0
    assert "absent.sql names the database god; every statement runs on good.sqlite" in capsys.readouterr().err


def test_a_damaged_database_is_nobodys_zero(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    good = (place / "good.sqlite").read_bytes()
    (place / "good.sqlite").write_bytes(good[:100] + b"\xff" * (len(good) - 100))
    assert main(GOOD.split()) == 1
    assert "not scored: 1 unavailable" in capsys.readouterr().out


def test_a_file_that_cannot_be_written(
    place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def full(self: Path, *_: object, **__: object) -> None:
        raise OSError(28, "No space left on device", str(self))

    monkeypatch.setattr(Path, "replace", full)
    assert main([*GOOD.split(), "-o", "scores.csv"]) == 2
    assert "No space left on device" in capsys.readouterr().err
    assert not list(place.glob("*.csv")) and not list(place.glob(".*"))
