"""Neighbours tell near misses and guesses from the gold, respect the schema, and cost no right answer."""

from __future__ import annotations

import json
import os
import pickle
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

import finer_rewards as fr
from finer_rewards._auditing import Gold, audit_golds
from finer_rewards._neighbours import Suite, build_neighbours, find_siblings, neighbours_of, suite_of
from finer_rewards._neighbours.gold_facts import conditions_of, joins_of, read_gold
from finer_rewards._neighbours.instances import make_instance
from finer_rewards._neighbours.mutants import mutants_of
from finer_rewards._neighbours.portable_random import PortableRandom
from finer_rewards._neighbours.recipes import RECIPES
from finer_rewards._neighbours.shortcuts import guess_of
from finer_rewards._neighbours.source_database import read_database
from finer_rewards.cli import main
from finer_rewards.engines.sqlite.worker import Connection
from finer_rewards.errors import ConfigError
from finer_rewards.executing import Query
from finer_rewards.executing.siblings import sibling_path
from finer_rewards.rewards import execution_match
from finer_rewards.schema import Schema
from finer_rewards.types import Status

MakeDb = Callable[..., Path]

CONCERTS = """
CREATE TABLE singer (singer_id INTEGER PRIMARY KEY, name TEXT NOT NULL, country TEXT, age INT);
CREATE TABLE concert (concert_id INTEGER PRIMARY KEY, singer_id INT REFERENCES singer, year INT, seats INT);
INSERT INTO singer VALUES (1,'Joe','France',52),(2,'Tim','Italy',32),(3,'Rose','France',41),(4,'Ann','Spain',29),
  (5,'Bob','Italy',43),(6,'Eva','France',25),(7,'Kim','Korea',37);
INSERT INTO concert VALUES (1,1,2014,100),(2,1,2015,80),(3,2,2014,120),(4,3,2015,60),(5,3,2014,90),(6,5,2016,70);
"""
GOLDS = (
    "SELECT count(*) FROM singer",
    "SELECT name FROM singer WHERE age > 40 AND country = 'France'",
    "SELECT country, avg(age) FROM singer GROUP BY country",
    "SELECT T1.name FROM singer AS T1 JOIN concert AS T2 ON T1.singer_id = T2.singer_id WHERE T2.year = 2014",
    "SELECT name FROM singer ORDER BY age DESC LIMIT 1",
    "SELECT DISTINCT country FROM singer",
)


def path_of(db: str) -> Path:
    path = sibling_path(db)
    assert path is not None
    return path


def schema_of(path: Path) -> Schema:
    with fr.SQLite() as executor:
        return executor.schema(str(path))


def build(path: Path, golds: Sequence[str] = GOLDS, **options: int) -> Suite:
    return build_neighbours(path, golds, workers=1, **options)


def match(path: Path, gold: str, predicted: Sequence[str], dbs: Sequence[str] = ()) -> list[float | None]:
    with fr.Scorer(execution_match(), fr.SQLite(path.parent, workers=1), neighbours=0) as scorer:
        return [
            score.value
            for score in scorer.score([fr.Sample(sql, gold, (str(path), *dbs)) for sql in predicted])
        ]


def test_guesses_and_near_misses_match_no_longer(make_db: MakeDb) -> None:
    path = make_db("concert", CONCERTS)
    suite = build(path)
    near_misses = {
        GOLDS[0]: ["SELECT min(age) - 18 FROM singer", "SELECT max(singer_id) FROM singer"],
        GOLDS[1]: [
            "SELECT name FROM singer WHERE age > 40 AND country <> 'Italy'",
            "SELECT name FROM singer WHERE age <> 25 AND country = 'France'",
        ],
        GOLDS[4]: [
            "SELECT name FROM singer WHERE age = 52",
            "SELECT name FROM singer ORDER BY singer_id LIMIT 1",
        ],
    }
    for gold, predicted in near_misses.items():
        assert match(path, gold, predicted) == [1.0, 1.0]
        dbs = neighbours_of(path, gold)
        assert dbs
        got = match(path, gold, [*predicted, gold], dbs)
        assert got == [0.0, 0.0, 1.0]
    assert suite.kill_rate is not None and suite.kill_rate > 0.95
    assert all(one.pinned and not one.problem for one in suite.golds)
    assert all(0 < len(one.instances) <= 8 for one in suite.golds)


