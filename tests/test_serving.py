"""The HTTP server and its clients: the same scores, limits that hold, and an end that loses nothing."""

from __future__ import annotations

import contextlib
import gzip
import importlib.util
import json
import math
import os
import pickle
import random
import re
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
import time
from base64 import b64encode
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPConnection
from itertools import islice
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import finer_rewards as fr
from finer_rewards.adapters.openrlhf import openrlhf_reward
from finer_rewards.cli import main
from finer_rewards.errors import ConfigError
from finer_rewards.executing import Query, SQLite
from finer_rewards.executing import remote as remote_module
from finer_rewards.executing.remote import Remote
from finer_rewards.memory.remote import RemoteMemory
from finer_rewards.schema import Column, ForeignKey, Schema, Table
from finer_rewards.serving import wire
from finer_rewards.serving.client import Client, ServerLostError
from finer_rewards.types import Execution, Recall, Status

pytest.importorskip("fastapi", reason="needs the extra [server]")
pytest.importorskip("uvicorn", reason="needs the extra [server]")

from finer_rewards.serving import desk as desk_module
from finer_rewards.serving import service as service_module
from finer_rewards.serving.app import build_app
from finer_rewards.serving.confined import Confined
from finer_rewards.serving.running import Server, listen

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


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("databases")
    for name in ("shop", "other"):
        connection = sqlite3.connect(folder / f"{name}.sqlite")
        connection.executescript(SCRIPT)
        connection.close()
    return folder


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
        assert ready.wait(20)
        yield f"http://127.0.0.1:{listening.getsockname()[1]}", app
    finally:
        server.stop()
        thread.join(20)
        assert not thread.is_alive()
        app.state.service.close()


@pytest.fixture(scope="module")
def local(root: Path):
    with SQLite(root, workers=2, timeout=10) as executor:
        yield executor


@pytest.fixture(scope="module")
def url(root: Path):
    # An executor of its own: nothing that `local` keeps helps it.
    with (
        SQLite(root, workers=1, timeout=10) as executor,
        serving(fr.Scorer(SPEC, executor), best=4) as (url, _),
    ):
        yield url


@pytest.fixture
def remote(url: str):
    with Remote(url) as executor:
        yield executor


def ask(url: str, path: str, payload=None, *, headers=None, method: str = "POST", body: bytes | None = None):
    """Return status, headers and JSON of one request."""
    host, port = url.removeprefix("http://").split(":")
    connection = HTTPConnection(host, int(port), timeout=20)
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


# -- what travels

CELLS = st.one_of(
    st.none(),
    st.integers(),
    st.floats(),
    st.binary(max_size=8),
    st.text(st.characters(exclude_categories=()), max_size=8),
)
ROWS = st.lists(st.lists(CELLS, max_size=3).map(tuple), max_size=4).map(tuple)


@given(ROWS, ROWS | st.none(), st.sampled_from(Status), st.text(st.characters(exclude_categories=())))
def test_an_execution_comes_back_as_it_was(rows, order, status, text) -> None:
    given_one = Execution(
        status, (text, "b"), rows, 0.1, text, True, frozenset({text, "t"}), "clock", order, True, 2**70
    )
    found = wire.execution_from(wire.loads(wire.dumps(wire.record(given_one))))
    assert seen(found) == seen(given_one)
    assert [type(cell) for row in found.rows for cell in row] == [type(cell) for row in rows for cell in row]
    assert found.seconds == given_one.seconds


def test_two_surrogates_do_not_become_one_character() -> None:
    text = "\ud83d\ude00"
    assert len(text) == 2
    assert wire.loads(wire.dumps([text, "😀"])) == [text, "😀"]


def test_there_is_one_nan() -> None:
    assert wire.loads(wire.dumps([math.nan, float("nan")])) == [math.nan, math.nan]


def test_zero_keeps_its_sign() -> None:
    assert math.copysign(1, wire.loads(wire.dumps(-0.0))) == -1


@given(st.text(max_size=5), st.floats(allow_nan=False))
def test_schemas_and_recalls_come_back_as_they_were(text: str, number: float) -> None:
    table = Table(
        text, (Column(text, "INT", True),), (text,), ((text,),), (ForeignKey((text,), text, (text,)),), True
    )
    schema = Schema((table, Table("t", ())))
    assert wire.schema_from(wire.loads(wire.dumps(wire.record(schema)))) == schema
    recall = Recall(Status.memory_unavailable, (number,), (), None, text, (text,), number, number)
    assert wire.recall_from(wire.loads(wire.dumps(wire.record(recall)))) == recall


# -- the same as without a server


def test_executions_are_those_of_the_executor_behind(local: SQLite, remote: Remote) -> None:
    queries = [
        Query(sql, db, keep) for sql in STATEMENTS for db in ("shop", "no_such") for keep in (True, False)
    ]
    here, there = local.execute_many(queries), remote.execute_many(queries)
    compared = [(a, b) for a, b in zip(here, there, strict=True) if not a.volatile]
    assert len(compared) > len(queries) * 0.9
    for a, b in compared:
        assert seen(a) == seen(b)
    assert there[0] is there[1]
    assert remote.execute_many([]) == []


def test_schema_dialect_and_signature_are_those_of_the_executor_behind(local: SQLite, remote: Remote) -> None:
    assert remote.schema("shop") == local.schema("shop")
    assert remote.dialect == local.dialect
    assert remote.describe() == local.describe()
    assert fr.Scorer(SPEC, remote).signature == fr.Scorer(SPEC, local).signature
    with pytest.raises(ConfigError, match="no_such"):
        remote.schema("no_such")


@pytest.mark.parametrize(
    "spec", [SPEC, repr(fr.preset("finer", memory=False)), "execution_match(mode='bird')"]
)
def test_scores_are_the_same_to_the_last_bit(spec: str, local: SQLite, remote: Remote) -> None:
    here, there = fr.Scorer(spec, local).score(samples()), fr.Scorer(spec, remote).score(samples())
    assert list(map(repr, there)) == list(map(repr, here))
    assert len({score.value for score in here}) > 1


def test_real_candidates_score_the_same(shared_data: Path) -> None:
    with gzip.open(shared_data / "candidates" / "spider_dev_dev.jsonl.gz", "rt", encoding="utf-8") as lines:
        groups = [json.loads(line) for line in islice(lines, 0, None, 25)]
    batch = [
        fr.Sample(one["sql"], group["gold"], group["db_id"])
        for group in groups
        for one in list(group["candidates"].values())[::6]
    ]
    assert len(batch) > 200
    databases = shared_data / "spider_dev" / "database"
    wide, narrow = (fr.Scorer(SPEC, SQLite(databases, workers=workers)) for workers in (4, 1))
    with wide, narrow, serving(narrow) as (url, _), Remote(url) as remote:
        here, there = wide.score(batch), fr.Scorer(SPEC, remote).score(batch)
    assert list(map(repr, there)) == list(map(repr, here))
    assert len({score.value for score in here}) > 10


