"""What the trace memory tells apart on reasoning that models really wrote; `python -m benchmarks.memory real`.

How the ways to compare were chosen, written down before the rest was looked at (2026-11-30, 18:36 UTC): a database is
*choosing* when the first byte of the SHA-256 of its id is odd, else *confirming*. On choosing databases alone, of the
ways to compare thoughts the one with the best *hard* for the hashing embedder was taken, of ways within 0.005 the
simplest; *same author* must not fall below what it was. Then everything was measured on the confirming databases:
hard 0.704, same author 0.763. That was less than was hoped for, so one more part (planned and asked operations
together) was chosen on the choosing databases (0.735 to 0.747), and the confirming ones were looked at a second time,
which shipped. A third look, at centring on words alone (0.713), changed nothing. Then the operations themselves, less
what the traces held usually speak of, were chosen to stand beside (choosing databases, hashing: 0.739 to 0.761; alone
0.758 and with the thought 0.757, but MiniLM then 0.758 and 0.761, below its 0.763), and the confirming databases were
looked at a fourth time. A way to tell right from
wrong within a group is claimed only when its interval on the confirming databases is above 0.5.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import tempfile
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import sqlglot
from numpy.typing import NDArray
from sqlglot import expressions as exp

from finer_rewards._thoughts.plan import asked_operations, planned_operations
from finer_rewards.memory import TraceMemory
from finer_rewards.memory.embedders import Embedder, HashingEmbedder
from finer_rewards.memory.thought_embedder import (
    ThoughtEmbedder,
    operation_flags,
    operation_rates,
    with_operations,
)
from finer_rewards.rewards import memory
from finer_rewards.types import Answer, Evidence, Execution, Sample, Status

Array = NDArray[Any]
Record = Mapping[str, Any]

_NODES: Mapping[str, tuple[type[exp.Expression], ...]] = {
    "count": (exp.Count,),
    "average": (exp.Avg,),
    "sum": (exp.Sum,),
    "maximum": (exp.Max,),
    "minimum": (exp.Min,),
    "distinct": (exp.Distinct,),
    "join": (exp.Join,),
    "filter": (exp.Where,),
    "group": (exp.Group,),
    "having": (exp.Having,),
    "order": (exp.Order,),
    "limit": (exp.Limit,),
    "exclude": (exp.Except, exp.Not),
    "both": (exp.Intersect,),
    "union": (exp.Union,),
    "either": (exp.Or,),
    "pattern": (exp.Like,),
    "between": (exp.Between,),
}


def read(data: Path) -> list[Record]:
    """Return the real traces."""
    with gzip.open(data / "traces/real.jsonl.gz", "rt") as lines:
        return [json.loads(line) for line in lines]


def chooses(db: str) -> bool:
    """True for a database that ways to compare were chosen on."""
    return hashlib.sha256(db.encode()).digest()[0] % 2 == 1


def operations(sql: str) -> frozenset[str] | None:
    """Return the operations of a query, in the words of a plan; `None` when it does not parse."""
    try:
        tree = sqlglot.parse_one(sql, dialect="mysql")
    except (sqlglot.errors.SqlglotError, RecursionError):
        return None
    found = {name for name, nodes in _NODES.items() if tree.find(*nodes)}
    nested = len(list(tree.find_all(exp.Select))) > 1 and not isinstance(tree, exp.SetOperation)
    return frozenset({*found, "subquery"} if nested else found)


def auc(better: Array, worse: Array) -> float:
    """Return the share of pairs in which the better one is ahead; ties count half."""
    ordered = np.sort(better)
    above = len(ordered) - np.searchsorted(ordered, worse, "right")
    ties = np.searchsorted(ordered, worse, "right") - np.searchsorted(ordered, worse, "left")
    return float((above + 0.5 * ties).sum() / (len(better) * len(worse)))


def interval(values: Mapping[str, Sequence[float]], rounds: int = 1000) -> str:
    """Return the mean of all values and its 95 % interval, bootstrapped over databases."""
    dbs = [db for db in values if len(values[db])]
    if not dbs:
        return "-"
    sums = np.array([[np.sum(values[db]), len(values[db])] for db in dbs])
    draw = np.random.default_rng(0).integers(len(dbs), size=(rounds, len(dbs)))
    totals = sums[draw].sum(axis=1)
    low, high = np.quantile(totals[:, 0] / totals[:, 1], [0.025, 0.975])
    mean = sums[:, 0].sum() / sums[:, 1].sum()
    return f"{mean:.3f} [{low:.3f}, {high:.3f}]"


def kinds(products: Array, traces: Sequence[Record]) -> dict[str, str]:
    """Return how often the same kind of query on another database is the more similar, as a mean with its interval.

    easy: than another kind on another database. hard: than another kind on the same database; same author: both by
    the author of the trace (model and style).
    """
    kind, db = (np.array([trace[name] for trace in traces]) for name in ("kind", "db_id"))
    author = np.array([trace["model"] + trace["style"] for trace in traces])
    found: dict[str, dict[str, list[float]]] = {
        name: defaultdict(list) for name in ("easy", "hard", "hard, same author")
    }
    for row in range(len(traces)):
        same, home = kind == kind[row], db == db[row]
        for name, values in found.items():
            allowed = author == author[row] if "author" in name else np.ones(len(traces), dtype=bool)
            better = products[row][same & ~home & allowed]
            worse = products[row][~same & (~home if name == "easy" else home) & allowed]
            if len(better) and len(worse):
                values[str(db[row])].append(auc(better, worse))
    return {name: interval(values) for name, values in found.items()}


def groups(traces: Sequence[Record]) -> dict[tuple[str, ...], tuple[list[int], list[int]]]:
    """Return the right and the wrong answers to one question by one author, where there are both."""
    found: dict[tuple[str, ...], tuple[list[int], list[int]]] = defaultdict(lambda: ([], []))
    for row, trace in enumerate(traces):
        key = (trace["db_id"], trace["question"], trace["model"], trace["style"])
        found[key][0 if trace["correct"] else 1].append(row)
    return {key: both for key, both in found.items() if all(both)}


def in_groups(values: Array, traces: Sequence[Record]) -> str:
    """Return how often a right answer of a group is ahead of a wrong one, over pairs."""
    found: dict[str, list[float]] = defaultdict(list)
    for (db, *_), (right, wrong) in groups(traces).items():
        found[db] += [
            float(values[a] > values[b]) + 0.5 * float(values[a] == values[b]) for a in right for b in wrong
        ]
    return interval(found)


def vectors(thought_embedder: ThoughtEmbedder, traces: Sequence[Record], *, asked: bool) -> Array:
    """Return the vectors of thoughts, with what their questions ask for or without."""
    thoughts, questions, sqls = ([trace[name] for trace in traces] for name in ("thought", "question", "sql"))
    made = thought_embedder.vectors(thoughts, questions if asked else (), sqls if asked else ())
    whole = np.stack(
        [
            one
            for one in (thought_embedder.joined(made, thoughts, questions) if asked else made)
            if one is not None
        ]
    )
    said = operation_flags(thoughts, questions)
    return with_operations(whole, said - operation_rates(said)) if asked else whole


def ways(embedder: Embedder, cache: str | None = None) -> list[tuple[str, ThoughtEmbedder, bool]]:
    """Return the ways to compare thoughts."""
    masked = ThoughtEmbedder(embedder, cache=cache)
    return [
        ("raw, as published", ThoughtEmbedder(embedder, masks=False, centres=False, cache=cache), False),
        ("centred", ThoughtEmbedder(embedder, masks=False, centres=True, cache=cache), False),
        ("masked, centred", masked, False),
        ("masked, centred, with the question (default)", masked, True),
    ]


def candidates(thought_embedder: ThoughtEmbedder, traces: Sequence[Record]) -> dict[str, Array]:
    """Return what might tell right from wrong among answers to one question, by name."""
    right = np.array([bool(trace["correct"]) for trace in traces])
    db = np.array([trace["db_id"] for trace in traces])
    own = [operations(trace["sql"]) or frozenset() for trace in traces]
    planned = [frozenset(planned_operations(trace["thought"])) for trace in traces]
    thoughts = vectors(thought_embedder, traces, asked=True)
    questions = [trace["question"] for trace in traces]
    like = _embedded(thought_embedder, [f"{' '.join(asked_operations(one))} {one}" for one in questions])
    done = _embedded(thought_embedder, [" ".join(sorted(one)) for one in own])

    def near(asked: Array, held: Array, pool: Array) -> Array:
        products = asked @ asked.T
        values = []
        for row in range(len(traces)):
            others = np.flatnonzero((db != db[row]) & pool)
            nearest = others[np.argsort(-products[row][others], kind="stable")[:20]]
            middle = held[nearest].mean(axis=0)
            values.append(float(held[row] @ middle / (np.linalg.norm(middle) or 1.0)))
        return np.array(values)

    verified = near(thoughts, thoughts, right)
    return {
        "similarity to verified thoughts": verified,
        "the same minus that to failed ones": verified - near(thoughts, thoughts, ~right),
        "plan of the thought agrees with its own SQL (F1)": np.array(
            [2 * len(a & b) / max(1, len(a) + len(b)) for a, b in zip(planned, own, strict=True)]
        ),
        "SQL agrees with the operations of verified answers to like questions": near(like, done, right),
        "the shorter SQL": -np.array([len(trace["sql"]) for trace in traces], dtype=float),
    }


def _embedded(thought_embedder: ThoughtEmbedder, texts: Sequence[str]) -> Array:
    return np.stack([one for one in thought_embedder.embedder.vectors(texts) if one is not None])


def precision_table(traces: Sequence[Record], names: Sequence[str]) -> None:
    """Print how often a planned operation is in the SQL, and the other way round."""
    print("\n| operation | planned | of them in the SQL | of those in the SQL planned |\n|---|---|---|---|")
    known = [
        (frozenset(planned_operations(trace["thought"])), found)
        for trace in traces
        if (found := operations(trace["sql"])) is not None
    ]
    for name in names:
        said = sum(name in planned for planned, _ in known)
        both = sum(name in planned and name in found for planned, found in known)
        meant = sum(name in found for _, found in known)
        print(f"| {name} | {said} | {both / max(1, said):.2f} | {both / max(1, meant):.2f} |")


def rewards(traces: Sequence[Record]) -> Array:
    """Return what `memory()` pays each thought above SQL that ran, with the right thoughts of other databases kept."""
    ran = Execution(Status.ok, ("a",), ((1,),))
    with tempfile.TemporaryDirectory() as folder:
        lines = [
            json.dumps(
                {"text": one["thought"], "db": one["db_id"], "question": one["question"], "sql": one["sql"]}
            )
            for one in traces
            if one["correct"]
        ]
        Path(folder, "traces.jsonl").write_text("\n".join(lines))
        with TraceMemory.open(Path(folder, "memory"), HashingEmbedder(), durable=False) as kept:
            kept.import_(Path(folder, "traces.jsonl"))
            thoughts, dbs, questions, sqls = (
                [trace[name] for trace in traces] for name in ("thought", "db_id", "question", "sql")
            )
            recalls = kept.search(thoughts, dbs, questions=questions, sqls=sqls)
    paid = []
    for trace, recall in zip(traces, recalls, strict=True):
        sample = Sample(trace["sql"], trace["gold"], trace["db_id"], trace["question"])
        answer = Answer(trace["thought"], trace["sql"])
        score = memory()(Evidence(sample, answer, predicted=ran, gold=ran, recall=recall))
        assert score.value is not None
        paid.append(score.value)
    return np.array(paid)


def real_tables(data: Path, embedders: Sequence[Embedder]) -> None:
    """Print all that is measured on real reasoning."""
    everything = read(data)
    judged = [trace for trace in everything if trace["correct"] is not None]
    parts: Sequence[tuple[str, Callable[[str], bool]]] = (
        ("choosing databases", chooses),
        ("confirming databases", lambda db: not chooses(db)),
        ("all", lambda db: True),
    )
    with tempfile.TemporaryDirectory() as folder:
        compared = [
            (embedder.fingerprint.partition("|")[0], ways(embedder, folder)) for embedder in embedders
        ]
        for title, holds in parts:
            _tables_of_part(title, [trace for trace in judged if holds(trace["db_id"])], compared)


def _tables_of_part(
    title: str,
    here: Sequence[Record],
    compared: Sequence[tuple[str, Sequence[tuple[str, ThoughtEmbedder, bool]]]],
) -> None:
    right = [trace for trace in here if trace["correct"]]
    pairs = groups(here)
    print(
        f"\n## Reasoning that models wrote: {title}\n\n{len(here)} thoughts of {len({t['model'] for t in here})} "
        f"models on {len({t['db_id'] for t in here})} databases, {len(right)} of them right. 95 % intervals, "
        "bootstrapped over databases.\n\n| embedding | easy | hard | hard, same author |\n|---|---|---|---|"
    )
    for name, thought_embedders in compared:
        for way, thought_embedder, asked in thought_embedders:
            made = vectors(thought_embedder, right, asked=asked)
            print(f"| {name}: {way} | {' | '.join(kinds(made @ made.T, right).values())} |", flush=True)
    count = sum(len(a) * len(b) for a, b in pairs.values())
    print(
        f"\nRight before wrong, {count} pairs of {len(pairs)} groups (one question, one author):\n\n"
        "| by | in a group | over all |\n|---|---|---|"
    )
    for name, thought_embedders in compared:
        flags = np.array([bool(trace["correct"]) for trace in here])
        for by, values in candidates(thought_embedders[-1][1], here).items():
            overall = auc(values[flags], values[~flags])
            print(f"| {name}: {by} | {in_groups(values, here)} | {overall:.3f} |", flush=True)
    paid, flags = rewards(here), np.array([bool(trace["correct"]) for trace in here])
    print(
        f"\n`memory()`, hashing, above SQL that ran: mean {paid[flags].mean():.3f} of right answers, "
        f"{paid[~flags].mean():.3f} of wrong ones; {np.mean(paid[flags] == 0):.1%} of the right ones get exactly 0."
    )
    precision_table(here, ("pattern", "exclude", "having", "subquery", "group", "join", "filter"))