def test_the_reason_of_a_match_is_that_of_the_database_itself(make_db: MakeDb) -> None:
    path = make_db("concert", CONCERTS)
    gold = "SELECT name FROM singer"
    with fr.Scorer("execution_match()", fr.SQLite("/")) as scorer:
        score = scorer.score_one(fr.Sample(gold, gold, str(path)))
    with sqlite3.connect(path) as connection:
        (count,) = connection.execute("SELECT count(*) FROM singer").fetchone()
    connection.close()
    assert score.value == 1.0 and score.reason.startswith(f"{count} rows = gold")


def test_other_ways_to_write_the_gold_still_match(make_db: MakeDb) -> None:
    path = make_db("concert", CONCERTS)
    build(path)
    same = {
        GOLDS[2]: "SELECT s.country, sum(s.age) * 1.0 / count(s.age) FROM singer AS s GROUP BY 1",
        GOLDS[
            3
        ]: "SELECT s.name FROM concert AS c, singer AS s WHERE c.year = 2014 AND s.singer_id = c.singer_id",
        GOLDS[4]: "SELECT name FROM singer WHERE age = (SELECT max(age) FROM singer)",
        GOLDS[5]: "SELECT country FROM singer GROUP BY country",
    }
    for gold, predicted in same.items():
        assert match(path, gold, [predicted], neighbours_of(path, gold)) == [1.0]


def test_the_same_seed_gives_the_same_bytes(make_db: MakeDb, tmp_path: Path) -> None:
    path = make_db("concert", CONCERTS)

    def contents(folder: str, seed: int) -> list[bytes]:
        suite = build_neighbours(path, GOLDS, folder=tmp_path / folder, seed=seed, workers=1)
        assert suite.folder == tmp_path / folder / "concert" / "neighbours"
        return [Path(file).read_bytes() for file in suite.paths]

    assert contents("one", 0) == contents("two", 0)
    assert contents("one", 0) != contents("three", 1)


def test_keys_references_and_types_hold(make_db: MakeDb) -> None:
    path = make_db("concert", CONCERTS)
    for file in build(path).paths:
        with closing(sqlite3.connect(file)) as connection:
            assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
            assert connection.execute("PRAGMA foreign_key_check").fetchall() == []
            assert connection.execute("SELECT count(*) FROM singer WHERE name IS NULL").fetchone() == (0,)
            kinds = connection.execute("SELECT DISTINCT typeof(age), typeof(name) FROM singer").fetchall()
            assert kinds == [("integer", "text")]
        assert schema_of(file) == schema_of(path)


def test_a_text_that_refers_to_a_number_refers_to_a_row(make_db: MakeDb) -> None:
    # As in Spider's concert_singer: the reference is declared TEXT, the key INT, and SQLite joins them all the same.
    path = make_db(
        "concert",
        """CREATE TABLE singer (singer_id INTEGER PRIMARY KEY, name TEXT NOT NULL);
        CREATE TABLE concert (concert_id INTEGER PRIMARY KEY, singer_id TEXT REFERENCES singer, year INT);
        WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 40)
          INSERT INTO singer SELECT i, 'Singer ' || i FROM n;
        INSERT INTO concert SELECT singer_id, 41 - singer_id, 2010 + singer_id % 7 FROM singer WHERE singer_id < 30""",
    )
    settings = {"busy_timeout": 1.0, "limits": []}
    connection = Connection(f"file:{path}?mode=ro", settings)
    source = read_database(connection)
    connection.close()
    for number, recipe in enumerate(RECIPES):
        tables = make_instance(source, [], recipe, PortableRandom(str(number))).tables
        singers = {row[0] for row in tables["singer"]}
        assert tables["concert"] and all(row[1] in singers for row in tables["concert"] if row[1] is not None)