def test_score_answers_the_records_of_the_command_line(root: Path, local: SQLite, url: str) -> None:
    sql = [one for one in STATEMENTS if one and ";" not in one and "--" not in one and "random" not in one]
    predicted = root / "predicted.jsonl"
    predicted.write_text("".join(json.dumps({"sql": one, "db_id": "shop"}) + "\n" for one in sql))
    gold = root / "gold.jsonl"
    gold.write_text("".join(json.dumps({"sql": GOLD, "db_id": "shop"}) + "\n" for _ in sql))
    command = [
        sys.executable,
        "-m",
        "finer_rewards",
        "score",
        predicted,
        gold,
        "--db",
        root,
        "--reward",
        SPEC,
    ]
    done = subprocess.run([*command, "--timeout", "10", "--format", "jsonl"], capture_output=True, text=True)
    expected = [json.loads(line) for line in done.stdout.splitlines()]
    payload = {"samples": [{"completion": one, "gold": GOLD, "db": "shop"} for one in sql]}
    status, _, answer = ask(url, "/score", payload)
    assert status == 200 and len(expected) == len(sql)
    places = [{**record, "db": None} for record in expected]  # a file there, an id here
    assert [{**record, "db": None} for record in answer["scores"]] == places
    assert answer["signature"] in done.stderr
    status, _, answer = ask(url, "/score", {**payload, "explain": True})
    assert "execution_match" in answer["scores"][0]["explanation"]


def test_answer_rows_may_hold_bytes(url: str) -> None:
    photo = {"$bytes": b64encode(b"\x00\xff").decode()}
    sample = {"completion": "SELECT photo FROM singer WHERE id = 1", "gold": [], "db": "shop"}
    for cell, value in ((photo, 4.0), ("00ff", 1.0)):
        _, _, answer = ask(url, "/score", {"samples": [{**sample, "answer": [[cell]]}]})
        assert answer["scores"][0]["execution_match"] == float(value == 4.0), answer


def test_openrlhf_gets_what_the_adapter_gives(local: SQLite, url: str) -> None:
    expected = openrlhf_reward(fr.Scorer(SPEC, local), best=4)
    labels = [
        {"gold": GOLD, "db": "shop"},
        json.dumps({"gold": GOLD, "db": "shop"}),
        "",
        None,
        {"gold": GOLD},
    ]
    labels.append({"gold": "SELECT broken FROM singer", "db": "shop"})
    for label in labels:
        for response in (GOLD, "SELECT id FROM singer", "no idea"):
            query = f"<|user|>Who?<|assistant|>{response}<|im_end|>"
            payload = {"query": [query], "prompts": ["<|user|>Who?<|assistant|>"], "labels": [label]}
            status, _, answer = ask(url, "/get_reward", payload)
            assert status == 200
            assert answer == expected(*payload.values())
            assert isinstance(answer["rewards"], float) and isinstance(answer["scores"], float)


# -- who may ask, and how much

SAMPLE = {"completion": GOLD, "gold": GOLD, "db": "shop"}


@pytest.mark.parametrize(
    ("path", "payload", "words"),
    [
        ("/score", [], "should be an object"),
        ("/score", {}, "should have 'samples'"),
        ("/score", {"samples": {}}, "`samples` should be a list"),
        ("/score", {"samples": [], "explain": 1}, "`explain` should be true or false"),
        ("/score", {"samples": [], "more": 1}, "but got 'more'"),
        ("/score", {"samples": ["x"]}, r"`samples\[0\]` should be an object"),
        (
            "/score",
            {"samples": [SAMPLE, {"completion": "x", "gold": "y"}]},
            r"`samples\[1\]` should have a 'db'",
        ),
        ("/score", {"samples": [{**SAMPLE, "completions": "x"}]}, "Did you mean 'completion'"),
        ("/score", {"samples": [{**SAMPLE, "completion": None}]}, "should be text, but got None"),
        ("/score", {"samples": [{**SAMPLE, "gold": 3}]}, "should be text or a tuple"),
        ("/score", {"samples": [{**SAMPLE, "answer": [1]}]}, "should be rows"),
        ("/get_reward", {"query": ["a"], "prompts": [], "labels": []}, "of one length, but got 1, 0 and 0"),
        ("/get_reward", {"query": [1], "prompts": ["a"], "labels": [""]}, r"`query\[0\]` should be text"),
        ("/get_reward", {"queries": []}, "but got 'queries'"),
        (
            "/execute",
            {"queries": [["SELECT 1", "shop"]]},
            r"`queries\[0\]` should be \[sql, db, keep, golds\]",
        ),
        ("/execute", {"queries": [["SELECT 1", "shop", 1, []]]}, r"`queries\[0\]` should be"),
        ("/schema", {"db": 1}, "`db` should be text"),
        ("/schema", {"db": "no_such"}, "no_such"),
        ("/memory/search", {"thoughts": [], "dbs": []}, "--memory FOLDER"),
        ("/memory/remember", {"samples": []}, "--memory FOLDER"),
        ("/memory/snapshot", {}, "--memory FOLDER"),
    ],
)
def test_what_is_wrong_with_a_request_is_said(url: str, path: str, payload, words: str) -> None:
    status, _, answer = ask(url, path, payload)
    assert status == 422
    assert re.search(words, answer["error"]), answer["error"]


@pytest.mark.parametrize(
    "body", [b"", b"{", b"\xff", b"[" * 100_000, b'{"samples": [{"$bytes": "#"}]}', b"9" * 9999]
)
def test_what_is_no_json_is_400(url: str, body: bytes) -> None:
    status, _, answer = ask(url, "/score", body=body)
    assert status == 400
    assert "should be JSON" in answer["error"]


def test_a_path_that_is_none_is_named(url: str) -> None:
    status, _, answer = ask(url, "/scores", {})
    assert status == 404 and "Did you mean '/score'" in answer["error"] and "/healthz" in answer["error"]
    status, headers, answer = ask(url, "/score", method="GET")
    assert status == 405 and "POST" in answer["error"] and headers["allow"] == "POST"


def test_a_schema_can_be_read_with_a_plain_get(local: SQLite, url: str) -> None:
    status, _, answer = ask(url, "/schema?db=shop", method="GET")
    assert status == 200
    assert wire.schema_from(answer["schema"]) == local.schema("shop")


def test_only_json_is_taken_and_only_under_names_of_this_machine(local: SQLite) -> None:
    with serving(fr.Scorer(SPEC, local), hosts=("127.0.0.1", "localhost")) as (url, _):
        assert ask(url, "/score", {"samples": []})[0] == 200
        assert ask(url, "/score", {"samples": []}, headers={"Content-Type": "text/plain"})[0] == 415
        assert ask(url, "/score", {"samples": []}, headers={"Host": "evil.example"})[0] == 403
        assert ask(url, "/metrics", method="GET", headers={"Host": "evil.example:80"})[0] == 403
        assert ask(url, "/score", {"samples": []}, headers={"Host": "LOCALHOST:80"})[0] == 200


def test_a_token_is_asked_for(local: SQLite) -> None:
    with serving(fr.Scorer(SPEC, local), token="secret") as (url, _):
        basic = {"Authorization": "Basic " + b64encode(b"anybody:secret").decode()}
        for headers, expected in (
            ({}, 401),
            ({"Authorization": "Bearer wrong"}, 401),
            ({"Authorization": "Bearer"}, 401),
            ({"Authorization": "Basic !"}, 401),
            ({"Authorization": "Basic é"}, 401),
            ({"Authorization": "Basic " + b64encode(b"secret").decode()}, 401),
            ({"Authorization": "Bearer secret"}, 200),
            (basic, 200),
        ):
            status, answered, _ = ask(url, "/score", {"samples": []}, headers=headers)
            assert status == expected, headers
            assert ("www-authenticate" in answered) == (expected == 401)
        assert ask(url, "/metrics", method="GET")[0] == 401
        assert ask(url, "/describe", method="GET")[0] == 401
        assert ask(url, "/healthz", method="GET")[0] == 200
        with Remote(url, token="secret") as right:
            assert right.execute(GOLD, "shop").ok
            assert "secret" not in repr(right)
        with Remote(url, token="wrong") as wrong, pytest.raises(ConfigError, match=r"401.*token"):
            wrong.execute(GOLD, "shop")


