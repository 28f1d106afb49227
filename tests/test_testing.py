"""The testing kit: strategies draw what they say, and every law finds a reward that breaks it."""

from __future__ import annotations

import itertools
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from bounds import examples
from hypothesis import HealthCheck, Phase, find, given, settings
from hypothesis import strategies as st

import finer_rewards as fr
from finer_rewards import rewards as r
from finer_rewards import testing as ft
from finer_rewards.errors import ConfigError
from finer_rewards.testing.changes import Columns, differ, mutations, rewritings
from finer_rewards.testing.queries import Query, write
from finer_rewards.testing.small_databases import LIBRARY
from finer_rewards.testing.strategies import models
from finer_rewards.testing.subjects import SubjectCase, as_subject

few = settings(max_examples=examples(40), deadline=None, suppress_health_check=list(HealthCheck))
ROOT = Path(__file__).parent.parent
DDL = 'CREATE TABLE "order" (id INTEGER PRIMARY KEY, "full name" TEXT NOT NULL, price REAL)'


def rows(database: ft.Database, sql: str) -> list[tuple[Any, ...]]:
    connection = database.connect()
    try:
        return connection.execute(sql).fetchall()
    finally:
        connection.close()


@few
@given(st.data())
def test_queries_run_on_every_database_of_a_drawn_schema(data: st.DataObject) -> None:
    schema = data.draw(ft.schemas())
    database = data.draw(ft.databases(schema=schema))
    connection = database.connect()
    assert connection.execute("PRAGMA foreign_key_check").fetchall() == []
    connection.execute(data.draw(ft.queries(schema=schema))).fetchall()
    connection.close()


@few
@given(ft.equivalent_pairs(), ft.databases())
def test_equivalent_pairs_agree_on_any_database(pair: ft.Pair, database: ft.Database) -> None:
    gold, predicted = rows(database, pair.gold), rows(database, pair.predicted)
    assert sorted(gold, key=repr) == sorted(predicted, key=repr)
    if pair.ordered:
        assert gold == predicted


@few
@given(ft.near_misses())
def test_a_near_miss_differs_on_its_database(pair: ft.Pair) -> None:
    gold, predicted = rows(pair.database, pair.gold), rows(pair.database, pair.predicted)
    assert gold
    assert differ(gold, predicted, ordered=pair.ordered)


@few
@given(ft.queries(schema=DDL), ft.near_misses(schema=DDL))
def test_names_that_need_quotes_are_quoted(sql: str, pair: ft.Pair) -> None:
    (instance,) = {pair.database}
    rows(instance, sql)


PARTS = (
    *(" JOIN ", "LEFT JOIN", "GROUP BY", "HAVING", "IN (SELECT", "= (SELECT", "UNION", "UNION ALL", "EXCEPT"),
    *("INTERSECT", "OVER (PARTITION BY", "ORDER BY", "LIMIT", "OFFSET", "DISTINCT", "LIKE", "BETWEEN"),
    *("IS NULL", "NOT (", " OR ", "COUNT(*)", "COUNT(DISTINCT", "SUM(", "AVG(", "MIN(", "MAX("),
)
CHANGES = (
    *("missing condition", "other operator", "other literal", "negated condition", "other column"),
    *(
        "missing DISTINCT",
        "other direction",
        "missing limit",
        "other limit",
        "other offset",
        "wrong join key",
    ),
    *("missing join condition", "other aggregate", "other set operation", "missing column"),
    *("outer or inner join", "other connective", "added DISTINCT", "DISTINCT in an aggregate"),
)

REWRITINGS = (
    *("aliases", "letter case", "layout", "comments", "quoted names", "mirrored comparisons"),
    *("comparisons spelled out", "other order of conditions", "tables joined the other way round"),
    *("other order of rows", "inside a subquery", "as a common table expression", "arms exchanged"),
)


@pytest.mark.slow
def test_queries_have_every_part_and_mutation() -> None:
    columns = Columns(LIBRARY)
    changes: set[str] = set()
    rewritten: set[str] = set()
    texts: list[str] = []

    def keep(query: Query) -> None:
        texts.append(write(query))
        changes.update(name for name, _ in mutations(query, columns))
        rewritten.update(name for name, _ in rewritings(query, columns))

    fixed = settings(few, max_examples=300, derandomize=True, database=None, phases=[Phase.generate])
    fixed(given(models(LIBRARY))(lambda query: keep(query)))()
    assert [part for part in PARTS if not any(part in text for text in texts)] == []
    assert set(CHANGES) - changes == set()
    assert set(REWRITINGS) - rewritten == set()


