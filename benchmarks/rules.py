"""What does each rewrite of blocks carry? All rules but one, on labelled pairs and on real candidates.

    python -m benchmarks.rules [--write] [--data DIR]

For each rule of `finer_rewards.operations.rules.RULES`: the share of candidate texts whose operations are others
without it; how many equivalent pairs score exactly 1 no more; and by how much the within-question AUC of right against
wrong candidates falls. A rule that moves nothing anywhere has no reason to be there.
"""

from __future__ import annotations

import argparse
import gzip
import json
import os
import platform
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import finer_rewards.operations as package
from benchmarks.operations import auc, load_schema, operations, our_score, plain, schema_of
from finer_rewards._util.sqlglot_log import quiet_sqlglot
from finer_rewards.operations import rules
from finer_rewards.schema import Schema

RESULTS = Path(__file__).parent / "results" / "rules.md"
FAMILIES = ("text_to_sql", "spider_mutants", "generator_made", "optimiser_rules", "literature")
SETS = {"Spider": ("spider_dev_dev", "spider_dev/database"), "BIRD": ("bird_dev_dev", "bird/databases")}
Pair = tuple[str, str, Schema | None, str]


@dataclass(frozen=True)
class Seen:
    """What a set of rules gives.

    Args:
        equivalent: equivalent pairs that score exactly 1, by family.
        areas: mean within-question AUC, by set.
        texts: the operations of each candidate text, as text.
    """

    equivalent: dict[str, int]
    areas: dict[str, float]
    texts: list[str]


def main() -> int:
    default = os.environ.get("FINER_REWARDS_DATA") or Path(__file__).parents[1].parent / "shared" / "data"
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--write", action="store_true", help=f"write {RESULTS.name}")
    parser.add_argument("--data", type=Path, default=Path(default))
    arguments = parser.parse_args()
    pairs = {family: _pairs(arguments.data, family) for family in FAMILIES}
    questions = {name: _questions(arguments.data, *place) for name, place in SETS.items()}
    everything, loose = rules.RULES, rules.LOOSE_RULES
    whole = _seen(pairs, questions)
    rows = []
    for rule, need in everything:
        rules.RULES = tuple(one for one in everything if one[0] is not rule)
        rules.LOOSE_RULES = tuple(one for one in loose if one[0] is not rule)
        seen = _seen(pairs, questions)
        others = sum(ours != theirs for ours, theirs in zip(whole.texts, seen.texts, strict=True))
        lost = [whole.equivalent[family] - seen.equivalent[family] for family in FAMILIES]
        falls = [whole.areas[name] - seen.areas[name] for name in SETS]
        name = f"{rule.__module__.rpartition('.')[2]}.{rule.__name__}"
        cells = [name, need, f"{100 * others / len(whole.texts):.2f} %", *map(str, lost)]
        rows.append("| " + " | ".join([*cells, *(f"{fall:+.5f}" for fall in falls)]) + " |")
        print(rows[-1], flush=True)
    counts = ", ".join(f"{family} {whole.equivalent[family]} of {len(pairs[family])}" for family in FAMILIES)
    lines = [
        "# What each rewrite of blocks carries",
        "",
        f"`python -m benchmarks.rules`, {date.today()}. {platform.machine()}, Python {platform.python_version()}. "
        f"With all {len(everything)} rules score exactly 1: {counts}; AUC Spider {whole.areas['Spider']:.4f}, BIRD "
        f"{whole.areas['BIRD']:.4f}. Of {len(whole.texts):,} candidate texts. Without one rule:",
        "",
        "| rule | tried where there is | texts that change | "
        + " | ".join(f"{one} lost" for one in FAMILIES)
        + " | Spider AUC falls by | BIRD AUC |",
        "|---|---|--:" + "|--:" * (len(FAMILIES) + 2) + "|",
        *rows,
    ]
    if arguments.write:
        RESULTS.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return 0


def _pairs(data: Path, family: str) -> list[Pair]:
    known: dict[tuple[str, str], Schema | None] = {}
    found = []
    for line in (data / "equivalence" / f"{family}.jsonl").read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        if row["label"] == "equivalent":
            dialect = row["dialect"].split(",")[0]
            found.append((row["sql_a"], row["sql_b"], load_schema(row["schema"], dialect, known), dialect))
    return found


def _questions(data: Path, name: str, folder: str) -> list[tuple[dict[str, Any], Schema]]:
    with gzip.open(data / "candidates" / f"{name}.jsonl.gz", mode="rt", encoding="utf-8") as lines:
        found = [json.loads(line) for line in lines]
    names = {question["db_id"] for question in found}
    schemas = {one: schema_of(data / folder / one / f"{one}.sqlite") for one in names}
    return [(question, schemas[question["db_id"]]) for question in found]


def _seen(pairs: dict[str, list[Pair]], questions: dict[str, list[tuple[dict[str, Any], Schema]]]) -> Seen:
    package._operations.clear()
    with quiet_sqlglot():
        equivalent = {
            family: sum(
                our_score(first, second, schema, dialect) == 1.0 for first, second, schema, dialect in some
            )
            for family, some in pairs.items()
        }
        texts: list[str] = []
        areas = {name: _area(some, texts) for name, some in questions.items()}
    return Seen(equivalent, areas, texts)


def _area(questions: Sequence[tuple[dict[str, Any], Schema]], texts: list[str]) -> float:
    areas = []
    for question, schema in questions:
        right: list[float] = []
        wrong: list[float] = []
        for sql, good in {one["sql"]: one["set_ex"] == 1 for one in question["candidates"].values()}.items():
            texts.append(str(operations(sql, schema, "sqlite")))
            if plain(sql) != plain(question["gold"]):
                (right if good else wrong).append(our_score(sql, question["gold"], schema, "sqlite"))
        if right and wrong:
            areas.append(auc(right, wrong))
    return sum(areas) / len(areas)


if __name__ == "__main__":
    sys.exit(main())
