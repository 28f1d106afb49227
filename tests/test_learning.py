"""The learning benchmark: its task, its arithmetic, and a minute of it from end to end."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from benchmarks.learning_direction import lines as directions
from benchmarks.learning_edge import superfluous, variants
from benchmarks.learning_report import figure, interval, tables
from benchmarks.learning_task import DOMAINS, EASY, HARDEST, build_databases, questions, vocabulary
from finer_rewards import Sample, Scorer, SQLite
from finer_rewards.presets.finer import finer

ROOT = Path(__file__).parent.parent


def test_the_teacher_is_right_and_well_formed(tmp_path: Path) -> None:
    build_databases(tmp_path)
    hard = questions(tmp_path, hard=True, number=60, seed=1)
    easy = questions(tmp_path, hard=False, number=40, seed=2)
    assert all(EASY < one.clauses <= HARDEST for one in hard)
    assert all(one.clauses <= EASY for one in easy)
    assert {one.db for one in hard} == {domain.name for domain in DOMAINS}
    assert not {one.text for one in hard} & {one.text for one in easy}
    assert questions(tmp_path, hard=True, number=60, seed=1) == hard
    with Scorer(finer(memory=False), SQLite(tmp_path, workers=1)) as scorer:
        scores = scorer.score(
            [Sample(" ".join(one.completion), gold=one.gold, db=one.db) for one in hard + easy]
        )
    # A gold that cuts through a tie or returns nothing would have no value.
    assert [score.value for score in scores] == [4.0] * 100
    known = set(vocabulary(hard + easy))
    assert all(word in known for one in hard for word in (*one.words, *one.completion))


def test_the_edge_changes_one_clause_at_a_time(tmp_path: Path) -> None:
    build_databases(tmp_path)
    chance = random.Random(0)
    asked = questions(tmp_path, hard=True, number=40, seed=1)
    seen = [(one, *variant) for one in asked for variant in variants(one, chance)]
    assert {kind for _, kind, *_ in seen} == {"WHERE", "WHERE, joined", "HAVING", "ORDER"}
    with SQLite(tmp_path, workers=1) as executor:
        for one, kind, right, wrong, out in seen:
            assert right != one.sql  # it has a mistake already
            assert sum(a != b for a, b in zip(right, wrong, strict=True)) == 1
            assert len(out) < len(right)
            assert kind.partition(",")[0] in " ".join(right)
            for sql in (right, wrong, out):
                assert executor.execute(" ".join(sql), one.db).ok
    more = superfluous(asked[0], chance)
    assert more is None or len(more) == len(asked[0].sql) + 4


def test_the_interval_is_students() -> None:
    centre, half = interval([1.0, 2.0, 3.0])
    assert (centre, round(half, 3)) == (2.0, 2.484)


def test_the_report_pairs_the_seeds() -> None:
    chance = random.Random(0)
    clauses = [{"where": [10, 2, 1]}, {"where": [10, 5, 1]}]
    runs = []
    for seed in range(3):
        start = chance.random() / 2
        for arm, gain in (("execution match", 0.08), ("other", 0.2)):
            curve = [start, start + gain / 2, start + gain]
            runs.append(
                {
                    "regime": "weak", "seed": seed, "arm": arm, "reward": "r()", "every": 5, "curve": curve,
                    "sampled": curve, "f1": curve, "silent": 0.5, "clauses": clauses, "seconds": 1.0,
                }
            )  # fmt: skip
    text = tables(runs)
    assert "| other | group | 3 |" in text
    assert "| EX at 0 | EX at 5 | EX at 10 |" in text
    assert "+0.120 ± 0.000" in text
    assert "| 10 (3) |" in text
    assert "| 5 (3) |" in text
    assert "50 (20)" in text
    assert figure(runs).count("<polyline") == 2
    nothing = [{**run, "curve": [0.0] * 3} for run in runs]
    assert figure(nothing).count("<polyline") == 2


def test_the_advantages_are_those_of_a_group() -> None:
    torch = pytest.importorskip("torch")
    pytest.importorskip("transformers")
    from benchmarks.learning_model import advantages

    values = [[1.0, 0.0, None, 2.0, 2.0, 2.0]]
    credit, silent = advantages(values, 3, "group")
    half = 2**-0.5
    assert torch.allclose(credit, torch.tensor([half, -half, 0.0, 0.0, 0.0, 0.0]), atol=1e-3)
    assert silent == 0.5
    # The spread of 1, 0, 2, 2, 2 is 0.894.
    credit, silent = advantages(values, 3, "batch")
    assert torch.allclose(credit, torch.tensor([0.559, -0.559, 0.0, 0.0, 0.0, 0.0]), atol=1e-3)
    assert silent == 0.5
    credit, silent = advantages([[None, None, 5.0, 1.0]], 2, "batch")
    assert credit[:2].tolist() == [0.0, 0.0]
    assert credit[2] == -credit[3] > 0


def test_terms_are_scaled_one_by_one() -> None:
    torch = pytest.importorskip("torch")
    pytest.importorskip("transformers")
    from benchmarks.learning_model import advantages

    # The second term is ten times smaller, and counts as much: against the first in one group, with it in the next.
    credit, silent = advantages([[1.0, 0.0, 1.0, 0.0, 3.0, 3.0], [0.0, 0.1, 0.1, 0.0, 7.0, 7.0]], 2, "terms")
    assert silent == pytest.approx(1 / 3)
    assert torch.allclose(credit[[0, 1, 4, 5]], torch.zeros(4), atol=0.01)
    assert credit[2] == -credit[3] > 1


def test_the_right_direction_is_where_right_answers_grow(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    pytest.importorskip("transformers")
    from benchmarks.learning_model import Learner

    build_databases(tmp_path)
    asked = questions(tmp_path, hard=True, number=8, seed=1)
    learner = Learner(vocabulary(asked), 12, seed=0)
    tokens, start = learner.answer(asked, 1.0), learner.asked_length(asked)
    credit = torch.tensor([1.0, -1.0] * 4)
    way = learner.direction(tokens, start, credit)
    assert all(one.grad is None for one in learner.model.parameters())

    def praised() -> float:
        with torch.no_grad():
            return -float((learner._surprise(tokens, start).sum(1) * credit).sum())

    before, moved = praised(), 0
    with torch.no_grad():
        for one in learner.model.parameters():
            one += 0.01 * way[moved : moved + one.numel()].view_as(one) / way.norm()
            moved += one.numel()
    assert praised() > before
    assert not learner.direction(tokens, start, torch.zeros(8)).any()


def test_directions_are_compared_batch_by_batch() -> None:
    def record(arm: str, steps: list[float]) -> dict[str, Any]:
        return {"regime": "weak", "seed": 0, "arm": arm, "scale": "group", "steps": steps, "mean": 0.5}

    text = "\n".join(directions([record("execution match", [0.1, 0.5]), record("other", [0.2, 0.6])]))
    assert "| other | group | 1 | 0.400 ± 2.541 | +0.100 ± 0.000 | 0.500 |" in text


def test_the_decoder_says_what_the_model_says(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    pytest.importorskip("transformers")
    from benchmarks.learning_model import PAD, Learner, _Decoder

    build_databases(tmp_path)
    asked = questions(tmp_path, hard=True, number=12, seed=1)
    learner = Learner(vocabulary(asked), 20, seed=0)
    tokens, start = learner.answer(asked, 1.0), learner.asked_length(asked)
    present = torch.ones_like(tokens, dtype=torch.bool)
    present[:, :start] = tokens[:, :start] != PAD
    places = (present.cumsum(1) - 1).clamp(min=0)
    with torch.no_grad():
        wanted = learner.model(input_ids=tokens, attention_mask=present, position_ids=places).logits
        decoder = _Decoder(learner.model, len(asked), tokens.shape[1])
        steps = [decoder.read(tokens[:, :start])]
        steps += [decoder.read(tokens[:, place : place + 1]) for place in range(start, tokens.shape[1])]
    assert torch.allclose(torch.stack(steps, 1), wanted[:, start - 1 :], atol=1e-4)


@pytest.mark.slow
@pytest.mark.filterwarnings("default")
def test_the_short_tier_runs_and_reports(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    pytest.importorskip("transformers")
    file = tmp_path / "runs.jsonl"
    arms = ["execution match", "+ sharp, batch", "clause by clause", "finer()"]  # every scale, and a memory
    command = [sys.executable, "-m", "benchmarks.learning"]
    short = ["run", "--short", "--seeds", "1", "--regimes", "weak", "--arms", *arms, "--file", str(file)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    for rest in (
        short,
        short,
        ["report", "--file", str(file)],
    ):  # the second time there is nothing left to do
        done = subprocess.run(
            [*command, *rest], cwd=ROOT, env=environment, capture_output=True, text=True, timeout=600
        )
        assert done.returncode == 0, done.stderr[-3000:]
    runs = [json.loads(line) for line in file.read_text().splitlines()]
    assert [run["arm"] for run in runs] == arms
    assert len({json.dumps(run["clauses"][0]) for run in runs}) == 1  # one start for all
    assert len({run["curve"][0] for run in runs}) == 1
    assert "| clause by clause | terms | 1 |" in file.with_suffix(".md").read_text()
    assert file.with_suffix(".svg").read_text().startswith("<svg")
