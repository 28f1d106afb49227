"""`preflight`: whether a run may begin, on one page, with one exit status."""

from __future__ import annotations

import gzip
import json
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from finer_rewards.cli import main

GOLDS = ("SELECT name FROM city", "SELECT count(*) FROM city", "SELECT name FROM city WHERE people > 1")


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("FINER_REWARDS_CACHE", str(tmp_path / "cache"))
    connection = sqlite3.connect("cities.sqlite")
    connection.executescript(
        "CREATE TABLE city (name TEXT, people INT); INSERT INTO city VALUES ('Oslo', 7), ('Rome', 0), ('Bern', 3)"
    )
    connection.close()
    write("rows.jsonl", [row(gold) for gold in GOLDS])
    return tmp_path


def row(gold: str, **more: str) -> dict[str, Any]:
    question = [{"role": "user", "content": f"What does {gold} show?"}]
    return {"prompt": question, "gold_sql": gold, "db_id": "cities", "question": gold, **more}


def write(path: str, rows: list[dict[str, Any]]) -> None:
    Path(path).write_text("".join(f"{json.dumps(one)}\n" for one in rows))


def preflight(capsys: pytest.CaptureFixture[str], *more: str) -> tuple[int, dict[tuple[str, str], Any], str]:
    status = main(["preflight", "rows.jsonl", "--db", ".", "--format", "json", *more])
    out, err = capsys.readouterr()
    return status, {(one["group"], one["name"]): one for one in json.loads(out)}, err


def test_rows_that_are_as_they_should_be_may_go(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status, found, err = preflight(capsys)
    assert status == 0 and err.endswith("preflight: go\n")
    assert found["rows", "golds that can be used"]["found"] == "3 of 3"
    assert found["rows", "golds pinned by neighbours"]["found"] == "3 of 3"
    for form in ("as bare SQL", "in a fence", "after a thought"):
        assert found[f"golds {form}", "pass rate"]["found"] == "3 of 3 right"
    # The same for the table that a person reads.
    assert main(["preflight", "rows.jsonl", "--db", "cities.sqlite"]) == 0
    assert "golds that can be used" in capsys.readouterr().out


def test_what_would_spoil_a_run_is_named_with_what_mends_it(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write("rows.jsonl", [row("SELECT nothing FROM city"), row("SELECT name FROM city WHERE people > 99")])
    status, found, err = preflight(capsys)
    golds = found["rows", "golds that can be used"]
    assert status == 1 and "no go: golds that can be used" in err
    assert golds["found"] == "0 of 2, 1 fails, 1 empty" and "finer-rewards check" in golds["advice"]


@pytest.mark.parametrize(
    ("completions", "failed"),
    [
        (["SELECT name FROM city", "SELECT 1", "SELECT 2", "SELECT name FROM city"], ""),
        (["I do not know."] * 4, "forms read, pass rate, groups that teach"),
        (["SELECT name FROM city"] * 4, "groups that teach"),
        (["SELECT people FROM city"] * 4, "pass rate, groups that teach"),
    ],
)
def test_what_a_model_wrote_says_whether_it_can_learn(
    place: Path, capsys: pytest.CaptureFixture[str], completions: list[str], failed: str
) -> None:
    write("rollouts.jsonl", [row(GOLDS[0], completion=one) for one in completions])
    status, found, err = preflight(capsys, "--completions", "rollouts.jsonl")
    assert (status, err.partition("preflight: ")[2].strip()) == (
        (1, f"no go: {failed}") if failed else (0, "go")
    )
    assert found["completions", "time-outs"]["found"] == "0"


@pytest.mark.parametrize(
    ("reward", "warned"),
    [
        ("execution_match() + atomic_f1()", True),
        ("execution_match() + atomic_f1(beta=2)", False),
        ("execution_match() + in_lost_groups(atomic_f1())", False),
    ],
)
def test_plain_f1_is_named_where_almost_nothing_is_right(
    place: Path, capsys: pytest.CaptureFixture[str], reward: str, warned: bool
) -> None:
    write(
        "rollouts.jsonl", [row(GOLDS[0], completion=one) for one in ("SELECT people FROM city", "SELECT 1")]
    )
    _, found, _ = preflight(capsys, "--completions", "rollouts.jsonl", "--reward", reward)
    assert (("completions", "plain F1") in found) is warned
    write("rollouts.jsonl", [row(GOLDS[0], completion=one) for one in (GOLDS[0], "SELECT 1")])
    _, found, _ = preflight(capsys, "--completions", "rollouts.jsonl", "--reward", reward)
    assert ("completions", "plain F1") not in found


class Tokenizer:
    """What the chat templates of models that begin the thought themselves do."""

    chat_template = "there is one"
    eos_token = "<|im_end|>"

    def apply_chat_template(
        self, turns: list[dict[str, str]], *, tokenize: bool, add_generation_prompt: bool = False
    ) -> str:
        text = "".join(f"<|im_start|>{one['role']}\n{one['content']}<|im_end|>\n" for one in turns)
        return f"{text}<|im_start|>assistant\n<think>\n" if add_generation_prompt else text

    def __call__(self, text: str, *, add_special_tokens: bool) -> dict[str, list[int]]:
        return {"input_ids": list(map(ord, text))}

    def decode(self, ids: list[int], *, skip_special_tokens: bool) -> str:
        return "".join(map(chr, ids))


def test_completions_pass_through_the_chat_template(
    place: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("finer_rewards.datasets.preparing.load_tokenizer", lambda name: Tokenizer())
    status, found, _ = preflight(capsys, "--tokenizer", "one")
    assert "the template begins it" in found["template", "the thought"]["found"]
    assert found["template", "longest prompt"]["found"].endswith("tokens")
    assert found["golds after a thought", "pass rate"]["found"] == "3 of 3 right"
    assert status == 0


def test_packed_rows_completions_and_logs_are_read(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write("rollouts.jsonl", [row(GOLDS[0], completion=one) for one in (GOLDS[0], "SELECT 1")])
    for name in ("rows.jsonl", "rollouts.jsonl"):
        Path(f"{name}.gz").write_bytes(gzip.compress(Path(name).read_bytes()))
    arguments = ["--db", ".", "--format", "json"]
    assert main(["preflight", "rows.jsonl.gz", *arguments, "--completions", "rollouts.jsonl.gz"]) == 0
    capsys.readouterr()
    assert main(["rescore", "rollouts.jsonl.gz", *arguments]) == 0
    assert [one["after"] for one in json.loads(capsys.readouterr().out)] == [1.0, 0.0]
