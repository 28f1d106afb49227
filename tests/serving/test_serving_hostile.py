"""What strangers send: no value is a failure of the server, no answer shows where this machine keeps its files."""

from __future__ import annotations

import contextlib
import copy
import json
import resource
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import finer_rewards as fr
from finer_rewards.comparing import modes
from finer_rewards.comparing.partial_results import ResultPair
from finer_rewards.engines.sqlite import SQLite
from finer_rewards.executing.siblings import cache_folder
from finer_rewards.remote.wire import pair_record
from finer_rewards.types import Execution, Status

pytest.importorskip("fastapi", reason="needs the extra [server]")
pytest.importorskip("uvicorn", reason="needs the extra [server]")

from servers import GOLD, SAMPLE, SPEC, ask, completion, connected, head, serving

WITH_TOKEN = {"Authorization": "Bearer secret"}
SCORED = {
    **SAMPLE,
    "completion": completion(1),
    "question": "q",
    "dialect": None,
    "answer": [[1, "a"]],
    "meta": {"id": 1},
}
RAN = Execution(Status.ok, ("n",), ((1,),))
ANSWERED = pair_record(ResultPair("shop", RAN, RAN, modes()["answer"], "", GOLD, None, GOLD, "q"))
COMPARED = pair_record(ResultPair("shop", RAN, RAN, modes()["answer"], GOLD, GOLD, GOLD, GOLD, "q"))
VALID: dict[str, Any] = {
    "/score": {"samples": [SCORED], "explain": True},
    "/get_reward": {
        "query": [GOLD],
        "prompts": ["x"],
        "labels": [{"gold": GOLD, "db": "shop", "answer": [[1]]}],
    },
    "/remote_rm": {
        "prompt": [{"role": "user", "content": "x"}],
        "response": GOLD,
        "label": {"gold": GOLD, "db": "shop"},
    },
    "/execute": {"queries": [[GOLD, "shop", True, [GOLD]]]},
    "/settle": {"pairs": [COMPARED, ANSWERED]},
    "/schema": {"db": "shop"},
    "/neighbours": {"golds": [["shop", GOLD]], "most": 3},
    "/memory/search": {"thoughts": [completion(1)], "dbs": ["shop"], "top_k": 3, "scope": "any"},
    "/memory/remember": {"samples": [SAMPLE], "model": "m", "step": 3},
    "/memory/snapshot": {},
}
VALUES: list[Any] = [
    None, True, False, 0, -1, 1, 2**53, 2**53 + 1, 2**64, 10**400, -(10**400), 0.5, 1e308, 5e-324, "", "x", "\0",
    "\ud800", "a" * 100_000, "é😀", [], [[]], [None], [1, 2], [[1]], [[10**400]], [[1e999]], {}, {"a": 1},
    {"$float": "nan"}, {"$float": "zzz"}, {"$bytes": "AAAA"}, {"$bytes": 5}, {"$text": "7aCA"}, [[{"$float": "nan"}]],
    [{"$bytes": "AA=="}], "SELECT 1;" * 1000, "'" * 1000, "(" * 5000, "[]", "{}", ["shop", 1], ["shop"] * 1000,
]  # fmt: skip


