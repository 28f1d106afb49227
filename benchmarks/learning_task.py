"""The task of the learning benchmark: a grammar of questions over two SQLite databases, written on the spot.

A question is a list of phrases; so are the thought and the SQL that answer it. A phrase is one token of the
model. Easy questions have at most two clauses beyond SELECT; the model is warmed up on those, and trained and
examined on harder compositions of the same parts.
"""

from __future__ import annotations

import random
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from itertools import product
from pathlib import Path

__all__ = ["DOMAINS", "Question", "build_databases", "questions", "vocabulary"]

ROWS = 120
EASY, HARDEST = 2, 6
AGGREGATES = {"average": "AVG", "highest": "MAX", "lowest": "MIN", "total": "SUM"}


@dataclass(frozen=True)
class Domain:
    """One database: a table of things, each of which belongs to one row of a parent table."""

    name: str
    table: str
    title: str
    texts: dict[str, tuple[str, ...]]
    numbers: dict[str, tuple[int, ...]]
    parent: str
    place: str
    places: tuple[str, ...]

    def column(self, name: str) -> str:
        """Return a column of the table as the SQL writes it."""
        return f"{self.table}.{name}"

    @property
    def join(self) -> str:
        """The one way from the table to its parent."""
        return f"JOIN {self.parent} ON {self.table}.{self.parent}_id = {self.parent}.id"


DOMAINS = (
    Domain(
        name="company",
        table="employee",
        title="name",
        texts={"city": ("Rome", "Oslo", "Lima", "Cork"), "role": ("clerk", "smith", "cook", "guard")},
        numbers={"age": (25, 30, 35, 40, 45, 50), "salary": (31, 42, 53, 64, 75, 86)},
        parent="department",
        place="region",
        places=("north", "south", "east"),
    ),
    Domain(
        name="library",
        table="book",
        title="title",
        texts={
            "genre": ("novel", "essay", "drama", "atlas"),
            "language": ("Greek", "Welsh", "Malay", "Dutch"),
        },
        numbers={"pages": (120, 180, 240, 300, 360, 420), "price": (12, 17, 22, 27, 32, 37)},
        parent="publisher",
        place="country",
        places=("Chile", "Kenya", "Japan"),
    ),
)


@dataclass(frozen=True)
class Question:
    """A question, the thought of a teacher, the right SQL, and how many clauses it has beyond SELECT."""

    db: str
    words: tuple[str, ...]
    thought: tuple[str, ...]
    sql: tuple[str, ...]
    clauses: int

    @property
    def text(self) -> str:
        """The question as text."""
        return " ".join(self.words)

    @property
    def gold(self) -> str:
        """The right SQL as text."""
        return " ".join(self.sql)

    @property
    def completion(self) -> tuple[str, ...]:
        """What a teacher would write."""
        return ("<think>", *self.thought, "</think>", *self.sql)


@dataclass(frozen=True)
class _Part:
    """One piece of a question: how it is asked, thought about, and written."""

    words: tuple[str, ...]
    thought: tuple[str, ...]
    sql: tuple[str, ...]


def build_databases(folder: Path, seed: int = 0) -> None:
    """Write the databases; numbers differ from row to row, so that no order has ties."""
    chance = random.Random(seed)
    for domain in DOMAINS:
        texts, numbers = list(domain.texts), list(domain.numbers)
        with closing(sqlite3.connect(folder / f"{domain.name}.sqlite")) as connection:
            connection.execute(f"CREATE TABLE {domain.parent} (id INTEGER PRIMARY KEY, {domain.place} TEXT)")
            connection.execute(
                f"CREATE TABLE {domain.table} (id INTEGER PRIMARY KEY, {domain.title} TEXT, "
                f"{texts[0]} TEXT, {texts[1]} TEXT, {numbers[0]} INTEGER, {numbers[1]} INTEGER, "
                f"{domain.parent}_id INTEGER REFERENCES {domain.parent} (id))"
            )
            parents = [(number + 1, domain.places[number % len(domain.places)]) for number in range(6)]
            connection.executemany(f"INSERT INTO {domain.parent} VALUES (?, ?)", parents)
            spread = [_distinct(chance, domain.numbers[name]) for name in numbers]
            connection.executemany(
                f"INSERT INTO {domain.table} VALUES (?, ?, ?, ?, ?, ?, ?)",
                (
                    (
                        number + 1,
                        f"{domain.title} {number + 1}",
                        chance.choice(domain.texts[texts[0]]),
                        chance.choice(domain.texts[texts[1]]),
                        spread[0][number],
                        spread[1][number],
                        chance.randrange(6) + 1,
                    )
                    for number in range(ROWS)
                ),
            )
            connection.commit()


def _distinct(chance: random.Random, limits: tuple[int, ...]) -> list[int]:
    # A hundred times finer than the limits asked about, and never equal to one.
    low, high = limits[0] - 10, limits[-1] + 10
    return [100 * value + 1 + chance.randrange(90) for value in _cycle(chance, low, high)]


def _cycle(chance: random.Random, low: int, high: int) -> list[int]:
    step = (high - low) / ROWS
    values = [int(low + step * number) for number in range(ROWS)]
    chance.shuffle(values)
    return values


