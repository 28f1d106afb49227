"""Fixtures shared by all tests."""

from __future__ import annotations

import gc
import os
import signal
import sqlite3
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

try:
    from hypothesis import settings
except ImportError:  # the environments of some adapters have none
    settings = None

# The tests, and Python that they start, compile once, not each time: half of what collecting takes.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False
# Matrices are small here; threads that wait for one another take a busy machine many times as long.
for _variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ.setdefault(_variable, "1")


def pytest_configure(config: pytest.Config) -> None:
    """In the default tier a law has a fifth of its examples; whoever asks for other tests too gets them all."""
    if settings is not None:
        quick = config.getoption("markexpr") == "not slow"
        # An example may take any time: a busy machine is no fault of what is tested.
        settings.register_profile("anywhere", deadline=None, max_examples=20 if quick else 100)
        settings.load_profile("anywhere")


def pytest_collection_finish() -> None:
    """What was collected lives until the end: each pass of the garbage collector need not look at it."""
    gc.collect()
    gc.freeze()


ROOT = Path(__file__).parent.parent
# A program that a test starts; it needs packages that few have.
collect_ignore = ["openrlhf_arithmetic.py"]
# Shells start what runs in the background deaf to Ctrl-C, and children inherit that: tests interrupt some.
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session", autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A cache folder of the session's own, for worker processes too: no test writes into the user's."""
    before = os.environ.get("FINER_REWARDS_CACHE")
    folder = tmp_path_factory.mktemp("cache")
    os.environ["FINER_REWARDS_CACHE"] = str(folder)
    yield folder
    os.environ.pop("FINER_REWARDS_CACHE")
    if before is not None:
        os.environ["FINER_REWARDS_CACHE"] = before


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real databases and predictions, which is no part of the repository."""
    folder = Path(os.environ.get("FINER_REWARDS_DATA", ROOT.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"needs the data folder; there is none at {folder} (set FINER_REWARDS_DATA)")
    return folder


@pytest.fixture(scope="session")
def server() -> Iterator[object]:
    """A PostgreSQL server for all tests, with a role `reader`; see `postgres_server.py`."""
    from postgres_server import running

    yield from running()


@pytest.fixture
def make_db(tmp_path: Path) -> Callable[..., Path]:
    """Build `ID.sqlite` under the test's own folder from a script."""

    def make(name: str, script: str) -> Path:
        path = tmp_path / f"{name}.sqlite"
        connection = sqlite3.connect(path)
        connection.executescript(script)
        connection.close()
        return path

    return make


SINGERS = """
    CREATE TABLE singer (id INTEGER PRIMARY KEY, name TEXT NOT NULL, "group" TEXT, "unit price" REAL);
    CREATE TABLE concert (id INTEGER PRIMARY KEY, title TEXT, singer_id INT REFERENCES singer (id));
    CREATE TABLE stadium (id INTEGER PRIMARY KEY, city TEXT);
    INSERT INTO singer VALUES (1, 'Joe', 'A', 1.5), (2, 'O''Hara', 'A', 2.5), (3, 'Ann', NULL, 1.5);
    INSERT INTO concert VALUES (1, 'Gala', 1), (2, '<|im_end|>', 2), (3, 'line
break', 3);
    INSERT INTO stadium VALUES (1, 'Oslo');
"""
SHIPS = "CREATE TABLE ship (name TEXT, speed INT); INSERT INTO ship VALUES ('Vega', 20), ('Orion', 25);"


@pytest.fixture
def bird_databases(tmp_path: Path) -> Path:
    """The databases of a benchmark, laid out as BIRD's."""
    folder = tmp_path / "bird" / "train_databases"
    for name, script in (("singers", SINGERS), ("ships", SHIPS)):
        (folder / name).mkdir(parents=True)
        connection = sqlite3.connect(folder / name / f"{name}.sqlite")
        connection.executescript(script)
        connection.close()
    return folder


SHOP = """
CREATE TABLE item (id INTEGER PRIMARY KEY, name TEXT, price REAL, kind TEXT);
INSERT INTO item VALUES (1, 'Lamp', 20.0, 'home'), (2, 'Desk', 150.0, 'home'), (3, 'Pen', 1.5, 'office'),
    (4, 'Ink', NULL, 'office'), (5, 'Rug', 99.9, NULL);
CREATE TABLE sale (item INTEGER REFERENCES item (id), qty INTEGER, day TEXT);
INSERT INTO sale VALUES (1, 2, '2024-01-05'), (1, 1, '2024-02-11'), (3, 10, '2024-02-11'), (5, 1, '2024-03-01');
"""
PAIRS = [
    ("SELECT name FROM item WHERE price > 50", "SELECT name FROM item WHERE NOT price <= 50"),
    ("SELECT name FROM item ORDER BY price DESC LIMIT 1", "SELECT name FROM item WHERE price = 150"),
    ("SELECT kind, count(*) FROM item GROUP BY kind", "SELECT kind, count(id) FROM item GROUP BY kind"),
    ("SELECT sum(qty) FROM sale", "SELECT sum(qty) FROM sale JOIN item ON id = item"),
    ("SELECT avg(price) FROM item", "SELECT sum(price) / count(price) FROM item"),
    ("SELECT name FROM item WHERE id IN (SELECT item FROM sale)", "SELECT name FROM item"),
    ("SELECT max(day) FROM sale", "SELECT day FROM sale ORDER BY day DESC LIMIT 1"),
    ("SELECT name FROM item WHERE price IS NULL", "SELECT nme FROM item"),
    ("SELECT name FROM item", "DELETE FROM item"),
    ("SELECT name FROM item WHERE id = 9", "SELECT name FROM item WHERE id = 9"),
    ("SELECT item, qty * 2 FROM sale EXCEPT SELECT 1, 2", "SELECT item, qty + qty FROM sale WHERE qty <> 1"),
    ("SELECT name FROM item ORDER BY kind, name", "SELECT name FROM item ORDER BY kind NULLS FIRST, name"),
]


@pytest.fixture
def same_in_all() -> tuple[str, list[tuple[str, str]]]:
    """A script, and pairs of gold and predicted queries, that mean the same on every engine."""
    return SHOP, PAIRS
