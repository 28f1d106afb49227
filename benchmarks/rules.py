"""What does each rewrite of blocks carry? All rules but one, on labelled pairs and on real candidates.

    python -m benchmarks.rules [--write] [--data DIR]

For each rule of `finer_rewards.operations.rules.LOOSE_RULES`, which are those of `RULES` and the loose ones: the share
of candidate texts whose operations are others without it; how many equivalent pairs score exactly 1 no more; by how
much the within-question AUC of right against wrong candidates falls; and how many more right candidates score below
0.3. A rule that moves nothing anywhere has no reason to be there. A text that a rule did not change is not read again
without it.
"""

from __future__ import annotations

import argparse
import gzip
import json
import os
import platform
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import date
from functools import wraps
from pathlib import Path
from typing import Any

import finer_rewards.operations as package
from benchmarks.operations import auc, load_schema, operations, plain, schema_of
from finer_rewards._util.sqlglot_log import quiet_sqlglot
from finer_rewards.operations import Operations, operation_f1, rules
from finer_rewards.operations.context import Context
from finer_rewards.operations.terms import Select
from finer_rewards.schema import Schema

RESULTS = Path(__file__).parent / "results" / "rules.md"
FAMILIES = ("text_to_sql", "spider_mutants", "generator_made", "optimiser_rules", "literature")
SETS = {"Spider": ("spider_dev_dev", "spider_dev/database"), "BIRD": ("bird_dev_dev", "bird/databases")}
LOW = 0.3
Text = tuple[str, Schema | None, str]
Pair = tuple[Text, Text]
Question = tuple[dict[str, Any], Schema]
Read = Callable[[str, Schema | None, str], Operations | None]


@dataclass(frozen=True)
class Seen:
    """What a set of rules gives.

    Args:
        equivalent: equivalent pairs that score exactly 1, by family.
        areas: mean within-question AUC, by set.
        low: right candidates that score below `LOW`.
        texts: the operations of each candidate text.
    """

    equivalent: dict[str, int]
    areas: dict[str, float]
    low: int
    texts: list[Operations | None]


@dataclass
class Reader:
    """Operations of texts with all rules, and which rules changed something there.

    Args:
        known: the operations by the text, with all rules.
        changed: the texts that a rule changed, by its name.
    """

    known: dict[tuple[str, int, str], Operations | None] = field(default_factory=dict)
    changed: dict[str, set[tuple[str, int, str]]] = field(default_factory=dict)

    def whole(self, sql: str, schema: Schema | None, dialect: str) -> Operations | None:
        """Return the operations of a text with all rules."""
        key = sql, id(schema), dialect
        if key not in self.known:
            fired: set[str] = set()
            rules.RULES, rules.LOOSE_RULES = (_watched(some, fired) for some in (EVERYTHING, LOOSE))
            self.known[key] = _anew(sql, schema, dialect)
            rules.RULES, rules.LOOSE_RULES = EVERYTHING, LOOSE
            for name in fired:
                self.changed.setdefault(name, set()).add(key)
        return self.known[key]

    def without(self, left_out: rules.Rule) -> Read:
        """Return what reads a text without one rule."""
        changed = self.changed.get(_name(left_out), set())
        fewer = [tuple(one for one in some if one[0] is not left_out) for some in (EVERYTHING, LOOSE)]
        read: dict[tuple[str, int, str], Operations | None] = {}

        def found(sql: str, schema: Schema | None, dialect: str) -> Operations | None:
            key = sql, id(schema), dialect
            if key not in changed:
                return self.known[key]
            if key not in read:
                rules.RULES, rules.LOOSE_RULES = fewer
                read[key] = _anew(sql, schema, dialect)
                rules.RULES, rules.LOOSE_RULES = EVERYTHING, LOOSE
            return read[key]

        return found


EVERYTHING, LOOSE = rules.RULES, rules.LOOSE_RULES
Rules = tuple[tuple[rules.Rule, str], ...]


def _watched(some: Rules, fired: set[str]) -> Rules:
    """Return rules that keep their names where they change a block."""

    def watch(rule: rules.Rule) -> rules.Rule:
        @wraps(rule)
        def run(block: Select, context: Context) -> Select:
            changed = rule(block, context)
            if changed is not block and changed != block:
                fired.add(_name(rule))
            return changed

        return run

    return tuple((watch(rule), need) for rule, need in some)


def _anew(sql: str, schema: Schema | None, dialect: str) -> Operations | None:
    """Return the operations of a text as if none had been read before."""
    package._operations.clear()
    with quiet_sqlglot():
        return operations(sql, schema, dialect)