@pytest.mark.parametrize("token", ["", " ", "é", "a b", "a\n"])
def test_a_token_that_cannot_be_sent_is_refused(local: SQLite, token: str) -> None:
    with pytest.raises(ConfigError, match="token"):
        build_app(fr.Scorer(SPEC, local), token=token)


def test_too_much_is_413(local: SQLite) -> None:
    with serving(fr.Scorer(SPEC, local), max_bytes=10_000, max_batch=3) as (url, app):
        assert ask(url, "/score", {"samples": [SAMPLE] * 3})[0] == 200
        status, _, answer = ask(url, "/score", {"samples": [SAMPLE] * 4})
        assert (status, answer["error"][:37]) == (413, "`samples` should have at most 3 items")
        assert ask(url, "/execute", {"queries": [[GOLD, "shop", False, []]] * 4})[0] == 413
        assert ask(url, "/get_reward", {"query": [""] * 4, "prompts": [""] * 4, "labels": [""] * 4})[0] == 413
        assert ask(url, "/score", body=b" " * 3_000_000)[0] == 413
        with connected(url) as stream:  # in pieces, so that the size is not known before
            stream.sendall(head("/score", "Transfer-Encoding: chunked"))
            stream.sendall(b"2710\r\n" + b" " * 10_000 + b"\r\n2710\r\n" + b" " * 10_000 + b"\r\n0\r\n\r\n")
            assert heard(stream).startswith(b"HTTP/1.1 413")
        assert app.state.desk.present == app.state.desk._bytes == 0


def head(path: str, *lines: str) -> bytes:
    return "\r\n".join(
        [f"POST {path} HTTP/1.1", "Host: localhost", "Content-Type: application/json", *lines, "", ""]
    ).encode()


@contextlib.contextmanager
def connected(url: str):
    host, port = url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=20) as stream:
        yield stream


def heard(stream: socket.socket) -> bytes:
    """Return a whole answer."""
    found = b""
    while b"\r\n\r\n" not in found or not found.endswith(b"}"):
        found += stream.recv(9999)
    return found


@pytest.mark.parametrize("limit", ["max_batch", "max_bytes", "queue", "threads"])
@pytest.mark.parametrize("value", [0, -1, True, 1.5])
def test_limits_are_whole_numbers(local: SQLite, limit: str, value) -> None:
    with pytest.raises(ConfigError, match=limit):
        build_app(fr.Scorer(SPEC, local), **{limit: value})


def test_databases_elsewhere_are_not_opened(tmp_path: Path, root: Path, monkeypatch) -> None:
    connection = sqlite3.connect(tmp_path / "secret.sqlite")
    connection.executescript(SCRIPT)
    connection.close()
    monkeypatch.chdir(tmp_path)  # executors look there last
    elsewhere = (
        str(tmp_path / "secret.sqlite"),
        f"{root}/../{tmp_path.name}/secret.sqlite",
        "secret.sqlite",
        "../secret",
        "x" * 5000,
        "a\0b",
        "postgresql://somewhere/else",
        "host=somewhere",
    )
    with SQLite(root, workers=1) as executor:
        assert executor.execute(GOLD, elsewhere[0]).ok
        with serving(fr.Scorer(SPEC, executor)) as (url, _), Remote(url) as remote:
            for db in elsewhere:
                assert remote.execute(GOLD, db).status is Status.unavailable, db
                with pytest.raises(ConfigError):
                    remote.schema(db)
                status, _, answer = ask(url, "/score", {"samples": [{**SAMPLE, "db": db}]})
                assert (status, answer["scores"][0]["value"]) == (200, None)
            for db in ("shop", "shop.sqlite", str(root / "shop.sqlite")):
                assert remote.execute(GOLD, db).ok, db


def test_a_folder_of_the_name_is_no_way_out(tmp_path: Path, monkeypatch) -> None:
    root, elsewhere = tmp_path / "root", tmp_path / "elsewhere"
    (root / "trap").mkdir(parents=True)
    elsewhere.mkdir()
    connection = sqlite3.connect(elsewhere / "trap")
    connection.executescript(SCRIPT)
    connection.close()
    monkeypatch.chdir(elsewhere)
    with SQLite(root, workers=1) as executor:
        assert executor.execute(GOLD, "trap").ok
        assert Confined(executor).execute(GOLD, "trap").status is Status.unavailable


def test_an_executor_that_hands_on_is_confined_to_the_root_behind_it(root: Path, tmp_path: Path) -> None:
    class HandsOn(Held):
        def __init__(self, executor: SQLite) -> None:
            self.executor, self.execute_many = executor, executor.execute_many

    (tmp_path / "secret.sqlite").write_bytes((root / "shop.sqlite").read_bytes())
    with SQLite(root, workers=1) as executor:
        confined = Confined(HandsOn(executor))
        assert confined.execute(GOLD, "shop").ok
        assert confined.execute(GOLD, str(tmp_path / "secret.sqlite")).status is Status.unavailable


def test_duckdb_is_served_as_it_is(tmp_path: Path) -> None:
    duckdb = pytest.importorskip("duckdb", reason="needs the extra [duckdb]")
    with duckdb.connect(str(tmp_path / "shop.duckdb")) as connection:
        connection.execute(
            "CREATE TABLE t AS SELECT 170141183460469231731687303715884105727::HUGEINT a, 'é' b"
        )
        connection.execute("INSERT INTO t VALUES (1, NULL), (-1, 'x')")
    statements = (
        "SELECT * FROM t ORDER BY a",
        "SELECT 'nan'::DOUBLE, -0.0::DOUBLE, b::BLOB FROM t",
        "SELECT [a, 1] FROM t",
        "SELECT 1.50::DECIMAL(9, 2), DATE '2026-01-02', TRUE",
        "SELECT nothing FROM t",
    )
    local = fr.DuckDB(tmp_path, workers=1)
    with local, serving(fr.Scorer(SPEC, local)) as (url, _), Remote(url) as remote:
        for keep in (True, False):
            queries = [Query(sql, "shop", keep) for sql in statements]
            for here, there in zip(local.execute_many(queries), remote.execute_many(queries), strict=True):
                assert seen(there) == seen(here)
        assert (remote.dialect, remote.schema("shop")) == ("duckdb", local.schema("shop"))
        assert remote.describe() == local.describe()