def test_what_was_built_reads_back_and_a_changed_database_is_noticed(make_db: MakeDb) -> None:
    path = make_db("concert", CONCERTS)
    with pytest.raises(ConfigError, match=r"are not there.*testsuite build"):
        suite_of(path)
    suite = build(path)
    read = suite_of(path)
    assert (read.folder, read.digest) == (suite.folder, suite.digest)
    assert {one.sql: one for one in read.golds} == {one.sql: one for one in suite.golds}
    assert json.loads((suite.folder / "manifest.json").read_text())["kill_rate"] == suite.kill_rate
    assert neighbours_of(path, "SELECT country FROM singer") == ()
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("DELETE FROM concert")
    with pytest.raises(ConfigError, match="another content"):
        neighbours_of(path)


def test_neighbours_of_a_gold_hang_on_nothing_but_it_and_the_content(make_db: MakeDb, tmp_path: Path) -> None:
    path = make_db("concert", CONCERTS)
    (tmp_path / "copy").mkdir()
    copy = tmp_path / "copy" / "other_name.sqlite"
    copy.write_bytes(path.read_bytes())
    together = build_neighbours(path, GOLDS, folder=tmp_path / "together", workers=2)
    backwards = build_neighbours(copy, GOLDS[::-1], folder=tmp_path / "backwards", workers=1)
    for gold in GOLDS:
        alone = build_neighbours(path, [gold], folder=tmp_path / "alone", workers=1)
        reports = [suite.report(gold) for suite in (together, backwards, alone)]
        assert reports[0] is not None and reports[0].instances
        assert reports[0] == reports[1] == reports[2]


def test_a_new_gold_is_added_to_what_is_there(make_db: MakeDb) -> None:
    path = make_db("concert", CONCERTS)
    suite = build(path, GOLDS[:3])
    before = {file: Path(file).stat().st_mtime_ns for file in suite.paths}
    steps: list[int] = []
    more = build_neighbours(path, GOLDS[:4], workers=1, on_step=steps.append)
    assert {file: Path(file).stat().st_mtime_ns for file in before} == before
    assert steps == [3, 1] and more.golds[:3] == suite.golds
    assert len(suite_of(path).golds) == 4


def test_a_folder_with_something_else_in_it_is_left_alone(make_db: MakeDb) -> None:
    path = make_db("concert", CONCERTS)
    mine = path.parent / "concert" / "neighbours" / "letter.txt"
    mine.parent.mkdir(parents=True)
    mine.write_text("dear neighbour")
    with pytest.raises(ConfigError, match="something else"):
        build(path)
    assert mine.read_text() == "dear neighbour"
    assert not list(path.parent.glob("**/.neighbours-*"))


def test_an_instance_that_ties_at_the_limit_does_not_serve(make_db: MakeDb) -> None:
    path = make_db("concert", CONCERTS)
    suite = build(
        path,
        ["SELECT name FROM singer ORDER BY age DESC LIMIT 1", "SELECT age FROM singer ORDER BY age LIMIT 2"],
    )
    for one in suite.golds:
        assert one.instances
        for file in suite.paths_for(one.sql):
            with closing(sqlite3.connect(file)) as connection:
                ages = [age for (age,) in connection.execute("SELECT age FROM singer ORDER BY age DESC")]
            cut = 1 if "DESC" in one.sql else len(ages) - 2
            assert ages[cut - 1] != ages[cut]


