"""The tasks of the learning benchmark: questions over small databases, written on the spot; every part matters.

An answer fills slots: each holds nothing, or one piece of the SQL (a column, a condition, a join, a limit). Easy
questions fill few of them; policies are warmed up on those, and trained and examined on harder compositions of the same
pieces.

A question is kept only if it is sound: without any one of its conditions, its HAVING or its ORDER BY the result is
another, on the database or on one of its neighbours, and its own result proves something. Neighbours are the library's
own, built for some of the questions.
"""

from __future__ import annotations

import random
import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from finer_rewards._neighbours import build_neighbours

__all__ = ["TASKS", "Choice", "Question", "Task", "World", "written"]

#: What fills a slot: the words of one piece of SQL; none for an empty one.
Choice = tuple[str, ...]
_ROWS, _BUILT_FOR = 60, 16
_VAIN = 20_000  # draws that bring nothing new, after which there is nothing
_GUESSED = 6  # a count below it is easily guessed


@dataclass(frozen=True)
class Question:
    """A question as phrases, and what answers it, slot by slot."""

    db: str
    words: tuple[str, ...]
    answer: tuple[Choice, ...]


@dataclass(frozen=True)
class Task:
    """A family of questions.

    Args:
        name: what it is called in results.
        slots: names of the slots, in the order in which an answer is written.
        conditions: those of them that are conditions.
        matters: those whose absence has to change the result.
        easy: how many filled slots a question of the warm-up has at most.
        neighbours: how many neighbours of a database a match has to hold on too.
        dbs: the script that makes each database, given a source of chance.
        draw: returns a question, sound or not.
        render: returns the SQL of an answer.
        held_out: the most questions to hold out; with none, those that are trained on are examined.
    """

    name: str
    slots: tuple[str, ...]
    conditions: tuple[str, ...]
    matters: tuple[str, ...]
    easy: int
    neighbours: int
    dbs: Mapping[str, Callable[[random.Random], str]]
    draw: Callable[[random.Random], Question]
    render: Callable[[str, Mapping[str, Choice]], str]
    held_out: int = 1_000

    def sql(self, db: str, answer: Sequence[Choice]) -> str:
        """Return the SQL of an answer."""
        return self.render(db, dict(zip(self.slots, answer, strict=True)))


