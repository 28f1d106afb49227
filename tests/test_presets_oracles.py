"""Presets against their sources' own code, on results and queries drawn at random.

The code is other people's and is not kept here. Put these files into a folder and name it in $FINER_REWARDS_ORACLES:
`accuracy_reward.py` of PaVeRL-SQL/PaVeRL-SQL at 5ce9a48, and `open_rl_rewards.py`, which is
`examples/rl/text-to-sql/utils/rewards.py` of gke-labs/open-rl at e41fdbb.
"""

from __future__ import annotations

import csv
import importlib.util
import os
import random
import sqlite3
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import finer_rewards as fr
from finer_rewards import presets
from finer_rewards.types import Answer, Evidence, Execution, Sample, Status

pytestmark = pytest.mark.slow
EXAMPLES = int(os.environ.get("FINER_REWARDS_ORACLE_EXAMPLES", "2000"))


def source(name: str, monkeypatch: pytest.MonkeyPatch, missing: str) -> Any:
    """Return the module of that name; what it imports and never uses here is an empty module."""
    path = Path(os.environ.get("FINER_REWARDS_ORACLES", "nowhere"), f"{name}.py")
    if not path.is_file():
        pytest.skip(f"{path.name} is not in $FINER_REWARDS_ORACLES")
    stub = ModuleType(missing)
    stub.load_dataset = None  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, missing, stub)
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class Results:
    """Gold results, and predicted ones that are near them."""

    words = ("oslo", "rome", "ann", "joe", "x y", "zed")

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)

    def column(self, length: int) -> list[Any]:
        draw = self.random
        kind = draw.randrange(7)
        if kind >= 5:
            return [number if kind == 5 else f"w{number}" for number in draw.sample(range(50), length)]
        floats = (0.5, 1.25, 2.0, 3.001, 3.003, 3.009, 7.1)
        pool = (range(5), floats, self.words, (1, 2, 3, None), (*self.words, None))[kind]
        return [draw.choice(pool) for _ in range(length)]

    def table(self, length: int, width: int) -> list[list[Any]]:
        return [list(row) for row in zip(*(self.column(length) for _ in range(width)), strict=True)]

    def near(self, gold: list[list[Any]]) -> list[list[Any]]:
        draw, rows = self.random, [list(row) for row in gold]
        if draw.random() < 0.25:
            draw.shuffle(rows)
        if draw.random() < 0.3:
            del rows[: draw.randint(1, 7)]
        elif draw.random() < 0.3:
            rows += [list(draw.choice(rows)) for _ in range(draw.randint(1, 7))]
        if rows and draw.random() < 0.3:
            place = draw.randrange(len(rows[0]))
            draw.choice(rows)[place] = draw.choice(rows)[place]
        if rows and draw.random() < 0.35:
            order = draw.sample(range(len(rows[0])), draw.randint(1, len(rows[0])))
            rows = [[row[place] for place in order] for row in rows]
        if rows and draw.random() < 0.15:
            rows = [[*row, more] for row, more in zip(rows, self.column(len(rows)), strict=True)]
        return rows


