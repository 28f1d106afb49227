"""How many near misses of real golds do neighbour databases kill, at what cost, and what do real candidates lose?

For each database of Spider and BIRD the neighbours of its golds are built, and counted:

* near misses killed: by the database alone, and with its neighbours. Of those that live, some are equivalent
  to the gold. They are tried on 32 further instances made for that gold alone: one that differs there is
  proved not equivalent, and counts against us. The share is given over these, and over all that live.
* pairs of queries made by others (`equivalence/spider_mutants.jsonl`): unequal ones told apart, equal ones kept.
* attacks (`hacks/hacks.jsonl`), with neighbours in the place of the second instance that comes with them.
* real candidates that execution match accepts on the database alone and rejects with its neighbours.

* what a database of 500 MB costs.

    python -m benchmarks.neighbours [DATA] [--train N] [--list FILE] [--write]

DATA is the folder of real databases and predictions. `--train N` adds N of Spider's training databases, drawn by
chance. `--list` writes the candidates newly rejected, a group a gold, for reading.
"""

from __future__ import annotations

import argparse
import gzip
import json
import os
import platform
import random
import resource
import sqlite3
import sys
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

from finer_rewards import Sample, Scorer, SQLite
from finer_rewards._neighbours import Suite, build_neighbours
from finer_rewards._neighbours.building import INSTANCES
from finer_rewards._neighbours.conditions import ColumnCondition, EqualColumns
from finer_rewards._neighbours.instance_database import EmptyDatabase, InstanceRequest, try_instance
from finer_rewards._neighbours.instances import make_instance
from finer_rewards._neighbours.portable_random import PortableRandom
from finer_rewards._neighbours.prepared_golds import prepare
from finer_rewards._neighbours.recipes import Recipe
from finer_rewards._neighbours.source_database import read_database
from finer_rewards._neighbours.suite_store import GENERATOR
from finer_rewards._statement_files import read_statements
from finer_rewards.engines.sqlite.worker import Connection
from finer_rewards.executing import Query
from finer_rewards.rewards import execution_match

RESULTS = Path(__file__).parent / "results" / "neighbours.md"
HELD_OUT = 32
HELD_OUT_RECIPES = (
    Recipe("sample", 30),
    Recipe("sample", 40, change=0.3, sought=0.3, doubles=0.15),
    Recipe("new", 24, change=1.0, sought=0.4, doubles=0.2),
    Recipe("sample", 60, change=0.6, sought=0.5, doubles=0.25),
    Recipe("sample", 12, change=0.2, sought=0.2),
    Recipe("new", 60, change=1.0, sought=0.6, doubles=0.3),
    Recipe("sample", 150, change=0.4, sought=0.4, doubles=0.25),
    Recipe("new", 60, change=1.0, sought=0.6, doubles=0.25, renames=True),
)
SETS = {
    "Spider dev": ("questions/spider_dev.json", "spider_dev/database", "spider_dev_dev"),
    "BIRD superhero": ("questions/bird_dev.json", "bird/databases", "bird_dev_dev"),
    "Spider train": ("questions/spider_train_gold.sql", "spider_train/database", None),
}


@dataclass
class Built:
    """The neighbours of one database, what they cost, and which survivors are near misses after all."""

    name: str
    path: Path
    suite: Suite
    seconds: float
    proved: int

    @property
    def bytes(self) -> int:
        """Return the size of all neighbours."""
        return sum(one.bytes for one in self.suite.instances)

    def total(self, what: str) -> int:
        """Return a count over all golds."""
        return sum(getattr(gold, what) for gold in self.suite.golds)


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("data", type=Path, nargs="?", default=Path("../shared/data"))
    parser.add_argument(
        "--train", type=int, default=0, metavar="N", help="N of Spider's training databases too"
    )
    parser.add_argument("--list", type=Path, metavar="FILE", help="write the candidates newly rejected")
    parser.add_argument("--write", action="store_true", help=f"write {RESULTS.name}")
    arguments = parser.parse_args()
    # What lies outside an executor's root goes by its absolute path.
    arguments.data = arguments.data.resolve()
    if not (arguments.data / "questions").is_dir():
        sys.exit(
            f"`data` should be the data folder, but there is no {arguments.data / 'questions'}. Pass its path."
        )
    report = [
        "# Neighbour databases",
        "",
        f"`python -m benchmarks.neighbours{f' --train {arguments.train}' if arguments.train else ''}`, {date.today()}. "
        f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}, "
        f"SQLite {sqlite3.sqlite_version}; generator {GENERATOR}, at most {INSTANCES} neighbours a gold, seed 0.",
        "",
        "Beside commit 3b77e12: [neighbours_before.md](neighbours_before.md). Refused candidates, read: "
        "[neighbours_audit.md](neighbours_audit.md). The cost of a step: [neighbours_cost.md](neighbours_cost.md). "
        "The first generator that was measured: [neighbours_generator_2.md](neighbours_generator_2.md).",
        "",
    ]
    with tempfile.TemporaryDirectory() as scratch:
        everything: dict[str, list[Built]] = {}
        for title, (questions, folder, _) in SETS.items():
            if title != "Spider train" or arguments.train:
                most = arguments.train if title == "Spider train" else None
                place = Path(scratch) / title
                everything[title] = list(_build_all(arguments.data, questions, folder, place, most))
        report += _kill_table(everything)
        report += _large(Path(scratch))
        report += _pairs(arguments.data, everything["Spider dev"])
        report += _hacks(arguments.data, Path(scratch) / "hacks")
        rejected: list[dict[str, Any]] = []
        for title, built in everything.items():
            candidates = SETS[title][2]
            if candidates:
                report += _candidates(arguments.data, title, candidates, built, rejected)
    text = "\n".join(report) + "\n"
    print(text)
    if arguments.list:
        arguments.list.write_text(_listed(rejected), encoding="utf-8")
    if arguments.write:
        RESULTS.parent.mkdir(exist_ok=True)
        RESULTS.write_text(text, encoding="utf-8")
    return 0