def questions(folder: Path, *, hard: bool, number: int, seed: int) -> list[Question]:
    """Return that many different questions whose gold result proves something."""
    chance, found = random.Random(seed), dict[str, Question]()
    connections = {domain.name: sqlite3.connect(folder / f"{domain.name}.sqlite") for domain in DOMAINS}
    try:
        while len(found) < number:
            question = _question(chance, chance.choice(DOMAINS))
            fits = EASY < question.clauses <= HARDEST if hard else question.clauses <= EASY
            if not fits or question.text in found:
                continue
            rows = connections[question.db].execute(question.gold).fetchall()
            if rows and any(value for row in rows for value in row):
                found[question.text] = question
    finally:
        for connection in connections.values():
            connection.close()
    return list(found.values())


def _question(chance: random.Random, domain: Domain) -> Question:
    asks, grouped = _asks(domain), chance.random() < 0.4
    ask = chance.choice([part for part in asks if (part[1] is not None) == grouped])
    part, group = ask
    every = list(_filters(domain))
    chosen = _spread(chance, every, chance.choice((0, 1, 1, 2, 2, 3)))
    joined = chance.random() < 0.4
    if joined:
        place = chance.choice(domain.places)
        asked = (f"from {domain.parent} {domain.place}", place)
        chosen.append(_Part(asked, (), (f"{domain.parent}.{domain.place}", "=", f"'{place}'")))
    thought = [f"First I read the rows of {domain.table}, and I take them one at a time ;"]
    thought += [f"then I join {domain.parent} by its key ;"] if joined else []
    thought += [word for one in chosen for word in one.thought]
    sql = [*part.sql, f"FROM {domain.table}"] + ([domain.join] if joined else [])
    words = list(part.words)
    for number, one in enumerate(chosen):
        words += ["and" if number else "with", *one.words]
        sql += ["AND" if number else "WHERE", *one.sql]
    clauses = len(chosen) + joined
    if group is not None:
        clauses += 1
        thought.append(f"I put them into groups by {group} ;")
        sql += ["GROUP BY", domain.column(group)]
        if chance.random() < 0.5:
            clauses += 1
            least = chance.choice(("2", "4", "6"))
            words += ["only groups of more than", least]
            thought.append("small groups are left out ;")
            sql += ["HAVING COUNT(*) >", least]
    elif part.words[0] == f"which {domain.title}" and chance.random() < 0.6:
        clauses += 1
        by, way = chance.choice(tuple(domain.numbers)), chance.choice(("DESC", "ASC"))
        few = chance.choice(("1", "3", "5"))
        words += ["the first" if way == "ASC" else "the last", few, f"by {by}"]
        thought.append(f"they are sorted by {by}, and a few are taken ;")
        sql += ["ORDER BY", domain.column(by), way, "LIMIT", few]
    thought += part.thought
    return Question(domain.name, (*words, "?"), tuple(thought), tuple(sql), clauses)


def _asks(domain: Domain) -> list[tuple[_Part, str | None]]:
    """Return what can be asked for, and by which column it groups."""
    found: list[tuple[_Part, str | None]] = [
        (
            _Part(
                ("how many",), ("last I count what is left, which is the answer .",), ("SELECT", "COUNT(*)")
            ),
            None,
        )
    ]
    listed = ("last I list what is left, which is the answer .",)
    for _ in range(4):  # as often as the aggregates
        found.append(
            (_Part((f"which {domain.title}",), listed, ("SELECT", domain.column(domain.title))), None)
        )
    for number, word in product(domain.numbers, AGGREGATES):
        value = f"{AGGREGATES[word]}({domain.column(number)})"
        last = (f"last I take the {word} {number}, which is the answer .",)
        found.append((_Part((word, number), last, ("SELECT", value)), None))
        for text in domain.texts:
            select = ("SELECT", domain.column(text), ",", value)
            found.append((_Part((f"for each {text}", word, number), last, select), text))
    counted = ("last I count each group, which is the answer .",)
    for text in domain.texts:
        select = ("SELECT", domain.column(text), ",", "COUNT(*)")
        found += [(_Part((f"for each {text}", "how many"), counted, select), text)] * 4
    return found


def _filters(domain: Domain) -> Iterator[_Part]:
    for name, limits in domain.numbers.items():
        for (word, sign), limit in product((("over", ">"), ("under", "<")), limits):
            value = str(100 * limit)
            yield _Part((name, word, value), (f"{name} has a limit ;",), (domain.column(name), sign, value))
    for name, values in domain.texts.items():
        for (word, sign), value in product((("is", "="), ("is not", "<>")), values):
            yield _Part(
                (name, word, value), (f"{name} is given ;",), (domain.column(name), sign, f"'{value}'")
            )


def _spread(chance: random.Random, parts: list[_Part], number: int) -> list[_Part]:
    """Return parts about different columns."""
    chosen: dict[str, _Part] = {}
    while len(chosen) < number:
        part = chance.choice(parts)
        chosen.setdefault(part.words[0], part)
    return list(chosen.values())


def vocabulary(examples: list[Question]) -> list[str]:
    """Return the phrases of the questions and their completions, sorted."""
    return sorted({phrase for question in examples for phrase in (*question.words, *question.completion)})