@pytest.mark.filterwarnings("ignore")
def test_paverl_sql_is_its_code(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    pandas = pytest.importorskip("pandas")
    theirs = source("accuracy_reward", monkeypatch, "pymysql").accuracy_reward
    drawn, reward = Results(0), presets.paverl_sql()
    path, file = tmp_path / "predicted.sqlite", tmp_path / "gold.csv"
    connection = sqlite3.connect(path, isolation_level=None)
    asked = {"dbfullp": str(path), "dbname": "x", "dbtype": "SQLite", "host": "", "userid": "", "pwd": ""}
    # The code is of a time when texts were objects.
    with pandas.option_context("future.infer_string", False):
        for _ in range(EXAMPLES):
            gold = drawn.table(drawn.random.choice((1, 1, 2, 3, 5, 8, 12)), drawn.random.randint(1, 3))
            rows = drawn.near(gold) if drawn.random.random() < 0.85 else drawn.table(4, 2)
            width = len(rows[0]) if rows else 2
            names = tuple(f"c{place}" for place in range(width))
            connection.execute("DROP TABLE IF EXISTS t")
            connection.execute(f"CREATE TABLE t ({', '.join(names)})")
            connection.executemany(f"INSERT INTO t VALUES ({', '.join('?' * width)})", rows)
            with file.open("w", newline="") as out:
                csv.writer(out).writerows([[f"g{place}" for place in range(len(gold[0]))], *gold])
            paid = theirs("", "```sql\nSELECT * FROM t WHERE 1\n```", str(file), asked)
            runs = (
                Execution(Status.ok, names, tuple(map(tuple, rows))),
                Execution(Status.ok, (), tuple(map(tuple, gold))),
            )
            found = reward(Evidence(Sample("", "gold", "x"), Answer(None, "SELECT * FROM t"), *runs)).value
            assert found == pytest.approx(paid), (gold, rows)
    connection.close()


BOATS = """CREATE TABLE boat (
  id INTEGER,
  name TEXT,
  seats INTEGER,
  price REAL
);
CREATE TABLE crew (
  cid INTEGER,
  boat INTEGER,
  who TEXT
);
INSERT INTO boat VALUES (1, 'Ahti', 10, 1.5), (2, 'Bore', 20, 2.25), (3, 'Vega', 3, NULL), (4, 'Ahti', 8, 0.1);
INSERT INTO crew VALUES (1, 1, 'joe'), (2, 1, 'ann'), (3, 2, 'zed'), (4, 4, 'joe');
"""
COLUMNS = (
    "id",
    "name",
    "seats",
    "price",
    "cid",
    "who",
    "boat.id",
    "count(*)",
    "max(seats)",
    "name, seats",
    "*",
    "nme",
)
TABLES = ("boat", "crew", "boat b", "boat JOIN crew ON boat.id = crew.boat")
CONDITIONS = ("seats > 5", "seats > 500", "name = 'Ahti'", "price IS NULL", "who = 'joe'", "id in (1,2)")
ENDS = (
    " ORDER BY seats",
    " order by 1 desc",
    " LIMIT 2",
    " LIMIT 1 OFFSET 1",
    "  ORDER  BY  name",
    ";",
    " ;",
    "; -- x",
)


def query(draw: random.Random) -> str:
    sql = f"SELECT {', '.join(draw.sample(COLUMNS, draw.choice((1, 1, 2))))} FROM {draw.choice(TABLES)}"
    sql += f" WHERE {draw.choice(CONDITIONS)}" if draw.random() < 0.5 else ""
    sql += draw.choice(ENDS) if draw.random() < 0.4 else ""
    return sql.lower() if draw.random() < 0.1 else sql


def test_open_rl_is_its_code(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    theirs = source("open_rl_rewards", monkeypatch, "datasets")
    monkeypatch.setenv("FINER_REWARDS_CACHE", str(tmp_path))
    draw = random.Random(0)
    pairs: list[tuple[str, str]] = []
    while len(pairs) < EXAMPLES:
        gold = query(draw)
        if theirs.run_sql(BOATS, theirs.clean_sql_for_execution(gold))[1] is None:
            pairs.append((gold, gold if draw.random() < 0.1 else query(draw)))
    with fr.Scorer(
        presets.open_rl(), fr.SQLite(workers=2), neighbours=0, parse=lambda text: Answer(None, text)
    ) as scorer:
        scores = scorer.score([fr.Sample(sql, gold, BOATS) for gold, sql in pairs])
    for (gold, sql), score in zip(pairs, scores, strict=True):
        paid = theirs.score_prediction(predicted_sql=sql, target_sql=gold, context=BOATS)["reward"]
        assert score.value == pytest.approx(paid), (gold, sql)
