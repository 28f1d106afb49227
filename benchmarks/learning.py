"""Which reward teaches: the same small model, starts, questions and steps, and only the reward differs.

    python -m benchmarks.learning run [--seeds 5] [--jobs 2]
    python -m benchmarks.learning run --short
    python -m benchmarks.learning report

`run` appends one line a training run to `benchmarks/results/learning.jsonl` and skips runs that are there;
`report` turns that file into `learning.md` and `learning.svg`. Needs torch and transformers, no GPU.

Fixed before anything was compared: two starts a seed, shared by all arms. `weak` imitates easy questions until
3 % of what it samples for hard ones, harder than any it saw, is right; `able` imitates some hard ones too, until
12 % is. Then GRPO on other hard questions: 16 prompts, 8 completions each, temperature 1, no KL term. Greedy
answers to held-out questions are examined.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from benchmarks.learning_arms import BASE, DEFAULT, Scale, arms
from benchmarks.learning_task import Question, build_databases, questions, vocabulary
from finer_rewards import Sample, Scorer, SQLite, TraceMemory
from finer_rewards.components import component_metrics, component_values, terms

RESULTS = Path(__file__).parent / "results"
PROMPTS, GROUP, RATE = 16, 8, 1e-4
EXAMINED = arms()["+ atomic"].reward


@dataclass(frozen=True)
class Regime:
    """Where learning starts: the share of right samples, and of hard questions among those imitated."""

    reached: float
    hard_share: float


REGIMES = {"weak": Regime(0.03, 0.0), "able": Regime(0.12, 0.05)}


@dataclass(frozen=True)
class Size:
    """How much of everything."""

    steps: int = 60
    every: int = 20
    held_out: int = 200
    train: int = 2000
    easy: int = 1500
    longest_warm_up: int = 400


SHORT = Size(steps=6, every=3, held_out=60, train=300, easy=400, longest_warm_up=100)


@dataclass(frozen=True)
class Start:
    """A model that is warm, and what it goes on with."""

    learner: Any
    known: list[Question]
    held_out: list[Question]
    executor: SQLite
    traces: TraceMemory

    def scorer(self, arm: str) -> Scorer:
        """Return the scorer of an arm."""
        return Scorer(arms()[arm].reward, self.executor, memory=self.traces)


@contextmanager
def warmed(regime: str, seed: int, size: Size) -> Iterator[Start]:
    """Give the start of a regime and a seed, always the same."""
    import torch

    from benchmarks.learning_model import Learner

    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        build_databases(folder)
        hard = questions(folder, hard=True, number=size.held_out + size.train, seed=1)
        easy = questions(folder, hard=False, number=size.easy, seed=2)
        held_out, known = hard[: size.held_out], hard[size.held_out :]
        learner = Learner(vocabulary(hard + easy), longest=40, seed=seed)
        with SQLite(folder, timeout=5, workers=1) as executor:
            sampled = partial(_examine, learner, known[-300:], Scorer(EXAMINED, executor), 1.0)
            started = time.process_time()
            _warm_up(learner, easy, known, REGIMES[regime], seed, sampled, size.longest_warm_up)
            print(f"{regime} {seed}: warm after {time.process_time() - started:.0f} s", file=sys.stderr)
            yield Start(learner, known, held_out, executor, _traces(folder, executor, easy))


def train(regime: str, seed: int, chosen: Sequence[str], size: Size, file: Path) -> None:
    """Go on from one start with each of the arms, and append a line for each to the file."""
    with warmed(regime, seed, size) as start:
        weights = deepcopy(start.learner.model.state_dict())
        examine = partial(_examine, start.learner, start.held_out, Scorer(EXAMINED, start.executor))
        for name in chosen:
            start.learner.model.load_state_dict(weights)
            arm, scorer = arms()[name], start.scorer(name)
            record = {
                "regime": regime,
                "seed": seed,
                "arm": name,
                "reward": repr(arm.reward),
                "scale": arm.scale,
            }
            record |= _reinforce(start.learner, start.known, scorer, arm.scale, seed, size, examine)
            with file.open("a", encoding="utf-8") as out:
                out.write(json.dumps(record) + "\n")
            print(f"{regime} {seed} {name}: {record['curve']} {record['sampled']}", file=sys.stderr)


def _warm_up(
    learner: Any,
    easy: list[Question],
    hard: list[Question],
    regime: Regime,
    seed: int,
    sampled: Callable[[], dict[str, Any]],
    longest: int,
) -> None:
    import torch

    chance, optimizer = random.Random(seed), torch.optim.AdamW(learner.model.parameters(), lr=1e-3)
    few = round(64 * regime.hard_share)
    torch.manual_seed(seed)
    for step in range(1, longest + 1):
        learner.imitate(chance.sample(easy, 64 - few) + chance.sample(hard[:200], few), optimizer)
        if step >= 100 and step % 20 == 0 and sampled()["match"] >= regime.reached:
            return


def _traces(folder: Path, executor: SQLite, easy: Sequence[Question]) -> TraceMemory:
    """Return a memory of the teacher's thoughts about easy questions."""
    from finer_rewards.memory import HashingEmbedder

    traces = TraceMemory.open(folder / "traces", embedder=HashingEmbedder(256))
    scorer = Scorer(arms()[BASE].reward, executor)
    samples = [_sample(" ".join(one.completion), one) for one in easy[:200]]
    evidence = scorer.observe(samples)
    traces.remember([(one, scorer.reward(one)) for one in evidence])
    return traces