def test_neighbours_of_the_server_are_used(tmp_path: Path, monkeypatch) -> None:
    from finer_rewards.testsuite import build_neighbours

    folder = tmp_path / "shop"
    folder.mkdir()
    connection = sqlite3.connect(folder / "shop.sqlite")
    connection.executescript(
        "CREATE TABLE singer (id INTEGER PRIMARY KEY, name TEXT, age INT);"
        "INSERT INTO singer VALUES (1, 'Joe', 52), (2, 'Tim', 32), (3, 'Ann', 41), (4, 'Eva', 25);"
    )
    connection.close()
    gold = "SELECT name FROM singer WHERE age > 40"
    build_neighbours(folder / "shop.sqlite", [gold], workers=1)
    lucky = [fr.Sample(sql, gold, "shop") for sql in (gold, "SELECT name FROM singer WHERE id IN (1, 3)")]
    local = SQLite(tmp_path, workers=1, neighbours=4)
    with local, serving(fr.Scorer("execution_match()", local)) as (url, _), Remote(url, **QUICK) as remote:
        scorer = fr.Scorer("execution_match()", remote)
        assert [score.value for score in scorer.score(lucky)] == [1.0, 0.0]
        assert scorer.signature == fr.Scorer("execution_match()", local).signature
        _, _, answer = ask(url, "/score", {"samples": [{"completion": one.completion, "gold": gold, "db": "shop"}
                                                       for one in lucky]})  # fmt: skip
        assert [score["value"] for score in answer["scores"]] == [1.0, 0.0]
        # Where they cannot be asked for, a lucky guess is not called right.
        post = remote._client.post
        lost = ServerLostError("lost")
        monkeypatch.setattr(
            remote._client,
            "post",
            lambda path, *rest, **options: (
                throw(lost) if path == "/neighbours" else post(path, *rest, **options)
            ),
        )
        assert [score.value for score in scorer.score(lucky)] == [None, None]


def test_neighbours_of_a_large_batch_are_asked_for_in_parts(monkeypatch) -> None:
    class Neighbourly(Held):
        asked = 0

        def with_neighbours(self, samples):
            self.asked += len(samples)
            return [fr.Sample(one.completion, one.gold, (*one.dbs, f"next to {one.db}")) for one in samples]

        def describe(self):
            return {"engine": "held", "neighbours": 1}

    monkeypatch.setattr(remote_module, "_BATCH", 2)
    executor = Neighbourly()
    samples = [fr.Sample(GOLD, GOLD, f"db{number % 5}") for number in range(20)]
    with serving(fr.Scorer("executable()", executor), max_batch=2) as (url, _), Remote(url) as remote:
        extended = remote.with_neighbours(samples)
        assert [one.dbs for one in extended] == [(one.db, f"next to {one.db}") for one in samples]
        assert executor.asked == 5


def throw(error: Exception) -> None:
    raise error


# -- many at once


class Held:
    """An executor that answers when it is let go."""

    dialect = "sqlite"

    def __init__(self) -> None:
        self.started, self.free, self.calls = threading.Semaphore(0), threading.Event(), 0

    def execute_many(self, queries):
        self.calls += 1
        self.started.release()
        assert self.free.wait(30)
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


ONE = {"queries": [["SELECT 1", "shop", False, []]]}


def test_a_full_queue_is_503_and_a_client_waits_for_its_turn() -> None:
    held = Held()
    with (
        serving(fr.Scorer("executable()", held), queue=2, threads=1) as (url, app),
        ThreadPoolExecutor(4) as pool,
    ):
        waiting = [pool.submit(ask, url, "/execute", ONE) for _ in range(2)]
        held.started.acquire(timeout=10)
        until(lambda: app.state.desk.present == 2)
        status, headers, answer = ask(url, "/execute", ONE)
        assert (status, headers["retry-after"]) == (503, "1")
        assert "Try again" in answer["error"]
        with Remote(url, timeout=5, patience=0.4) as hasty:
            assert hasty.execute("SELECT 1", "shop").status is Status.unavailable
        patient = Remote(url, patience=20)
        turn = pool.submit(patient.execute, "SELECT 1", "shop")
        time.sleep(0.3)
        assert ask(url, "/healthz", method="GET")[0] == 200
        held.free.set()
        assert [done.result(20)[0] for done in waiting] == [200, 200]
        assert turn.result(20).ok
        patient.close()


def until(true, within: float = 10.0) -> None:
    end = time.monotonic() + within
    while not true():
        assert time.monotonic() < end
        time.sleep(0.01)


@pytest.mark.parametrize("where", ["sending", "waiting", "running", "streaming"])
def test_a_client_that_leaves_frees_its_place(where: str, monkeypatch) -> None:
    if where == "streaming":
        monkeypatch.setattr(desk_module, "SIGN_OF_LIFE", 0.05)
    held = Held()
    body = json.dumps(ONE).encode()
    with serving(fr.Scorer("executable()", held), queue=2, threads=2 - (where == "waiting")) as (url, app):
        desk = app.state.desk
        with connected(url) as first, connected(url) as second:
            for stream in (first, second):
                stream.sendall(head("/execute", f"Content-Length: {len(body)}"))
                stream.sendall(body[:-1] if where == "sending" else body)
            until(lambda: desk.present == 2)
            if where == "streaming":
                assert first.recv(100).startswith(b"HTTP/1.1 200")
            assert ask(url, "/execute", ONE)[0] == 503
        until(lambda: desk.present == 0)
        held.free.set()
        until(lambda: desk.running == 0)
        assert ask(url, "/execute", ONE)[0] == 200
        assert held.calls == {"sending": 1, "waiting": 2, "running": 3, "streaming": 3}[where]


def test_the_queries_of_a_client_that_left_are_ended(root: Path) -> None:
    body = json.dumps({"samples": [{"completion": SLOW, "gold": GOLD, "db": "shop"}]}).encode()
    with (
        SQLite(root, workers=1, timeout=60) as executor,
        serving(fr.Scorer("execution_match()", executor)) as (url, app),
    ):
        desk = app.state.desk
        with connected(url) as stream:
            stream.sendall(head("/score", f"Content-Length: {len(body)}") + body)
            until(lambda: desk.running == 1 and bool(executor.process_ids))
            time.sleep(0.3)
        until(lambda: desk.running == 0)
        assert executor.execute(GOLD, "shop").ok


def test_a_body_that_does_not_come_is_not_waited_for(url: str, monkeypatch) -> None:
    monkeypatch.setattr(desk_module, "UPLOAD_SECONDS", 0.1)
    monkeypatch.setattr(desk_module, "DISCARD_SECONDS", 0.1)
    with connected(url) as stream:
        stream.sendall(head("/score", "Content-Length: 1000") + b"{")
        assert stream.recv(1000).startswith(b"HTTP/1.1 408")


def test_thirty_two_clients_get_what_one_gets(local: SQLite, remote: Remote) -> None:
    batch = samples()
    expected = [(score.value, score.reason) for score in fr.Scorer(SPEC, local).score(batch)]

    def client(number: int):
        scorer = fr.Scorer(SPEC, remote if number % 2 else Remote(remote.url))
        turned = batch[number % len(batch) :] + batch[: number % len(batch)]
        found = [(score.value, score.reason) for score in scorer.score(turned)]
        if not number % 2:
            scorer.close()
        return found[len(batch) - number % len(batch) :] + found[: len(batch) - number % len(batch)]

    with ThreadPoolExecutor(32) as pool:
        assert all(found == expected for found in pool.map(client, range(32)))


