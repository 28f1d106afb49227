"""Which way a reward pushes a model: its gradient beside the gradient of being right, from the same samples.

    python -m benchmarks.learning_direction [--seeds 2] [--arms ...]

Sixty steps of training tell rewards apart only when they differ a lot. The first step can be measured much better: from
each start of `benchmarks.learning` the same completions are scored by every arm, and the direction in which GRPO would
go is compared with the one in which the share of right answers to *held-out* questions grows fastest, estimated from
many more samples. The cosine between the two is what a step is worth, whatever its length; that of the mean over
batches shows where a reward leads when its noise is averaged out. Adam, which rescales coordinates, is left out, and so
is all that happens later. Appends to `results/learning_direction.jsonl`, and writes the table `.md`.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
from collections.abc import Sequence
from datetime import date
from pathlib import Path
from statistics import mean
from typing import Any

from benchmarks.learning import GROUP, PROMPTS, REGIMES, SHORT, Size, Start, read, values, warmed
from benchmarks.learning_arms import BASE, arms
from benchmarks.learning_report import interval

RESULTS = Path(__file__).parent / "results"
#: Batches that are compared, and samples a held-out question that tell the right direction.
BATCHES, SAMPLES = 24, 48


def measure(
    regime: str, seed: int, names: Sequence[str], size: Size, batches: int, samples: int
) -> list[dict[str, Any]]:
    """Return for each arm the cosines between its steps and the right direction."""
    import torch

    from benchmarks.learning_model import advantages

    with warmed(regime, seed, size) as start:
        torch.manual_seed(seed)
        right = _right(start, samples)
        chance = random.Random(seed)
        found: dict[str, list[Any]] = {name: [] for name in names}
        scorers = {name: start.scorer(name) for name in names}
        for _ in range(batches):
            asked = [one for one in chance.sample(start.known, PROMPTS) for _ in range(GROUP)]
            tokens, length = start.learner.answer(asked, 1.0), start.learner.asked_length(asked)
            texts = start.learner.texts(tokens, length)
            for name in names:
                arm = arms()[name]
                credit, _ = advantages(values(scorers[name], texts, asked, arm.scale), GROUP, arm.scale)
                found[name].append(start.learner.direction(tokens, length, credit))
        return [
            {
                "regime": regime,
                "seed": seed,
                "arm": name,
                "scale": arms()[name].scale,
                "steps": [round(_cosine(one, right), 4) for one in steps],
                "mean": round(_cosine(torch.stack(steps).mean(0), right), 4),
            }
            for name, steps in found.items()
        ]


def _right(start: Start, samples: int) -> Any:
    """Return the direction in which held-out questions are answered right more often."""
    import torch

    from benchmarks.learning_model import advantages

    scorer, found = start.scorer(BASE), []
    for place in range(0, len(start.held_out), 8):
        asked = [one for one in start.held_out[place : place + 8] for _ in range(samples)]
        tokens, length = start.learner.answer(asked, 1.0), start.learner.asked_length(asked)
        texts = start.learner.texts(tokens, length)
        # Scaled by nothing: by the spread of the batch would weigh batches, by that of the group questions.
        (matches,) = values(scorer, texts, asked, "group")
        credit, _ = advantages([matches], samples, "none")
        weight = int((tokens[:, length:] != 0).sum())
        found.append(weight * start.learner.direction(tokens, length, credit))
    return torch.stack(found).sum(0)


def _cosine(a: Any, b: Any) -> float:
    return float((a @ b) / (a.norm() * b.norm() + 1e-12))


def lines(records: list[dict[str, Any]]) -> list[str]:
    """Return the table as Markdown."""
    out = [
        "# Which way a reward pushes",
        "",
        f"Written by `python -m benchmarks.learning_direction` on {date.today()}. Cosine between a step and the",
        "direction of more right answers to held-out questions, with a 95 % interval over batches; against: the",
        "difference to execution match alone on the same batches. Mean: the cosine of the mean step.",
    ]
    for regime in dict.fromkeys(one["regime"] for one in records):
        own = [one for one in records if one["regime"] == regime]
        base = {one["seed"]: one["steps"] for one in own if one["arm"] == BASE}
        out += ["", f"## Start: {regime}", ""]
        out += ["| reward | scale | starts | a step | against | mean |", "|---|---|---|---|---|---|"]
        for name in dict.fromkeys(one["arm"] for one in own):
            rows = [one for one in own if one["arm"] == name]
            steps = [value for one in rows for value in one["steps"]]
            gaps = [a - b for one in rows for a, b in zip(one["steps"], base[one["seed"]], strict=True)]
            centre, half = interval(steps)
            gap, gap_half = interval(gaps)
            against = "" if name == BASE else f"{gap:+.3f} ± {gap_half:.3f}"
            cells = [name, rows[0]["scale"], str(len(rows)), f"{centre:.3f} ± {half:.3f}", against]
            out.append("| " + " | ".join([*cells, f"{mean(one['mean'] for one in rows):.3f}"]) + " |")
    return out


def main() -> None:
    parser = argparse.ArgumentParser(description="Which way a reward pushes a small model.")
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--first", type=int, default=0, help="the first seed (default 0)")
    parser.add_argument("--arms", nargs="+", default=list(arms()), choices=list(arms()))
    parser.add_argument("--regimes", nargs="+", default=list(REGIMES), choices=list(REGIMES))
    parser.add_argument("--short", action="store_true", help="a minute, to see that it works")
    parser.add_argument("--file", type=Path, default=RESULTS / "learning_direction.jsonl")
    options = parser.parse_args()
    size = SHORT if options.short else Size()
    batches, samples = (2, 4) if options.short else (BATCHES, SAMPLES)
    done = {(one["regime"], one["seed"]) for one in read(options.file)}
    for seed in range(options.first, options.first + options.seeds):
        for regime in options.regimes:
            if (regime, seed) not in done:
                records = measure(regime, seed, options.arms, size, batches, samples)
                with options.file.open("a", encoding="utf-8") as out:
                    out.writelines(json.dumps(one) + "\n" for one in records)
                print(f"{regime} {seed}: {len(records)} rewards", file=sys.stderr)
    text = "\n".join(lines(read(options.file))) + "\n"
    options.file.with_suffix(".md").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