def _reinforce(
    learner: Any, known: list[Question], scorer: Scorer, scale: Scale, seed: int, size: Size, examine: Any
) -> dict[str, Any]:
    import torch

    from benchmarks.learning_model import advantages

    torch.manual_seed(seed)
    chance, optimizer = random.Random(seed), torch.optim.AdamW(learner.model.parameters(), lr=RATE)
    started, silent = time.process_time(), []
    seen = [examine()]
    for step in range(1, size.steps + 1):
        asked = [one for one in chance.sample(known, PROMPTS) for _ in range(GROUP)]
        tokens, length = learner.answer(asked, 1.0), learner.asked_length(asked)
        texts = learner.texts(tokens, length)
        credit, dead = advantages(values(scorer, texts, asked, scale), GROUP, scale)
        silent.append(dead)
        learner.reinforce(tokens, length, credit, optimizer)
        if step % size.every == 0:
            seen.append(examine())
    return {
        "every": size.every,
        "curve": [round(one["match"], 4) for one in seen],
        "sampled": [round(one["sampled"], 4) for one in seen],
        "f1": [round(one["f1"], 4) for one in seen],
        "silent": round(sum(silent) / len(silent), 4),
        "clauses": [seen[0]["clauses"], seen[-1]["clauses"]],
        "seconds": time.process_time() - started,
    }


def values(
    scorer: Scorer, texts: Sequence[str], asked: Sequence[Question], scale: Scale
) -> list[list[float | None]]:
    """Return the rewards of completions; where terms are scaled, of each term of the sum, weighted."""
    scores = scorer.score(map(_sample, texts, asked))
    if scale != "terms":
        return [[score.value for score in scores]]
    return [
        [None if score.value is None else weight * (score.parts[place][1].value or 0.0) for score in scores]
        for place, (weight, _) in enumerate(terms(scorer.reward))
    ]


def _sample(text: str, one: Question) -> Sample:
    return Sample(text, gold=one.gold, db=one.db, question=one.text)


def _examine(
    learner: Any, held_out: list[Question], scorer: Scorer, temperature: float = 0.0
) -> dict[str, Any]:
    """Return how the answers to held-out questions fare, and by clause (gold, missing, extra)."""
    tokens = learner.answer(held_out, temperature)
    texts = learner.texts(tokens, learner.asked_length(held_out))
    scores = scorer.score(map(_sample, texts, held_out))
    found = [component_values(scorer.reward, score) for score in scores]
    clauses: dict[str, list[int]] = {}
    total = Counter[str]()
    for score in scores:
        total.update({name: int(n) for name, n in component_metrics(scorer.reward, score).items()})
    for name in ("where", "group_by", "having", "order_by", "limit", "from", "select"):
        gold, predicted, matched = (
            total[f"atomic_f1/{name}_{kind}"] for kind in ("gold", "predicted", "matched")
        )
        clauses[name] = [gold, gold - matched, predicted - matched]
    sampled = 0.0 if temperature else _examine(learner, held_out, scorer, 1.0)["match"]
    return {
        "sampled": sampled,
        "match": sum(one["execution_match"] or 0 for one in found) / len(found),
        "f1": sum(one["atomic_f1"] or 0 for one in found) / len(found),
        "clauses": clauses,
    }


def run(
    chosen: Sequence[str], regimes: Sequence[str], seeds: Iterable[int], size: Size, jobs: int, file: Path
) -> None:
    """Run what is not in the file yet, and append it."""
    done = {(one["regime"], one["seed"], one["arm"]) for one in read(file)}
    todo = [
        (regime, seed, missing)
        for seed in seeds
        for regime in regimes
        if (missing := [arm for arm in chosen if (regime, seed, arm) not in done])
    ]
    with ProcessPoolExecutor(jobs, mp_context=get_context("spawn")) as pool:
        for future in [pool.submit(train, *one, size, file) for one in todo]:
            future.result()


def read(file: Path) -> list[dict[str, Any]]:
    """Return the runs in a file."""
    return (
        [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()] if file.exists() else []
    )


def main() -> None:
    parser = argparse.ArgumentParser(description="Which reward teaches a small model.")
    parser.add_argument("verb", choices=("run", "report"))
    parser.add_argument("--seeds", type=int, default=5, help="how many (default 5)")
    parser.add_argument("--first", type=int, default=0, help="the first seed (default 0)")
    parser.add_argument("--jobs", type=int, default=2, help="processes (default 2)")
    parser.add_argument("--arms", nargs="+", default=list(DEFAULT), choices=list(arms()))
    parser.add_argument("--regimes", nargs="+", default=list(REGIMES), choices=list(REGIMES))
    parser.add_argument("--steps", type=int, default=Size.steps)
    parser.add_argument("--short", action="store_true", help="a minute, to see that it works")
    parser.add_argument("--file", type=Path, default=RESULTS / "learning.jsonl")
    options = parser.parse_args()
    if options.verb == "report":
        from benchmarks.learning_report import figure, tables

        runs = read(options.file)
        options.file.with_suffix(".md").write_text(tables(runs), encoding="utf-8")
        options.file.with_suffix(".svg").write_text(figure(runs), encoding="utf-8")
    else:
        size = SHORT if options.short else Size(steps=options.steps)
        seeds = range(options.first, options.first + options.seeds)
        run(options.arms, options.regimes, seeds, size, options.jobs, options.file)


if __name__ == "__main__":
    main()