def test_signs_of_life_keep_a_client_waiting_and_silence_does_not(monkeypatch) -> None:
    held = Held()
    with serving(fr.Scorer("executable()", held)) as (url, _), ThreadPoolExecutor(2) as pool:
        with Remote(url, timeout=0.3, patience=0.2) as hasty:
            began = time.monotonic()
            assert hasty.execute("SELECT 1", "shop").status is Status.unavailable
            assert time.monotonic() - began < 5
        monkeypatch.setattr(desk_module, "SIGN_OF_LIFE", 0.05)
        with Remote(url, timeout=0.3, patience=0.2) as hasty:
            answer = pool.submit(hasty.execute, "SELECT 2", "shop")
            time.sleep(1.0)
            assert not answer.done()
            held.free.set()
            assert answer.result(10).ok
            held.free.clear()
            # Signs of life without end are no answer.
            with pytest.raises(fr.FinerError, match="did not come to an end"):
                hasty._client.post("/execute", ONE, within=0.5)
        held.free.set()


def test_an_answer_too_large_for_once_comes_in_parts(local: SQLite, remote: Remote, monkeypatch) -> None:
    monkeypatch.setattr(service_module, "_ANSWER_BYTES", 5000)
    queries = [Query(f"SELECT {number}, zeroblob(1000)", "shop") for number in range(30)]
    asked = []
    post = remote._client.post
    monkeypatch.setattr(remote._client, "post", lambda *a, **k: asked.append(1) or post(*a, **k))
    assert [run.rows[0][0] for run in remote.execute_many(queries)] == list(range(30))
    assert 5 <= len(asked) <= 30


# -- what goes wrong


class Raising(Held):
    def execute_many(self, queries):
        raise RuntimeError("disk on fire")


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_an_executor_that_raises_is_the_systems_fault() -> None:
    with serving(fr.Scorer("execution_match()", Raising())) as (url, app):
        status, _, answer = ask(url, "/score", {"samples": [SAMPLE]})
        assert (status, answer) == (500, {"error": "The server failed at this; its log says why."})
        status, _, answer = ask(url, "/get_reward", {"query": ["x"], "prompts": [""], "labels": [SAMPLE]})
        assert (status, answer["rewards"], answer["extra_logs"]["reward_error"]) == (200, 0.0, 1.0)
        with Remote(url, **QUICK) as remote:
            [score] = fr.Scorer("execution_match()", remote).score([fr.Sample(GOLD, GOLD, "shop")])
        assert (score.value, score.status) == (None, Status.unavailable)
        assert app.state.desk.present == app.state.desk.running == 0


def test_a_server_that_is_not_there_scores_nothing() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        with Remote(f"http://127.0.0.1:{taken.getsockname()[1]}", **QUICK) as remote:
            began = time.monotonic()
            assert remote.execute(GOLD, "shop").status is Status.unavailable
            assert time.monotonic() - began < 3
            for refused in (lambda: remote.schema("shop"), remote.describe):
                with pytest.raises(ConfigError, match="should be a server that runs"):
                    refused()


@pytest.mark.parametrize("frozen", [False, True])
def test_a_server_that_cannot_be_reached_is_waited_for_once(frozen: bool, monkeypatch) -> None:
    monkeypatch.setattr("finer_rewards.serving.client._QUICK", 0.2)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        if frozen:
            taken.listen(50)
        url = f"http://127.0.0.1:{taken.getsockname()[1]}"
        memory = RemoteMemory(url, timeout=0.3, patience=1.0)
        with Remote(url, timeout=0.3, patience=1.0) as remote, memory:
            scorer = fr.Scorer("execution_match() + memory()", remote, memory=memory)
            began = time.monotonic()
            [score] = scorer.score([fr.Sample("<think>Count.</think>" + GOLD, GOLD, "shop")])
            spent = time.monotonic() - began
            assert score.value is None
            # Each of the two clients: until its patience ends, and the try that is on its way.
            assert spent < 5.0
            began = time.monotonic()
            assert remote.execute(GOLD, "shop").status is Status.unavailable
            assert time.monotonic() - began < 0.5


def test_a_server_that_is_back_is_seen_at_once(tmp_path: Path) -> None:
    client = Client("http://127.0.0.1:1", None, 5.0, 0.2)
    with pytest.raises(ServerLostError):
        client.get("/healthz")
    client.patience = 60.0  # as if it had been given up for long
    client._loss = client._loss._replace(until=time.monotonic() + 60)
    with serving(fr.Scorer("well_formed()")) as (url, _):
        client._port = int(url.rpartition(":")[2])
        assert client.get("/healthz")
        assert client._loss is None


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"nonsense",
        b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n[1]",
        b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}",
        b"HTTP/1.1 408 Slow\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 500 No\r\n\r\n",
    ],
)
def test_a_server_that_talks_nonsense_scores_nothing(answer: bytes) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        listening.settimeout(10)

        def talk() -> None:
            with contextlib.suppress(OSError):
                while True:
                    stream, _ = listening.accept()
                    with stream:
                        stream.recv(10_000)
                        stream.sendall(answer)

        thread = threading.Thread(target=talk)
        thread.start()
        with Remote(f"http://127.0.0.1:{listening.getsockname()[1]}", timeout=1, patience=0.3) as remote:
            assert remote.execute(GOLD, "shop").status is Status.unavailable
        listening.shutdown(socket.SHUT_RDWR)
        thread.join(10)


@pytest.mark.parametrize(
    "url", ["", "127.0.0.1:80", "ftp://a", "http://", "http://a:b", "http://a:99999", None, 3]
)
def test_a_url_that_is_none_is_refused(url) -> None:
    with pytest.raises(ConfigError, match="should be the address of a server"):
        Remote(url)


def test_timeouts_and_statuses_are_carried(root: Path) -> None:
    executor = SQLite(root, workers=1, timeout=0.3)
    with executor, serving(fr.Scorer(SPEC, executor)) as (url, _), Remote(url) as remote:
        assert remote.execute(SLOW, "shop").status is Status.timeout
        batch = [fr.Sample(SLOW, GOLD, "shop"), fr.Sample(GOLD, SLOW, "shop")]
        scores = fr.Scorer("execution_match()", remote).score(batch)
        assert [score.status for score in scores] == [Status.timeout, Status.gold_timeout]
        assert scores[1].value is None


def test_deadlines_may_hang_on_the_golds_time(root: Path) -> None:
    executor = SQLite(root, workers=1, timeout=30, deadline="relative", deadline_factor=2)
    with executor, serving(fr.Scorer(SPEC, executor)) as (url, _), Remote(url) as remote:
        began = time.monotonic()
        assert remote.execute_many([Query(SLOW, "shop", golds=(GOLD,))])[0].status is Status.timeout
        sample = fr.Sample(SLOW, GOLD, "shop")
        assert fr.Scorer("execution_match()", remote).score_one(sample).status is Status.timeout
        asked = {"samples": [{"completion": SLOW, "gold": GOLD, "db": "shop"}]}
        assert ask(url, "/score", asked)[2]["scores"][0]["executable"] == 0
        assert time.monotonic() - began < 20


def test_a_log_ends_no_run_whose_server_is_lost(root: Path, tmp_path: Path) -> None:
    path, sample = tmp_path / "scores.jsonl", fr.Sample(GOLD, GOLD, "shop")
    with SQLite(root, workers=1) as executor:
        with serving(fr.Scorer(SPEC, executor)) as (url, _):
            scorer = fr.Scorer("execution_match()", Remote(url, patience=0.2), log=path)
            assert scorer.score_one(sample).value == 1
            signature = scorer.signature
        assert scorer.score_one(sample).value is None
        assert scorer.signature == signature
        assert [json.loads(line).get("value") for line in path.read_text().splitlines()] == [None, 1.0, None]
        never = fr.Scorer("execution_match()", Remote(url, patience=0.2), log=path)
        with pytest.warns(RuntimeWarning, match="they would lack a signature"):
            assert never.score_one(sample).value is None


