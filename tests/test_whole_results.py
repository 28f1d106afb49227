"""A verdict does not hang on how many rows of a result are shown."""

from __future__ import annotations

import sqlite3
import struct
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from bounds import examples
from hypothesis import given, settings
from hypothesis import strategies as st

import finer_rewards as fr
from finer_rewards import rewards as r
from finer_rewards._serving.confined import ConfinedExecutor
from finer_rewards._util.fingerprint import fingerprint_of
from finer_rewards.comparing import modes
from finer_rewards.comparing.partial_results import ResultPair, needs_rows, settled
from finer_rewards.executing import pooled
from finer_rewards.executing.process import Task
from finer_rewards.executing.protocol import Query

CELLS = st.one_of(
    st.none(),
    st.integers(-2, 2),
    st.sampled_from([0.0, -0.0, 1.0, 1.0 + 1e-10, 1.0 + 5e-10, 2.5, float(2**53)]),
    st.sampled_from(["", "a", "A ", "1", "1.0"]),
    st.sampled_from([b"", b"a"]),
)
WHOLE = sorted(name for name, mode in modes().items() if not needs_rows(mode) and mode.rewriting == "none")


#: Cells that only their own bytes equal, so that fingerprints may decide more.
PLAIN = st.one_of(st.none(), st.integers(-2, 2), st.sampled_from(["", "a", "b"]))


def tables(width: int, cells: st.SearchStrategy[Any]) -> st.SearchStrategy[list[tuple[Any, ...]]]:
    return st.lists(st.tuples(*[cells] * width), min_size=1, max_size=7)


@st.composite
def pairs(draw: st.DrawFn) -> tuple[list[tuple[Any, ...]], list[tuple[Any, ...]]]:
    """Two results that are often equal but for the order of rows or columns, a repeat or a cell."""
    cells = draw(st.sampled_from([CELLS, PLAIN]))
    gold = draw(tables(draw(st.integers(1, 3)), cells))
    if draw(st.integers(0, 3)) == 0:
        return gold, draw(tables(draw(st.integers(1, 3)), cells))
    order = draw(st.permutations(range(len(gold[0]))))
    predicted = [tuple(row[index] for index in order) for row in draw(st.permutations(gold))]
    for _ in range(draw(st.integers(0, 2))):
        place = draw(st.integers(0, len(predicted) - 1))
        if draw(st.booleans()):
            predicted.append(predicted[place])
        else:
            predicted[place] = (draw(cells), *predicted[place][1:])
    return gold, predicted


def literal(cell: Any) -> str:
    if cell is None:
        return "NULL"
    if isinstance(cell, bytes):
        return f"x'{cell.hex()}'"
    return f"'{cell}'" if isinstance(cell, str) else repr(cell)


def query(rows: list[tuple[Any, ...]]) -> str:
    return f"SELECT * FROM (VALUES {', '.join('(' + ', '.join(map(literal, row)) + ')' for row in rows)})"


@pytest.fixture(scope="module")
def executor(tmp_path_factory: pytest.TempPathFactory) -> Iterator[fr.SQLite]:
    folder = tmp_path_factory.mktemp("whole")
    with sqlite3.connect(folder / "x.sqlite") as connection:
        connection.execute("CREATE TABLE t (id INTEGER, name TEXT, price REAL)")
        rows = [(i, f"name {i * 7919 % 100003}", i * 0.37) for i in range(15_486)]
        connection.executemany("INSERT INTO t VALUES (?, ?, ?)", rows)
    connection.close()
    # Three rows are shown, and of predictions one: all else is judged by fingerprints, or in a worker.
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pooled, "SHIP", 1)
        made = fr.SQLite(folder, max_rows=3, workers=1)
    with made:
        yield made


