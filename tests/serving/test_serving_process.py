"""`finer-rewards serve`, the process: signals, tokens, usage."""

from __future__ import annotations

import signal
import socket
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

import finer_rewards as fr
from finer_rewards.cli import main
from finer_rewards.errors import ConfigError
from finer_rewards.remote import Remote, wire
from finer_rewards.types import Status

pytest.importorskip("fastapi", reason="needs the extra [server]")
pytest.importorskip("uvicorn", reason="needs the extra [server]")

from bounds import LONG
from servers import GOLD, SAMPLE, SLOW, ask, connected, head, heard, until


def workers_of(process_id: int) -> list[int]:
    """Return the workers, as soon as there is one."""
    until(lambda: children_of(process_id))
    return children_of(process_id)


def children_of(process_id: int) -> list[int]:
    threads = Path(f"/proc/{process_id}/task").iterdir()
    return [int(child) for thread in threads for child in (thread / "children").read_text().split()]


def gone(process_ids, within: float = LONG) -> bool:
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
        status, _, answer = slow.result(LONG)
        assert (status, answer["scores"][0]["status"]) == (200, "timeout")
    assert server.wait(LONG) == 0
    assert workers and gone(workers)
    assert server.stderr.read() == ""
    assert "timeout" in log.read_text()


@pytest.mark.parametrize("presses", [pytest.param(1, marks=pytest.mark.slow), 2])
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
        assert server.wait(LONG) == 130
        assert workers and gone(workers)
        if slow:
            assert slow.result(LONG).status is Status.unavailable
    assert "Traceback" not in server.stderr.read()


def test_a_server_killed_in_the_middle_scores_nothing(process) -> None:
    server, url = process("--timeout", "60", "--workers", "1")
    with ThreadPoolExecutor(1) as pool, Remote(url, timeout=20, patience=0.3) as remote:
        scorer = fr.Scorer("execution_match(mode='bird')", remote)
        scores = pool.submit(scorer.score, [fr.Sample(GOLD, GOLD, "shop"), fr.Sample(SLOW, GOLD, "shop")])
        until(lambda: b"threads_running 1" in ask(url, "/metrics", method="GET")[2].encode())
        workers = workers_of(server.pid)
        server.kill()
        assert [score.value for score in scores.result(LONG)] == [None, None]
        assert {score.status for score in scores.result()} == {Status.unavailable}
    assert workers and gone(workers)


def test_the_token_may_come_from_a_file_or_the_environment(
    root: Path, tmp_path: Path, monkeypatch, capsys
) -> None:
    def refuse(scorer, *, token, hosts, **_):
        raise ConfigError(f"{token} {hosts is not None}")

    monkeypatch.setattr("finer_rewards._serving.app.build_app", refuse)
    (tmp_path / "token.txt").write_text("from-file\n")
    file = ("--token-file", str(tmp_path / "token.txt"))
    for options, environment, expected in (
        ((), "", "None True"),
        (("--host", "0.0.0.0"), "", "whoever reaches it may run SQL here"),
        (("--host", "0.0.0.0"), "from-env", "from-env False"),
        ((), "from-env", "from-env False"),
        (file, "from-env", "from-file False"),
    ):
        monkeypatch.setenv(wire.TOKEN, environment)
        assert main(["serve", "--db", str(root), *options]) == 2
        assert expected in capsys.readouterr().err


def test_wrong_usage_is_one_sentence(
    root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch
) -> None:
    monkeypatch.delenv(wire.TOKEN, raising=False)
    (tmp_path / "empty").touch()
    (tmp_path / "token").write_text("secret")
    elsewhere = ("--host", "198.51.100.7", "--port", "0")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        for arguments, words in (
            ((), "--db"),
            (("--db", str(tmp_path / "nothing")), "should be a folder of databases"),
            (("--db", str(root), "--port", "99999"), "should be a port"),
            (("--db", str(root), "--port", port), "Address already in use"),
            (("--db", str(root), *elsewhere), "this machine's own"),
            (
                ("--db", str(root), *elsewhere, "--token-file", str(tmp_path / "token")),
                "an address of this machine",
            ),
            (("--db", str(root), "--token-file", __file__), "`token` should be printable"),
            (("--db", str(root), "--token-file", str(tmp_path / "empty")), "is empty"),
            (("--db", str(root), "--token-file", str(tmp_path / "none")), "should be a readable file"),
            (("--db", str(root), "--queue", "0"), "--queue"),
            (("--db", str(root), "--best", "0"), "--best"),
            (("--db", str(root), "--preset", "finer"), "verified traces"),
        ):
            assert main(["serve", *arguments]) == 2, arguments
            said = capsys.readouterr().err
            assert words in said and said.count("\n") <= 1, said


def test_the_missing_extra_is_named(root: Path, capsys: pytest.CaptureFixture[str], monkeypatch) -> None:
    for name in [
        one
        for one in sys.modules
        if one.partition(".")[0] == "uvicorn" or "rewards._serving.server_process" in one
    ]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    assert main(["serve", "--db", str(root)]) == 2
    assert "pip install 'finer-rewards[server]'" in capsys.readouterr().err
