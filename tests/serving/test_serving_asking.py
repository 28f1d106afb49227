"""Who may ask the server, what, and how much."""

from __future__ import annotations

import re
from base64 import b64encode

import pytest

import finer_rewards as fr
from finer_rewards.engines.sqlite import SQLite
from finer_rewards.errors import ConfigError
from finer_rewards.remote import Remote, wire

pytest.importorskip("fastapi", reason="needs the extra [server]")
pytest.importorskip("uvicorn", reason="needs the extra [server]")

from servers import GOLD, SAMPLE, SPEC, ask, connected, head, heard, serving

from finer_rewards._serving.app import build_app


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
        (
            "/score",
            {"samples": [{**SAMPLE, "completion": None}]},
            "should be text, or a list of chat messages, but got None",
        ),
        ("/score", {"samples": [{**SAMPLE, "gold": 3}]}, "should be text or a tuple"),
        ("/score", {"samples": [{**SAMPLE, "answer": [1]}]}, "should be rows"),
        ("/get_reward", {"query": ["a"], "prompts": [], "labels": []}, "of one length, but got 1, 0 and 0"),
        ("/get_reward", {"query": [1], "prompts": ["a"], "labels": [""]}, r"`query\[0\]` should be text"),
        ("/get_reward", {"queries": []}, "but got 'queries'"),
        (
            "/remote_rm",
            {"prompt": "a", "response": "b", "label": None},
            "`label` should be text or an object",
        ),
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
        assert app.state.handler.present == app.state.handler._bytes == 0


@pytest.mark.parametrize("limit", ["max_batch", "max_bytes", "queue", "threads"])
@pytest.mark.parametrize("value", [0, -1, True, 1.5])
def test_limits_are_whole_numbers(local: SQLite, limit: str, value) -> None:
    with pytest.raises(ConfigError, match=limit):
        build_app(fr.Scorer(SPEC, local), **{limit: value})
