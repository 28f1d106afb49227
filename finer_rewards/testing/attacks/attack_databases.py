"""The databases and questions that attacks use: a small schema about ships in a harbour, with two instances."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Final

_TABLES: Final = """
CREATE TABLE ship (id INTEGER PRIMARY KEY, name TEXT NOT NULL, flag TEXT, tons INTEGER);
CREATE TABLE berth (id INTEGER PRIMARY KEY, label TEXT NOT NULL, fee REAL, depth INTEGER);
CREATE TABLE visit (id INTEGER PRIMARY KEY, ship_id INTEGER NOT NULL REFERENCES ship (id),
                    berth_id INTEGER NOT NULL REFERENCES berth (id), crates INTEGER, day TEXT);
CREATE TABLE duel (id INTEGER PRIMARY KEY, winner TEXT, loser TEXT);
CREATE TABLE probe (id INTEGER PRIMARY KEY, code TEXT, reading REAL, remark TEXT);
CREATE TABLE step (n INTEGER PRIMARY KEY);
"""
# A table with more rows than a reward usually fetches, for attacks with long results.
_STEPS: Final = """
INSERT INTO step WITH RECURSIVE t (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM t WHERE n < 12000) SELECT n FROM t;
"""
_INSTANCES: Final = (
    """
    INSERT INTO ship VALUES (1, 'Aurora', 'Malta', 900), (2, 'Borealis', 'Cyprus', 2400),
        (3, 'Corvus', 'Malta', 310),
        (4, 'Dorado', NULL, 1200), (5, 'Eridanus', 'Malta', 5100), (6, 'Fornax', 'Panama', 700);
    INSERT INTO berth VALUES (1, 'North', 40.0, 9), (2, 'Quay', 12.5, 6), (3, 'South', 99.9, 14),
        (4, 'West', 55.0, 11);
    INSERT INTO visit VALUES (1, 1, 2, 30, '2024-03-01'), (2, 1, 1, 12, '2024-03-05'),
        (3, 2, 3, 44, '2024-03-05'),
        (4, 3, 2, 7, '2024-04-11'), (5, 5, 4, 90, '2024-04-30'), (6, 5, 1, 7, '2024-05-02');
    INSERT INTO duel VALUES (1, 'Ida', 'Jon'), (2, 'Jon', 'Ida'), (3, 'Kim', 'Leo'), (4, 'Leo', 'Kim');
    INSERT INTO probe VALUES (1, 'k', 0.0000003, 'calm'), (2, 'm', 1.25, NULL), (3, 'n', 2.5, NULL),
        (4, 'm', 8.0, 'gale');
    """,
    """
    INSERT INTO ship VALUES (1, 'Altair', 'Cyprus', 410), (2, 'Bellatrix', 'Malta', 950),
        (3, 'Capella', 'Cyprus', 3300),
        (4, 'Deneb', 'Malta', 640), (5, 'Electra', 'Malta', 120), (6, 'Fomalhaut', NULL, 870),
        (7, 'Gemma', 'Malta', 8800),
        (8, 'Hadar', 'Malta', 515);
    INSERT INTO berth VALUES (1, 'North', 75.0, 5), (2, 'Pier', 20.0, 12), (3, 'Quay', 61.5, 8);
    INSERT INTO visit VALUES (1, 2, 1, 5, '2023-01-09'), (2, 3, 3, 60, '2023-06-11'),
        (3, 3, 1, 15, '2023-06-12'),
        (4, 7, 2, 33, '2024-03-01'), (5, 8, 2, 2, '2024-08-19'), (6, 8, 2, 9, '2024-08-20'),
        (7, 1, 3, 5, '2024-09-01');
    INSERT INTO duel VALUES (1, 'Mia', 'Ned'), (2, 'Ned', 'Ole'), (3, 'Mia', 'Pia');
    INSERT INTO probe VALUES (1, 'k', 0.0000008, 'wind'), (2, 'n', 7.75, NULL), (3, 'm', 0.5, 'fog'),
        (4, 'n', 4.0, NULL);
    """,
)


@dataclass(frozen=True)
class AttackQuestion:
    """A question, its gold, and honest answers to it.

    Args:
        text: the question in words.
        gold: right SQL.
        wrong: SQL that runs and gives another result, by an honest mistake.
    """

    text: str
    gold: str
    wrong: str


_TOTALS = (
    "SELECT ship.name, SUM(visit.crates * berth.fee) FROM ship JOIN visit ON visit.ship_id = ship.id "
    "JOIN berth ON berth.id = visit.berth_id GROUP BY ship.id"
)

#: The questions, by a short name.
QUESTIONS: Final[Mapping[str, AttackQuestion]] = MappingProxyType(
    {
        "count": AttackQuestion(
            "How many ships sail under the flag of Malta?",
            "SELECT COUNT(*) FROM ship WHERE flag = 'Malta'",
            "SELECT COUNT(*) FROM ship WHERE tons > 800",
        ),
        "names": AttackQuestion(
            "What are the names of the ships under the flag of Malta?",
            "SELECT name FROM ship WHERE flag = 'Malta'",
            "SELECT name FROM ship WHERE flag = 'Cyprus'",
        ),
        "heaviest": AttackQuestion(
            "What is the name of the heaviest ship?",
            "SELECT name FROM ship ORDER BY tons DESC LIMIT 1",
            "SELECT name FROM ship ORDER BY id LIMIT 1",
        ),
        "fees": AttackQuestion(
            "List the labels of the berths, the dearest first.",
            "SELECT label FROM berth ORDER BY fee DESC",
            "SELECT label FROM berth ORDER BY label",
        ),
        "flags": AttackQuestion(
            "For every visit, what was the flag of the ship?",
            "SELECT ship.flag FROM visit JOIN ship ON visit.ship_id = ship.id",
            "SELECT flag FROM ship",
        ),
        "totals": AttackQuestion(
            "What did each ship that visited pay, a crate costing the berth's fee?",
            _TOTALS,
            _TOTALS.replace("SUM", "MAX"),
        ),
        "big": AttackQuestion(
            "Name and flag of the ships above 800 tons?",
            "SELECT name, flag FROM ship WHERE tons > 800",
            "SELECT name, flag FROM ship WHERE tons > 5000",
        ),
        "duels": AttackQuestion(
            "Who beat whom?", "SELECT winner, loser FROM duel", "SELECT winner, winner FROM duel"
        ),
        "small": AttackQuestion(
            "What did the probe with code k read?",
            "SELECT reading FROM probe WHERE code = 'k'",
            "SELECT reading FROM probe WHERE code = 'm'",
        ),
        "mean": AttackQuestion(
            "What is the mean reading of the codes m and n?",
            "SELECT AVG(reading) FROM probe WHERE code IN ('m', 'n')",
            "SELECT AVG(reading) FROM probe",
        ),
        "codes": AttackQuestion(
            "What is the code of the probe with the remark 'calm' or 'wind'?",
            "SELECT code FROM probe WHERE remark IN ('calm', 'wind')",
            "SELECT code FROM probe WHERE remark = 'fog'",
        ),
        "remark": AttackQuestion(
            "What remark belongs to probe 2?",
            "SELECT remark FROM probe WHERE id = 2",
            "SELECT remark FROM probe WHERE id = 1",
        ),
        "none": AttackQuestion(
            "Which ships are above a million tons?",
            "SELECT name FROM ship WHERE tons > 1000000",
            "SELECT name FROM ship WHERE tons > 800",
        ),
        **{
            f"first_{count}": AttackQuestion(
                f"List the steps up to {count}, in order.",
                f"SELECT n FROM step WHERE n <= {count} ORDER BY n",
                f"SELECT n FROM step WHERE n < {count} ORDER BY n",
            )
            for count in (10, 100, 1000, 10000)
        },
    }
)


def build_attack_databases(folder: Path) -> tuple[Path, Path]:
    """Write the two instances as SQLite files into a folder, and return their paths."""
    first, second = (folder / f"harbour{number}.sqlite" for number in (1, 2))
    for path, rows in zip((first, second), _INSTANCES, strict=True):
        with closing(sqlite3.connect(path)) as connection:
            connection.executescript(f"{_TABLES}{_STEPS}{rows}")
    return first, second
