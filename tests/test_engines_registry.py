"""Engines from outside the package: registered, they are found by place, scored with, and tried, like those inside."""

from __future__ import annotations

import ast
import json
import re
import runpy
import sqlite3
import subprocess
import sys
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

import finer_rewards as fr
from finer_rewards.cli import main
from finer_rewards.engines.registry import ENGINES, engine_at, engine_named, is_address, register_engine
from finer_rewards.errors import ConfigError

EXAMPLE = Path(__file__).parent.parent / "examples" / "extending" / "csv_engine" / "engine.py"
PACKAGE = Path(fr.__file__).parent
SALES = "city,amount\nRome,3\nOslo,5\nRome,4\n"
GOLD = "SELECT city, amount FROM {} ORDER BY amount DESC LIMIT 2"


@pytest.fixture
def engines(monkeypatch):
    """The registry, put back afterwards."""
    kept = dict(ENGINES)
    yield ENGINES
    ENGINES.clear()
    ENGINES.update(kept)


@pytest.fixture
def csv(engines):
    return runpy.run_path(str(EXAMPLE))["ENGINE"]


def test_the_example_runs():
    done = subprocess.run([sys.executable, EXAMPLE], capture_output=True, text=True, check=True)
    assert [line[0] for line in done.stdout.splitlines()[:2]] == ["2", "1"]
    assert "engine:csv|" in done.stdout


def test_an_engine_from_outside_scores_a_file_and_a_folder(csv, tmp_path):
    for name in ("sales", "more"):
        (tmp_path / f"{name}.csv").write_text(SALES)
    assert engine_at(tmp_path).name == engine_at(tmp_path / "sales.csv").name == "csv"
    with fr.Scorer("execution_match() + atomic_f1()", csv.executor(tmp_path, workers=1)) as scorer:
        samples = [
            fr.Sample(GOLD.format(name), gold=GOLD.format(name), db=name) for name in ("sales", "more")
        ]
        samples += [fr.Sample("DELETE FROM sales", gold=GOLD.format("sales"), db="sales")]
        samples += [fr.Sample("SELECT 1", gold="SELECT 1", db="none")]
        assert [score.value for score in scorer.score(samples)] == [2.0, 2.0, 0.0, None]
        assert "engine:csv" in str(scorer.signature)
        gold = scorer.observe(samples[:1])[0].gold
        assert gold is not None and gold.order == (
            (5,),
            (4,),
        )  # what ORDER BY means is found as in any engine


@pytest.mark.parametrize("place", ["sales.csv", "."])
def test_an_engine_from_outside_scores_on_the_command_line(engines, tmp_path, monkeypatch, capsys, place):
    monkeypatch.chdir(tmp_path)
    Path("sales.csv").write_text(SALES)
    Path("gold.sql").write_text("SELECT city FROM sales\tsales\n")
    arguments = [
        "score",
        "gold.sql",
        "gold.sql",
        "--db",
        place,
        "--import",
        str(EXAMPLE),
        "--format",
        "jsonl",
    ]
    assert main(arguments) == 0
    (record,) = map(json.loads, capsys.readouterr().out.splitlines())
    assert record["value"] == 1
    assert main([*arguments, "--engine", "csv"]) == 0
    assert main([*arguments, "--engine", "sqlite"]) == 2


def test_a_name_of_the_package_cannot_be_taken(engines, csv):
    assert register_engine(csv) is csv
    with pytest.raises(ConfigError, match="no shipped engine, but got 'duckdb'"):
        register_engine(replace(csv, name="duckdb"))
    with pytest.raises(ConfigError, match="Did you mean 'duckdb'"):
        engine_named("duckdbb")


def test_what_is_an_address_is_said_by_the_engines():
    assert is_address("postgresql://reader@localhost/x") and not is_address("x.duckdb")


def test_each_database_is_looked_for_once(tmp_path, monkeypatch, capsys):
    """The walk of `--db`: whoever asks where a database is asks the executor, which asks once a name."""
    asked = []
    find = fr.SQLite._find
    monkeypatch.setattr(
        fr.SQLite, "_find", lambda self, db, called: asked.append(db) or find(self, db, called)
    )
    for name in ("one", "two"):
        with closing(sqlite3.connect(tmp_path / f"{name}.sqlite")) as connection:
            connection.executescript("CREATE TABLE t (a); INSERT INTO t VALUES (1)")
    lines = "".join(f"SELECT a FROM t\t{name}\n" for name in ("one", "two", "one", "two"))
    (tmp_path / "gold.sql").write_text(lines)
    gold = str(tmp_path / "gold.sql")
    assert main(["score", gold, gold, "--db", str(tmp_path)]) == 0
    assert sorted(asked) == ["one", "two"]


NAMED = re.compile(r"sqlite|duckdb|postgres|psycopg", re.IGNORECASE)


def _names(path: Path) -> set[str]:
    """The names in a file's code that are those of an engine, and the texts that are compared with."""
    tree = list(ast.walk(ast.parse(path.read_text())))
    names = {node.id for node in tree if isinstance(node, ast.Name)}
    names |= {node.attr for node in tree if isinstance(node, ast.Attribute)}
    for node in tree:
        if isinstance(node, ast.Import | ast.ImportFrom):
            names |= {alias.name for alias in node.names} | {getattr(node, "module", None) or ""}
        elif isinstance(node, ast.Compare):
            compared = (node.left, *node.comparators)
            names |= {str(one.value) for one in compared if isinstance(one, ast.Constant)}
    return {name for name in names if NAMED.search(name)}


@pytest.mark.parametrize(
    "part",
    [
        "executing",
        "_serving",
        "remote",
        "adapters",
        "scoring.py",
        "_trials.py",
        "cli/database_option.py",
        "cli/options.py",
    ],
)
def test_no_engine_is_named_outside_the_registry(part):
    place = PACKAGE / part
    files = sorted(place.rglob("*.py")) if place.is_dir() else [place]
    assert files
    assert {str(path.relative_to(PACKAGE)): found for path in files if (found := _names(path))} == {}
