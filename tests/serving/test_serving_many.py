"""Many clients at once, and clients that leave."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from bounds import LONG

import finer_rewards as fr
from finer_rewards.engines.sqlite import SQLite
from finer_rewards.executing import Query
from finer_rewards.remote import Remote
from finer_rewards.types import Status

pytest.importorskip("fastapi", reason="needs the extra [server]")
pytest.importorskip("uvicorn", reason="needs the extra [server]")

from servers import GOLD, SLOW, SPEC, Held, ask, connected, head, heard, samples, serving, until

from finer_rewards._serving import connections as connections_module
from finer_rewards._serving import request_handler as handler_module
from finer_rewards._serving import service as service_module

ONE = {"queries": [["SELECT 1", "shop", False, []]]}


def test_a_full_queue_is_503_and_a_client_waits_for_its_turn() -> None:
    held = Held()
    with (
        serving(fr.Scorer("executable()", held), queue=2, threads=1) as (url, app),
        ThreadPoolExecutor(4) as pool,
    ):
        waiting = [pool.submit(ask, url, "/execute", ONE) for _ in range(2)]
        assert held.started.acquire(timeout=LONG)
        until(lambda: app.state.handler.present == 2)
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
        assert [done.result(LONG)[0] for done in waiting] == [200, 200]
        assert turn.result(LONG).ok
        patient.close()


@pytest.mark.parametrize("where", ["waiting", "running", "streaming"])
def test_a_client_that_leaves_frees_its_place(where: str, monkeypatch) -> None:
    if where == "streaming":
        monkeypatch.setattr(handler_module, "SIGN_OF_LIFE", 0.05)
    held = Held()
    body = json.dumps(ONE).encode()
    with serving(fr.Scorer("executable()", held), queue=2, threads=2 - (where == "waiting")) as (url, app):
        handler = app.state.handler
        with connected(url) as first, connected(url) as second:
            for stream in (first, second):
                stream.sendall(head("/execute", f"Content-Length: {len(body)}"))
                stream.sendall(body)
            until(lambda: handler.present == 2)
            if where == "streaming":
                assert first.recv(100).startswith(b"HTTP/1.1 200")
            assert ask(url, "/execute", ONE)[0] == 503
        until(lambda: handler.present == 0)
        held.free.set()
        until(lambda: handler.running == 0)
        assert ask(url, "/execute", ONE)[0] == 200
        assert held.calls == {"waiting": 2, "running": 3, "streaming": 3}[where]


def test_the_queries_of_a_client_that_left_are_ended(root: Path) -> None:
    body = json.dumps({"samples": [{"completion": SLOW, "gold": GOLD, "db": "shop"}]}).encode()
    with (
        SQLite(root, workers=1, timeout=10 * LONG) as executor,
        serving(fr.Scorer("execution_match()", executor)) as (url, app),
    ):
        handler = app.state.handler
        with connected(url) as stream:
            stream.sendall(head("/score", f"Content-Length: {len(body)}") + body)
            until(lambda: handler.running == 1 and bool(executor.process_ids))
            time.sleep(0.3)
        until(lambda: handler.running == 0)
        assert executor.execute(GOLD, "shop").ok


def test_a_cancelled_await_ends_the_queries_on_the_server(root: Path) -> None:
    async def cancelled(scorer: fr.Scorer, handler) -> None:
        waiting = asyncio.create_task(scorer.ascore([fr.Sample(SLOW, gold=GOLD, db="shop")]))
        while not handler.running:
            await asyncio.sleep(0.01)
        await asyncio.sleep(0.2)
        waiting.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await waiting

    with (
        SQLite(root, workers=1, timeout=10 * LONG) as executor,
        serving(fr.Scorer("executable()", executor)) as (url, app),
        Remote(url) as remote,
        fr.Scorer("execution_match()", remote) as scorer,
    ):
        began = time.monotonic()
        asyncio.run(cancelled(scorer, app.state.handler))  # it waits for its threads
        until(lambda: app.state.handler.running == 0)
        assert time.monotonic() - began < LONG
        assert scorer.score_one(fr.Sample(GOLD, gold=GOLD, db="shop")).value == 1


def test_a_cancelled_await_does_not_wait_for_a_server_that_is_not_there() -> None:
    async def cancelled(scorer: fr.Scorer) -> None:
        with contextlib.suppress(asyncio.TimeoutError):
            await asyncio.wait_for(scorer.ascore([fr.Sample(GOLD, gold=GOLD, db="shop")]), 0.2)

    began = time.monotonic()
    asyncio.run(cancelled(fr.Scorer("execution_match()", Remote("http://127.0.0.1:1", patience=10 * LONG))))
    assert time.monotonic() - began < LONG


def test_a_body_that_does_not_come_is_not_waited_for(url: str, monkeypatch) -> None:
    monkeypatch.setattr(handler_module, "SLOW_SECONDS", 0.1)
    monkeypatch.setattr(handler_module, "DISCARD_SECONDS", 0.1)
    with connected(url) as stream:
        stream.sendall(head("/score", "Content-Length: 1000") + b"{")
        answer = b"".join(iter(lambda: stream.recv(1000), b""))  # to the end of the connection
        assert answer.startswith(b"HTTP/1.1 408")


def test_a_body_that_comes_drop_by_drop_is_not_waited_for(url: str, monkeypatch) -> None:
    monkeypatch.setattr(handler_module, "UPLOAD_SECONDS", 0.3)
    monkeypatch.setattr(handler_module, "SLOW_SECONDS", 0.1)
    monkeypatch.setattr(handler_module, "SLOW_BYTES", 1)
    monkeypatch.setattr(handler_module, "DISCARD_SECONDS", 0.1)
    with connected(url) as stream:
        stream.sendall(head("/score", "Content-Length: 1000000"))
        stream.settimeout(0.01)
        for _ in range(10_000):
            with contextlib.suppress(TimeoutError):
                assert stream.recv(1000).startswith(b"HTTP/1.1 408")
                break
            with contextlib.suppress(ConnectionError):
                stream.sendall(b" ")
        else:
            raise AssertionError("it was read for ever")


def test_what_is_only_promised_costs_nobody_else_anything() -> None:
    """Uploads that stop take no place, and count with the bytes that came."""
    held = Held()
    held.free.set()
    scorer = fr.Scorer("executable()", held)
    with serving(scorer, queue=2, max_bytes=200_000) as (url, app), contextlib.ExitStack() as stack:
        for number in range(40):
            stream = stack.enter_context(connected(url))
            promised = "Transfer-Encoding: chunked" if number % 2 else "Content-Length: 200000"
            stream.sendall(head("/execute", promised) + b"1\r\n{"[3 * (number % 2 == 0) :])
        until(lambda: app.state.handler._bytes == 40)
        assert [ask(url, "/execute", ONE)[0] for _ in range(20)] == [200] * 20
        assert app.state.handler.present == 0
    # and those that are gone leave nothing behind
    assert app.state.handler._bytes == 0


def test_as_many_bytes_as_the_server_takes_do_not_keep_small_requests_out() -> None:
    held = Held()
    held.free.set()
    with (
        serving(fr.Scorer("executable()", held), max_bytes=100_000) as (url, app),
        contextlib.ExitStack() as stack,
    ):
        for _ in range(8):
            stream = stack.enter_context(connected(url))
            stream.sendall(head("/execute", "Content-Length: 100000") + b" " * 99_000)
        until(lambda: app.state.handler._bytes == 8 * 99_000)
        assert ask(url, "/execute", ONE)[0] == 200
        large = json.dumps(ONE).encode() + b" " * 90_000
        status, headers, answer = ask(url, "/execute", body=large)
        assert (status, headers["retry-after"]) == (503, "1")
        assert "bytes" in answer["error"]


def test_a_head_that_does_not_come_is_not_waited_for(url: str, monkeypatch) -> None:
    monkeypatch.setattr(connections_module, "HEAD_SECONDS", 0.1)
    for start in (b"", b"POST /sc", head("/score", "Content-Length: 10")[:-2]):
        with connected(url) as stream:
            stream.sendall(start)
            assert stream.recv(1000) == b""
    with connected(url) as stream:  # nor is the next one
        stream.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert heard(stream).startswith(b"HTTP/1.1 200")
        stream.sendall(b"GET /hea")
        assert stream.recv(1000) == b""


def test_connections_that_ask_nothing_make_room(url: str, monkeypatch) -> None:
    monkeypatch.setattr(connections_module, "_most_connections", lambda: 10)
    with contextlib.ExitStack() as stack:
        idle = [stack.enter_context(connected(url)) for _ in range(30)]
        for stream in idle[::2]:
            with contextlib.suppress(ConnectionError):
                stream.sendall(head("/execute", "Content-Length: 1000") + b"{")
        assert [ask(url, "/execute", ONE)[0] for _ in range(10)] == [200] * 10


def test_connections_that_all_wait_for_an_answer_are_kept(monkeypatch) -> None:
    held = Held()
    body = json.dumps(ONE).encode()
    with serving(fr.Scorer("executable()", held), threads=2) as (url, app), contextlib.ExitStack() as stack:
        monkeypatch.setattr(connections_module, "_most_connections", lambda: 2)
        streams = [stack.enter_context(connected(url)) for _ in range(2)]
        for stream in streams:
            stream.sendall(head("/execute", f"Content-Length: {len(body)}") + body)
        until(lambda: app.state.handler.running == 2)
        with connected(url) as late:
            assert late.recv(1000).startswith(b"HTTP/1.1 503")
        held.free.set()
        assert all(heard(stream).startswith(b"HTTP/1.1 200") for stream in streams)


def test_sixteen_clients_get_what_one_gets(local: SQLite, remote: Remote) -> None:
    batch = samples()
    expected = [(score.value, score.reason) for score in fr.Scorer(SPEC, local).score(batch)]

    def client(number: int):
        scorer = fr.Scorer(SPEC, remote if number % 2 else Remote(remote.url))
        turned = batch[number % len(batch) :] + batch[: number % len(batch)]
        found = [(score.value, score.reason) for score in scorer.score(turned)]
        if not number % 2:
            scorer.close()
        return found[len(batch) - number % len(batch) :] + found[: len(batch) - number % len(batch)]

    with ThreadPoolExecutor(16) as pool:
        assert all(found == expected for found in pool.map(client, range(16)))


def test_signs_of_life_keep_a_client_waiting_and_silence_does_not(monkeypatch) -> None:
    held = Held()
    with serving(fr.Scorer("executable()", held)) as (url, _), ThreadPoolExecutor(2) as pool:
        with Remote(url, timeout=0.3, patience=0.2) as hasty:
            began = time.monotonic()
            assert hasty.execute("SELECT 1", "shop").status is Status.unavailable
            assert time.monotonic() - began < LONG
        monkeypatch.setattr(handler_module, "SIGN_OF_LIFE", 0.05)
        with Remote(url, timeout=0.3, patience=0.2) as hasty:
            answer = pool.submit(hasty.execute, "SELECT 2", "shop")
            time.sleep(1.0)
            assert not answer.done()
            held.free.set()
            assert answer.result(LONG).ok
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


def test_the_results_of_a_request_have_a_budget(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What does not fit beside others comes with the next answer; what fits nowhere is unscored, and says so."""
    monkeypatch.setattr(service_module, "_RESULT_BYTES", 1)
    sizes: list[int] = []
    with (
        SQLite(root, workers=1, max_bytes="64KiB") as executor,
        serving(fr.Scorer(SPEC, executor, neighbours=0)) as (url, _),
        Remote(url) as remote,
    ):
        run = type(executor).execute_many

        def counted(self: SQLite, queries: list[Query]) -> list[fr.Execution]:
            found = run(self, queries)
            cells = (cell for one in found for row in one.rows for cell in row)
            sizes.append(sum(len(cell) for cell in cells if isinstance(cell, bytes)))
            return found

        monkeypatch.setattr(type(executor), "execute_many", counted)
        texts = [f"SELECT {number}, zeroblob({50 << 10 if number % 3 else 1})" for number in range(30)]
        found = remote.execute_many([Query(text, "shop") for text in texts])
        assert [one.rows[0][0] for one in found] == list(range(30))
        assert max(sizes) <= 64 << 10
        assert len(sizes) <= 90
    with (
        SQLite(root, workers=1, max_batch_bytes="1MiB") as executor,
        serving(fr.Scorer(SPEC, executor, neighbours=0)) as (url, _),
        Remote(url) as remote,
    ):
        large, small = remote.execute_many(
            [Query("SELECT zeroblob(900000)", "shop"), Query("SELECT 1", "shop")]
        )
        assert small.ok and large.status is Status.unavailable and "max_batch_bytes" in large.error