def test_a_gold_gets_siblings_that_are_built_when_they_are_not_there(
    make_db: MakeDb, capsys: pytest.CaptureFixture[str]
) -> None:
    path = make_db("concert", CONCERTS)
    suite = build(path)
    unknown = "SELECT name FROM singer ORDER BY country LIMIT 1"  # ties wherever a country comes twice
    with fr.SQLite(path.parent, workers=1) as executor:
        asked = [("concert", GOLDS[0]), (str(path), GOLDS[0]), ("nowhere", GOLDS[0])]
        known, by_path, missing = find_siblings(executor, asked, most=8)
        contents = [Path(file).read_bytes() for file in suite.paths_for(GOLDS[0])]
        assert [path_of(db).read_bytes() for db in known.dbs] == contents
        assert [path_of(db) for db in by_path.dbs] == [path_of(db) for db in known.dbs]
        assert missing.dbs == () and not missing.error
        assert len(find_siblings(executor, asked[:1], most=1)[0].dbs) == 1
        assert "built" not in capsys.readouterr().err
        (other,) = find_siblings(executor, [("concert", unknown)], most=8)
        assert "neighbours of concert for 1 of 1 golds" in capsys.readouterr().err
        assert find_siblings(executor, [("concert", f" {unknown};")], most=8) == [other]
        assert "built" not in capsys.readouterr().err
        for db in other.dbs:
            assert not executor.execute_many([Query(unknown, db, keep=True)])[0].ambiguous


