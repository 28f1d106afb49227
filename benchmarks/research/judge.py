"""How far a judge agrees with experts, beside the official verdict.

    python -m benchmarks.research.judge ../shared/data --write                      # with a stand-in, no language model
    python -m benchmarks.research.judge ../shared/data --url URL --model MODEL      # with a model behind an endpoint

FLEX: 200 answers on BIRD with the printed results of both queries and three experts' votes; right where at least half
of them say so. A score of the judge from 0.5 up is its yes. Kappa is Cohen's. Our own modes on the same answers are in
verdicts.md.

The stand-in reads the prompt that a model would get, and says 1 where the two printed results are equal as sets, 0.5
where one holds the other's rows, and 0 otherwise. It shows that what is asked holds what is needed and that every reply
is read; of how well a language model judges it says nothing.
"""

from __future__ import annotations

import argparse
import json
import platform
import re
import sys
from collections.abc import Sequence
from datetime import date
from pathlib import Path
from typing import Any

from benchmarks.verdicts import kappa
from finer_rewards.judging import EndpointJudge, Judge, Judges
from finer_rewards.rewards import judge
from finer_rewards.types import Answer, Evidence, Execution, Sample, Status

RESULTS = Path(__file__).parents[1] / "results" / "judge.md"


def stand_in(prompts: Sequence[str]) -> list[str]:
    """Return a score for each prompt, by the results printed in it."""
    return [f"By the results.\nScore: {_by_results(prompt)}" for prompt in prompts]


def _by_results(prompt: str) -> float:
    gold, predicted = (
        set(re.search(rf"<{side}_result>\n(.*?)\n</{side}_result>", prompt, re.DOTALL)[1].splitlines()[1:])  # type: ignore[index]
        for side in ("gold", "predicted")
    )
    return 1.0 if gold == predicted else 0.5 if gold and (gold <= predicted or predicted <= gold) else 0.0


def read(path: Path) -> list[tuple[Evidence, bool, bool]]:
    """Return what is known of each answer, what the experts say, and the official verdict."""
    found = []
    for line in path.read_text(encoding="utf-8").splitlines():
        item = json.loads(line)
        sample = Sample(
            item["predicted"], item["gold"], "printed", f"{item['question']} {item['hint']}".strip()
        )
        sides = (_run(item[f"{side}_rows"], item[f"{side}_shape"]) for side in ("predicted", "gold"))
        predicted, gold = sides
        evidence = Evidence(sample, Answer(None, item["predicted"]), predicted, gold)
        found.append((evidence, item["experts"] >= 0.5, bool(item["official"])))
    return found


def _run(rows: list[list[Any]] | None, shape: Sequence[int] | None) -> Execution:
    if rows is None:
        return Execution(Status.failed)
    cells = tuple(tuple(row) for row in rows)
    return Execution(Status.ok, rows=cells, truncated=bool(shape) and len(cells) < (shape or [0])[0])


def main() -> int:
    """Ask, compare, and print a table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("data", type=Path)
    parser.add_argument("--url")
    parser.add_argument("--model", default="")
    parser.add_argument("--write", action="store_true")
    arguments = parser.parse_args()
    client: Judge = EndpointJudge(arguments.url, arguments.model) if arguments.url else stand_in
    who = (
        f"`{arguments.model}` at temperature 0"
        if arguments.url
        else "a stand-in (no language model: see the script)"
    )
    reward = judge()
    answers = read(arguments.data / "human" / "flex.jsonl")
    seen = Judges(reward, client).observe([evidence for evidence, *_ in answers])
    scores = [reward(one) for one in seen]
    judged = [(score.value, experts) for score, (_, experts, _) in zip(scores, answers, strict=True)]
    scored = [(value >= 0.5, experts) for value, experts in judged if value is not None]
    strictly = [(value >= 1, experts) for value, experts in judged if value is not None]
    rows = [
        ("the judge, yes from 0.5", scored),
        ("the judge, yes at 1", strictly),
        ("official (BIRD's set of rows)", [(official, experts) for _, experts, official in answers]),
    ]
    lines = [
        "# A judge beside experts",
        "",
        f"`python -m benchmarks.research.judge ../shared/data --write`, {date.today()}, "
        f"Python {platform.python_version()}, {platform.machine()}. Judge: {who}.",
        "",
        "| verdict | answers | of them agree | Cohen's kappa |",
        "| --- | ---: | ---: | ---: |",
        *(
            f"| {name} | {len(pairs)} | {sum(a == b for a, b in pairs) / len(pairs):.1%} | {kappa(pairs):.3f} |"
            for name, pairs in rows
        ),
        "",
        f"{sum(score.value is None for score in scores)} of {len(scores)} have no value.",
        "",
        *("> " + line if line else ">" for line in (__doc__ or "").strip().splitlines()[5:]),
    ]
    text = "\n".join(line.rstrip() for line in lines) + "\n"
    sys.stdout.write(text)
    if arguments.write:
        RESULTS.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