@settings(max_examples=examples(150), deadline=None)
@given(pairs(), st.sampled_from(WHOLE))
def test_a_cut_result_is_judged_as_a_whole_one(
    executor: fr.SQLite, pair: tuple[list[tuple[Any, ...]], list[tuple[Any, ...]]], mode: str
) -> None:
    gold, predicted = pair
    expected = fr.compare(gold, predicted, mode, gold_sql=query(gold), predicted_sql=query(predicted)).match
    reward = r.execution_match(
        mode=mode, require_base_table=False, empty="accept", swapped_columns="accept", ambiguous="accept"
    )
    with fr.Scorer(reward, executor, neighbours=0, parse=lambda text: fr.Answer(None, text)) as scorer:
        assert scorer.score_one(fr.Sample(query(predicted), query(gold), "x")).value == float(expected)


@settings(deadline=None)
@given(pairs(), st.sampled_from(WHOLE), st.tuples(st.integers(0, 3), st.integers(0, 3)))
def test_what_is_sure_of_a_part_is_so_of_the_whole(
    pair: tuple[list[tuple[Any, ...]], list[tuple[Any, ...]]], mode: str, kept: tuple[int, int]
) -> None:
    record = modes()[mode]
    sides = []
    for rows, keep in zip(pair, kept, strict=True):
        names = tuple(f"c{index}" for index in range(len(rows[0])))
        run = fr.Execution(fr.Status.ok, names, tuple(rows[: keep or None]), truncated=0 < keep < len(rows))
        if keep == 1:  # all rows were read, and one is here
            run = fr.Execution(
                fr.Status.ok, names, tuple(rows[:1]), truncated=True, fingerprint=fingerprint_of(rows)
            )
        sides.append(run)
    sure = settled(ResultPair("x", sides[0], sides[1], record))
    if sure is not None:
        assert sure.match == fr.compare(*pair, mode).match


@pytest.mark.parametrize(
    ("predicted", "value"),
    [
        ("SELECT id, name FROM t", 1.0),
        ("SELECT id, name FROM t ORDER BY name", 1.0),
        ("SELECT id, name FROM t UNION ALL SELECT id, name FROM t WHERE id < 9", 1.0),
        ("SELECT id + 0.0, name FROM t", 1.0),
        ("SELECT name, id FROM t", 0.0),
        ("SELECT id, name FROM t WHERE id <> 5", 0.0),
        ("SELECT id, name FROM t WHERE id <> 15485 UNION ALL SELECT 15485, 'other'", 0.0),
        ("SELECT a.id, b.name FROM t a, t b", 0.0),
        ("SELECT id, name FROM t LIMIT 3", 0.0),
    ],
)
def test_bird_with_a_gold_of_15486_rows(executor: fr.SQLite, predicted: str, value: float) -> None:
    with (
        fr.SQLite(executor.root, workers=2) as shown,
        fr.Scorer(r.execution_match(mode="bird"), shown) as scorer,
    ):
        assert scorer.score_one(fr.Sample(predicted, "SELECT id, name FROM t", "x")).value == value


@pytest.mark.slow
def test_a_limit_that_decides_gives_no_value(executor: fr.SQLite) -> None:
    with fr.SQLite(executor.root, workers=1, memory_limit="128MiB") as small:
        scorer = fr.Scorer(r.execution_match(mode="bird"), small)
        # Each row of the gold, over and over: only reading on could show another.
        hidden = fr.Sample("SELECT a.id FROM t a, t b", "SELECT id FROM t", "x")
        found = scorer.score_one(hidden)
        assert (found.value, found.status) == (None, fr.Status.undecided)
        assert scorer.score_one(fr.Sample("SELECT id + 1 FROM t", "SELECT id FROM t", "x")).value == 0.0


def test_a_large_result_is_not_sent(executor: fr.SQLite) -> None:
    with fr.SQLite(executor.root, workers=1) as whole:
        sql = "SELECT id, name, price FROM t WHERE id < 5000"
        glance, shown = whole.execute_many([Query(sql, "x", glance=True), Query(sql + " ", "x")])
        assert glance.rows == shown.rows  # one of them wants the rows, so they come
        alone = whole.execute_many([Query(sql + " AND 1", "x", glance=True)])[0]
        assert 0 < len(alone.rows) < 100 and alone.truncated and alone.fingerprint is not None
        known = fingerprint_of(shown.rows)
        assert known is not None and alone.fingerprint[2:] == known[2:]