@pytest.mark.slow
def test_draws_shrink_to_small_sql() -> None:
    # The same draws each time: how small a draw gets in so few steps is otherwise luck.
    quick = settings(few, max_examples=100, database=None, derandomize=True)
    assert len(find(ft.queries(), lambda sql: True, settings=quick)) < 120
    assert len(find(ft.queries(), lambda sql: " JOIN " in sql, settings=quick)) < 120


@few
@given(ft.completions(), ft.evidence(healthy=True))
def test_completions_and_healthy_evidence(text: str, one: fr.Evidence) -> None:
    fr.parse_completion(text)
    assert one.gold is not None and one.gold.ok and one.gold.rows
    assert r.execution_match()(one).value is not None


@pytest.mark.slow
def test_evidence_has_faults_of_data_and_system() -> None:
    blamed = set()
    fixed = settings(few, max_examples=150, derandomize=True, database=None, phases=[Phase.generate])
    fixed(given(ft.evidence())(lambda one: blamed.add(r.execution_match()(one).status.blame)))()
    assert blamed >= {"data", "system"}


@pytest.mark.parametrize(
    "build",
    [
        lambda: ft.queries(schema=3),
        lambda: ft.databases(max_rows=-1),
        lambda: ft.schemas(max_tables=0),
        lambda: ft.completions(sql="SELECT 1"),
        lambda: ft.evidence(healthy=1),
        lambda: ft.near_misses(schema=""),
        lambda: ft.check_reward(r.executable(), lo=1, hi=0),
        lambda: ft.check_reward(r.executable(), lo=0, hi=1, laws=("rang",)),
        lambda: ft.check_reward(r.executable(), lo=0, hi=1, examples=0),
        lambda: ft.check_reward(r.executable(), lo=0, hi=1, template="SELECT 1"),
        lambda: ft.check_reward(lambda x: 1.0, lo=0, hi=1),
        lambda: ft.check_reward(lambda completions: 1.0, lo=0, hi=1, calls="tlr"),
        lambda: ft.check_reward(lambda completions, truth: 1.0, lo=0, hi=1),
        lambda: ft.check_reward(3, lo=0, hi=1),
    ],
)
def test_arguments_are_validated_when_given(build: Callable[[], object]) -> None:
    with pytest.raises(ConfigError, match=r"should|There is no law|has no signature|asks for"):
        build()


# Bad rewards, one for each law.

_calls = itertools.count()


@fr.reward()
def planted_two(evidence: fr.Evidence) -> float:
    return 2.0 if evidence.answer.sql else 0.0


@fr.reward()
def planted_moody(evidence: fr.Evidence) -> float:
    return float(next(_calls) % 2)


@fr.reward()
def planted_hides_faults(evidence: fr.Evidence) -> float:
    gold, predicted = evidence.gold, evidence.predicted
    return float(gold is not None and predicted is not None and predicted.ok and gold.rows == predicted.rows)


def _closure() -> fr.Reward:
    @fr.reward()
    def planted_closure(evidence: fr.Evidence) -> float:
        return 1.0

    return planted_closure()


@fr.reward()
def planted_same_text(evidence: fr.Evidence) -> float:
    return float(evidence.answer.sql == evidence.sample.golds[0])


def nan(completions: Sequence[str], **columns: Any) -> list[float]:
    return [float("nan") for _ in completions]


def above_the_mean(completions: Sequence[str], **columns: Any) -> list[float]:
    mean = sum(map(len, completions)) / len(completions)
    return [float(len(text) >= mean) for text in completions]


def generous(completions: Sequence[str], **columns: Any) -> list[float]:
    return [1.0 for _ in completions]


def crashes(data_source: str, solution_str: str, ground_truth: str, extra_info: Any = None) -> float:
    return 1 / len(solution_str)


BAD: dict[str, Any] = {
    "finite": nan,
    "range": planted_two(),
    "repeatable": planted_moody(),
    "blame": planted_hides_faults(),
    "pickles": _closure(),
    "prints": fr.reward()(lambda evidence: 1.0)(),
    "batch": above_the_mean,
    "right_above_wrong": generous,
    "near_misses": r.execution_match(mode="bird"),
    "spelling": planted_same_text(),
    "same_meaning": planted_same_text(),
    "nothing_unrun": r.text_similarity(),
}


