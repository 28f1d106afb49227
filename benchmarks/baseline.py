"""The published design, rewritten: an HTTP sandbox called once a completion, pandas to compare, both sides parsed.

What others run today (FINER-SQL's code, and the scripts it grew from): a FastAPI service opens the database
for each request, runs the query under a progress handler and answers a data frame as JSON; the trainer asks it
for one completion after the other, compares two data frames as sets of rows, and, where the prediction ran but
is wrong, parses prediction and gold for the atomic reward. The gold's rows are cached here, which is kind.

    python benchmarks/baseline.py PORT     serves
"""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path
from typing import Any

from finer_rewards.operations.measure import shaped
from finer_rewards.operations.published import published_score

MAX_ROWS = 10_000
PRAGMAS = ("query_only = ON", "temp_store = MEMORY", "mmap_size = 268435456", "cache_size = -65536")


def serve(port: int) -> None:
    import pandas
    import uvicorn
    from fastapi import FastAPI
    from pydantic import BaseModel

    app = FastAPI()

    class Request(BaseModel):
        db: str
        sql: str
        timeout: float

    def execute(request: Request) -> dict[str, Any]:
        end = time.monotonic() + request.timeout
        try:
            with closing(sqlite3.connect(f"file:{request.db}?mode=ro", uri=True)) as connection:
                for pragma in PRAGMAS:
                    connection.execute(f"PRAGMA {pragma}")
                connection.set_progress_handler(lambda: int(time.monotonic() > end), 10_000)
                cursor = connection.execute(request.sql)
                columns = [column[0] for column in cursor.description or ()]
                frame = pandas.DataFrame(cursor.fetchmany(MAX_ROWS), columns=columns)
        except (sqlite3.Error, sqlite3.Warning) as error:
            return {"ok": False, "error": str(error), "rows": []}
        rows = frame.astype(object).where(frame.notna(), None)
        return {"ok": True, "error": "", "columns": columns, "rows": rows.values.tolist()}

    # Added by hand: with annotations as text, FastAPI would look for the class in the module.
    execute.__annotations__["request"] = Request
    app.post("/execute")(execute)
    uvicorn.run(app, host="127.0.0.1", port=port, log_level="warning")


class Baseline:
    """The client of the sandbox, and the process of the sandbox."""

    def __init__(self, root: Path, port: int, timeout: float) -> None:
        import requests

        self.session = requests.Session()
        self.root = root
        self.timeout = timeout
        self.url = f"http://127.0.0.1:{port}/execute"
        self.golds: dict[tuple[str, str], dict[str, Any]] = {}
        self.server = subprocess.Popen(
            [sys.executable, __file__, str(port)], env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
        )
        while True:
            if self.server.poll() is not None:
                raise RuntimeError(f"the sandbox ended with {self.server.returncode} when it started")
            try:
                self.session.post(self.url, json={"db": ":memory:", "sql": "SELECT 1", "timeout": 1})
                break
            except requests.ConnectionError:
                time.sleep(0.1)

    def execute(self, db: str, sql: str) -> dict[str, Any]:
        """Run one query in the sandbox."""
        path = str(self.root / db / f"{db}.sqlite")
        body = {"db": path, "sql": sql.encode("utf-8", "replace").decode(), "timeout": self.timeout}
        answer: dict[str, Any] = self.session.post(self.url, json=body).json()
        return answer

    def gold(self, db: str, sql: str) -> dict[str, Any]:
        """Return what a gold query returned."""
        if (db, sql) not in self.golds:
            self.golds[db, sql] = self.execute(db, sql)
        return self.golds[db, sql]

    def score(self, db: str, predicted: str, gold: str, *, atomic: bool = True) -> float:
        """Score one completion."""
        found, right = self.execute(db, predicted), self.gold(db, gold)
        if not found["ok"]:
            return 0.0
        if right["ok"] and same(found, right):
            return 3.0
        return 1.0 + shaped(published_score(predicted, (gold,))) if atomic else 1.0

    def close(self) -> None:
        """End the sandbox."""
        self.server.terminate()
        self.server.wait()


def same(one: dict[str, Any], other: dict[str, Any]) -> bool:
    """Both as data frames, gaps filled, then sets of rows."""
    import pandas

    frames = [pandas.DataFrame(side["rows"]).astype(object).fillna("") for side in (one, other)]
    sets = [set(map(tuple, frame.itertuples(index=False, name=None))) for frame in frames]
    return sets[0] == sets[1]


if __name__ == "__main__":
    serve(int(sys.argv[1]))