@dataclass
class World:
    """The databases of a task in a folder, their neighbours, and the questions that are sound there."""

    task: Task
    folder: Path
    paths: dict[str, tuple[str, ...]] = field(default_factory=dict)
    _open: dict[str, sqlite3.Connection] = field(default_factory=dict)
    _seen: dict[tuple[str, str], list[tuple[object, ...]] | None] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for db, script in self.task.dbs.items():
            path = self.folder / f"{db}.sqlite"
            connection = sqlite3.connect(path)
            connection.executescript(script(random.Random(db)))
            connection.close()
            chance = random.Random(f"{db} golds")
            golds = {self.task.sql(one.db, one.answer) for one in _some(self.task, chance, db, _BUILT_FOR)}
            suite = build_neighbours(path, sorted(golds), folder=self.folder / "neighbours", workers=1)
            wanted = self.task.neighbours
            if len(suite.paths) < wanted:
                raise RuntimeError(f"{db} should have {wanted} neighbours, but has {len(suite.paths)}.")
            self.paths[db] = (str(path), *suite.paths[:wanted])

    def rows(self, path: str, sql: str) -> list[tuple[object, ...]] | None:
        """Return what a query returns there; `None` when it does not run."""
        if (path, sql) not in self._seen:
            if path not in self._open:
                self._open[path] = sqlite3.connect(f"file:{path}?mode=ro", uri=True)
            try:
                self._seen[path, sql] = self._open[path].execute(sql).fetchall()
            except sqlite3.Error:
                self._seen[path, sql] = None
        return self._seen[path, sql]

    def same(self, db: str, sql: str, gold: str) -> bool:
        """Return whether two queries have one result on the database and on each neighbour."""
        ordered = "ORDER BY" in gold
        for path in self.paths[db]:
            one, other = self.rows(path, sql), self.rows(path, gold)
            if one is None or other is None:
                return False
            if one != other if ordered else sorted(map(repr, one)) != sorted(map(repr, other)):
                return False
        return True

    def sound(self, question: Question) -> bool:
        """Return whether every part of the right answer matters, and its result proves something."""
        gold = self.task.sql(question.db, question.answer)
        rows = self.rows(self.paths[question.db][0], gold)
        if not rows or not any(value for row in rows for value in row):
            return False
        if len(rows) == len(rows[0]) == 1 and isinstance(rows[0][0], int) and rows[0][0] < _GUESSED:
            return False
        for place, name in enumerate(self.task.slots):
            if name in self.task.matters and question.answer[place]:
                without = [*question.answer]
                without[place] = ()
                if self.same(question.db, self.task.sql(question.db, without), gold):
                    return False
        return True

    def questions(self, number: int, *, hard: bool, seed: int) -> list[Question]:
        """Return so many different sound questions, or all that there are; always the same."""
        chance, found = random.Random(f"{seed} {hard}"), dict[tuple[str, ...], Question]()
        unsound, vain = set[tuple[str, ...]](), 0
        while len(found) < number and vain < _VAIN:
            one = self.task.draw(chance)
            fits = (sum(map(bool, one.answer)) > self.task.easy) is hard
            vain += 1
            if fits and one.words not in found and one.words not in unsound:
                if self.sound(one):
                    found[one.words], vain = one, 0
                else:
                    unsound.add(one.words)
        self._seen.clear()
        return list(found.values())


def _some(task: Task, chance: random.Random, db: str, number: int) -> Iterator[Question]:
    while number:
        one = task.draw(chance)
        if one.db == db and sum(map(bool, one.answer)) > task.easy:
            number -= 1
            yield one


def written(head: str, pieces: Sequence[tuple[str, Sequence[Choice], str]]) -> str:
    """Return SQL: its beginning, and each clause that has anything in it (word, pieces, what joins them)."""
    text = head
    for word, choices, joint in pieces:
        inside = joint.join(" ".join(one) for one in choices if one)
        text += f" {word} {inside}" if inside else ""
    return text


def _insert(table: str, rows: Sequence[Sequence[object]]) -> str:
    values = ", ".join("(" + ", ".join(map(repr, row)) + ")" for row in rows)
    return f"INSERT INTO {table} VALUES {values};"