def test_a_server_without_sql_says_so(local: SQLite) -> None:
    with serving(fr.Scorer("well_formed()")) as (url, _), Remote(url) as remote:
        for ask_it in (remote.describe, lambda: remote.execute(GOLD, "shop"), lambda: remote.dialect):
            with pytest.raises(ConfigError, match="should be a server that runs SQL"):
                ask_it()


def test_a_remote_executor_pickles_and_forks(remote: Remote) -> None:
    assert remote.execute(GOLD, "shop").ok
    copy = pickle.loads(pickle.dumps(remote))
    assert (copy.url, repr(copy)) == (remote.url, repr(remote))
    assert copy.execute(GOLD, "shop").ok
    copy.close()
    code = (
        "import os, sys, pickle\n"
        "remote = pickle.loads(bytes.fromhex(sys.argv[1]))\n"
        "first = remote.execute('SELECT 1', 'shop').rows\n"
        "child = os.fork()\n"
        "rows = [remote.execute(f'SELECT {number}', 'shop').rows[0][0] for number in range(50)]\n"
        "assert rows == list(range(50)) and first == ((1,),)\n"
        "if child: sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))\n"
    )
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code, pickle.dumps(remote).hex()], timeout=60
    )
    assert done.returncode == 0


# -- memory


def completion(number: int) -> str:
    return f"<think>{THOUGHT.format(number)}</think><answer>{GOLD}</answer>"


@pytest.fixture
def memories(tmp_path: Path, root: Path):
    pytest.importorskip("numpy", reason="needs the extra [memory]")
    spec = "execution_match() + memory()"
    mine, theirs = (fr.TraceMemory.open(tmp_path / name, "hashing") for name in ("local", "served"))
    with SQLite(root, workers=1) as executor:
        scorer = fr.Scorer(spec, executor, memory=mine)
        with serving(fr.Scorer(spec, executor, memory=theirs)) as (url, _), RemoteMemory(url) as remote:
            yield scorer, fr.Scorer(spec, executor, memory=remote)
    mine.close()


def test_a_remote_memory_remembers_and_finds_what_a_local_one_does(memories) -> None:
    here, there = memories
    batch = [fr.Sample(completion(7), GOLD, "shop", "q1"), fr.Sample("SELECT id FROM singer", GOLD, "shop", "q2"),
             fr.Sample(completion(7), "SELECT broken", "shop", "q3")]  # fmt: skip
    later = [fr.Sample(completion(8), GOLD, db, "q9") for db in ("shop", "other")]
    for scorer in (here, there):
        assert [score.value for score in scorer.score(later)] == [1.0, 1.0]
    reports = [scorer.memory.remember(list(zip(e := scorer.observe(batch), scorer.grade(e), strict=True)), step=3)
               for scorer in (here, there)]  # fmt: skip
    assert reports[0] == reports[1] and reports[0].admitted == 1, reports
    # On the server it is seen from the next snapshot on.
    assert [score.value for score in there.score(later)] == [1.0, 1.0]
    assert here.memory.snapshot() == there.memory.snapshot()
    assert list(map(repr, there.score(later))) == list(map(repr, here.score(later)))
    assert there.score(later)[1].value > 1.0
    assert there.memory.describe() == here.memory.describe()
    assert there.signature == here.signature
    assert len(there.memory) == len(here.memory) == 1
    again = there.memory.remember(list(zip(e := there.observe(batch), there.grade(e), strict=True)))
    assert again.admitted == 0
    with pytest.raises(ConfigError, match="top_k"):
        there.memory.search(["x"], ["shop"], top_k=0)
    with pytest.raises(ConfigError, match="as many of each"):
        there.memory.search(["x"], [])
    with pytest.raises(ConfigError, match="pairs"):
        there.memory.remember([1])
    copy = pickle.loads(pickle.dumps(there.memory))
    assert copy.search([THOUGHT], [("other", "shop")]) == there.memory.search([THOUGHT], ["other"])
    copy.close()


def test_trl_learns_over_a_remote_memory(memories) -> None:
    _, there = memories
    reward = fr.adapters.trl.TRLReward(there, remember=True)
    batch = {"prompts": ["Who?"] * 2, "completions": [completion(7)] * 2, "gold": [GOLD] * 2}
    first, *later = [reward(db=[db] * 2, **batch) for db in ("shop", "other", "other")]
    assert first == [1.0, 1.0] and later[0][0] > 1.0
    assert len(there.memory) == 2  # one a database: each was offered twice


def test_adapters_find_a_server_by_its_address(local: SQLite, monkeypatch) -> None:
    from finer_rewards.adapters import openrlhf

    monkeypatch.setenv(wire.TOKEN, "secret")
    with serving(fr.Scorer(SPEC, local), token="secret") as (url, _):
        far, near = openrlhf.build(SPEC, root=url, patience=1.0), openrlhf.build(SPEC, root=local.root)
        for sql in (GOLD, "SELECT id FROM singer", "DROP TABLE singer"):
            asked = ([sql], [""], [{"gold": GOLD, "db": "shop"}])
            assert far(*asked) == near(*asked)
        with pytest.raises(ConfigError, match="or of Remote"):
            openrlhf.build(SPEC, root=url, workers=2)


def test_nobody_can_plant_a_trace(memories) -> None:
    _, there = memories
    liar = fr.Sample(completion(7).replace(GOLD, "SELECT id FROM singer"), GOLD, "shop", "q1")
    [evidence] = there.observe([liar])
    right = fr.Evidence(liar, evidence.answer, predicted=evidence.gold, gold=evidence.gold)
    report = there.memory.remember([(right, fr.Score(1.0))])
    assert not any(decision.verified for decision in report.decisions)


def test_a_memory_that_is_lost_is_the_systems_fault(memories) -> None:
    here, _ = memories
    lost = RemoteMemory("http://127.0.0.1:1", patience=0.2)
    [score] = fr.Scorer(here.reward, here.executor, memory=lost).score(
        [fr.Sample(completion(1), GOLD, "shop")]
    )
    assert (score.value, score.status) == (None, Status.memory_unavailable)
    [evidence] = here.observe([fr.Sample(completion(1), GOLD, "shop")])
    [decision] = lost.remember([(evidence, fr.Score(1.0))]).decisions
    assert "was lost" in decision.refused
    with pytest.raises(ConfigError, match="should be a server that runs"):
        lost.snapshot()


# -- the process


@pytest.fixture
def process(root: Path):
    """Start `finer-rewards serve`; return the process and its url."""
    running: list[subprocess.Popen[str]] = []

    def start(*options: str):
        command = [sys.executable, "-m", "finer_rewards", "serve", "--db", str(root), "--port", "0", *options]
        one = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
        running.append(one)
        line = one.stderr.readline()
        return one, re.search(r"serving on (http://127\.0\.0\.1:\d+), signature \w{16}", line)[1]

    yield start
    for one in running:
        one.kill()
        one.wait()
        one.stderr.close()