def spots(value: Any, spot: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    yield spot
    inside = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for name, item in inside:
        yield from spots(item, (*spot, name))


def with_value(payload: Any, spot: tuple[Any, ...], value: Any) -> Any:
    if not spot:
        return value
    changed = copy.deepcopy(payload)
    place = changed
    for name in spot[:-1]:
        place = place[name]
    place[spot[-1]] = value
    return changed


def asked(every: int, root: Path, tmp_path: Path) -> None:
    spec = f"{SPEC} + 0.1 * memory()"
    memory = fr.TraceMemory.open(tmp_path / "memory", "hashing")
    with (
        SQLite(root, workers=2, timeout=2) as executor,
        serving(
            fr.Scorer(spec, executor, memory=memory, log=tmp_path / "log.jsonl"), token="secret", best=4
        ) as (
            url,
            _,
        ),
    ):
        requests = [
            (path, with_value(payload, spot, value))
            for path, payload in VALID.items()
            for spot in spots(payload)
            for value in VALUES
        ]
        for path, payload in VALID.items():
            assert ask(url, path, payload, headers=WITH_TOKEN)[0] == 200
        for path, payload in requests[::every]:
            status, _, answer = ask(url, path, payload, headers=WITH_TOKEN)
            assert status in (200, 400, 413, 422), (path, status, json.dumps(payload)[:300], answer)


@pytest.mark.filterwarnings("ignore:A sample cannot be scored")
def test_no_value_in_a_request_is_a_failure_of_the_server(root: Path, tmp_path: Path) -> None:
    pytest.importorskip("numpy", reason="needs the extra [memory]")
    asked(29, root, tmp_path)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:A sample cannot be scored")
def test_no_value_at_all_is_a_failure_of_the_server(root: Path, tmp_path: Path) -> None:
    asked(1, root, tmp_path)


def test_no_answer_shows_a_path_of_this_machine_or_the_name_of_another_database(tmp_path: Path) -> None:
    folder = tmp_path / "private" / "databases"
    folder.mkdir(parents=True)
    (folder / "payroll.sqlite").write_bytes(b"SQLite format 3\0" + bytes(200))
    (folder / "text.sqlite").write_text("hello")
    (folder / "empty.sqlite").touch()
    link = tmp_path / "link"
    link.symlink_to(folder)
    for root in (folder, link):
        with SQLite(root, workers=1) as executor, serving(fr.Scorer(SPEC, executor)) as (url, _):
            for db in (
                "payrol",
                "payroll",
                "text",
                "empty",
                "../x",
                "/etc/passwd",
                str(root / "payrol.sqlite"),
                "text#neighbour-0123456789abcdef-0123456789abcdef",
                "a\0b",
                "",
            ):
                for path, payload in (
                    ("/schema", {"db": db}),
                    ("/execute", {"queries": [[GOLD, db, False, []]]}),
                    ("/score", {"samples": [{**SAMPLE, "db": db}], "explain": True}),
                    ("/neighbours", {"golds": [[db, GOLD]], "most": 2}),
                ):
                    status, _, answer = ask(url, path, payload)
                    assert status in (200, 422)
                    said = json.dumps(answer).replace(json.dumps(db)[1:-1] if db else "\0", "")
                    assert (
                        str(tmp_path) not in said
                        and str(cache_folder()) not in said
                        and "payroll" not in said
                    ), said


def test_a_server_without_a_token_has_a_memory_that_nobody_writes(local: SQLite, tmp_path: Path) -> None:
    pytest.importorskip("numpy", reason="needs the extra [memory]")
    memory = fr.TraceMemory.open(tmp_path / "traces", "hashing")
    with serving(fr.Scorer("execution_match()", local, memory=memory)) as (url, _):
        assert ask(url, "/memory/search", VALID["/memory/search"])[0] == 200
        status, _, answer = ask(url, "/memory/remember", VALID["/memory/remember"])
        assert status == 403 and "--token-file" in answer["error"]
        assert ask(url, "/memory/snapshot", {})[0] == 200
    assert len(fr.TraceMemory.open(tmp_path / "traces", create=False)) == 0


@pytest.mark.parametrize(
    "host", ["[::1]evil.example", "[::1", "localhost:80:80", "localhost@evil.example", "evil.example", ""]
)
def test_a_host_is_a_name_of_this_machine_or_it_is_not(local: SQLite, host: str) -> None:
    with serving(fr.Scorer(SPEC, local), hosts=("127.0.0.1", "localhost", "[::1]")) as (url, _):
        assert ask(url, "/score", {"samples": []}, headers={"Host": host})[0] == 403
        for known in ("[::1]", "[::1]:8000", "localhost", "127.0.0.1:1"):
            assert ask(url, "/score", {"samples": []}, headers={"Host": known})[0] == 200


@pytest.mark.slow
def test_five_hundred_connections_that_ask_nothing_keep_nobody_out(process) -> None:
    """Half of them promise 32 MiB each, half do not even say what they want."""
    _, url = process()
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < 700:
        pytest.skip("the system lends this test fewer files than it needs")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, 700), hard))
    try:
        with contextlib.ExitStack() as stack:
            for number in range(500):
                stream = stack.enter_context(connected(url))
                if number % 2:
                    stream.sendall(head("/score", f"Content-Length: {32 << 20}"))
            for _ in range(20):
                status, _, answer = ask(url, "/score", {"samples": [SAMPLE]})
                assert status == 200 and answer["scores"][0]["status"] == "ok"
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.skipif(not hasattr(resource, "prlimit"), reason="only Linux changes another process's limits")
def test_a_server_that_may_open_few_files_answers_all_the_same(process) -> None:
    server, url = process("--workers", "1")
    assert ask(url, "/score", {"samples": [SAMPLE]})[0] == 200
    there = len(list(Path(f"/proc/{server.pid}/fd").iterdir()))
    resource.prlimit(server.pid, resource.RLIMIT_NOFILE, (there + 60, there + 60))
    with contextlib.ExitStack() as stack:
        for _ in range(200):
            with contextlib.suppress(OSError):
                stack.enter_context(connected(url))
        statuses = []
        for _ in range(10):
            with contextlib.suppress(OSError, socket.timeout):
                statuses.append(ask(url, "/score", {"samples": [SAMPLE]})[0])
        assert statuses == [200] * 10
