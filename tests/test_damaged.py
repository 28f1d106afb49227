"""Every format that is read, damaged: what cannot be used ends in one of our own errors, or is left out; nothing else.

10,000 inputs each in the slow tier, a few hundred here. The formats of the memory have tests of their own.
"""

from __future__ import annotations

import json
import resource
import sqlite3
from collections.abc import Callable, Iterator
from hashlib import sha256
from pathlib import Path
from random import Random
from typing import Any

import pytest
from damage import changed, damaged, damaged_lines

import finer_rewards as fr
from finer_rewards._neighbours import build_neighbours, find_siblings
from finer_rewards._neighbours.suite_store import (
    read_report,
    read_suite,
    report_path,
    suites_digest,
    write_manifest,
)
from finer_rewards._statement_files import read_pairs, read_statements
from finer_rewards.adapters._training_rows import Fields, judge, truth_of
from finer_rewards.adapters.openrlhf import openrlhf_reward
from finer_rewards.datasets.candidates import read_candidates
from finer_rewards.datasets.question_sources import read_source
from finer_rewards.engines.sqlite.files import SQLiteFile
from finer_rewards.errors import FinerError
from finer_rewards.executing import Query
from finer_rewards.executing.cache import ResultCache
from finer_rewards.reporting.rollouts import read_rollouts

GOLD = "SELECT name FROM boat WHERE seats > 3 ORDER BY name"
BUDGET = 600 << 20  # bytes that reading all of it may add to this process

#: Reads one input, damaged as the random numbers say.
Attempt = Callable[[Random], Any]