def test_there_is_a_bad_reward_for_every_law() -> None:
    assert set(BAD) == set(ft.LAWS)


@pytest.mark.parametrize("law", ft.LAWS)
def test_every_law_can_be_broken(law: str) -> None:
    with pytest.raises(ft.LawError) as found:
        ft.check_reward(BAD[law], lo=0, hi=1, laws=(law,), examples=40)
    assert found.value.law == law
    assert repr(law) in str(found.value) and ft.LAWS[law].sentence in str(found.value)


def test_the_failure_shows_the_smallest_example() -> None:
    with pytest.raises(ft.LawError) as found:
        ft.check_reward(r.execution_match(mode="bird"), lo=0, hi=1, laws=("near_misses",), examples=60)
    lines = str(found.value).splitlines()
    assert [line.split(":")[0].strip() for line in lines[1:]] == ["gold", "predicted", "change"]
    assert max(map(len, lines[1:])) < 130


def test_a_function_that_raises_is_named() -> None:
    with pytest.raises(ft.LawError, match=r"crashes raised ZeroDivisionError"):
        ft.check_reward(crashes, lo=0, hi=100, laws=("finite",), template="{sql}")


# The three signatures.


def _strict(sql: str, gold: str, path: str) -> float:
    connection = sqlite3.connect(f"file:{path}?mode=ro", uri=True)
    try:
        if not sql.upper().startswith("SELECT"):
            return 0.0
        return float(connection.execute(sql).fetchall() == connection.execute(gold).fetchall())
    except (sqlite3.Error, sqlite3.Warning):
        return 0.0
    finally:
        connection.close()


def _sql(text: str) -> str:
    return text.rpartition("</think>")[2].strip()


def trl_reward(prompts: Any, completions: Any, gold: Any, db: Any, **rest: Any) -> list[float]:
    return [_strict(_sql(text), *both) for text, *both in zip(completions, gold, db, strict=True)]


async def trl_async_reward(completions: Any, sql: Any, db_path: Any) -> list[float]:
    return trl_reward(None, completions, sql, db_path)


def trl_chat_reward(completions: Any, gold: Any, db: Any, **rest: Any) -> list[float]:
    return trl_reward(None, [messages[-1]["content"] for messages in completions], gold, db)


def verl_reward(data_source: str, solution_str: str, ground_truth: str, extra_info: Any) -> dict[str, float]:
    return {"score": _strict(_sql(solution_str), ground_truth, extra_info["db"])}


def openrlhf_reward(queries: Any, prompts: Any, labels: Any) -> dict[str, Any]:
    import json

    rows = [json.loads(label) for label in labels]
    return {"rewards": trl_reward(None, queries, [row["gold"] for row in rows], [row["db"] for row in rows])}


@pytest.mark.parametrize(
    ("function", "calls"),
    [
        (trl_reward, None),
        pytest.param(trl_async_reward, None, marks=pytest.mark.slow),
        (trl_chat_reward, "trl_chat"),
        pytest.param(verl_reward, None, marks=pytest.mark.slow),
        pytest.param(openrlhf_reward, None, marks=pytest.mark.slow),
    ],
)
def test_a_function_in_any_signature_is_checked(function: Any, calls: Any) -> None:
    ft.check_reward(
        function,
        lo=0,
        hi=1,
        calls=calls,
        examples=8,
        laws=("finite", "range", "repeatable", "batch", "right_above_wrong", "near_misses", "nothing_unrun"),
    )


def test_columns_of_other_names(make_db: Callable[..., Path]) -> None:
    def mine(completions: Any, truth: Any, where: Any) -> list[float]:
        return trl_reward(None, completions, truth, where)

    subject = as_subject(mine, columns={"truth": "gold", "where": "db"})
    path = make_db("one", "CREATE TABLE t (a); INSERT INTO t VALUES (1)")
    assert subject.score([SubjectCase("SELECT a FROM t", "SELECT a FROM t", (str(path),))]) == [1.0]


def test_without_hypothesis_the_extra_is_named() -> None:
    code = (
        "import sys; sys.modules['hypothesis'] = None\n"
        "import finer_rewards as fr\n"
        "try: fr.testing\n"
        "except fr.errors.MissingExtraError as error: print(error)\n"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert "pip install 'finer-rewards[testing]'" in result.stdout, result.stderr