def workers_of(process_id: int) -> list[int]:
    """Return the workers, as soon as there is one."""
    until(lambda: children_of(process_id))
    return children_of(process_id)


def children_of(process_id: int) -> list[int]:
    threads = Path(f"/proc/{process_id}/task").iterdir()
    return [int(child) for thread in threads for child in (thread / "children").read_text().split()]


def gone(process_ids, within: float = 5.0) -> bool:
    end = time.monotonic() + within
    while time.monotonic() < end:
        if not any(Path(f"/proc/{one}/cmdline").exists() and Path(f"/proc/{one}/cmdline").read_bytes()
                   for one in process_ids):  # fmt: skip
            return True
        time.sleep(0.02)
    return False


def test_sigterm_finishes_what_runs_and_refuses_what_is_new(process, tmp_path: Path) -> None:
    log = tmp_path / "log.jsonl"
    server, url = process("--timeout", "2", "--workers", "1", "--mode", "bird", "--log", str(log))
    with ThreadPoolExecutor(1) as pool, connected(url) as stream:
        late = head("/score", "Content-Length: 14") + b'{"samples":[]}'
        stream.sendall(late)
        assert heard(stream).startswith(b"HTTP/1.1 200")
        slow = pool.submit(ask, url, "/score", {"samples": [{**SAMPLE, "completion": SLOW}]})
        until(lambda: b"threads_running 1" in ask(url, "/metrics", method="GET")[2].encode())
        workers = workers_of(server.pid)
        server.send_signal(signal.SIGTERM)
        until(lambda: ask(url, "/healthz", method="GET")[0] == 503)
        stream.sendall(late)
        answered = heard(stream)
        assert answered.startswith(b"HTTP/1.1 503") and b"retry-after" in answered.lower()
        status, _, answer = slow.result(20)
        assert (status, answer["scores"][0]["status"]) == (200, "timeout")
    assert server.wait(10) == 0
    assert workers and gone(workers)
    assert server.stderr.read() == ""
    assert "timeout" in log.read_text()


@pytest.mark.parametrize("presses", [1, 2])
def test_ctrl_c_ends_it_and_leaves_nothing(process, presses: int) -> None:
    server, url = process("--timeout", "60", "--workers", "1")
    with ThreadPoolExecutor(1) as pool, Remote(url, timeout=20, patience=0.2) as remote:
        assert remote.execute(GOLD, "shop").ok
        slow = pool.submit(remote.execute, SLOW, "shop") if presses == 2 else None
        if slow:
            until(lambda: b"threads_running 1" in ask(url, "/metrics", method="GET")[2].encode())
        workers = workers_of(server.pid)
        for _ in range(presses):
            server.send_signal(signal.SIGINT)
            time.sleep(0.3)
        assert server.wait(10) == 130
        assert workers and gone(workers)
        if slow:
            assert slow.result(10).status is Status.unavailable
    assert "Traceback" not in server.stderr.read()


def test_a_server_killed_in_the_middle_scores_nothing(process) -> None:
    server, url = process("--timeout", "60", "--workers", "1")
    with ThreadPoolExecutor(1) as pool, Remote(url, timeout=20, patience=0.3) as remote:
        scorer = fr.Scorer("execution_match(mode='bird')", remote)
        scores = pool.submit(scorer.score, [fr.Sample(GOLD, GOLD, "shop"), fr.Sample(SLOW, GOLD, "shop")])
        until(lambda: b"threads_running 1" in ask(url, "/metrics", method="GET")[2].encode())
        workers = workers_of(server.pid)
        server.kill()
        assert [score.value for score in scores.result(10)] == [None, None]
        assert {score.status for score in scores.result()} == {Status.unavailable}
    assert workers and gone(workers)


def test_the_token_may_come_from_a_file_or_the_environment(
    root: Path, tmp_path: Path, monkeypatch, capsys
) -> None:
    def refuse(scorer, *, token, hosts, **_):
        raise ConfigError(f"{token} {hosts is not None}")

    monkeypatch.setattr("finer_rewards.serving.app.build_app", refuse)
    (tmp_path / "token.txt").write_text("from-file\n")
    file = ("--token-file", str(tmp_path / "token.txt"))
    for options, environment, expected in (
        ((), "", "None True"),
        (("--host", "0.0.0.0"), "", "None False"),
        ((), "from-env", "from-env False"),
        (file, "from-env", "from-file False"),
    ):
        monkeypatch.setenv(wire.TOKEN, environment)
        assert main(["serve", "--db", str(root), *options]) == 2
        said = capsys.readouterr().err
        assert expected in said
        assert ("whoever reaches 0.0.0.0" in said) == (expected == "None False")


def test_wrong_usage_is_one_sentence(root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "empty").touch()
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        for arguments, words in (
            ((), "--db"),
            (("--db", str(tmp_path / "nothing")), "should be a folder of databases"),
            (("--db", str(root), "--port", "99999"), "should be a port"),
            (("--db", str(root), "--port", port), "Address already in use"),
            (("--db", str(root), "--host", "198.51.100.7", "--port", "0"), "an address of this machine"),
            (("--db", str(root), "--token-file", __file__), "`token` should be printable"),
            (("--db", str(root), "--token-file", str(tmp_path / "empty")), "is empty"),
            (("--db", str(root), "--token-file", str(tmp_path / "none")), "should be a readable file"),
            (("--db", str(root), "--queue", "0"), "--queue"),
            (("--db", str(root), "--best", "0"), "--best"),
            (("--db", str(root), "--preset", "finer"), "verified traces"),
        ):
            assert main(["serve", *arguments]) == 2, arguments
            said = capsys.readouterr().err
            assert words in said and said.count("\n") <= 1 + ("198.51" in str(arguments)), said


def test_the_missing_extra_is_named(root: Path, capsys: pytest.CaptureFixture[str], monkeypatch) -> None:
    for name in [
        one for one in sys.modules if one.partition(".")[0] == "uvicorn" or "rewards.serving.run" in one
    ]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    assert main(["serve", "--db", str(root)]) == 2
    assert "pip install 'finer-rewards[server]'" in capsys.readouterr().err


# -- metrics


def test_metrics_are_what_prometheus_reads(local: SQLite) -> None:
    with serving(fr.Scorer(SPEC, local)) as (url, _):
        ask(url, "/score", {"samples": [SAMPLE, {**SAMPLE, "db": "none"}]})
        ask(url, "/score", {"samples": 1})
        restarts = local.restarts
        assert local.execute("SELECT random()", "shop").ok
        for worker in local.process_ids:
            os.kill(worker, signal.SIGKILL)
        until(lambda: local.execute("SELECT random()", "shop").ok and local.restarts > restarts)
        status, headers, text = ask(url, "/metrics", method="GET")
    assert status == 200 and headers["content-type"].startswith("text/plain; version=0.0.4")
    line = re.compile(
        r'(?:# TYPE [a-z_]+ (?:counter|gauge|histogram)|[a-z_]+(?:\{\w+="[^"\\]*"(?:,\w+="[^"\\]*")*\})? [0-9.e+-]+)'
    )
    assert all(line.fullmatch(one) for one in text.splitlines()), text
    values = dict(one.rsplit(" ", 1) for one in text.splitlines() if not one.startswith("#"))
    assert values['finer_rewards_samples_total{status="ok"}'] == "1"
    assert values['finer_rewards_samples_total{status="unavailable"}'] == "1"
    assert values['finer_rewards_requests_total{code="422",path="/score"}'] == "1"
    assert values['finer_rewards_request_seconds_bucket{path="/score",le="+Inf"}'] == "2"
    assert float(values["finer_rewards_resident_bytes"]) > 1e6
    assert float(values["finer_rewards_workers"]) >= 1
    assert float(values["finer_rewards_worker_restarts"]) > restarts


