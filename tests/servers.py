"""A server in a thread, and what the tests of it share."""

from __future__ import annotations

import contextlib
import json
import socket
import threading
import time
from http.client import HTTPConnection

import pytest
from bounds import LONG

import finer_rewards as fr
from finer_rewards.executing import Query
from finer_rewards.schema import Schema
from finer_rewards.types import Execution, Status

pytest.importorskip("fastapi", reason="needs the extra [server]")
pytest.importorskip("uvicorn", reason="needs the extra [server]")

from finer_rewards._serving.app import build_app
from finer_rewards._serving.server_process import Server, listen

SCRIPT = """
CREATE TABLE singer (id INTEGER PRIMARY KEY, name TEXT, score REAL, photo BLOB);
INSERT INTO singer VALUES (1, 'Joe', 1.5, x'00ff'), (9007199254740993, 'é😀', -0.0, NULL),
    (3, NULL, 9e999, x''), (4, CAST(x'ff41' AS TEXT), 5e-324, zeroblob(3));
CREATE TABLE concert (id INTEGER PRIMARY KEY, singer INTEGER REFERENCES singer (id), year INTEGER);
INSERT INTO concert VALUES (1, 1, 2014), (2, 1, 2015), (3, 3, 2015);
"""
STATEMENTS = (
    "SELECT * FROM singer",
    "SELECT * FROM singer;  ",
    "SELECT name FROM singer WHERE id < 4",
    "SELECT name, score FROM singer ORDER BY score DESC LIMIT 2",
    "SELECT count(*) FROM concert",
    "SELECT year, count(*) FROM concert GROUP BY year ORDER BY 2",
    "SELECT random()",
    "SELECT nothing FROM singer",
    "SELECT 1; SELECT 2",
    "DELETE FROM singer",
    "SELECT char(0, 55357, 56832) || name FROM singer",
    "SELECT * FROM singer -- the end",
    "",
    "SELECT '" + "x" * 300_000 + "'",
)
THOUGHT = (
    "The question asks for singer names, so the singer table has the name column we need. We filter singer by id "
    "below four, keep the name of each such singer, and need no join because the concert table adds nothing here. "
    "So we select name from singer where id is small number {}."
)
SLOW = "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c WHERE x < 1e9) SELECT count(*) FROM c"
SPEC = "2 * execution_match() + executable() + atomic_f1()"
GOLD = "SELECT name FROM singer WHERE id < 4"
QUICK = {"timeout": 5.0, "patience": 0.5}


@contextlib.contextmanager
def serving(scorer: fr.Scorer, **options):
    """Serve in a thread on a free port of this machine; yield the url and the application."""
    app = build_app(scorer, **options)
    listening = listen("127.0.0.1", 0)
    ready = threading.Event()
    server = Server(app, drain=5, started=ready.set)
    thread = threading.Thread(target=server.run, args=([listening],))
    thread.start()
    try:
        assert ready.wait(LONG)
        yield f"http://127.0.0.1:{listening.getsockname()[1]}", app
    finally:
        server.stop()
        thread.join(LONG)
        assert not thread.is_alive()
        app.state.service.close()


def ask(url: str, path: str, payload=None, *, headers=None, method: str = "POST", body: bytes | None = None):
    """Return status, headers and JSON of one request."""
    host, port = url.removeprefix("http://").split(":")
    connection = HTTPConnection(host, int(port), timeout=LONG)
    try:
        data = None if method == "GET" else json.dumps(payload).encode() if body is None else body
        connection.request(method, path, data, {"Content-Type": "application/json", **(headers or {})})
        response = connection.getresponse()
        text = response.read()
        kind = response.getheader("content-type", "")
        return (
            response.status,
            dict(response.getheaders()),
            json.loads(text) if "json" in kind else text.decode(),
        )
    finally:
        connection.close()


def seen(execution: Execution) -> tuple:
    """Return all of an execution that is not how long it took."""
    tables = None if execution.tables is None else sorted(execution.tables)
    order, steps = execution.order, execution.steps
    return (
        execution.status, execution.columns, repr(execution.rows), execution.error, execution.truncated,
        tables, execution.volatile, repr(order), execution.ambiguous, steps,
    )  # fmt: skip


def samples() -> list[fr.Sample]:
    """Every statement as prediction for two golds."""
    return [
        fr.Sample(completion, gold, "shop", question=str(number))
        for number, sql in enumerate(STATEMENTS)
        for completion in (sql, f"<think>{THOUGHT}</think>{sql}")
        for gold in (GOLD, "SELECT name, score FROM singer ORDER BY score DESC LIMIT 2")
    ]


SAMPLE = {"completion": GOLD, "gold": GOLD, "db": "shop"}


def head(path: str, *lines: str) -> bytes:
    return "\r\n".join(
        [f"POST {path} HTTP/1.1", "Host: localhost", "Content-Type: application/json", *lines, "", ""]
    ).encode()


@contextlib.contextmanager
def connected(url: str):
    host, port = url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=LONG) as stream:
        yield stream


def heard(stream: socket.socket) -> bytes:
    """Return a whole answer."""
    found = b""
    while b"\r\n\r\n" not in found or not found.endswith(b"}"):
        found += stream.recv(9999)
    return found


class Held:
    """An executor that answers when it is let go."""

    dialect = "sqlite"

    def __init__(self) -> None:
        self.started, self.free, self.calls = threading.Semaphore(0), threading.Event(), 0

    def execute_many(self, queries):
        self.calls += 1
        self.started.release()
        assert self.free.wait(LONG)
        return [Execution(Status.ok, ("a",), ((1,),)) for _ in queries]

    def execute(self, sql, db):
        return self.execute_many([Query(sql, db)])[0]

    def schema(self, db):
        return Schema()

    def describe(self):
        return {"engine": "held", "timeout": 1}

    def close(self) -> None:
        pass

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass


def until(true, within: float = LONG) -> None:
    end = time.monotonic() + within
    while not true():
        assert time.monotonic() < end
        time.sleep(0.01)


def completion(number: int) -> str:
    return f"<think>{THOUGHT.format(number)}</think><answer>{GOLD}</answer>"
