"""Which reward teaches: the same small policies, starts, questions and steps, and only the credit differs.

    python -m benchmarks.research.learning screen    # all arms, two learning rates, two seeds, one task and start
    python -m benchmarks.research.learning confirm   # CONFIRMED at best rate: ten other seeds, every task and start
    python -m benchmarks.research.learning report
    python -m benchmarks.research.learning all --file /tmp/again.jsonl   # one after the other; goes on after a stop

`--model writer` trains a small recurrent language model instead (`learning_writer`, PyTorch): match, the leading
composition and, since the second trial, clause credit on the first task, at rates picked on the screening seeds, ten
confirming seeds in two blocks of five. The third task, `spider`, is real questions (`learning_spider`); it is left out
where their data is not, and has match and the two best arms. The rule is the same for all, and rates of the other tasks
are those that screening chose.

Each appends one JSON line a run to `benchmarks/results/learning_sound.jsonl` and skips runs that are there;
`report` makes `learning_sound.md` and `learning_sound.svg` of it. NumPy only; one process.

`--second` is a second trial, announced on 2026-12-01 before any of its runs. In the first all tasks had the rates that
screening chose on one of them, and on real questions the higher rate, chosen so, hurt. In the second each task has the
rates that screening chooses on that task, of its own screening seeds, for each arm that is confirmed; the ten seeds are
others. The rule is the same. Of two trials one may pass by luck more easily than of one: what is said of it names both.

The measure: sampled EX on held-out questions, that is the likelihood of the right answer, at the end and as a mean over
steps; and the first step at which an arm has what match alone has at the end, of the same seed. Greedy EX beside.

The rule, written before any confirming seed ran: a composition may become the default if from the sparse start it
reaches the final sampled EX of match at least 1.5 times sooner (median of ten seeds; lower end of the interval 1.2) and
no seed collapses (ends below its start), and from the able start the lower end of its difference at the end is above
-0.02; on both tasks, and in a language model too, which these policies are not. Short of that it is an option.

Starts: a policy imitates easy questions, and 5 % hard ones, until 1 % (sparse) or 12 % (able) of what it samples for
hard questions is right. A start is used only if at least 90 % of what execution match calls right there, on the
database and its neighbours, has every part of the gold.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.research.learning_arms import ARMS, BASE, MEASURES, Judge, credit_of
from benchmarks.research.learning_policy import Encoder, Policy
from benchmarks.research.learning_report import report
from benchmarks.research.learning_task import TASKS, Task, World

Array = NDArray[Any]
RESULTS = Path(__file__).parents[1] / "results" / "learning_sound.jsonl"
PROMPTS, GROUP = 16, 8
WARM_RATE, HARD_SHARE = 1e-3, 0.05
STARTS = {"sparse": 0.01, "able": 0.12}
STEPS = {"sparse": 250, "able": 120}
RATES = {"slots": (2e-3, 5e-3), "writer": (1e-3, 2e-3)}
SCREENED, SEEDS = range(500, 502), range(700, 710)
SECOND = range(710, 720)
SCREENED_TASK = ("clauses",)
BLOCKS = (SEEDS[:5], SEEDS[5:])  # the writer's, so that half of its seeds can be known


@dataclass(frozen=True)
class Size:
    """How many questions, and how often they are asked."""

    easy: int = 800
    known: int = 1500
    held_out: int = 300
    every: int = 10
    steps: Mapping[str, int] | None = None
    longest_warm_up: int = 3000


class Lab:
    """One task, its questions in numbers, and the policies of some seeds.

    Args:
        world: the task's databases.
        size: how many questions.
        seeds: one policy each.
        model: "slots" (`learning_policy`) or "writer" (`learning_writer`, which needs PyTorch).
    """

    def __init__(self, world: World, size: Size, seeds: Sequence[int], model: str = "slots") -> None:
        self.world, self.size, self.seeds = world, size, list(seeds)
        hard = world.questions(size.known + size.held_out, hard=True, seed=1)
        self.easy = world.questions(size.easy, hard=False, seed=2)
        self.known = hard[size.held_out :]
        self.held_out = hard[: size.held_out] or self.known
        self.encoder = Encoder(world.task, [*hard, *self.easy])
        self.judge = Judge(world, self.encoder)
        self._read = {
            name: (self.encoder.features(asked), self.encoder.answers(asked))
            for name, asked in (("easy", self.easy), ("known", self.known), ("held_out", self.held_out))
        }
        self.policy: Any = _model(model, self.seeds, self.encoder)

    def _drawn(self, which: str, number: int, among: int | None = None) -> tuple[Array, Array, Array]:
        """Return features, right answers and places of questions drawn for each seed."""
        features, answers = self._read[which]
        most = min(among or len(features), len(features))
        places = np.stack([chance.integers(0, most, number) for chance in self.policy.chances])
        return features[places], answers[places], places

    def sampled(self, which: str, number: int | None = None) -> Array:
        """Return the exact share of sampled answers that are right, by seed."""
        features, answers = (one[-(number or len(one)) :] for one in self._read[which])
        many = len(self.seeds)
        inputs = np.broadcast_to(features, (many, *features.shape))
        batch = self.policy.read(inputs, np.broadcast_to(answers, (many, *answers.shape)))
        share: Array = np.exp(batch.log_likelihood()).mean(1)
        return share

    def greedy(self) -> Array:
        """Return the share of held-out questions whose likeliest answer is right, by seed."""
        features, answers = self._read["held_out"]
        batch = self.policy.read(np.broadcast_to(features, (len(self.seeds), *features.shape)), greedy=True)
        share: Array = ((batch.chosen == answers).all(2) & ~batch.broken).mean(1)
        return share

    def warm_up(self, start: str) -> None:
        """Imitate until as much is right as the start asks; each seed stops by itself."""
        few = round(64 * HARD_SHARE)
        moving = np.ones(len(self.seeds), bool)
        for step in range(1, self.size.longest_warm_up + 1):
            easy, hard = self._drawn("easy", 64 - few), self._drawn("known", few, 200)
            inputs, answers = (np.concatenate([a, b], 1) for a, b in zip(easy[:2], hard[:2], strict=True))
            batch = self.policy.read(inputs, answers)
            self.policy.step([(batch, np.full(answers.shape, 1 / 64))], moving)
            if step % 5 == 0:
                moving &= self.sampled("known", 300) < STARTS[start]
                if not moving.any():
                    return
        raise RuntimeError(f"{start}: only {self.sampled('known', 300)} are right after the warm-up.")

    def support(self) -> dict[str, Any]:
        """Return what the start knows: right samples by execution, those with all parts, and each slot by itself.

        Raises:
            RuntimeError: what execution match calls right is too often not the gold's query.
        """
        asked = self.known[-300:]
        features, answers = (one[-300:] for one in self._read["known"])
        many = len(self.seeds)
        batch = self.policy.read(np.broadcast_to(features, (many, *features.shape)), copies=4)
        golds = np.repeat(answers, 4, 0)
        whole = (batch.chosen == golds).all(2) & ~batch.broken
        right = np.zeros_like(whole)
        for seed in range(many):
            for row, answer in enumerate(batch.chosen[seed].tolist()):
                one = asked[row // 4]
                right[seed, row] = not batch.broken[seed, row] and self.world.same(
                    one.db, self.encoder.sql(one.db, answer), self.world.task.sql(one.db, one.answer)
                )
        slots = {
            name: round(float((batch.chosen == golds)[:, golds[:, slot] > 0, slot].mean()), 3)
            for slot, name in enumerate(self.world.task.slots)
        }
        same = float(whole[right].mean())
        if not same >= 0.9:
            raise RuntimeError(f"Of what execution match calls right only {same:.3f} is the gold's query.")
        return {
            "right": round(float(right.mean()), 4),
            "of them with F1 = 1": round(same, 3),
            "support": slots,
        }

    def reinforce(self, arm: str, steps: int) -> Iterator[tuple[int, float]]:
        """Learn with an arm; yield after each step its number and the share of groups with no credit."""
        for step in range(1, steps + 1):
            inputs, golds, places = self._drawn("known", PROMPTS)
            batch = self.policy.read(inputs, copies=GROUP)
            seen = self._observed(arm, batch, np.repeat(golds, GROUP, 1), places)
            credit = credit_of(arm, seen)
            parts = [(batch, credit / (PROMPTS * GROUP))]
            if arm == "the gold imitated in lost groups":
                taught = np.broadcast_to(seen["lost"], golds.shape) / PROMPTS
                parts.append((self.policy.read(inputs, golds), taught))
            self.policy.step(parts)
            groups = credit.reshape(len(self.seeds), PROMPTS, -1)
            yield step, float((np.abs(groups).max(2) < 1e-9).mean())

    def _observed(self, arm: str, batch: Any, golds: Array, places: Array) -> dict[str, Array]:
        """Return what the arms look at, by seed, group and answer."""
        chosen, broken, shape = batch.chosen, batch.broken, (len(self.seeds), PROMPTS, GROUP)
        match = ((chosen == golds).all(2) & ~broken).astype(float).reshape(shape)
        alike = self.judge.alike(chosen, golds)
        here = (chosen > 0) & (golds > 0)
        dbs = np.array([[self.encoder.dbs.index(self.known[place].db) for place in row] for row in places])
        seen = {
            "match": match,
            "lost": (match.max(2, keepdims=True) == 0).astype(float),
            "alike": alike.reshape(*shape, -1),
            "matched": (alike * here).sum(2).reshape(shape),
            "same": ((alike == 1) & here).sum(2).reshape(shape),
            "predicted": (chosen > 0).sum(2).reshape(shape),
            "gold": (golds > 0).sum(2).reshape(shape),
            "runs": (self.judge.runs(chosen, np.repeat(dbs, GROUP, 1)) & ~broken).reshape(shape),
        }
        for name, measure in MEASURES.items():
            if name in arm:
                asked = [[self.known[place] for place in row] for row in places]
                near = self.judge.results(chosen, asked, GROUP, measure)
                seen[name] = near.reshape(shape) * seen["runs"]
        if "memory" in arm or arm.startswith("finer()"):
            stored = np.repeat(self._stored[places], GROUP, 1)
            both = ((chosen == stored) & (chosen > 0)).sum(2)
            either = (chosen > 0).sum(2) + (stored > 0).sum(2) - both
            seen["memory"] = (both / np.maximum(either, 1)).reshape(shape)
        return seen

    @cached_property
    def _stored(self) -> Array:
        """Return, for each known question, the right answer to the other one that is likest it by its words."""
        features, answers = self._read["known"]
        near = features @ features.T
        np.fill_diagonal(near, -1)
        found: Array = answers[near.argmax(1)]
        return found


def _model(name: str, seeds: Sequence[int], encoder: Encoder) -> Any:
    if name == "slots":
        return Policy(seeds, encoder.width, [len(one) for one in encoder.choices], WARM_RATE)
    from benchmarks.research.learning_writer import Writer

    return Writer(seeds, encoder, WARM_RATE)


def task_of(name: str) -> Task | None:
    """Return a task; `None` for one whose data is not here."""
    if name != "spider":
        return TASKS[name]
    from benchmarks.research.learning_spider import data_folder, spider_task

    folder = data_folder()
    return None if folder is None else spider_task(folder)


@contextmanager
def lab_of(task: Task, size: Size, seeds: Sequence[int], model: str = "slots") -> Iterator[Lab]:
    """Give the lab of a task, always the same."""
    with tempfile.TemporaryDirectory() as folder:
        fewer = replace(size, held_out=min(size.held_out, task.held_out))
        yield Lab(World(task, Path(folder)), fewer, seeds, model)


def run(
    tasks: Sequence[str],
    starts: Sequence[str],
    chosen: Sequence[tuple[str, float]],
    seeds: Sequence[int],
    size: Size,
    file: Path,
    model: str = "slots",
) -> None:
    """Train with each arm and rate from each start, and append a line for each that is not in the file.

    Args:
        tasks: names of tasks.
        starts: names of starts.
        chosen: arms and their rates.
        seeds: they train together.
        size: how much of everything.
        file: where lines go.
        model: what is trained.
    """
    done = {_key(one) for one in read(file)}
    for name in tasks:
        task = task_of(name)
        if task is None:
            print(f"{name}: left out, as its data is not here (set FINER_REWARDS_DATA).", flush=True)
            continue
        for start in starts:
            left = [(arm, rate) for arm, rate in chosen if (name, start, arm, rate, tuple(seeds)) not in done]
            if not left:
                continue
            with lab_of(task, size, seeds, model) as lab:
                try:
                    lab.warm_up(start)
                    support = lab.support()
                except RuntimeError as error:
                    print(f"{name}, {start}: refused. {error}", flush=True)
                    continue
                weights = lab.policy.weights
                states = [chance.bit_generator.state for chance in lab.policy.chances]
                print(name, start, support, flush=True)
                for arm, rate in left:
                    lab.policy.restart(weights, rate)
                    for chance, state in zip(lab.policy.chances, states, strict=True):
                        chance.bit_generator.state = state
                    record = _trained(lab, arm, (size.steps or STEPS)[start], size.every)
                    whole = {
                        "task": name, "start": start, "arm": arm, "rate": rate, "seeds": list(seeds),
                        "every": size.every, "support": support, **record,
                    }  # fmt: skip
                    with file.open("a", encoding="utf-8") as lines:
                        lines.write(json.dumps(whole) + "\n")
                    end = np.mean(record["sampled"][-1])
                    print(f"{name} {start} {arm} {rate:g}: {end:.3f}, {record['seconds']} s", flush=True)


def _trained(lab: Lab, arm: str, steps: int, every: int) -> dict[str, Any]:
    began, silent = time.process_time(), []
    sampled, greedy = [lab.sampled("held_out")], [lab.greedy()]
    for step, share in lab.reinforce(arm, steps):
        silent.append(share)
        if step % every == 0:
            sampled.append(lab.sampled("held_out"))
            greedy.append(lab.greedy())
    return {
        "sampled": [[round(float(one), 4) for one in row] for row in sampled],
        "greedy": [[round(float(one), 4) for one in row] for row in greedy],
        "silent": round(float(np.mean(silent)), 3),
        "seconds": round(time.process_time() - began, 1),
    }


def read(file: Path) -> list[dict[str, Any]]:
    """Return the runs in a file."""
    if not file.is_file():
        return []
    return [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]


def _key(one: Mapping[str, Any]) -> tuple[Any, ...]:
    return one["task"], one["start"], one["arm"], one["rate"], tuple(one["seeds"])


def best_rates(runs: Sequence[Mapping[str, Any]], task: str) -> dict[str, float]:
    """Return by arm the rate with the best mean over steps of a task on the screening seeds."""
    found: dict[str, tuple[float, float]] = {}
    for one in runs:
        if one["seeds"] == list(SCREENED) and one["task"] == task:
            value = float(np.mean(one["sampled"]))
            found[one["arm"]] = max(found.get(one["arm"], (-1.0, 0.0)), (value, one["rate"]))
    return {arm: rate for arm, (_, rate) in found.items()}


#: What is confirmed: match; the compositions that screening showed to be best; token credit; the default; and as a
#: mark, no reward at all.
CONFIRMED = (
    BASE,
    "+ F2^8 in lost groups",
    "clause credit",
    "the gold imitated in lost groups",
    "+ F2^8",
    "finer(memory=False), by group",
)
#: In the order in which the writer confirms: what has to be known first comes first.
WRITTEN = CONFIRMED[:3]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("verb", choices=("screen", "confirm", "report", "all"))
    parser.add_argument("--model", choices=("slots", "writer"), default="slots")
    parser.add_argument(
        "--file", type=Path, help="learning_sound.jsonl, or learning_writer.jsonl of the writer"
    )
    parser.add_argument("--tasks", nargs="+", choices=[*TASKS, "spider"])
    parser.add_argument("--starts", nargs="+", default=list(STARTS), choices=list(STARTS))
    parser.add_argument("--arms", nargs="+", choices=list(ARMS))
    parser.add_argument("--blocks", type=int, help="of five seeds each, the first ones; all when left out")
    parser.add_argument("--second", action="store_true", help="the second trial, see above")
    options = parser.parse_args()
    is_slots = options.model == "slots"
    named = (
        "learning_second.jsonl" if options.second else RESULTS.name if is_slots else "learning_writer.jsonl"
    )
    file = options.file or RESULTS.with_name(named)
    seeds = SECOND if options.second else SEEDS
    tasks = options.tasks or ([*TASKS, "spider"] if is_slots else ["clauses"])
    arms = options.arms or (CONFIRMED[:3] if options.second else CONFIRMED if is_slots else WRITTEN)
    rates = RATES[options.model]
    if options.verb in ("screen", "all"):
        screened = arms if options.second or not is_slots else options.arms or list(ARMS)
        wanted = [(arm, rate) for arm in screened for rate in rates]
        run(
            tasks if options.second else SCREENED_TASK,
            ["sparse"],
            wanted,
            SCREENED,
            Size(),
            file,
            options.model,
        )
    if options.verb in ("confirm", "all"):
        for task in tasks:
            best = best_rates(read(file), task if options.second else SCREENED_TASK[0])
            confirmed = [(arm, best[arm]) for arm in arms if task != "spider" or arm in CONFIRMED[:3]]
            # What is to be beaten has the better of both rates from each start.
            confirmed += [] if options.arms else [(BASE, rate) for rate in rates if rate != best[BASE]]
            for block in [seeds] if is_slots else BLOCKS[: options.blocks]:
                run([task], options.starts, confirmed, block, Size(), file, options.model)
    if options.verb in ("report", "all"):
        report(read(file), file, seeds)


if __name__ == "__main__":
    main()
