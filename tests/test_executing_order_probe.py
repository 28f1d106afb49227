"""What is found out about gold queries, and how their results are kept."""

from __future__ import annotations

import json
import math
import sqlite3
from pathlib import Path

import pytest
from bounds import examples
from hypothesis import given, settings
from hypothesis import strategies as st

from finer_rewards._util.lossless_json import dumps, loads
from finer_rewards.engines.sqlite import SQLite
from finer_rewards.executing import Query
from finer_rewards.executing.execution_records import execution_from, execution_record
from finer_rewards.executing.order_probe import Sorting, probes
from finer_rewards.types import Execution, Status

SCRIPT = """
CREATE TABLE singer (id INTEGER PRIMARY KEY, name TEXT, age INTEGER, city TEXT);
INSERT INTO singer VALUES
    (1, 'Ann', 30, 'Oslo'), (2, 'Bob', 41, 'Rome'), (3, 'Cid', 41, 'Oslo'),
    (4, 'Dot', NULL, 'Rome'), (5, 'Eve', 25, 'Oslo'), (6, 'Eve', 25, 'Oslo');
"""


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    folder = tmp_path_factory.mktemp("databases")
    connection = sqlite3.connect(folder / "music.sqlite")
    connection.executescript(SCRIPT)
    connection.close()
    return folder


@pytest.fixture(scope="module")
def executor(root):
    with SQLite(root, workers=1, timeout=5) as executor:
        yield executor


def gold(executor: SQLite, sql: str) -> Execution:
    return executor.execute_many([Query(sql, "music", keep=True)])[0]


@pytest.mark.parametrize(
    ("sql", "order"),
    [
        ("SELECT name FROM singer ORDER BY age", (None, 25, 25, 30, 41, 41)),
        ("SELECT name FROM singer ORDER BY age DESC", (41, 41, 30, 25, 25, None)),
        ("SELECT name FROM singer ORDER BY age NULLS LAST LIMIT 2 ;", (25, 25)),
        (
            "SELECT name, age FROM singer WHERE age > 25 ORDER BY 2, 1",
            ((30, "Ann"), (41, "Bob"), (41, "Cid")),
        ),
        ("SELECT -age AS age FROM singer WHERE age > 25 ORDER BY age", (-41, -41, -30)),
        ("SELECT name, age * 2 twice FROM singer WHERE age > 25 ORDER BY twice", (60, 82, 82)),
        ("SELECT name, age AS a FROM singer WHERE age > 25 ORDER BY a % 40", (1, 1, 30)),
        ("SELECT city FROM singer GROUP BY city ORDER BY count(*) DESC", (4, 2)),
        ("SELECT * FROM singer WHERE id < 3 ORDER BY upper(name) DESC", ("BOB", "ANN")),
        ("WITH s AS (SELECT * FROM singer ORDER BY 1) SELECT name FROM s ORDER BY id LIMIT 4, 1", (5,)),
        ("SELECT name FROM singer ORDER BY id -- LIMIT 1\n LIMIT 1 OFFSET 3", (4,)),
        ("SELECT name FROM singer WHERE id > 9 ORDER BY age", ()),
        ("SELECT max(age) FROM singer ORDER BY count(*)", (6,)),
        ("SELECT CASE WHEN age > 40 THEN 1 ELSE 0 END FROM singer WHERE id < 3 ORDER BY id DESC", (2, 1)),
        ("SELECT name FROM singer", None),
        ("SELECT DISTINCT city FROM singer ORDER BY city", None),
        ("SELECT name FROM singer UNION SELECT city FROM singer ORDER BY 1", None),
        ("SELECT (SELECT name FROM singer ORDER BY age LIMIT 1)", None),
        ("SELECT 'ORDER BY' FROM singer", None),
        ("SELECT name FROM singer WHERE age > 30 ORDER BY age LIMIT 1 + 1", (41, 41)),
    ],
)
def test_sort_keys(executor, sql, order):
    plain = executor.execute(sql, "music")
    assert plain.ok and plain.order is None
    found = gold(executor, sql)
    assert found.rows == plain.rows and found.columns == plain.columns and found.tables == plain.tables
    if order is not None:
        order = tuple(key if isinstance(key, tuple) else (key,) for key in order)
    assert found.order == order


