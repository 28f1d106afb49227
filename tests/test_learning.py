"""The learning benchmark: its tasks are sound, its gradient is right, its arms pay what they say, and a run goes on."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks.research.learning import Lab, Size, read, run
from benchmarks.research.learning_arms import ARMS, BASE, MEASURES, Judge, credit_of
from benchmarks.research.learning_policy import Encoder, Policy
from benchmarks.research.learning_report import interval, merged, report, speed_ups
from benchmarks.research.learning_spider import cut, spider_task
from benchmarks.research.learning_task import TASKS, World
from finer_rewards import Sample, Scorer, SQLite

SMALL = Size(easy=60, known=320, held_out=30, every=2, steps={"sparse": 4, "able": 2})


@pytest.fixture(scope="module", params=list(TASKS))
def world(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    yield World(TASKS[request.param], tmp_path_factory.mktemp(request.param))


@pytest.mark.slow
def test_every_part_of_a_question_matters_to_the_library_too(world: World) -> None:
    hard = world.questions(12, hard=True, seed=1)
    assert world.questions(12, hard=True, seed=1) == hard
    easy = world.questions(12, hard=False, seed=2)
    assert not {one.words for one in hard} & {one.words for one in easy}
    samples, wanted = [], []
    for one in hard:
        gold, dbs = world.task.sql(one.db, one.answer), world.paths[one.db]
        samples.append(Sample(gold, gold, dbs))
        wanted.append(1.0)
        for place, name in enumerate(world.task.slots):
            if name in world.task.matters and one.answer[place]:
                without = [*one.answer]
                without[place] = ()
                samples.append(Sample(world.task.sql(one.db, without), gold, dbs))
                wanted.append(0.0)
    with Scorer("execution_match()", SQLite(world.folder, workers=1), neighbours=0) as scorer:
        values = [score.value for score in scorer.score(samples)]
    # A gold that cuts through a tie on some neighbour may leave open what is right there.
    judged = [(value, right) for value, right in zip(values, wanted, strict=True) if value is not None]
    assert len(judged) > 0.9 * len(values)
    assert [value for value, _ in judged] == [right for _, right in judged]


def test_the_gradient_is_that_of_the_log_likelihood(world: World) -> None:
    asked = world.questions(5, hard=True, seed=1)
    encoder = Encoder(world.task, asked)
    policy = Policy([0, 1], encoder.width, [len(one) for one in encoder.choices], 1e-3)
    inputs = np.stack([encoder.features(asked)] * 2).astype(np.float64)
    answers = np.stack([encoder.answers(asked)] * 2)
    policy.weights = {name: one.astype(np.float64) for name, one in policy.weights.items()}
    ups = {name: np.zeros_like(one) for name, one in policy.weights.items()}
    policy._add(ups, policy.read(inputs, answers), np.ones(answers.shape))
    for name, one in policy.weights.items():
        place = np.unravel_index(np.abs(ups[name]).argmax(), one.shape)
        kept, values = one[place], []
        for move in (1e-5, -1e-5):
            one[place] = kept + move
            values.append(policy.read(inputs, answers).log_likelihood().sum())
        one[place] = kept
        assert (values[0] - values[1]) / 2e-5 == pytest.approx(ups[name][place], rel=1e-3, abs=1e-5)


def test_what_runs_is_what_sqlite_prepares(world: World) -> None:
    asked = world.questions(30, hard=True, seed=1)
    encoder = Encoder(world.task, asked)
    judge = Judge(world, encoder)
    policy = Policy([0], encoder.width, [len(one) for one in encoder.choices], 1e-3)
    chosen = policy.read(encoder.features(asked)[None], copies=3).chosen
    dbs = np.array([[encoder.dbs.index(one.db) for one in asked for _ in range(3)]])
    found = judge.runs(chosen, dbs)
    for row, answer in enumerate(chosen[0].tolist()):
        one = asked[row // 3]
        rows = world.rows(world.paths[one.db][0], encoder.sql(one.db, answer))
        assert found[0, row] == (rows is not None)
    golds = encoder.answers(asked)[None]
    assert judge.runs(golds, np.array([[encoder.dbs.index(one.db) for one in asked]])).all()
    assert (judge.alike(golds, golds) == 1).all()


def test_the_arms_pay_closeness_where_they_say() -> None:
    seen: dict[str, Any] = {
        "match": np.array([[[1.0, 0, 0], [0, 0, 0]]]),
        "lost": np.array([[[0.0], [1.0]]]),
        "matched": np.array([[[4.0, 3, 2], [3, 2, 3]]]),
        "predicted": np.full((1, 2, 3), 4.0),
        "gold": np.full((1, 2, 3), 4.0),
        "same": np.array([[[4.0, 3, 2], [3, 2, 3]]]),
        "runs": np.array([[[1.0, 1, 1], [1, 1, 0]]]),
        "cells": np.zeros((1, 2, 3)),
        "memory": np.array([[[0.0, 1, 0], [0, 1, 1]]]),
        "alike": np.zeros((1, 2, 3, 2)),
    }
    seen["alike"][0, 1, 0, 1] = 1
    plain = ARMS[BASE](seen)
    assert plain[0, 0].tolist() == pytest.approx([2 / 3, -1 / 3, -1 / 3])
    assert not plain[0, 1].any()
    lost = ARMS["+ F2^8 in lost groups"](seen)
    assert lost[0, 0].tolist() == plain[0, 0].tolist()
    assert lost[0, 1, 0] > 0 > lost[0, 1, 2]  # what does not run is worth nothing
    assert ARMS["+ F1"](seen)[0, 0, 1] > ARMS["+ F1"](seen)[0, 0, 2]
    memory = ARMS["+ memory in lost groups"](seen)
    assert memory[0, 0].tolist() == plain[0, 0].tolist()
    assert memory[0, 1].tolist() == pytest.approx([-1 / 3, 2 / 3, -1 / 3])
    assert ARMS["finer(), by group"](seen)[0, 0, 1] > ARMS["finer(memory=False), by group"](seen)[0, 0, 1]
    credit = credit_of("clause credit", seen)
    assert credit.shape == (1, 6, 2)
    assert credit[0, 3].tolist() == pytest.approx([0, 2 / 3])


def test_the_report_pairs_seeds_and_counts_steps() -> None:
    base = {"seeds": [1, 2], "sampled": [[0.1, 0.1], [0.2, 0.2], [0.3, 0.3]]}
    arm = {"seeds": [1, 2], "sampled": [[0.1, 0.1], [0.4, 0.2], [0.5, 0.2]]}
    assert speed_ups(arm, base) == [2.0, 0.0]
    place = {"task": "t", "start": "s", "arm": "a", "rate": 1, "greedy": [], "silent": 0.5}
    blocks = [
        {**place, **base},
        {**place, **arm, "seeds": [3, 4], "silent": 1.0},
        {**place, **base, "arm": "b"},
    ]
    whole, other = merged(blocks[:2]), merged(blocks)
    assert (whole[0]["seeds"], whole[0]["sampled"][1], whole[0]["silent"]) == (
        [1, 2, 3, 4],
        [0.2, 0.2, 0.4, 0.2],
        0.75,
    )
    assert [one["sampled"][1] for one in other] == [
        [0.2, 0.2]
    ] * 2  # seeds that only one arm has are left out
    centre, half = interval([1.0, 2.0, 3.0])
    assert (centre, round(half, 3)) == (2.0, 2.484)


@pytest.mark.slow
def test_a_run_goes_on_where_it_stopped_and_reports(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(
        __import__("benchmarks.research.learning", fromlist=["STARTS"]).STARTS, "sparse", 0.0005
    )
    monkeypatch.setattr(Lab, "support", lambda _: {"right": 0.01, "of them with F1 = 1": 1.0, "support": {}})
    file = tmp_path / "runs.jsonl"
    arms = [(BASE, 3e-3), ("+ F2^8 in lost groups", 3e-3), ("+ cells", 3e-3), ("clause credit", 3e-3)]
    run(["clauses"], ["sparse"], arms[:2], [1, 2], SMALL, file)
    run(["clauses"], ["sparse"], arms, [1, 2], SMALL, file)
    run(["clauses"], ["sparse"], arms, [1, 2], SMALL, file)  # nothing is left to do
    runs = read(file)
    assert [one["arm"] for one in runs] == [arm for arm, _ in arms]
    assert len({json.dumps(one["sampled"][0]) for one in runs}) == 1  # one start for all
    report(runs, file, [1, 2])
    assert "| + F2^8 in lost groups | 0.003 |" in file.with_suffix(".md").read_text()
    assert file.with_suffix(".svg").read_text().count("<polyline") == 4


def test_results_are_near_by_cells_and_by_whole_columns() -> None:
    gold = [(1, "a"), (2, "b")]
    assert MEASURES["cells"]([(1, "b")], gold) == pytest.approx(2 * 2 / 6)
    assert MEASURES["column sets"]([(1, "b"), (2, "c")], gold) == pytest.approx(0.5)
    assert MEASURES["column sets"]([], gold) == 0


def test_a_query_is_cut_at_its_clauses_or_left_out() -> None:
    found = cut(
        'SELECT T1.a FROM x AS T1 JOIN y AS T2 ON T1.i = T2.i WHERE T1.b = "Oslo" AND T2.c > 3 LIMIT 2'
    )
    assert found == (
        ("x.a",), ("x JOIN y ON x.i = y.i",), ("x.b", "=", "'Oslo'"), ("y.c", ">", "3"), (), (), (), ("2",)
    )  # fmt: skip
    assert cut("SELECT a FROM x UNION SELECT b FROM y") is None
    assert cut("SELECT a FROM x WHERE a > 1 AND b > 1 AND c > 1") is None


@pytest.mark.slow
def test_a_query_of_spider_put_together_again_returns_what_it_did(shared_data: Path, tmp_path: Path) -> None:
    world = World(spider_task(shared_data), tmp_path)
    asked = world.questions(40, hard=True, seed=1)
    golds = {
        (one["db_id"], cut(one["query"])): one["query"]
        for one in json.loads((shared_data / "questions" / "spider_dev.json").read_text(encoding="utf-8"))
    }
    assert len(asked) == 40
    for one in asked:
        again = world.task.sql(one.db, one.answer)
        assert world.same(one.db, again, golds[one.db, one.answer]), again


@pytest.mark.slow
def test_the_writer_reads_what_it_wrote_and_learns_it(world: World) -> None:
    pytest.importorskip("torch")
    from benchmarks.research.learning_writer import END, Writer

    asked = world.questions(8, hard=True, seed=1)
    encoder = Encoder(world.task, asked)
    writer = Writer([0, 1], encoder, 1e-2)
    inputs = np.stack([encoder.features(asked)] * 2)
    answers = np.stack([encoder.answers(asked)] * 2)
    for seed in range(2):
        for row, tokens in enumerate(writer._tokens(answers)[seed].tolist()):
            into = np.zeros(answers.shape[2], np.int64)
            assert writer._parse(tokens, into)
            assert into.tolist() == answers[seed, row].tolist()
    assert not writer._parse([2, 1, 0], np.zeros(answers.shape[2], np.int64))  # clauses out of order
    before = writer.read(inputs, answers).log_likelihood()
    assert writer.read(inputs, copies=2).broken.any()
    for _ in range(60):
        writer.step([(writer.read(inputs, answers), np.full(answers.shape, 1 / 8))])
    assert (writer.read(inputs, answers).log_likelihood() > before + 1).all()
    # A clause answers for its own tokens, and its name for the clauses that it skips.
    credit = np.arange(answers.shape[2], dtype=float)[None, None]
    placed = writer._placed(np.array([[[3, 99, END]]]), credit)
    assert placed[0, 0].tolist() == pytest.approx([1.0, 2.0, (3 + answers.shape[2] - 1) / 2])
