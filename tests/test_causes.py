"""Why a wrong answer is wrong: its laws, what each cause is said of, and the counts in `evaluate` and `report`."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path
from typing import Any

import pytest
from bounds import examples
from hypothesis import given, settings
from hypothesis import strategies as st

import finer_rewards as fr
from finer_rewards import testing
from finer_rewards.causes import CAUSES, causes_between, failure_causes
from finer_rewards.cli import main
from finer_rewards.operations import OperationsError
from finer_rewards.reporting.operation_causes import wrong_operations

GOLD = "SELECT name FROM boat WHERE seats > 3"
#: A wrong query, its gold, and its causes.
WRONG = [
    ("SELECT name FROM boat WHERE seats > 4", GOLD, ["wrong_value"]),
    ("SELECT name FROM boat WHERE seats >= 3", GOLD, ["wrong_operator"]),
    ("SELECT name FROM boat WHERE id > 3", GOLD, ["wrong_column"]),
    ("SELECT name FROM boat", GOLD, ["missing_condition"]),
    ("SELECT name FROM boat WHERE seats > 3 AND id = 1", GOLD, ["extra_condition"]),
    ("SELECT id FROM boat WHERE seats > 3", GOLD, ["wrong_column"]),
    ("SELECT name, id FROM boat WHERE seats > 3", GOLD, ["extra_column"]),
    ("SELECT count(name) FROM boat WHERE seats > 3", GOLD, ["aggregation"]),
    ("SELECT DISTINCT name FROM boat WHERE seats > 3", GOLD, ["distinct"]),
    ("SELECT name FROM boat WHERE seats > 3 ORDER BY id", GOLD, ["order_limit"]),
    ("SELECT name FROM boat WHERE seats > 3 LIMIT 2", GOLD, ["order_limit"]),
    ("SELECT avg(seats) FROM boat", "SELECT sum(seats) FROM boat", ["aggregation"]),
    ("SELECT count(*) FROM boat", "SELECT count(DISTINCT name) FROM boat", ["aggregation"]),
    ("SELECT sum(id) FROM boat", "SELECT sum(seats) FROM boat", ["wrong_column"]),
    ("SELECT name FROM boat", "SELECT name, id FROM boat", ["missing_column"]),
    ("SELECT name FROM crew", "SELECT name FROM boat", ["wrong_table", "wrong_column"]),
    (
        "SELECT count(*) FROM boat",
        "SELECT count(*) FROM boat JOIN crew ON crew.boat = boat.id",
        ["missing_join"],
    ),
    (
        "SELECT count(*) FROM boat JOIN crew ON crew.boat = boat.id",
        "SELECT count(*) FROM boat",
        ["extra_join"],
    ),
    (
        "SELECT count(*) FROM boat JOIN crew ON crew.id = boat.id",
        "SELECT count(*) FROM boat JOIN crew ON crew.boat = boat.id",
        ["join_condition"],
    ),
    (
        "SELECT count(*) FROM boat GROUP BY seats",
        "SELECT count(*) FROM boat GROUP BY name",
        ["grouping"],
    ),
    (
        "SELECT id FROM boat UNION SELECT id FROM crew",
        "SELECT id FROM boat",
        ["set_operation"],
    ),
]  # fmt: skip
SCHEMA = """CREATE TABLE boat (id INTEGER, name TEXT, seats INTEGER);
CREATE TABLE crew (id INTEGER, name TEXT, boat INTEGER)"""
TEXTS = [None, "", "SELECT 1", "SELECT a FROM t", "((("]


@pytest.mark.parametrize(("predicted", "gold", "causes"), WRONG, ids=[one[0][:60] for one in WRONG])
def test_each_kind_of_mistake_has_its_name(predicted: str, gold: str, causes: list[str]) -> None:
    found = causes_between(*(fr.sql_operations(sql, schema=SCHEMA) for sql in (predicted, gold)))
    assert list(found) == causes


@settings(deadline=None, max_examples=examples(150))
@given(testing.queries(), testing.queries())
def test_equal_queries_have_no_cause_and_others_have_some(one: str, other: str) -> None:
    try:
        ours, theirs = fr.sql_operations(one), fr.sql_operations(other)
    except OperationsError:
        return
    assert causes_between(ours, ours) == causes_between(theirs, theirs) == ()
    found = causes_between(ours, theirs)
    assert bool(found) == (ours != theirs)
    assert list(found) == [cause for cause in CAUSES if cause in found]


@given(
    st.sampled_from(list(fr.Status)),
    st.sampled_from(TEXTS),
    st.booleans(),
)
def test_a_wrong_answer_always_has_a_cause(status: fr.Status, sql: str | None, empty: bool) -> None:
    found = failure_causes(sql, ["SELECT a FROM t", "SELECT b FROM t"], status=status, empty=empty)
    assert found and list(found) == [cause for cause in CAUSES if cause in found]
    if not status.scorable or status is fr.Status.ok:
        return
    assert len(found) == 1  # what did not run is not read


def test_the_nearest_gold_counts_and_what_operations_do_not_show_has_a_name_too() -> None:
    far = "SELECT max(z) FROM u GROUP BY y"
    assert failure_causes("SELECT a FROM t WHERE b = 1", [far, "SELECT a FROM t WHERE b = 2"]) == (
        "wrong_value",
    )
    assert failure_causes("SELECT a FROM t", [far, "SELECT a FROM t"]) == ("same_operations",)
    assert failure_causes("SELECT a FROM t", ["SELECT a FROM t"], empty=True) == ("empty_result",)
    assert failure_causes(None, [far]) == ("malformed",)


@pytest.fixture
def benchmark(tmp_path: Path) -> Path:
    folder = tmp_path / "spider"
    (folder / "database" / "harbour").mkdir(parents=True)
    connection = sqlite3.connect(folder / "database" / "harbour" / "harbour.sqlite")
    connection.executescript(
        "CREATE TABLE boat (id INTEGER PRIMARY KEY, name TEXT, seats INTEGER);"
        "INSERT INTO boat VALUES (1, 'Ahti', 10), (2, 'Bore', 20), (3, 'Vega', 3)"
    )
    connection.close()
    golds = [GOLD, "SELECT sum(seats) FROM boat", "SELECT name FROM boat", GOLD, GOLD]
    questions = [
        {"db_id": "harbour", "question": f"{number}?", "query": sql} for number, sql in enumerate(golds)
    ]
    (folder / "dev.json").write_text(json.dumps(questions))
    return folder


def test_evaluate_counts_one_main_cause_for_every_wrong_answer(
    benchmark: Path, tmp_path: Path, capsys: Any
) -> None:
    predicted = tmp_path / "p.sql"
    lines = [GOLD, "SELECT max(seats) FROM boat", "SELECT nme FROM boat", "SELECT name FROM boat", GOLD + "0"]
    predicted.write_text("\n".join(lines))
    ask = ["evaluate", str(predicted), str(benchmark)]
    assert main([*ask, "--format", "json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["causes"] == {
        "error": {"main": 1, "in": 1},
        "aggregation": {"main": 1, "in": 1},
        "wrong_value": {"main": 1, "in": 1},
        "missing_condition": {"main": 1, "in": 1},
        "empty_result": {"main": 0, "in": 1},
    }
    assert main([*ask, "--format", "jsonl"]) == 0
    causes = [json.loads(line)["causes"] for line in capsys.readouterr().out.splitlines()]
    assert causes == [[], ["aggregation"], ["error"], ["missing_condition"], ["wrong_value", "empty_result"]]
    assert main(ask) == 0
    text = capsys.readouterr().out
    assert [line.split() for line in text.splitlines() if line.startswith("wrong_value")] == [
        ["wrong_value", "1", "1"]
    ]


def test_a_report_counts_one_main_cause_for_every_sample_that_did_not_match(
    benchmark: Path, tmp_path: Path
) -> None:
    pytest.importorskip("duckdb")
    from finer_rewards.reporting.log_figures import read_run
    from finer_rewards.reporting.markdown import render_markdown

    log = tmp_path / "scores.jsonl"
    tries = [
        GOLD,
        "SELECT name FROM boat WHERE seats > 30",
        "SELECT name FROM boat",
        "DROP TABLE boat",
        "",
        "SELECT x",
    ]
    with fr.Scorer("execution_match()", fr.SQLite(benchmark / "database"), log=log) as scorer:
        scores = scorer.score(
            [fr.Sample(sql, (GOLD, "SELECT 1 FROM boat"), "harbour", "who?") for sql in tries * 2]
        )
        scorer.score([fr.Sample(GOLD, "SELECT nothing FROM boat", "harbour", "broken?")])
    run = read_run([str(log)])
    wrong = sum(score.value == 0 for score in scores)
    assert run.causes["of"] == run.causes["samples"] == wrong
    assert sum(one["main"] for one in run.causes["counts"]) == wrong
    assert {one["cause"]: one["in"] for one in run.causes["counts"]} == {
        "wrong_value": 2, "empty_result": 2, "missing_condition": 2, "refused": 2, "malformed": 2, "error": 2,
    }  # fmt: skip
    assert "| missing_condition | 2 | 2 |" in render_markdown([run], ["run"])


def test_operations_of_several_golds_are_those_of_the_most_similar_one():
    near, far = "SELECT a FROM t WHERE b = 1", "SELECT c FROM u ORDER BY d LIMIT 1"
    pair = {"predicted": "SELECT a FROM t", "n": 2, "db": ""}
    alone = wrong_operations([{**pair, "gold": near}])
    assert wrong_operations([{**pair, "gold": json.dumps([far, near])}]) == alone
    assert [one["operation"] for one in alone["missing"]] == ["filter t.b = 1"] and not alone["unread"]
    assert wrong_operations([{**pair, "gold": json.dumps(["SELECT (", "FROM"])}])["unread"] == 2