@pytest.fixture(scope="module")
def harbour(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("damaged")
    connection = sqlite3.connect(folder / "harbour.sqlite")
    connection.executescript(
        "CREATE TABLE boat (id INTEGER PRIMARY KEY, name TEXT, seats INTEGER);"
        "INSERT INTO boat VALUES (1, 'Ada', 4), (2, 'Bo', 6), (3, 'Cy', 2), (4, 'Di', 9);"
    )
    connection.close()
    return folder


def log(folder: Path) -> Iterator[Attempt]:
    path = folder / "scores.jsonl"
    with fr.Scorer("2 * execution_match() + executable()", fr.SQLite(folder), log=path) as scorer:
        samples = [
            fr.Sample(text, GOLD, "harbour", "Which?", meta={"id": number})
            for number, text in enumerate(
                (GOLD, "SELECT 1 FROM boat", "SELECT nope", "prose", "DROP TABLE boat")
            )
        ]
        scorer.score(
            [*samples, fr.Sample(GOLD, (), "harbour", answer=[("Ada", b"\0", float("nan"))])], step=3
        )
    records = [json.loads(line) for line in path.read_text().splitlines()]

    def rollouts(random: Random) -> None:
        path.write_bytes(damaged_lines(records, random))
        read_rollouts([str(path)])

    def report(random: Random) -> None:
        if random.random() < 0.02:  # a report takes a hundred times as long, and reads many lines at once
            pytest.importorskip("duckdb")
            pytest.importorskip("plotly")
            from finer_rewards.reporting.log_figures import read_run
            from finer_rewards.reporting.markdown import render_markdown
            from finer_rewards.reporting.page import render_page

            path.write_bytes(damaged_lines(records * 50, random))
            run = read_run([str(path)])
            render_markdown([run, run], ["a", "b"])
            render_page([run, run], ["a", "b"])

    yield rollouts
    yield report


def cache(folder: Path) -> Iterator[Attempt]:
    database = SQLiteFile.look(folder / "harbour.sqlite")
    with fr.SQLite(folder, workers=1) as executor:
        (run,) = executor.execute_many([Query(GOLD, "harbour", keep=True)])
    assert run.ok and run.order is not None
    ResultCache(folder / "cache", {}).put(database, GOLD, run, 100)
    (path,) = (folder / "cache").rglob("*.json")
    whole = path.read_bytes()
    assert ResultCache(folder / "cache", {}).get(database, GOLD) == run

    def kept(random: Random) -> None:
        if random.random() < 0.5:
            path.write_bytes(damaged(whole, random))
        else:
            path.write_text(json.dumps(changed(json.loads(whole), random)))
        found = ResultCache(folder / "cache", {}).get(database, GOLD)
        if found is not None:  # as if it were whole: then what scores it must be able to
            fr.compare(run, found, gold_sql=GOLD, predicted_sql=GOLD)
            fr.compare(found, run, "bird")
            hash(found)

    yield kept


def neighbours(folder: Path) -> Iterator[Attempt]:
    database = folder / "harbour.sqlite"
    suite = build_neighbours(database, [GOLD, "SELECT count(*) FROM boat"], instances=2)
    digest = SQLiteFile.look(database).digest()
    assert suite.instances
    record = report_path(suite.folder, GOLD)
    whole = record.read_bytes()

    def read(random: Random) -> None:
        if random.random() < 0.5:
            record.write_bytes(damaged(whole, random))
        else:
            record.write_text(json.dumps(changed(json.loads(whole), random)))
        suites_digest(folder)
        read_report(suite.folder, GOLD, digest)
        found = read_suite(database, digest)
        write_manifest(found)
        assert {Path(path).parent for path in (*found.paths, *found.paths_for(GOLD))} <= {suite.folder}

    yield read
    record.write_bytes(whole)


STATEMENTS = {
    "a.sql": f"{GOLD};\n-- one\nSELECT 'a;b', \"c\" FROM boat; /* two */ SELECT 1;\n",
    "b.sql": f"{GOLD}\tharbour\nSELECT 1\tharbour\nSELECT ';'\tharbour\n",
    "c.json": json.dumps(
        {"0": f"{GOLD}\t----- bird -----\tharbour", "1": "SELECT 1\t----- bird -----\tharbour"}
    ),
    "d.json": json.dumps([{"query": GOLD, "question": "Which?", "db_id": "harbour"}] * 3),
    "e.json": json.dumps(
        [{"SQL": GOLD, "question": "Which?", "db_id": "harbour", "question_id": 1, "evidence": ""}] * 2
    ),
    "f.jsonl": "".join(
        json.dumps({"predicted": GOLD, "db": "harbour", "id": number}) + "\n" for number in range(3)
    ),
    "g.jsonl": json.dumps({"candidates": [GOLD, "SELECT 1"], "db": "harbour", "question_id": 1}) + "\n",
}


def _damaged_file(folder: Path, random: Random) -> Path:
    name = random.choice(list(STATEMENTS))
    text, path = STATEMENTS[name], folder / name
    if name.endswith("json") and random.random() < 0.5:
        path.write_text(json.dumps(changed(json.loads(text), random)))
    elif name.endswith("jsonl") and random.random() < 0.5:
        path.write_bytes(damaged_lines([json.loads(line) for line in text.splitlines()], random))
    else:
        path.write_bytes(damaged(text.encode(), random))
    return path


def predictions(folder: Path) -> Iterator[Attempt]:
    def read(random: Random) -> None:
        path = _damaged_file(folder, random)
        for reader in (lambda: read_statements(path), lambda: read_candidates([path, path])):
            try:
                reader()
            except FinerError:
                continue

    yield read


def golds(folder: Path) -> Iterator[Attempt]:
    whole = folder / "whole.sql"
    whole.write_text(STATEMENTS["a.sql"])

    def read(random: Random) -> None:
        path = _damaged_file(folder, random)
        for reader in (
            lambda: read_statements(path, side="gold"),
            lambda: read_pairs(whole, path),
            lambda: read_source(str(path), str(folder)),
        ):
            try:
                reader()
            except FinerError:
                continue

    yield read


def rows(folder: Path) -> Iterator[Attempt]:
    scorer = fr.Scorer("well_formed()")
    fields = Fields("gold", "db", "question", "answer", None)
    row = {"gold": [GOLD, "SELECT 1"], "db": ["harbour"], "question": "Which?", "answer": '[[1, "a"]]'}
    reward = openrlhf_reward(scorer)

    def read(random: Random) -> None:
        given = changed(row, random)
        if isinstance(given, dict):
            judge(scorer, [fields.sample(given, "SELECT 1", "", None)])
            fields.check(given, where="A row", caller="x")
        truth_of(changed(json.dumps(row), random))
        label = damaged(json.dumps(row).encode(), random).decode("utf-8", "replace")
        reward(["SELECT 1"], ["Which?"], [random.choice((label, given))])

    yield read


FORMATS = (log, cache, neighbours, predictions, golds, rows)


def attempted(reads: Callable[[Path], Iterator[Attempt]], folder: Path, seeds: range) -> None:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for attempt in reads(folder):
        for seed in seeds:
            try:
                attempt(Random(seed))
            except FinerError:
                continue
            except Exception as error:
                raise AssertionError(f"{reads.__name__}, seed {seed}: {error!r}") from error
    assert (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) << 10 < BUDGET


@pytest.mark.parametrize("reads", FORMATS)
@pytest.mark.filterwarnings("ignore:A sample cannot be scored")
def test_what_is_damaged_is_refused_or_left_out(
    reads: Callable[[Path], Iterator[Attempt]], harbour: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    attempted(reads, harbour, range(100))
    assert "The reward failed" not in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.parametrize("reads", FORMATS)
@pytest.mark.filterwarnings("ignore:A sample cannot be scored")
def test_ten_thousand_that_are_damaged_are_refused_or_left_out(
    reads: Callable[[Path], Iterator[Attempt]], harbour: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    attempted(reads, harbour, range(1_000, 11_000))
    assert "The reward failed" not in capsys.readouterr().err


@pytest.mark.parametrize(
    "file", ["../../boat.sqlite", "/etc/hostname", "00.sqlite/../../x", "", "..", "a\0b"]
)
def test_a_record_reaches_no_file_but_those_beside_it(harbour: Path, file: str) -> None:
    suite = build_neighbours(harbour / "harbour.sqlite", [GOLD], instances=2)
    record = report_path(suite.folder, GOLD)
    whole = json.loads(record.read_text())
    whole["instances"][0]["file"] = file
    record.write_text(json.dumps(whole))
    assert read_report(suite.folder, GOLD, suite.digest) is None


def test_a_neighbour_is_the_file_that_its_record_means(
    harbour: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The cache is shared by all databases of the same content: what comes from elsewhere must not get in."""
    suite = build_neighbours(harbour / "harbour.sqlite", [GOLD], instances=2)
    assert suite.instances
    for path in suite.paths:
        Path(path).write_bytes((harbour / "harbour.sqlite").read_bytes())
    monkeypatch.setenv("FINER_REWARDS_CACHE", str(tmp_path))
    with fr.SQLite(harbour, workers=1) as executor:
        (found,) = find_siblings(executor, [("harbour", GOLD)], most=3)
    assert found.error == ""
    for path in tmp_path.rglob("*.sqlite"):  # made anew, in the place of those that were not right
        assert path.name == f"{sha256(path.read_bytes()).hexdigest()[:16]}.sqlite"