@pytest.mark.slow
def test_processes_that_want_the_same_build_it_once(make_db: MakeDb, tmp_path: Path) -> None:
    path = make_db("concert", CONCERTS)
    script = (
        "import sys, finer_rewards as fr\n"
        "with fr.Scorer('execution_match()', fr.SQLite(sys.argv[1], workers=1), neighbours=8) as scorer:\n"
        f"    print(scorer.score_one(fr.Sample({GOLDS[3]!r}, {GOLDS[3]!r}, 'concert')).value)\n"
    )
    environment = {**os.environ, "FINER_REWARDS_CACHE": str(tmp_path / "cache")}
    started = [
        subprocess.Popen(
            [sys.executable, "-c", script, str(path.parent)],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(2)
    ]
    answers = [process.communicate(timeout=120) for process in started]
    assert [out.strip() for out, _ in answers] == ["1.0"] * 2
    assert sum("finer-rewards: built" in err for _, err in answers) == 1
    assert not list((tmp_path / "cache").rglob("*.part"))


def test_near_misses_have_one_change_each(make_db: MakeDb) -> None:
    schema = schema_of(make_db("concert", CONCERTS))
    tree = read_gold(GOLDS[3] + ' AND T1.country = "France" ORDER BY T1.age LIMIT 3', schema)
    assert tree is not None
    mutants = mutants_of(tree, schema)
    expected = (
        "predicate dropped, comparison, constant, and/or, join key, join kind, direction, order dropped"
    )
    assert {*expected.split(", "), "limit", "column", "distinct"} <= {one.kind for one in mutants}
    assert len({one.sql for one in mutants}) == len(mutants)
    assert any(
        "T1.country = 'France'" in one.sql for one in mutants
    )  # double quotes around no column are text
    assert [(one.table, one.column, one.meets) for one in conditions_of(tree, schema)] == [
        ("concert", "year", (2014,)),
        ("singer", "country", ("France",)),
    ]
    assert [(one.left, one.right) for one in joins_of(tree, schema)] == [
        (("singer", "singer_id"), ("concert", "singer_id"))
    ]


def test_a_guess_recites_the_result() -> None:
    guess = guess_of([(3, "o'clock", None, b"\x01")], ["singer"])
    assert guess is not None and "SELECT 3, 'o''clock', NULL, x'01'" in guess.sql and '"singer"' in guess.sql
    assert guess_of([], ["singer"]) is None


def test_the_scorer_asks_the_neighbours(make_db: MakeDb) -> None:
    path = make_db("concert", CONCERTS)
    build(path)
    guess = fr.Sample("SELECT max(singer_id) FROM singer", GOLDS[0], "concert")
    right = fr.Sample("SELECT count(1) FROM singer", GOLDS[0], "concert")
    executor = fr.SQLite(path.parent, workers=1)
    with fr.Scorer("execution_match()", executor, neighbours=0) as scorer:
        assert [score.value for score in scorer.score([guess, right])] == [1.0, 1.0]
        before = scorer.signature.digest
    with fr.Scorer("execution_match()", pickle.loads(pickle.dumps(executor)), neighbours=8) as scorer:
        lucky, right_too = scorer.score([guess, right])
        assert (lucky.value, right_too.value) == (0.0, 1.0)
        assert (lucky.metrics, right_too.metrics) == ({"lucky": 1.0}, {"lucky": 0.0})
        assert (
            "by luck: not on concert#neighbour-" in lucky.reason and "the gold gives 1 row (" in lucky.reason
        )
        assert scorer.signature.digest != before


def test_explain_shows_the_rows_on_the_neighbour_that_refuses(
    make_db: MakeDb, capsys: pytest.CaptureFixture[str]
) -> None:
    path = make_db("concert", CONCERTS)
    build(path)
    asked = ["explain", "SELECT max(singer_id) FROM singer", GOLDS[0], "--db", str(path), "--neighbours", "8"]
    assert main([*asked, "--format", "json"]) == 0
    (record,) = json.loads(capsys.readouterr().out)
    assert record["results"]["only_gold"] == []  # they agree on the database itself
    assert record["neighbour"]["db"] in record["reason"]
    (predicted,), (gold,) = record["neighbour"]["only_predicted"], record["neighbour"]["only_gold"]
    assert predicted != gold
    assert main(asked) == 0
    text = capsys.readouterr().out
    assert (
        f"on {record['neighbour']['db']}: " in text and f"{predicted[0]} " in text.split("only predicted")[1]
    )
    # What everybody agrees on has no neighbour to show.
    assert main([asked[0], GOLDS[0], *asked[2:], "--format", "json"]) == 0
    assert json.loads(capsys.readouterr().out)[0]["neighbour"] is None


def test_neighbours_are_built_before_the_first_step_where_a_dataset_is_checked(
    make_db: MakeDb, capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FINER_REWARDS_CACHE", str(tmp_path / "cache"))
    path = make_db("concert", CONCERTS)
    samples = [fr.Sample("", gold, "concert") for gold in GOLDS[:2]]
    with fr.Scorer("execution_match()", fr.SQLite(path.parent, workers=1)) as scorer:
        scorer.build_neighbours(samples)
        assert "neighbours of concert for 2 of 2 golds" in capsys.readouterr().err
        assert [score.value for score in scorer.score([replace(samples[0], completion=GOLDS[0])])] == [1.0]
        assert capsys.readouterr().err == ""
    # Published modes have none unless they are asked for.
    bird = "execution_match(mode='bird')"
    lucky = replace(samples[0], completion="SELECT max(singer_id) FROM singer")
    with fr.Scorer(bird, fr.SQLite(path.parent, workers=1)) as plain:
        assert plain.score_one(lucky).value == 1.0
    with fr.Scorer(bird, fr.SQLite(path.parent, workers=1), neighbours=8) as careful:
        assert careful.score_one(lucky).value == 0.0


def test_an_empty_gold_is_judged_where_a_neighbour_has_rows(make_db: MakeDb) -> None:
    path = make_db("concert", CONCERTS)
    gold = "SELECT name FROM singer WHERE country = 'Norway'"
    completions = [
        gold,
        "SELECT name FROM singer WHERE country = 'Peru'",
        "SELECT name FROM singer",
        "SELECT nme",
    ]
    samples = [fr.Sample(sql, gold, "concert") for sql in completions]
    with fr.Scorer("execution_match()", fr.SQLite(path.parent, workers=1)) as scorer:
        assert [score.value for score in scorer.score(samples)] == [1.0, 0.0, 0.0, 0.0]
    with fr.Scorer("execution_match()", fr.SQLite(path.parent, workers=1), neighbours=0) as scorer:
        assert {score.value for score in scorer.score(samples[:3])} == {None}


def test_neighbours_lost_in_mid_run_leave_their_samples_unscored(
    make_db: MakeDb, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = make_db("concert", CONCERTS)
    full = tmp_path / "full"
    full.write_text("no folder")
    samples = [fr.Sample(gold, gold, "concert") for gold in GOLDS[:2]]
    with fr.Scorer("execution_match()", fr.SQLite(path.parent, workers=1), neighbours=8) as scorer:
        assert scorer.score_one(samples[0]).value == 1.0
        monkeypatch.setenv("FINER_REWARDS_CACHE", str(full))
        lost = scorer.score_one(samples[1])
        assert (lost.value, lost.status) == (None, Status.neighbours_lost)
        assert "could not be made" in lost.reason and lost.status.blame == "system"
        assert scorer.score_one(replace(samples[1], completion="SELECT 1 FROM singer")).value == 0.0
        monkeypatch.undo()
        assert scorer.score_one(samples[1]).value == 1.0
    # One that begins without is told so: where neighbours were asked for by an error, else by a warning.
    monkeypatch.setenv("FINER_REWARDS_CACHE", str(full))
    with (
        fr.Scorer("execution_match()", fr.SQLite(path.parent, workers=1), neighbours=8) as scorer,
        pytest.raises(ConfigError, match="could not be made"),
    ):
        scorer.score(samples)


def test_the_signature_tells_suites_apart(make_db: MakeDb, tmp_path: Path) -> None:
    path = make_db("concert", CONCERTS)
    guess = fr.Sample("SELECT max(singer_id) FROM singer", GOLDS[0], "concert")

    def digest(folder: str | None, root: Path | str = path.parent, sample: fr.Sample | None = None) -> str:
        neighbours = (8, tmp_path / folder) if folder else 8
        with fr.Scorer("execution_match()", fr.SQLite(root, workers=1), neighbours=neighbours) as scorer:
            if sample is not None:
                assert scorer.score_one(sample).value == 0.0
            return scorer.signature.digest

    (tmp_path / "one").mkdir()
    none = digest("one")
    build_neighbours(path, GOLDS, folder=tmp_path / "one", workers=1)
    build_neighbours(path, GOLDS[::-1], folder=tmp_path / "two", workers=1)
    build_neighbours(path, GOLDS, folder=tmp_path / "seed", workers=1, seed=1)
    build_neighbours(path, GOLDS[:2], folder=tmp_path / "golds", workers=1)
    # Known before anything is scored, the same wherever they lie, and for every batch.
    assert digest("one") == digest("two") == digest("one", sample=guess)
    assert len({none, digest("one"), digest("seed"), digest("golds")}) == 4
    # Those that are built when they are needed hang on the data and the version of what makes them alone.
    assert digest(None) == none == digest(None, sample=guess)


def test_a_row_named_by_its_key_keeps_its_other_names(make_db: MakeDb) -> None:
    path = make_db("concert", CONCERTS)
    gold = "SELECT age FROM singer WHERE singer_id = 7"
    suite = build(path, [gold])
    assert suite.golds[0].pinned
    # Nobody else comes from Korea; several come from France.
    others = ["SELECT age FROM singer WHERE country = 'Korea'", "SELECT age FROM singer WHERE singer_id = 6"]
    assert match(path, gold, [*others, "SELECT 37 FROM singer LIMIT 1"], suite.paths_for(gold)) == [1, 0, 0]
    # What a gold asks for is not known beforehand.
    asked = "SELECT country FROM singer WHERE singer_id = 7"
    suite = build(path, [asked])
    recited = "SELECT country FROM singer WHERE country = 'Korea'"
    assert match(path, asked, [recited], suite.paths_for(asked)) == [0]


def test_command_line(make_db: MakeDb, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    path = make_db("concert", CONCERTS)
    gold = tmp_path / "gold.sql"
    gold.write_text("".join(f"{sql}\tconcert\n" for sql in GOLDS))
    guess = tmp_path / "guess.sql"
    guess.write_text("SELECT max(singer_id) FROM singer")
    folder, built = str(path.parent), str(tmp_path / "built")
    build_them = ["testsuite", "build", "--db", folder, "--gold", str(gold), "-o", built, "--workers", "1"]
    assert main([*build_them, "--format", "json"]) == 0
    records = json.loads(capsys.readouterr().out)
    assert [record["gold"] for record in records] == list(GOLDS)
    assert all(record["pinned"] and record["neighbours"] for record in records)
    score = ["score", str(guess), GOLDS[0], "--db", str(path), "--workers", "1", "--format", "jsonl"]
    first = tmp_path / "first.sql"
    first.write_text(GOLDS[0])
    score[2] = str(first)
    assert main([*score, "--neighbours", "8", "--neighbours-from", built]) == 0
    assert json.loads(capsys.readouterr().out)["value"] == 0.0
    assert main(score) == 0
    assert json.loads(capsys.readouterr().out)["value"] == 1.0
    assert main([*score, "--neighbours", "8"]) == 0
    assert json.loads(capsys.readouterr().out)["value"] == 0.0
    gold.write_text("SELECT name FROM singer WHERE age > 400\tconcert\nSELECT nme FROM singer\tconcert\n")
    assert main(build_them) == 1
    assert "it does not run" in capsys.readouterr().out


def test_a_column_moved_past_columns_alike_still_matches(make_db: MakeDb) -> None:
    path = make_db("concert", CONCERTS)
    gold = "SELECT min(age), max(age), country FROM singer GROUP BY country"
    build(path, [gold])
    moved = "SELECT country, min(age), max(age) FROM singer GROUP BY country"
    assert match(path, gold, [moved], neighbours_of(path, gold)) == [1.0]


def test_golds_and_schemas_of_strangers_run_in_workers_only(
    make_db: MakeDb, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Nothing that a gold or a schema takes part in may reach a connection of this process.
    path = make_db("concert", CONCERTS)

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("a database was opened in this process")

    monkeypatch.setattr(sqlite3, "connect", refuse)
    suite = build(path, GOLDS[:2])
    assert all(one.instances for one in suite.golds)
    with fr.SQLite(path.parent, workers=1) as executor:
        found = audit_golds([Gold(gold, "concert") for gold in GOLDS], executor)
    assert found == [()] * len(GOLDS)


@pytest.mark.slow
def test_a_gold_that_is_heavy_only_backwards_ends_within_the_limits(make_db: MakeDb) -> None:
    path = make_db(
        "heavy",
        """CREATE TABLE t (a INT); INSERT INTO t VALUES (1), (2), (3);
        CREATE TABLE n (i INT); WITH RECURSIVE r(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM r WHERE i < 3000)
          INSERT INTO n SELECT i FROM r""",
    )
    # Read forwards the first row ends it; read backwards it counts the pairs of pairs of 3,000 rows.
    gold = "SELECT a, CASE WHEN a = 1 THEN 0 ELSE (SELECT count(*) FROM n x, n y, n z) END FROM t LIMIT 1"
    with fr.SQLite(path.parent, workers=1, timeout=0.3) as executor:
        assert executor.execute(gold, "heavy").ok
        assert audit_golds([Gold(gold, "heavy")], executor) == [()]
    (report,) = build_neighbours(path, [gold], workers=1, timeout=0.3).golds
    assert report.problem or report.instances
