"""What goes wrong between client and server is the system's fault, or is said."""

from __future__ import annotations

import contextlib
import json
import pickle
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from bounds import LONG

import finer_rewards as fr
from finer_rewards.engines.sqlite import SQLite
from finer_rewards.errors import ConfigError
from finer_rewards.executing import Query
from finer_rewards.remote import Remote, RemoteMemory
from finer_rewards.remote.client import Client, ServerLostError
from finer_rewards.types import Status

pytest.importorskip("fastapi", reason="needs the extra [server]")
pytest.importorskip("uvicorn", reason="needs the extra [server]")

from servers import GOLD, QUICK, SAMPLE, SLOW, SPEC, Held, ask, serving


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
        assert app.state.handler.present == app.state.handler.running == 0


def test_a_server_that_is_not_there_scores_nothing() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        with Remote(f"http://127.0.0.1:{taken.getsockname()[1]}", **QUICK) as remote:
            began = time.monotonic()
            assert remote.execute(GOLD, "shop").status is Status.unavailable
            assert time.monotonic() - began < LONG
            for refused in (lambda: remote.schema("shop"), remote.describe):
                with pytest.raises(ConfigError, match="should be a server that runs"):
                    refused()


@pytest.mark.parametrize("frozen", [False, True])
def test_a_server_that_cannot_be_reached_is_waited_for_once(frozen: bool, monkeypatch) -> None:
    monkeypatch.setattr("finer_rewards.remote.client._QUICK", 0.2)
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
            assert spent < LONG
            # It is known to be lost: nobody is asked again.
            monkeypatch.setattr(Client, "_once", None)
            assert remote.execute(GOLD, "shop").status is Status.unavailable


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
        listening.settimeout(LONG)

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
        thread.join(LONG)


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
    limits = {"deadline": "relative", "deadline_factor": 2, "deadline_floor": 0.3}
    executor = SQLite(root, workers=1, timeout=10 * LONG, **limits)
    with executor, serving(fr.Scorer(SPEC, executor)) as (url, _), Remote(url) as remote:
        began = time.monotonic()
        assert remote.execute_many([Query(SLOW, "shop", golds=(GOLD,))])[0].status is Status.timeout
        sample = fr.Sample(SLOW, GOLD, "shop")
        assert fr.Scorer("execution_match()", remote).score_one(sample).status is Status.timeout
        asked = {"samples": [{"completion": SLOW, "gold": GOLD, "db": "shop"}]}
        assert ask(url, "/score", asked)[2]["scores"][0]["executable"] == 0
        assert time.monotonic() - began < LONG


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
        [sys.executable, "-W", "ignore", "-c", code, pickle.dumps(remote).hex()], timeout=LONG
    )
    assert done.returncode == 0