def test_a_batch_has_a_budget(executor: fr.SQLite) -> None:
    with fr.SQLite(executor.root, workers=1, max_batch_bytes="4MiB") as small:
        queries = [Query(f"SELECT id + {n}, name FROM t LIMIT 9000", "x") for n in range(8)]
        runs = small.execute_many(queries)
        lost = [run for run in runs if run.status is fr.Status.unavailable]
        assert 0 < len(lost) < len(runs)
        assert all("max_batch_bytes" in run.error for run in lost)
        assert small.execute_many(queries[:1])[0].ok  # the next batch has a budget of its own


def test_what_was_settled_is_known_in_the_next_batch(executor: fr.SQLite) -> None:
    asked: list[str] = []
    texts = ["SELECT name, id FROM t", "SELECT id, name FROM t ORDER BY name", "SELECT id FROM t"]
    samples = [fr.Sample(text, "SELECT id, name FROM t", "x") for text in texts]
    with fr.SQLite(executor.root, workers=1) as whole:
        run = whole._pool.run

        def counted(tasks: Any, *room: Any) -> None:
            asked.extend(task.kind.partition(":")[0] for task in tasks)
            run(tasks, *room)

        def values() -> list[float | None]:
            asked.clear()
            # A new scorer: it remembers no observation.
            return [
                score.value for score in fr.Scorer(r.execution_match(), whole, neighbours=0).score(samples)
            ]

        whole._pool.run = counted  # type: ignore[method-assign]
        assert values() == [1.0, 1.0, 0.0]
        assert {"glance", "scan", "compare"} <= set(asked)
        assert values() == [1.0, 1.0, 0.0]
        assert not {"glance", "scan", "compare"} & set(asked)


@pytest.mark.slow
def test_behind_a_server_too(executor: fr.SQLite) -> None:
    with fr.SQLite(executor.root, workers=1) as whole:
        scorer = fr.Scorer(r.execution_match(mode="strict"), ConfinedExecutor(whole), neighbours=0)
        texts = ["SELECT name, id FROM t", "SELECT id FROM t", "SELECT a.id, a.name FROM t a, t b"]
        found = scorer.score([fr.Sample(text, "SELECT id, name FROM t", "x") for text in texts])
        assert [score.value for score in found] == [1.0, 0.0, 0.0]


def test_numbers_are_no_undecodable_text() -> None:
    number = struct.unpack("<d", b"\xed\xb2\xed\xb3\xed\xb2\xed\x3f")[0]
    plain, lone = fingerprint_of([(number,)]), fingerprint_of([("a\udc80",)])
    assert plain is not None and plain.decodes
    assert lone is not None and not lone.decodes


def test_large_results_are_read_once(executor: fr.SQLite, monkeypatch: pytest.MonkeyPatch) -> None:
    """A gold is read to its end when it first runs; what comes after it is read as far as can matter."""
    kinds: list[str] = []
    asked = Task.asked

    def noted(task: Task) -> str:
        if task.kind in ("whole", "glance"):
            kinds.append(asked(task))
        return asked(task)

    monkeypatch.setattr(Task, "asked", noted)
    sample = fr.Sample(
        "SELECT * FROM t WHERE id >= 7 ORDER BY price DESC", "SELECT * FROM t WHERE id > 6", "x"
    )
    with fr.Scorer(r.execution_match("bird"), replace(executor, workers=1)) as scorer:
        assert scorer.score_one(sample).value == 1
        assert kinds == ["whole", "scan:15479"]
        kinds.clear()
        # The gold is known; a product of tables ends soon after what it would have to equal.
        (score,) = scorer.score([replace(sample, completion="SELECT * FROM t, t AS u, t AS v")])
        assert score.value == 0 and kinds == ["scan:15479"]
