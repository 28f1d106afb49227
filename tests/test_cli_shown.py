"""What models, databases and files bring along reaches a terminal and a file as text: every verb, every format."""

from __future__ import annotations

import csv
import io
import json
import re
import sqlite3
import sys
import unicodedata
from pathlib import Path
from typing import Any

import pytest

import finer_rewards as fr
from finer_rewards.cli import main
from finer_rewards.cli.terminal import Shown, paint

# Sets the title, clears the screen, rings, goes back over the line, turns the text, hides a link; in C0 and C1.
EVIL = "\x1b]0;owned\x07\x1b[2J\r\x9b31m\u202e\x7f<script>alert(1)</script>![x](http://x/y)"
COMMENTED = "-- \x1b[2J\nSELECT 1"
THOUGHT = (
    "The question asks for the values of x, so the table t has the column x that we need. We filter nothing, keep the "
    "value of each such row, and need no join because no other table adds anything here. So we select x from t."
)
SQL = f"SELECT '{EVIL}' FROM t"
OURS = re.compile(r"\x1b\[(?:0|1|2|31|32|33|36)m|\r\x1b\[K")


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def obeyed(text: str) -> list[str]:
    """Return the characters that a terminal would obey."""
    left = OURS.sub("", text)
    return [
        mark
        for mark in left
        if (unicodedata.category(mark) == "Cc" and mark not in "\t\n") or mark == "\u202e"
    ]


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    connection = sqlite3.connect("shop.sqlite")
    connection.execute(f'CREATE TABLE t (x, "{EVIL}")')
    connection.execute("INSERT INTO t VALUES (1, ?)", (EVIL,))
    connection.commit()
    connection.close()
    predictions = (SQL, f"SELECT {EVIL}", "=1+1", "@x", COMMENTED)
    gold = {"gold": SQL, "db_id": "shop", "question": EVIL, "question_id": EVIL}
    candidates = {"candidates": [SQL, EVIL], "db": "shop", "question_id": EVIL}
    Path("pred.jsonl").write_text("".join(json.dumps({"predicted": sql}) + "\n" for sql in predictions))
    Path("gold.jsonl").write_text((json.dumps(gold) + "\n") * len(predictions))
    Path("candidates.jsonl").write_text(json.dumps(candidates))
    with fr.Scorer("execution_match() + atomic_f1()", fr.SQLite("."), log="log.jsonl") as scorer:
        scorer.score([fr.Sample(text, SQL, "shop", EVIL) for text in (SQL, EVIL, f"SELECT * FROM {EVIL}")])
    return tmp_path


FORMATS = ("text", "json", "jsonl", "csv")
COMMANDS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("score pred.jsonl gold.jsonl --db shop.sqlite --explain", FORMATS),
    ("explain pred.jsonl gold.jsonl --db shop.sqlite", FORMATS),
    ("vote candidates.jsonl --db shop.sqlite", FORMATS),
    ("check gold.jsonl --db shop.sqlite", FORMATS),
    ("rescore log.jsonl --db shop.sqlite --reward executable()", FORMATS),
    ("report log.jsonl", ("md", "json")),
    ("memory search traces {evil} --embedder hashing", FORMATS),
    ("score pred.jsonl gold.jsonl --db {evil}", ("text",)),
    ("score {evil} {evil} --db shop.sqlite", ("text",)),
    ("{evil}", ("",)),
    ("score --{evil}", ("",)),
)


@pytest.mark.parametrize(
    "stream", [pytest.param(io.StringIO, marks=pytest.mark.slow), Terminal], ids=["pipe", "terminal"]
)
@pytest.mark.parametrize(("command", "formats"), COMMANDS, ids=[command[:24] for command, _ in COMMANDS])
def test_nothing_is_obeyed(
    place: Path,
    monkeypatch: pytest.MonkeyPatch,
    stream: type[io.StringIO],
    command: str,
    formats: tuple[str, ...],
) -> None:
    if command.startswith("report"):
        pytest.importorskip("duckdb")
    if command.startswith("memory"):
        pytest.importorskip("numpy")
        memory = fr.TraceMemory.open("traces", "hashing")
        with fr.Scorer("execution_match()", fr.SQLite(".")) as scorer:
            words = "we take the column x of the table t and keep each row of it since none is to be left out at all"
            sample = fr.Sample(
                f"<think>{THOUGHT} {EVIL}</think>SELECT x FROM t", "SELECT x FROM t", "shop", EVIL
            )
            evidence = scorer.observe([sample])
            assert memory.remember(zip(evidence, scorer.grade(evidence), strict=True)).admitted
    for kind in formats:
        out, said = stream(), stream()
        monkeypatch.setattr(sys, "stdout", out)
        monkeypatch.setattr(sys, "stderr", said)
        words = [word.format(evil=EVIL) for word in command.split()] + (["--format", kind] if kind else [])
        main(words)
        assert sys.stdout is out
        assert obeyed(out.getvalue()) == [] == obeyed(said.getvalue()), (
            kind,
            out.getvalue(),
            said.getvalue(),
        )
        if kind == "json":
            json.loads(out.getvalue())
        if kind == "md":
            spans = re.sub(r"(`+)(?!`).*?(?<!`)\1(?!`)", "", out.getvalue())
            assert "<script" not in spans and "](" not in spans


@pytest.mark.parametrize("kind", ["json", "jsonl", "csv"])
def test_a_file_holds_text_too_and_json_loses_nothing(place: Path, kind: str) -> None:
    main(f"score pred.jsonl gold.jsonl --db shop.sqlite -o out.{kind}".split())
    text = Path(f"out.{kind}").read_text()
    assert obeyed(text) == []
    if kind == "csv":
        rows: list[Any] = list(csv.DictReader(io.StringIO(text)))
        assert [row["predicted"][:2] for row in rows[2:]] == ["'=", "'@", "'-"]
    else:
        rows = json.loads(text) if kind == "json" else [json.loads(line) for line in text.splitlines()]
        assert rows[0]["predicted"] == SQL and rows[2]["predicted"] == "=1+1"


def test_our_own_colours_pass_on_a_terminal_and_only_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    for stream, passes in ((Terminal(), True), (io.StringIO(), False)):
        text = paint("right", "green", stream)
        Shown(stream).write(text + "\x1b[2J")
        assert stream.getvalue() == (f"{text}\\u001b[2J" if passes else "right\\u001b[2J")
