"""An engine of your own, in one folder: SQL on CSV files, each a database with one table of its name.

python examples/extending/csv_engine/engine.py
finer-rewards score pred.sql gold.sql --db sales.csv --import examples/extending/csv_engine/engine.py

This file is what the trainer's process knows of the engine; `worker.py` beside it is what the processes run that may
be killed. An engine that reads the files itself would bring its own `Connection` there.
"""

from __future__ import annotations

import sqlite3
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import finer_rewards as fr
from finer_rewards.engines.engine import Engine, files_at
from finer_rewards.engines.registry import engine_at, register_engine
from finer_rewards.executing.databases import DatabaseFile, database_names, find_database
from finer_rewards.executing.file_executor import FileExecutor
from finer_rewards.executing.process import Program
from finer_rewards.schema import Schema, schema_from_catalog

SUFFIXES = (".csv",)


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class CSV(FileExecutor):
    """Runs SQL on CSV files; takes what every executor over files takes, such as `timeout` and `cache`."""

    dialect = "sqlite"

    @property
    def program(self) -> Program:
        """What its workers run."""
        return Program(str(Path(__file__).with_name("worker.py")))

    def _settings(self) -> Mapping[str, Any]:
        return {"heap": int(self.memory_limit) // 2, "busy_timeout": 0, "limits": []}

    def _find(self, db: str, called: str) -> Path:
        return find_database(db, self.root, SUFFIXES, called=called)

    def _look_at(self, path: Path) -> DatabaseFile:
        return DatabaseFile.look(path)

    def _read_schema(self, found: Any) -> Schema:
        return schema_from_catalog(found)

    def describe(self) -> Mapping[str, object]:
        """Return what decides the results."""
        return {"engine": "csv", "version": sqlite3.sqlite_version, **super().describe()}


def owns(place: str) -> bool:
    """Whether a place is a CSV file or a folder of such."""
    path = Path(place)
    return path.suffix in SUFFIXES or (path.is_dir() and bool(database_names(path, SUFFIXES)))


ENGINE = register_engine(
    Engine("csv", CSV, owns=owns, look=partial(files_at, suffixes=SUFFIXES), suffixes=SUFFIXES)
)


def main() -> None:
    """Score two predictions on a CSV file."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "sales.csv").write_text("city,amount\nRome,3\nOslo,5\nRome,4\n", encoding="utf-8")
        gold = "SELECT city, SUM(amount) FROM sales GROUP BY city ORDER BY 2 DESC"
        with fr.Scorer("execution_match() + executable()", engine_at(folder).executor(folder)) as scorer:
            for sql in (gold.replace("SUM(amount)", "TOTAL(amount)"), "SELECT city, amount FROM sales"):
                score = scorer.score_one(fr.Sample(sql, gold=gold, db="sales"))
                print(f"{score.value:.0f}  {sql}")
            print(scorer.signature)


if __name__ == "__main__":
    main()
