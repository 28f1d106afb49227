"""The command as a process: streams, pipes, terminals, signals."""

from __future__ import annotations

import json
import os
import pty
import re
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from bounds import LONG

ROOT = Path(__file__).parent.parent
COMMAND = [sys.executable, "-m", "finer_rewards"]
HANG = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT COUNT(*) FROM n, t"


@pytest.fixture
def environment() -> dict[str, str]:
    names = ("NO_COLOR", "COLUMNS")
    return {k: v for k, v in os.environ.items() if k not in names} | {
        "PYTHONPATH": str(ROOT),
        "TERM": "xterm",
    }


@pytest.fixture
def database(make_db: Callable[..., Path]) -> Path:
    return make_db("good", "CREATE TABLE t (x); INSERT INTO t VALUES (1);")


def test_help_is_quick_and_loads_no_verb(environment: dict[str, str]) -> None:
    code = (
        "import sys; from finer_rewards.cli import main; main(['--help'])\n"
        "heavy = {'numpy', 'faiss', 'torch', 'duckdb', 'finer_rewards.cli.score'}\n"
        "sys.exit(', '.join(heavy & sys.modules.keys()) or 0)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_standard_input_and_streams(database: Path, environment: dict[str, str]) -> None:
    done = subprocess.run(
        [*COMMAND, "score", "-", "SELECT x FROM t", "--db", database, "--format", "jsonl"],
        input="SELECT x FROM t;", env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0 and json.loads(done.stdout)["value"] == 1
    gold = database.with_name("gold.sql")
    gold.write_text("SELECT x FROM t;")
    done = subprocess.run(
        [*COMMAND, "score", "-", gold, "--db", database, "--format", "jsonl"],
        input="SELECT x FROM t;", env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0
    assert json.loads(done.stdout)["value"] == 1.0
    assert "█" not in done.stderr and "\x1b" not in done.stderr + done.stdout


@pytest.mark.parametrize("no_color", ["", "1"])
def test_bar_and_colours_on_a_terminal(database: Path, environment: dict[str, str], no_color: str) -> None:
    leader, follower = pty.openpty()
    statement = "SELECT x FROM t"
    process = subprocess.Popen(
        [*COMMAND, "score", statement, statement, "--db", database],
        env=environment | {"NO_COLOR": no_color, "COLUMNS": "60"}, stdout=follower, stderr=follower,
    )  # fmt: skip
    os.close(follower)
    text = _read_all(leader)
    assert process.wait() == 0
    assert "0/1 statements scored" in text
    assert "░" in text
    assert ("\x1b[32m" in text) == (not no_color)
    shown = [
        re.sub(r"\x1b\[\d*[mK]", "", line).split("\r")[-1] for line in text.replace("\r\n", "\n").split("\n")
    ]
    rows = [line for line in shown if line.startswith("1 ")]
    assert len(rows) == 1 and len(rows[0]) <= 60


def test_closed_streams(database: Path, environment: dict[str, str]) -> None:
    command = " ".join(COMMAND) + f" score 'SELECT x FROM t' 'SELECT x FROM t' --db {database} --format csv"
    for closing, code in (("2>&-", 0), (">&- 2>&-", 0)):
        done = subprocess.run(
            f"{command} {closing}", shell=True, env=environment, capture_output=True, text=True, check=False
        )
        assert (done.returncode, done.stderr) == (code, "")
        assert "signature" not in done.stdout


def test_reader_that_leaves(database: Path, environment: dict[str, str]) -> None:
    pairs = database.with_name("many.sql")
    pairs.write_text("SELECT x FROM t;\n" * 3000)
    process = subprocess.Popen(
        [*COMMAND, "score", pairs, pairs, "--db", database],
        env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stdout is not None and process.stderr is not None
    process.stdout.readline()
    process.stdout.close()
    assert process.wait(LONG) == 141
    assert "Traceback" not in process.stderr.read()
    process.stderr.close()


def test_interrupted_leaves_nothing(database: Path, environment: dict[str, str]) -> None:
    target = database.with_name("scores.json")
    process = subprocess.Popen(
        [*COMMAND, "score", HANG, HANG, "--db", database, "-o", target],
        env=environment, stderr=subprocess.PIPE, text=True, start_new_session=True,
    )  # fmt: skip
    deadline = time.monotonic() + LONG
    while not list(database.parent.glob(".scores*")) and time.monotonic() < deadline:
        time.sleep(0.05)
    time.sleep(0.3)
    process.send_signal(signal.SIGINT)
    assert process.stderr is not None
    talk = process.stderr.read()
    process.stderr.close()
    assert process.wait(LONG) == 130
    assert "Traceback" not in talk
    assert sorted(path.name for path in database.parent.iterdir()) == ["good.sqlite"]


def _read_all(terminal: int) -> str:
    chunks = []
    while select.select([terminal], [], [], 60)[0]:
        try:
            chunk = os.read(terminal, 65536)
        except OSError:  # Linux says so when the other end is closed
            break
        if not chunk:
            break
        chunks.append(chunk)
    os.close(terminal)
    return b"".join(chunks).decode()