def _distinct(chance: random.Random, limits: Sequence[int], number: int) -> list[int]:
    """Return different numbers a hundred times finer than the limits asked about, and never equal to one."""
    low, high = limits[0] - 10, limits[-1] + 10
    values = [100 * (low + (high - low) * place // number) + 1 + place % 90 for place in range(number)]
    chance.shuffle(values)
    return values


# The first task: clauses of one SELECT, put together at will.


@dataclass(frozen=True)
class _Domain:
    """A table of things, each of which belongs to a row of a parent table."""

    name: str
    table: str
    title: str
    texts: Mapping[str, tuple[str, ...]]
    numbers: Mapping[str, tuple[int, ...]]
    parent: str
    place: str
    places: tuple[str, ...]

    def script(self, chance: random.Random) -> str:
        """Return what makes the database; numbers differ from row to row, so that no order has ties."""
        (t1, v1), (t2, v2) = self.texts.items()
        (n1, l1), (n2, l2) = self.numbers.items()
        first, second = _distinct(chance, l1, _ROWS), _distinct(chance, l2, _ROWS)
        things = [
            (n + 1, f"{self.title} {n + 1}", chance.choice(v1), chance.choice(v2), first[n], second[n],
             chance.randrange(6) + 1)
            for n in range(_ROWS)
        ]  # fmt: skip
        parents = [(n + 1, self.places[n % len(self.places)]) for n in range(6)]
        return (
            f"CREATE TABLE {self.parent} (id INTEGER PRIMARY KEY, {self.place} TEXT);"
            f"CREATE TABLE {self.table} (id INTEGER PRIMARY KEY, {self.title} TEXT, {t1} TEXT, {t2} TEXT, "
            f"{n1} INTEGER, {n2} INTEGER, {self.parent}_id INTEGER REFERENCES {self.parent} (id));"
            + _insert(self.parent, parents)
            + _insert(self.table, things)
        )


_DOMAINS = {
    one.name: one
    for one in (
        _Domain(
            "company", "employee", "name",
            {"city": ("Rome", "Oslo", "Lima", "Cork"), "role": ("clerk", "smith", "cook", "guard")},
            {"age": (25, 30, 35, 40, 45, 50), "salary": (31, 42, 53, 64, 75, 86)},
            "department", "region", ("north", "south", "east"),
        ),
        _Domain(
            "library", "book", "title",
            {"genre": ("novel", "essay", "drama", "atlas"), "language": ("Greek", "Welsh", "Malay", "Dutch")},
            {"pages": (120, 180, 240, 300, 360, 420), "price": (12, 17, 22, 27, 32, 37)},
            "publisher", "country", ("Chile", "Kenya", "Japan"),
        ),
    )
}  # fmt: skip
_AGGREGATES = {"average": "AVG", "highest": "MAX", "lowest": "MIN", "total": "SUM"}
_CLAUSES = (
    "select", "value", "join", "number 1", "number 2", "text 1", "text 2", "place", "group", "having",
    "order", "limit",
)  # fmt: skip


def _draw_clauses(chance: random.Random) -> Question:
    domain = chance.choice(list(_DOMAINS.values()))
    words: list[str] = [domain.name]
    slots: dict[str, Choice] = dict.fromkeys(_CLAUSES, ())
    grouped, listed = chance.random() < 0.4, chance.random() < 0.5
    if grouped:
        by = chance.choice(list(domain.texts))
        slots["select"] = slots["group"] = (f"{domain.table}.{by}",)
        words.append(f"for each {by}")
    if not grouped and listed:
        slots["select"] = (f"{domain.table}.{domain.title}",)
        words.append(f"which {domain.title}")
    elif chance.random() < 0.5:
        slots["value"] = ("COUNT(*)",)
        words.append("how many")
    else:
        way, number = chance.choice(list(_AGGREGATES)), chance.choice(list(domain.numbers))
        slots["value"] = (f"{_AGGREGATES[way]}({domain.table}.{number})",)
        words += [way, number]
    columns: list[tuple[str, str]] = [(f"number {n}", one) for n, one in enumerate(domain.numbers, 1)]
    columns += [(f"text {n}", one) for n, one in enumerate(domain.texts, 1)]
    for slot, column in chance.sample(columns, chance.choice((0, 1, 1, 2, 2, 3))):
        if slot.startswith("number"):
            word, sign = chance.choice((("over", ">"), ("under", "<")))
            value = str(100 * chance.choice(domain.numbers[column]))
            slots[slot] = (f"{domain.table}.{column}", sign, value)
        else:
            word, sign = chance.choice((("is", "="), ("is not", "<>")))
            value = chance.choice(domain.texts[column])
            slots[slot] = (f"{domain.table}.{column}", sign, f"'{value}'")
        words += [column, word, value]
    if chance.random() < 0.4:
        place = chance.choice(domain.places)
        slots["join"] = (domain.parent,)
        slots["place"] = (f"{domain.parent}.{domain.place}", "=", f"'{place}'")
        words += [f"from {domain.parent} {domain.place}", place]
    if grouped and chance.random() < 0.5:
        least = chance.choice(("1", "2", "4", "6", "10"))
        slots["having"] = ("COUNT(*)", ">", least)
        words += ["only groups of more than", least]
    elif listed and not grouped and chance.random() < 0.6:
        column, way = chance.choice(list(domain.numbers)), chance.choice(("DESC", "ASC"))
        few = chance.choice(("1", "3", "5"))
        slots["order"], slots["limit"] = (f"{domain.table}.{column}", way), (few,)
        words += ["the first" if way == "ASC" else "the last", few, f"by {column}"]
    return Question(domain.name, tuple(words), tuple(slots.values()))


def _render_clauses(db: str, slots: Mapping[str, Choice]) -> str:
    domain = _DOMAINS[db]
    joined = (f"{one} ON {domain.table}.{one}_id = {one}.id",) if (one := "".join(slots["join"])) else ()
    conditions = [slots[name] for name in ("number 1", "number 2", "text 1", "text 2", "place")]
    shown = ", ".join(" ".join(slots[name]) for name in ("select", "value") if slots[name])
    return written(
        f"SELECT {shown} FROM {domain.table}",
        [
            ("JOIN", [joined], ""),
            ("WHERE", conditions, " AND "),
            ("GROUP BY", [slots["group"]], ""),
            ("HAVING", [slots["having"]], ""),
            ("ORDER BY", [slots["order"]], ""),
            ("LIMIT", [slots["limit"]], ""),
        ],
    )


# The second task: templates with nested queries over three tables; no clause of it is drawn as in the first.

_KINDS = ("ferry", "tanker", "yacht", "tug")
_PORTS = ("Bergen", "Malta", "Dakar", "Busan", "Quito")
_FLAGS = ("red", "blue", "green")
_SIZES = (20, 35, 50, 65, 80)
_YEARS = ("2001", "2004", "2007", "2010")
_NESTED = (
    "select", "source", "kind", "size", "flag", "year", "port", "visited", "above", "group", "having", "order", "limit",
)  # fmt: skip


def _harbour(chance: random.Random) -> str:
    sizes = _distinct(chance, _SIZES, _ROWS)
    owners = [(n + 1, f"owner {n + 1}", _FLAGS[n % 3]) for n in range(9)]
    ships = [
        (n + 1, f"ship {n + 1}", chance.choice(_KINDS), sizes[n], chance.randrange(9) + 1)
        for n in range(_ROWS)
    ]
    visits = [
        (n + 1, chance.randrange(_ROWS) + 1, chance.choice(_PORTS), 2000 + chance.randrange(12))
        for n in range(150)
    ]
    return (
        "CREATE TABLE owner (id INTEGER PRIMARY KEY, name TEXT, flag TEXT);"
        "CREATE TABLE ship (id INTEGER PRIMARY KEY, name TEXT, kind TEXT, size INTEGER, "
        "owner_id INTEGER REFERENCES owner (id));"
        "CREATE TABLE visit (id INTEGER PRIMARY KEY, ship_id INTEGER REFERENCES ship (id), port TEXT, year INTEGER);"
        + _insert("owner", owners)
        + _insert("ship", ships)
        + _insert("visit", visits)
    )


def _draw_nested(chance: random.Random) -> Question:
    slots: dict[str, Choice] = dict.fromkeys(_NESTED, ())
    words: list[str] = []

    def kind() -> None:
        slots["kind"] = ("ship.kind", "=", f"'{(one := chance.choice(_KINDS))}'")
        words.extend(("of kind", one))

    def size() -> None:
        word, sign = chance.choice((("larger than", ">"), ("smaller than", "<")))
        one = str(100 * chance.choice(_SIZES))
        slots["size"] = ("ship.size", sign, one)
        words.extend((word, one))

    def flag() -> None:
        slots["flag"] = (
            "ship.owner_id",
            "IN",
            f"(SELECT id FROM owner WHERE flag = '{(one := chance.choice(_FLAGS))}')",
        )
        words.extend(("under flag", one))

    def visited() -> None:
        word, sign = chance.choice((("that called at", "IN"), ("that never called at", "NOT IN")))
        one = chance.choice(_PORTS)
        slots["visited"] = ("ship.id", sign, f"(SELECT ship_id FROM visit WHERE port = '{one}')")
        words.extend((word, one))

    def year() -> None:
        word, sign = chance.choice((("after", ">"), ("before", "<")))
        one = chance.choice(_YEARS)
        slots["year"] = ("visit.year", sign, one)
        words.extend((word, one))

    def port() -> None:
        word, sign = chance.choice((("in", "="), ("outside", "<>")))
        one = chance.choice(_PORTS)
        slots["port"] = ("visit.port", sign, f"'{one}'")
        words.extend((word, one))

    template = chance.choice(("ships", "ships", "above", "count", "busiest", "captains", "ports"))
    filters: list[Callable[[], None]] = [kind, size, flag, visited]
    if template == "ships":
        words.append("name the ships")
        slots["select"], slots["source"] = ("ship.name",), ("ship",)
        if chance.random() < 0.5:
            word, way = chance.choice((("largest", "DESC"), ("smallest", "ASC")))
            few = chance.choice(("1", "2", "4"))
            slots["order"], slots["limit"] = ("ship.size", way), (few,)
            words += ["the", few, word]
    elif template == "above":
        words.append("name the ships beyond the average")
        slots["select"], slots["source"] = ("ship.name",), ("ship",)
        slots["above"] = ("ship.size", ">", "(SELECT AVG(size) FROM ship)")
        filters.remove(size)
    elif template == "count":
        asked, value = chance.choice(
            (("number of ships", "COUNT(*)"), ("number of owners", "COUNT(DISTINCT ship.owner_id)"))
        )
        words.append(asked)
        slots["select"], slots["source"] = (value,), ("ship",)
    else:
        filters = [year, port, kind, size]
        slots["source"] = ("visit JOIN ship ON visit.ship_id = ship.id",)
        if template == "busiest":
            words.append("ships by number of calls")
            slots["select"], slots["group"] = ("ship.name, COUNT(*)",), ("ship.id",)
            if chance.random() < 0.6:
                least = chance.choice(("1", "2", "3"))
                slots["having"] = ("COUNT(*)", ">", least)
                words += ["only more calls than", least]
        elif template == "captains":
            words.append("calls of each kind")
            slots["select"], slots["group"] = ("ship.kind, COUNT(*)",), ("ship.kind",)
            filters.remove(kind)
        else:
            words.append("number of ships that called")
            slots["select"] = ("COUNT(DISTINCT visit.ship_id)",)
    for one in chance.sample(filters, chance.choice((0, 1, 1, 2, 2, 3))):
        one()
    return Question("harbour", tuple(words), tuple(slots.values()))


def _render_nested(db: str, slots: Mapping[str, Choice]) -> str:
    conditions = [slots[name] for name in ("kind", "size", "flag", "year", "port", "visited", "above")]
    return written(
        f"SELECT {' '.join(slots['select'])} FROM {' '.join(slots['source'])}",
        [
            ("WHERE", conditions, " AND "),
            ("GROUP BY", [slots["group"]], ""),
            ("HAVING", [slots["having"]], ""),
            ("ORDER BY", [slots["order"]], ""),
            ("LIMIT", [slots["limit"]], ""),
        ],
    )


_WHERE = ("number 1", "number 2", "text 1", "text 2", "place")
_WHERE_NESTED = ("kind", "size", "flag", "year", "port", "visited", "above")
TASKS = {
    one.name: one
    for one in (
        Task(
            "clauses", _CLAUSES, _WHERE, (*_WHERE, "having", "order"), 4, 4,
            {name: domain.script for name, domain in _DOMAINS.items()}, _draw_clauses, _render_clauses,
        ),
        Task(
            "nested", _NESTED, _WHERE_NESTED, (*_WHERE_NESTED, "having", "order"), 4, 10,
            {"harbour": _harbour}, _draw_nested, _render_nested,
        ),
    )
}  # fmt: skip