@settings(max_examples=50)
@given(st.lists(st.sampled_from(["samples", "requests"])), st.lists(st.floats(0, 1000)))
def test_histograms_add_up(names: list[str], seconds: list[float]) -> None:
    from finer_rewards.serving.metrics import Metrics

    metrics = Metrics()
    for name in names:
        metrics.add(name, code="1")
    for one in seconds:
        metrics.took("/score", one)
    counts = [float(line.rsplit(" ", 1)[1]) for line in metrics.text({}).splitlines() if "_bucket" in line]
    assert counts == sorted(counts)
    assert not seconds or counts[-1] == len(seconds)


@pytest.mark.slow
def test_nothing_is_wrong_or_left_after_a_storm(root: Path) -> None:
    """Clients that come, go and give up, and workers that are killed: right scores or none, and no place kept."""
    batch = [sample for sample in samples() if "random" not in sample.completion]
    with SQLite(root, workers=2) as executor:
        expected = {
            sample: repr(score)
            for sample, score in zip(batch, fr.Scorer(SPEC, executor).score(batch), strict=True)
        }
    executor = SQLite(root, workers=2)
    end = time.monotonic() + 20
    counts, reasons = Counter[str](), Counter[str]()

    def client(number: int) -> None:
        chance = random.Random(number)
        with Remote(url, patience=60.0) as remote:
            scorer = fr.Scorer(SPEC, remote)
            while time.monotonic() < end:
                asked = chance.choices(batch, k=chance.randint(1, 40))
                for sample, score in zip(asked, scorer.score(asked), strict=True):
                    assert (score.value is None and score.status is Status.unavailable) or repr(
                        score
                    ) == expected[sample]
                    counts[
                        "none" if score.value is None and score.status is Status.unavailable else "right"
                    ] += 1
                    reasons.update([score.reason] * (score.status is Status.unavailable))

    def leaver(number: int) -> None:
        chance = random.Random(number)
        body = json.dumps({"queries": [[f"SELECT {number}", "shop", False, []]] * 50}).encode()
        while time.monotonic() < end:
            with connected(url) as stream:
                whole = head("/execute", f"Content-Length: {len(body)}") + body
                stream.sendall(whole[: chance.randint(0, len(whole))])
                time.sleep(chance.random() / 50)
            counts["left"] += 1

    def killer() -> None:
        chance = random.Random(0)
        while time.monotonic() < end:
            time.sleep(chance.random())
            for process_id in executor.process_ids[:1]:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(process_id, signal.SIGKILL)
                    counts["killed"] += 1

    with (
        serving(fr.Scorer(SPEC, executor), queue=12, threads=4) as (url, app),
        ThreadPoolExecutor(16) as pool,
    ):
        storm = [pool.submit(client, number) for number in range(12)]
        storm += [pool.submit(leaver, number) for number in range(3)]
        storm.append(pool.submit(killer))
        for one in storm:
            one.result(120)
        desk = app.state.desk
        until(lambda: desk.present == desk.running == desk._bytes == 0)
        assert ask(url, "/score", {"samples": [SAMPLE]})[2]["scores"][0]["value"] == 4.0
        until(lambda: len(list(Path("/proc/self/fd").iterdir())) < 80)
    assert counts["left"] > 20 and counts["killed"] > 5, counts
    assert counts["none"] < counts["right"] / 10, (counts, reasons)


# -- OpenRLHF's own client

OPENRLHF = """
import asyncio, json, sys, types
import torch
from openrlhf.utils.agent import SingleTurnAgentExecutor

urls, rows, prompt = sys.argv[1].split(","), json.loads(sys.argv[2]), sys.argv[3]

class Tokenizer:
    def __call__(self, text, **_):
        return {"input_ids": torch.tensor([[ord(one) for one in text]])}

    def decode(self, tokens, **_):
        return "".join(map(chr, tokens))

class Engine:
    def __init__(self, text):
        self.text = text

    async def generate(self, prompt_token_ids, params, multi_modal_data=None):
        tokens = [ord(one) for one in self.text + "<|im_end|>"]
        one = types.SimpleNamespace(token_ids=tokens, text=self.text, finish_reason="stop", logprobs=None)
        return types.SimpleNamespace(outputs=[one])

async def main():
    executor = SingleTurnAgentExecutor(urls)
    sampling = types.SimpleNamespace(max_tokens=64, logprobs=None)
    return await asyncio.gather(*[
        executor.execute(prompt, row["label"], sampling, 4096, Tokenizer(), Engine(row["response"]))
        for row in rows
    ])

found = [[one["reward"], one["scores"], one["extra_logs"]] for one in asyncio.run(main())]
print("RESULT " + json.dumps(found))
"""


@pytest.mark.slow
@pytest.mark.filterwarnings("default")
def test_the_client_of_openrlhf_gets_the_scorers_values(root: Path) -> None:
    for package in ("torch", "aiohttp", "openrlhf"):
        if importlib.util.find_spec(package) is None:
            pytest.skip(f"needs {package}")
    prompt = "<|im_start|>user\nWhose id is below 4?<|im_end|>\n<|im_start|>assistant\n"
    label = {"gold": GOLD, "db": "shop"}
    right = [(sql, label) for sql in STATEMENTS if "random" not in sql and len(sql) < 1000]
    wrong = [
        (GOLD, {**label, "gold": "SELECT broken"}),
        (GOLD, {**label, "db": "none"}),
        (GOLD, ""),
        (SLOW, label),
    ]
    rows = [*right, *wrong] * 3
    with SQLite(root, workers=2, timeout=1) as executor:
        scorer = fr.Scorer(SPEC, executor)
        local = openrlhf_reward(scorer, best=4)
        with serving(scorer, best=4, token="secret") as (url, app):
            with_token = url.replace("http://", "http://openrlhf:secret@") + "/get_reward"
            text = json.dumps([{"response": response, "label": given_one} for response, given_one in rows])
            done = subprocess.run(
                [sys.executable, "-c", OPENRLHF, f"{with_token},{with_token}", text, prompt],
                capture_output=True, text=True, timeout=300,
            )  # fmt: skip
            assert done.returncode == 0, done.stderr[-4000:]
            assert 'code="401"' not in app.state.desk.metrics.text({})
        out = json.loads(next(line for line in done.stdout.splitlines() if line.startswith("RESULT "))[7:])
        for (response, given_one), (reward, score, logs) in zip(rows, out, strict=True):
            reply = local([prompt + response + "<|im_end|>"], [prompt], [given_one])
            assert (reward, score, logs) == (reply["rewards"], reply["scores"], reply["extra_logs"])
            if isinstance(given_one, dict):
                sample = fr.Sample(response, given_one["gold"], given_one["db"], prompt)
                value = scorer.score_one(sample).value
                assert reward == (0.0 if value is None else value)
                assert logs["unscorable"] == (value is None)