def _name(rule: rules.Rule) -> str:
    return f"{rule.__module__.rpartition('.')[2]}.{rule.__name__}"


def main() -> int:
    default = os.environ.get("FINER_REWARDS_DATA") or Path(__file__).parents[1].parent / "shared" / "data"
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--write", action="store_true", help=f"write {RESULTS.name}")
    parser.add_argument("--data", type=Path, default=Path(default))
    arguments = parser.parse_args()
    pairs = {family: _pairs(arguments.data, family) for family in FAMILIES}
    questions = {name: _questions(arguments.data, *place) for name, place in SETS.items()}
    reader = Reader()
    whole = _seen(pairs, questions, reader.whole)
    rows = []
    for rule, need in LOOSE:
        seen = _seen(pairs, questions, reader.without(rule))
        others = sum(ours != theirs for ours, theirs in zip(whole.texts, seen.texts, strict=True))
        lost = [whole.equivalent[family] - seen.equivalent[family] for family in FAMILIES]
        falls = [whole.areas[name] - seen.areas[name] for name in SETS]
        cells = [_name(rule), need, f"{100 * others / len(whole.texts):.2f} %", *map(str, lost)]
        cells += [*(f"{fall:+.5f}" for fall in falls), f"{seen.low - whole.low:+d}"]
        rows.append("| " + " | ".join(cells) + " |")
        print(rows[-1], flush=True)
    counts = ", ".join(f"{family} {whole.equivalent[family]} of {len(pairs[family])}" for family in FAMILIES)
    lines = [
        "# What each rewrite of blocks carries",
        "",
        f"`python -m benchmarks.rules`, {date.today()}. {platform.machine()}, Python {platform.python_version()}. "
        f"With all {len(EVERYTHING)} rules and {len(LOOSE) - len(EVERYTHING)} loose ones score exactly 1: {counts}; "
        f"AUC Spider {whole.areas['Spider']:.4f}, BIRD {whole.areas['BIRD']:.4f}; {whole.low} right candidates score "
        f"below {LOW}. Of {len(whole.texts):,} candidate texts. Without one rule:",
        "",
        "| rule | tried where there is | texts that change | "
        + " | ".join(f"{one} lost" for one in FAMILIES)
        + f" | Spider AUC falls by | BIRD AUC | right below {LOW} |",
        "|---|---|--:" + "|--:" * (len(FAMILIES) + 3) + "|",
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
            schema = load_schema(row["schema"], dialect, known)
            found.append(((row["sql_a"], schema, dialect), (row["sql_b"], schema, dialect)))
    return found


def _questions(data: Path, name: str, folder: str) -> list[Question]:
    with gzip.open(data / "candidates" / f"{name}.jsonl.gz", mode="rt", encoding="utf-8") as lines:
        found = [json.loads(line) for line in lines]
    names = {question["db_id"] for question in found}
    schemas = {one: schema_of(data / folder / one / f"{one}.sqlite") for one in names}
    return [(question, schemas[question["db_id"]]) for question in found]


def _seen(pairs: dict[str, list[Pair]], questions: dict[str, list[Question]], read: Read) -> Seen:
    equivalent = {
        family: sum(_f1(read(*first), read(*second)) == 1.0 for first, second in some)
        for family, some in pairs.items()
    }
    texts: list[Operations | None] = []
    areas, low = {}, 0
    for name, some in questions.items():
        found = []
        for question, schema in some:
            right, wrong, below = _scored(question, schema, read, texts)
            low += below
            if right and wrong:
                found.append(auc(right, wrong))
        areas[name] = sum(found) / len(found)
    return Seen(equivalent, areas, low, texts)


def _f1(first: Operations | None, second: Operations | None) -> float:
    return 0.0 if first is None or second is None else operation_f1(first, second)


def _scored(
    question: dict[str, Any], schema: Schema, read: Read, texts: list[Operations | None]
) -> tuple[list[float], list[float], int]:
    """Return the scores of right and of wrong candidates that are not the gold, and how many right ones are low."""
    right: list[float] = []
    wrong: list[float] = []
    gold = read(question["gold"], schema, "sqlite")
    for sql, good in {one["sql"]: one["set_ex"] == 1 for one in question["candidates"].values()}.items():
        found = read(sql, schema, "sqlite")
        texts.append(found)
        if plain(sql) != plain(question["gold"]):
            (right if good else wrong).append(_f1(found, gold))
    return right, wrong, sum(score < LOW for score in right)


if __name__ == "__main__":
    sys.exit(main())