def _build_all(data: Path, questions: str, folder: str, scratch: Path, most: int | None) -> Iterator[Built]:
    golds: dict[str, list[str]] = defaultdict(list)
    for entry in read_statements(data / questions, side="gold"):
        golds[str(entry.db)].append(entry.sql)
    names = sorted(name for name in golds if (data / folder / name / f"{name}.sqlite").is_file())
    names = names if most is None else random.Random(0).sample(names, min(most, len(names)))
    for number, name in enumerate(names, 1):
        path, statements = data / folder / name / f"{name}.sqlite", golds[name]
        started = _cpu()
        suite = build_neighbours(path, statements, folder=scratch)
        seconds = _cpu() - started
        built = Built(name, path, suite, seconds, _proved(path, suite))
        killed = f"{built.total('killed')} of {built.total('mutants')} killed, {built.proved} live"
        print(f"{number}/{len(names)} {name}: {killed}, {seconds:.1f} s", file=sys.stderr, flush=True)
        yield built


def _cpu() -> float:
    """CPU seconds of this process and of the workers that have ended."""
    return sum(
        used.ru_utime + used.ru_stime
        for used in map(resource.getrusage, (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    )


def _proved(path: Path, suite: Suite) -> int:
    """Return how many survivors differ from their gold on some instance made for that gold alone."""
    proved = 0
    settings = {"busy_timeout": 1.0, "limits": []}
    connection = Connection(f"file:{path}?mode=ro&immutable=1", settings)
    source = read_database(connection)
    template = EmptyDatabase(source)
    with SQLite(".", timeout=2.0, clock="cpu") as executor:
        schema = executor.schema(str(path))
        for gold in suite.golds:
            living = [text.split(": ", 1)[1] for text in gold.survivors]
            if not living:
                continue
            (run,) = executor.execute_many([Query(gold.sql, str(path), keep=True)])
            request = prepare(gold.sql, run, schema, executor, str(path)).request
            assert request is not None
            _, looked_for, joins, ordered, ties, extremes, promises, *_ = request
            conditions = [ColumnCondition(*one) for one in looked_for]
            mine = source.with_gold(connection, conditions, [EqualColumns(*one) for one in joins])
            for number in range(HELD_OUT):
                instance = make_instance(
                    mine,
                    [conditions],
                    HELD_OUT_RECIPES[number % len(HELD_OUT_RECIPES)],
                    PortableRandom(f"held:{number}"),
                )
                trial = try_instance(
                    template,
                    mine,
                    instance,
                    InstanceRequest(gold.sql, ordered, ties, extremes, promises, living),
                )
                exposed = set() if trial is None else trial.exposed | trial.weakly_exposed
                proved += len(exposed)
                living = [sql for place, sql in enumerate(living) if place not in exposed]
                if not living:
                    break
    template.close()
    connection.close()
    return proved


def _kill_table(everything: Mapping[str, Sequence[Built]]) -> list[str]:
    lines = [
        "| golds of | databases | golds | near misses | killed | "
        "of those not equivalent | neighbours a gold, mean (most) | KiB a database | CPU s a database |",
        "|---|--:|--:|--:|--:|--:|--:|--:|--:|",
    ]
    loose: list[str] = []
    for title, built in everything.items():
        mutants, killed, proved = (
            sum(one.total("mutants") for one in built),
            sum(one.total("killed") for one in built),
            sum(one.proved for one in built),
        )
        golds = [gold for one in built for gold in one.suite.golds]
        counts = [len(gold.instances) for gold in golds]
        lines.append(
            f"| {title} | {len(built)} | {len(golds)} | {mutants:,} | "
            f"{killed / mutants:.4f} | **{killed / (killed + proved):.4f}** ({proved} live) | "
            f"{sum(counts) / len(counts):.1f} ({max(counts)}) | "
            f"{sum(one.bytes for one in built) / len(built) / 1024:.0f} | "
            f"{sum(one.seconds for one in built) / len(built):.1f} |"
        )
        problems = Counter(gold.problem.split(":")[0] for gold in golds if gold.problem)
        loose.append(
            f"{title}: {sum(not gold.pinned for gold in golds)} golds that no neighbour pins down"
            + "".join(f"; {count}: {problem}" for problem, count in problems.most_common())
            + "."
        )
    return [*lines, "", *loose, ""]


def _large(scratch: Path) -> list[str]:
    """What a database of 500 MB costs: it is sampled, not copied."""
    path = scratch / "large.sqlite"
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(
            """PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF;
            CREATE TABLE kind (id INTEGER PRIMARY KEY, name TEXT);
            CREATE TABLE fact (id INTEGER PRIMARY KEY, kind INT REFERENCES kind, amount INT, note TEXT);
            WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 4000)
              INSERT INTO kind SELECT i, 'kind ' || i FROM n;
            WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 500000)
              INSERT INTO fact SELECT i, 1 + i * 37 % 4000, i * 7 % 1000, printf('%01000d', i) FROM n"""
        )
    golds = (
        "SELECT amount FROM fact WHERE id = 77777",
        "SELECT k.name FROM fact f JOIN kind k ON k.id = f.kind WHERE f.id < 4",
        "SELECT max(amount) FROM fact",
    )
    size = path.stat().st_size
    started = time.perf_counter()
    suite = build_neighbours(path, golds)
    seconds = time.perf_counter() - started
    path.unlink()
    pinned = sum(gold.pinned for gold in suite.golds)
    kept = sum(one.bytes for one in suite.instances)
    return [
        f"A database of {size / 1e6:.0f} MB, {len(golds)} golds: {len(suite.instances)} neighbours, "
        f"{kept / 1024:.0f} KiB, {seconds:.1f} s; {pinned} golds pinned down, kill rate {suite.kill_rate:.4f}.",
        "",
    ]


def _pairs(data: Path, built: Sequence[Built]) -> list[str]:
    """Unequal pairs told apart and equal pairs kept, of those whose first query is a gold here."""
    suites = {one.name: one for one in built}
    samples: list[Sample] = []
    labels: list[bool] = []
    for line in (data / "equivalence" / "spider_mutants.jsonl").read_text(encoding="utf-8").splitlines():
        pair = json.loads(line)
        one = suites.get(pair["meta"]["db_id"])
        if one is not None and one.suite.knows(pair["sql_a"]):
            paths = one.suite.paths_for(pair["sql_a"])
            for dbs in ((str(one.path),), (str(one.path), *paths)):
                samples.append(Sample(pair["sql_b"], pair["sql_a"], dbs))
            labels.append(pair["label"] == "equivalent")
    with Scorer(execution_match(), SQLite(".", timeout=5.0, clock="cpu"), neighbours=0) as scorer:
        values = [score.value for score in scorer.score(samples)]
    counts = Counter(zip(labels, values[::2], values[1::2], strict=True))
    lines = ["Pairs made by others, whose first query is a gold:", ""]
    lines += ["| pair | match on the database | match with neighbours | pairs |", "|---|--:|--:|--:|"]
    for (equal, alone, beside), count in sorted(counts.items(), key=str):
        lines.append(f"| {'equal' if equal else 'unequal'} | {alone} | {beside} | {count} |")
    return [*lines, ""]


def _hacks(data: Path, scratch: Path) -> list[str]:
    """Attacks that must not match, and controls that must, on the given main instance and its neighbours."""
    items = [
        json.loads(line) for line in (data / "hacks" / "hacks.jsonl").read_text(encoding="utf-8").splitlines()
    ]
    items = [item for item in items if item["gold_sql"]]
    suites: dict[str, tuple[Path, Suite]] = {}
    for number, script in enumerate(dict.fromkeys(item["schema_sql"] for item in items)):
        path = scratch / f"hack{number}.sqlite"
        path.parent.mkdir(parents=True, exist_ok=True)
        with closing(sqlite3.connect(path)) as connection:
            connection.executescript(script)
        golds = [item["gold_sql"] for item in items if item["schema_sql"] == script]
        suites[script] = (path, build_neighbours(path, golds))
    counts: Counter[tuple[str, float | None, float | None]] = Counter()
    with Scorer(execution_match(), SQLite(".", timeout=3.0, clock="cpu"), neighbours=0) as scorer:
        for item in items:
            path, suite = suites[item["schema_sql"]]
            for what, wanted in (("attack", "execution_must_be_0"), ("control", "execution_must_be_1")):
                if wanted in (item["expect"], *item["also"]):
                    dbs = (str(path), *suite.paths_for(item["gold_sql"]))
                    alone, beside = scorer.score(
                        [Sample(item["completion"], item["gold_sql"], some) for some in (dbs[:1], dbs)]
                    )
                    counts[what, alone.value, beside.value] += 1
    lines = ["Attacks and controls, with neighbours in the place of their second instance:", ""]
    lines += ["| item | match on the database | match with neighbours | items |", "|---|--:|--:|--:|"]
    lines += [f"| {a} | {b} | {c} | {count} |" for (a, b, c), count in sorted(counts.items(), key=str)]
    return [*lines, ""]


def _candidates(
    data: Path, title: str, name: str, built: Sequence[Built], rejected: list[dict[str, Any]]
) -> list[str]:
    suites = {one.name: one for one in built}
    samples: list[Sample] = []
    notes: list[dict[str, Any]] = []
    with gzip.open(data / "candidates" / f"{name}.jsonl.gz", "rt", encoding="utf-8") as lines:
        for line in lines:
            question = json.loads(line)
            one = suites[question["db_id"]]
            dbs = (str(one.path), *one.suite.paths_for(question["gold"]))
            found: dict[str, list[dict[str, Any]]] = defaultdict(list)
            for candidate in question["candidates"].values():
                found[candidate["sql"]].append(candidate)
            for sql, same in found.items():
                samples += [Sample(sql, question["gold"], some) for some in (dbs[:1], dbs)]
                verdict = same[0].get("official", same[0]["set_ex"])
                notes.append({"db": one.name, "gold": question["gold"], "sql": sql, "systems": len(same),
                              "question": question["question"], "recorded": verdict})  # fmt: skip
    counts: Counter[tuple[Any, ...]] = Counter()
    with Scorer(execution_match(), SQLite(".", timeout=5.0, clock="cpu"), neighbours=0) as scorer:
        for start in range(0, len(notes), 2000):
            scores = scorer.score(samples[2 * start : 2 * start + 4000])
            for note, alone, beside in zip(
                notes[start : start + 2000], scores[::2], scores[1::2], strict=True
            ):
                counts[note["recorded"], alone.value, beside.value] += 1
                if alone.value == 1 and beside.value != 1:
                    rejected.append({**note, "set": title, "reason": beside.reason})
    table = [f"Distinct candidates of {title}, {len(notes):,}:", ""]
    table += [
        "| recorded verdict | match on the database | match with neighbours | candidates |",
        "|---|--:|--:|--:|",
    ]
    table += [f"| {a} | {b} | {c} | {count:,} |" for (a, b, c), count in sorted(counts.items(), key=str)]
    return [*table, "", *_shares(counts), ""]


def _shares(counts: Counter[tuple[Any, ...]]) -> list[str]:
    """Say which share of those called right, and wrong, match on one database, and on neighbours too."""
    lines = []
    for called in ("right", "wrong"):
        some = {key: count for key, count in counts.items() if (key[0] == 1) == (called == "right")}
        total = sum(some.values())
        alone = sum(count for (_, value, _), count in some.items() if value == 1)
        both = sum(count for (_, *values), count in some.items() if values == [1, 1])
        lines.append(
            f"Of {total:,} called {called}, {alone:,} match on the database ({100 * alone / total:.2f} %), "
            f"{both:,} there and on neighbours ({100 * both / total:.2f} %)."
        )
    return [f"{lines[0]} {lines[1]}"]


def _listed(rejected: Sequence[Mapping[str, Any]]) -> str:
    groups: dict[tuple[str, str], list[Mapping[str, Any]]] = defaultdict(list)
    for one in rejected:
        groups[one["db"], one["gold"]].append(one)
    lines = [f"{len(rejected)} candidates, {len(groups)} golds", "", "# a random 50", ""]
    for one in random.Random(0).sample(list(rejected), min(50, len(rejected))):
        lines += _shown(one)
    lines += ["# by gold, the candidate that most systems wrote", ""]
    for same in sorted(groups.values(), key=len, reverse=True):
        lines += [f"{len(same)} candidates", *_shown(max(same, key=lambda one: int(one["systems"])))]
    return "\n".join(lines) + "\n"


def _shown(one: Mapping[str, Any]) -> list[str]:
    return [f"{one['db']}: {one['question']} (recorded {one['recorded']})",
            f"  gold      {one['gold']}", f"  predicted {one['sql']}", f"  {one['reason']}", ""]  # fmt: skip


if __name__ == "__main__":
    sys.exit(main())