@pytest.mark.parametrize(
    ("sql", "ambiguous"),
    [
        ("SELECT name FROM singer ORDER BY age DESC LIMIT 1", True),
        ("SELECT city FROM singer ORDER BY age DESC LIMIT 1", True),
        ("SELECT age FROM singer ORDER BY age DESC LIMIT 1", False),
        ("SELECT name FROM singer ORDER BY age DESC LIMIT 2", False),
        ("SELECT name FROM singer ORDER BY age DESC, name LIMIT 1", False),
        ("SELECT name FROM singer WHERE age < 30 ORDER BY age LIMIT 1", False),
        ("SELECT id FROM singer WHERE age < 30 ORDER BY age LIMIT 1", True),
        ("SELECT name FROM singer ORDER BY age DESC LIMIT 1 OFFSET 1", True),
        ("SELECT name FROM singer ORDER BY age DESC LIMIT 1 OFFSET 2", False),
        ("SELECT name FROM singer ORDER BY age DESC LIMIT 100", False),
        ("SELECT name FROM singer ORDER BY age DESC LIMIT 0", False),
        ("SELECT city FROM singer GROUP BY city ORDER BY count(*) > 1 LIMIT 1", True),
    ],
)
def test_a_limit_that_cuts_through_a_tie(executor, sql, ambiguous):
    assert gold(executor, sql).ambiguous is ambiguous


@settings(max_examples=examples(200), deadline=None)
@given(st.text(alphabet="sSelctORDERBYLIMITfrom ,.()'\"`[]*1;-/\n", max_size=80))
def test_probing_never_raises(text):
    probes(text, "sqlite", Sorting())
    probes(f"SELECT {text} FROM singer ORDER BY {text} LIMIT 1", "sqlite", Sorting())


def test_probing_hostile_text_is_quick_and_harmless(executor):
    for sql in (
        "SELECT 1 ORDER BY " + "(" * 20_000 + "1" + ")" * 20_000,
        "SELECT a FROM t " + "JOIN t " * 5_000 + "ORDER BY 1",
        "SELECT name FROM singer ORDER BY " + " + ".join(["age"] * 900),
        "SELECT name FROM singer ORDER BY random() LIMIT 1",
        "SELECT name FROM singer ORDER BY nope",
    ):
        plain, found = executor.execute(sql, "music"), gold(executor, sql)
        assert found.status is plain.status


def test_gold_results_are_kept(executor):
    sql = "SELECT name FROM singer ORDER BY age DESC LIMIT 1"
    first = gold(executor, sql)
    assert gold(executor, sql) is first
    assert executor.execute(sql, "music") is first
    assert executor.execute("SELECT 1", "music") is executor.execute("SELECT 1 ;", "music")
    assert gold(executor, "SELECT random()") is not gold(executor, "SELECT random()")


def test_timeouts_are_not_kept(root):
    sql = "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c) SELECT count(*) FROM c"
    with SQLite(root, workers=1, timeout=0.1) as executor:
        first = gold(executor, sql)
        assert first.status is Status.timeout
        assert gold(executor, sql) is not first


def files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


def test_results_on_disk(tmp_path):
    database, cache = tmp_path / "music.sqlite", tmp_path / "cache"
    connection = sqlite3.connect(database)
    connection.executescript(SCRIPT)
    sql = (
        "SELECT name, x'00ff', 9e999, 9223372036854775807, 1.0, 1, NULL FROM singer ORDER BY age DESC LIMIT 1"
    )
    with SQLite(tmp_path, workers=1, cache=cache) as executor:
        first = gold(executor, sql)
    assert first.ok and first.ambiguous and len(files(cache)) == 1
    with SQLite(tmp_path, workers=1, cache=cache) as executor:
        second = gold(executor, sql)
        assert executor.process_ids == []
        assert second == first and list(map(type, second.rows[0])) == list(map(type, first.rows[0]))
    with SQLite(tmp_path, workers=1, cache=cache, max_rows=5) as executor:
        assert gold(executor, sql).ok and executor.process_ids
    connection.execute("UPDATE singer SET age = 50 WHERE id = 1")
    connection.commit()
    connection.close()
    with SQLite(tmp_path, workers=1, cache=cache) as executor:
        assert gold(executor, sql).rows[0][0] == "Ann"
    for path in files(cache):
        path.write_text('{"status": "ok"')
    with SQLite(tmp_path, workers=1, cache=cache) as executor:
        assert gold(executor, sql).rows[0][0] == "Ann"
    assert all(json.loads(path.read_text()) for path in files(cache) if "Ann" in path.read_text())


def test_a_cache_that_cannot_be_written_costs_nothing(root, tmp_path):
    (tmp_path / "file").touch()
    with SQLite(root, workers=1, cache=tmp_path / "file" / "cache") as executor:
        assert gold(executor, "SELECT 1").ok


CELLS = st.none() | st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=True) | st.text() | st.binary()


def bits(cell: object) -> tuple[type, str]:
    return type(cell), repr(cell)


@given(st.lists(st.lists(CELLS, max_size=4).map(tuple), max_size=5).map(tuple))
def test_cells_survive_the_disk(rows):
    execution = Execution(
        Status.ok, ("a",), rows, 0.5, "", True, frozenset({"t"}), order=rows, ambiguous=True
    )
    back = execution_from(loads(dumps(execution_record(execution))))
    assert [list(map(bits, row)) for row in back.rows] == [list(map(bits, row)) for row in rows]
    assert back.order is not None and math.isclose(back.seconds, 0.5) and back.ambiguous and back.truncated
