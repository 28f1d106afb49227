"""Reasoning traces for the memory benchmark, written from gold queries in several hands.

No large model is at hand when benchmarks run, so traces are made: a gold query is taken apart, and each part
(tables, joins, filters, grouping, order, ...) is put into words by a writer; writers share no sentence.
The kind of a trace is the set of parts of its query, so traces of one kind on two databases differ in every
name, and traces of two kinds on one database share them. They are templates, and easier than a model's prose.
"""

from __future__ import annotations

import json
import random
import sqlite3
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

from benchmarks.memory_parts import Parts, take_apart
from benchmarks.memory_writers import WRITERS, Writer, joined, plain, recital


@dataclass(frozen=True)
class Made:
    """A made trace: its text, database, kind and writer, and the query behind it."""

    text: str
    db: str
    kind: str
    writer: int
    sql: str
    question: str = ""
    parts: Parts = field(default_factory=lambda: Parts((), ()), compare=False)


def write(
    parts: Parts, question: str, writer: Writer, tone: int, columns: dict[str, list[str]], seed: int = 0
) -> str:
    """Return the trace that one writer makes of a query, given how it recalls a schema."""
    said = [recital(parts, columns, tone), *writer(parts, question, random.Random(seed))]
    return " ".join(said).replace(" .", ".")


@lru_cache(maxsize=200)
def database_columns(data: Path, db: str) -> dict[str, list[str]]:
    for split in ("spider_dev", "spider_train"):
        path = data / split / "database" / db / f"{db}.sqlite"
        if path.exists():
            with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as connection:
                names = [
                    row[0]
                    for row in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
                ]
                return {
                    name.lower(): [row[1] for row in connection.execute(f'PRAGMA table_info("{name}")')]
                    for name in names
                }
    return {}


def made_traces(
    data: Path, *, seed: int = 0, per_kind: int = 12, databases: int = 40, writers: Sequence[Writer] = WRITERS
) -> list[Made]:
    """Return traces of queries whose kind occurs on two databases or more, each in a hand drawn at random.

    Args:
        data: folder of the real data: `questions/spider_dev.json` and `questions/spider_train_gold.sql`.
        seed: of the draw.
        per_kind: most queries of one kind on one database.
        databases: most databases of the training split; those of the development split are all in.
        writers: who writes.
    """
    draw = random.Random(seed)
    rows = [
        (row["db_id"], row["query"], row["question"])
        for row in json.loads((data / "questions/spider_dev.json").read_text())
    ]
    train = [
        line.rsplit("\t", 1)
        for line in (data / "questions/spider_train_gold.sql").read_text().splitlines()
        if "\t" in line
    ]
    there = {path.name for path in (data / "spider_train" / "database").iterdir()}
    chosen = set(draw.sample(sorted({db for _, db in train} & there), databases))
    rows += [(db, sql, "") for sql, db in train if db in chosen]
    seen: set[tuple[str, str]] = set()
    groups: dict[tuple[str, str], list[Made]] = {}
    for db, sql, question in rows:
        parts = take_apart(sql)
        if parts is None or not parts.tables or (db, sql.lower()) in seen:
            continue
        seen.add((db, sql.lower()))
        writer = draw.randrange(len(writers))
        asked = (
            question
            or f"What about {joined([plain(name) for name in parts.outputs])} of {plain(parts.tables[0])}?"
        )
        text = write(parts, asked, writers[writer], writer, database_columns(data, db), draw.randrange(10**6))
        groups.setdefault((parts.kind, db), []).append(Made(text, db, parts.kind, writer, sql, asked, parts))
    spread: dict[str, int] = {}
    for kind, _ in groups:
        spread[kind] = spread.get(kind, 0) + 1
    return [
        trace for (kind, _), group in sorted(groups.items()) if spread[kind] > 1 for trace in group[:per_kind]
    ]
