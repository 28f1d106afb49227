"""Rows for trainers: schema prompts, prompts and their policies, the verb `prepare`, bad input, interruptions."""

from __future__ import annotations

import json
import sqlite3
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import finer_rewards as fr
from finer_rewards.adapters.openrlhf import openrlhf_reward
from finer_rewards.adapters.trl import TRLReward
from finer_rewards.adapters.verl import compute_score
from finer_rewards.cli import main
from finer_rewards.comparing import modes
from finer_rewards.datasets import writing
from finer_rewards.datasets.benchmark import Question
from finer_rewards.datasets.benchmark_modes import EVALUATION_MODES, TRAINING_MODES, mode_of_rows
from finer_rewards.datasets.pass_rates import read_pass_rates
from finer_rewards.datasets.preparing import TrainingRow, message_counter, split_by_database
from finer_rewards.datasets.prompts import PROMPTS, chat_prompt
from finer_rewards.datasets.question_sources import read_source
from finer_rewards.errors import ConfigError, DataError

THOUGHT = (
    "The singers are in the table singer, one row each. The question asks how many there are, so the rows are "
    "counted, without any condition, join or grouping."
)
QUESTIONS: list[dict[str, Any]] = [
    {"question_id": 11, "db_id": "singers", "question": "How many singers?", "SQL": "SELECT count(*) FROM singer",
     "evidence": "a singer is a row"},
    {"question_id": 12, "db_id": "singers", "question": "Who is Joe?", "SQL": "SELECT nme FROM singer", "evidence": ""},
    {"question_id": 13, "db_id": "singers", "question": "Names above 9?", "SQL": "SELECT name FROM singer WHERE id > 9",
     "evidence": ""},
    {"question_id": 14, "db_id": "ships", "question": "Fast ships?", "SQL": "SELECT name FROM ship WHERE speed > 20",
     "evidence": ""},
]  # fmt: skip


@pytest.fixture
def benchmark(bird_databases: Path) -> Path:
    """A folder laid out as BIRD: two of its four golds can be used."""
    folder = bird_databases.parent
    (folder / "train.json").write_text(json.dumps(QUESTIONS))
    return folder


def prepare(folder: Path, out: Path, *options: str) -> int:
    return main(["prepare", str(folder), "-o", str(out), *options])


def rows_of(out: Path, split: str = "train") -> list[dict[str, Any]]:
    return [json.loads(line) for line in (out / f"{split}.jsonl").read_text().splitlines()]


# -- prepare


def test_neighbours_are_built_for_what_will_be_trained_on(
    benchmark: Path, tmp_path: Path, capsys: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FINER_REWARDS_CACHE", str(tmp_path / "cache"))
    for place, options in enumerate((["--no-neighbours"], [])):
        assert prepare(benchmark, tmp_path / f"rows{place}", "--to", "trl", *options) == 0
        assert ("for 2 of 2 golds" in capsys.readouterr().err) == (not options)
    rows = rows_of(tmp_path / "rows1")
    with fr.Scorer("execution_match()", fr.SQLite(benchmark / "train_databases", workers=1)) as scorer:
        TRLReward(scorer, gold="gold_sql", db="db_id").check(rows)
        assert "built" not in capsys.readouterr().err


def test_counts_in_are_counts_out_and_what_is_listed(benchmark: Path, tmp_path: Path, capsys: Any) -> None:
    assert prepare(benchmark, tmp_path / "rows", "--to", "trl") == 0
    said = capsys.readouterr()
    assert said.out.splitlines() == [str(tmp_path / "rows" / name) for name in ("train.jsonl", "report.json")]
    assert "4 questions" in said.err
    assert "= 2 train + 2 left out" in said.err
    rows = rows_of(tmp_path / "rows")
    assert [row["question_id"] for row in rows] == ["11", "14"]
    assert "Hint: a singer is a row" in rows[0]["prompt"][1]["content"]
    report = json.loads((tmp_path / "rows" / "report.json").read_text())
    assert report["counts"] == {"in": 4, "train": 2, "left_out": 2}
    assert {one["question_id"]: one["kind"] for one in report["left_out"]} == {"12": "fails", "13": "empty"}
    assert report["left_out_by_reason"] == {"fails": 1, "empty": 1}
    assert report["kind"] == "bird"


def test_the_mode_goes_with_the_layout_and_is_said(benchmark: Path, tmp_path: Path, capsys: Any) -> None:
    out = tmp_path / "rows"
    assert prepare(benchmark, out, "--to", "trl") == 0
    assert "finer(mode='bird_train')" in capsys.readouterr().err
    assert mode_of_rows(out / "train.jsonl") == mode_of_rows(out) == "bird_train"
    assert mode_of_rows(out, training=False) == "bird"
    assert prepare(benchmark, tmp_path / "own", "--to", "trl", "--mode", "strict") == 0
    assert "by strict, as --mode says" in capsys.readouterr().err
    assert mode_of_rows(tmp_path / "own") == "strict"
    assert mode_of_rows(tmp_path) == mode_of_rows(tmp_path, training=False) == "answer"
    assert prepare(benchmark, tmp_path / "none", "--to", "trl", "--mode", "strikt") == 2
    assert not (tmp_path / "none").exists()
    assert set(TRAINING_MODES.values()) | set(EVALUATION_MODES.values()) <= set(modes())


def test_findings_can_be_kept_and_the_audit_left_out(benchmark: Path, tmp_path: Path) -> None:
    assert prepare(benchmark, tmp_path / "a", "--to", "trl", "--keep", "empty") == 0
    assert [row["question_id"] for row in rows_of(tmp_path / "a")] == ["11", "13", "14"]
    assert prepare(benchmark, tmp_path / "b", "--to", "trl", "--no-audit") == 0
    assert len(rows_of(tmp_path / "b")) == 4
    assert prepare(benchmark, tmp_path / "c", "--to", "trl", "--keep", "emtpy") == 2


def test_questions_outside_the_band_of_pass_rates_are_left_out(
    benchmark: Path, tmp_path: Path, capsys: Any
) -> None:
    log = tmp_path / "scores.jsonl"
    golds = {one["question_id"]: one["SQL"] for one in QUESTIONS}
    # How many of four completions are right, a question; of 12 nothing was scored, of 13 there is nothing.
    right = {11: 4, 14: 2}
    with fr.Scorer(
        "execution_match() + executable()", fr.SQLite(benchmark / "train_databases"), log=log
    ) as scorer:
        for number, count in right.items():
            db = next(one["db_id"] for one in QUESTIONS if one["question_id"] == number)
            texts = [golds[number]] * count + ["SELECT nothing"] * (4 - count)
            scorer.score([fr.Sample(text, golds[number], db, "any words") for text in texts])
        assert scorer.score([fr.Sample(golds[12], golds[12], "singers")])[0].value is None
    with log.open("a") as file:
        file.write('{"status": "ok", "value": 1, "gold": "SELECT count(*)')  # its writer was killed
    options = ["--to", "trl", "--no-audit", "--no-neighbours", "--pass-rates", str(log)]
    assert prepare(benchmark, tmp_path / "rows", *options) == 0
    said = capsys.readouterr().err
    assert "1 rows pass at a rate from 0.1 to 0.9 in the logs; 2 are in none and are kept" in said
    assert "1 too_easy: its pass rate in the score logs is above the band" in said
    assert [row["question_id"] for row in rows_of(tmp_path / "rows")] == ["12", "13", "14"]
    report = json.loads((tmp_path / "rows" / "report.json").read_text())
    assert report["counts"] == {"in": 4, "train": 3, "left_out": 1}
    assert prepare(benchmark, tmp_path / "hard", *options, "--pass-band", "0:0.4") == 0
    assert [row["question_id"] for row in rows_of(tmp_path / "hard")] == ["12", "13"]
    assert prepare(benchmark, tmp_path / "all", *options, "--pass-band", "0.5:1") == 0
    assert len(rows_of(tmp_path / "all")) == 4


@pytest.mark.parametrize(
    "options", [["--pass-band", "0.9:0.1"], ["--pass-band", "half"], ["--pass-rates", "none.jsonl"]]
)
def test_a_band_that_is_none_is_said_and_nothing_is_written(
    benchmark: Path, tmp_path: Path, capsys: Any, options: list[str]
) -> None:
    assert prepare(benchmark, tmp_path / "rows", "--to", "trl", *options) == 2
    assert len(capsys.readouterr().err.splitlines()) == 1 and not (tmp_path / "rows").exists()


def test_pass_rates_are_those_of_the_log_whatever_the_reward(tmp_path: Path) -> None:
    log = tmp_path / "scores.jsonl"
    lines = [
        {"status": "ok", "value": value, "db": ["/data/x/x.sqlite", "y"], "gold": ["A", "B"], "question": "?"}
        for value in (3.5, 3.5, 1, None)
    ]
    log.write_text("".join(json.dumps(line) + "\n" for line in lines))
    rates = read_pass_rates([log])
    question = Question(0, "0", "x", ("C", "B"), "?", "")
    # Without a match the top of the scale is one; what was not scored does not count.
    assert rates.of(question) == pytest.approx(2 / 3)
    assert rates.of(replace(question, gold=("C",))) is None and rates.of(replace(question, db="z")) is None


def test_dev_rows_are_of_databases_that_training_never_sees(benchmark: Path, tmp_path: Path) -> None:
    for out in ("a", "b"):
        assert prepare(benchmark, tmp_path / out, "--to", "trl", "--dev-share", "0.3", "--seed", "1") == 0
    train, dev = rows_of(tmp_path / "a"), rows_of(tmp_path / "a", "dev")
    assert len(train) + len(dev) == 2
    assert {row["db_id"] for row in train}.isdisjoint(row["db_id"] for row in dev)
    for name in ("train.jsonl", "dev.jsonl"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


@given(st.lists(st.sampled_from("abcde"), min_size=2, max_size=30), st.floats(0.01, 0.99), st.integers(0, 9))
@settings(deadline=None)
def test_a_split_keeps_every_row_once_and_no_database_twice(dbs: list[str], share: float, seed: int) -> None:
    if len(set(dbs)) < 2:
        dbs = [*dbs, "f"]
    rows = [TrainingRow(make_question(db, place), (), 0) for place, db in enumerate(dbs)]
    train, dev = split_by_database(rows, share, seed)
    assert Counter(row.question.place for row in train + dev) == Counter(range(len(rows)))
    assert train
    assert dev
    assert {row.question.db for row in train}.isdisjoint({row.question.db for row in dev})
    assert len(dev) >= share * len(rows) or len({row.question.db for row in train}) == 1


def make_question(db: str, place: int) -> Any:
    from finer_rewards.datasets.benchmark import Question

    return Question(place, str(place), db, ("SELECT 1",), "?", "easy")


def test_a_prompt_past_the_limit_is_left_out_and_so_is_one_without_a_table_of_its_gold(
    benchmark: Path, tmp_path: Path
) -> None:
    shortest = len(
        chat_prompt("CREATE TABLE ship (\n  name TEXT,\n  speed INT\n);", "Fast ships?")[0]["content"]
    )
    assert prepare(benchmark, tmp_path / "a", "--to", "trl", "--max-prompt", str(shortest + 170)) == 0
    report = json.loads((tmp_path / "a" / "report.json").read_text())
    kinds = {one["question_id"]: one["kind"] for one in report["left_out"]}
    assert kinds["12"] == "fails"
    assert "14" not in kinds
    assert kinds["11"] in ("too_long", "cut")
    assert report["prompt_length"]["longest"] <= shortest + 170
    question = {
        "db_id": "singers",
        "question": "In which city is the stadium?",
        "SQL": "SELECT name FROM singer",
    }
    (benchmark / "train.json").write_text(json.dumps([QUESTIONS[3], {**question, "evidence": ""}]))
    assert prepare(benchmark, tmp_path / "b", "--to", "trl", "--tables", "question") == 0
    assert json.loads((tmp_path / "b" / "report.json").read_text())["left_out_by_reason"] == {"cut": 1}


def test_any_tokenizer_counts() -> None:
    messages = chat_prompt("CREATE TABLE t (a);", "How many?")
    words = sum(len(message["content"].split()) for message in messages)
    assert message_counter(str.split)(messages) == words
    assert message_counter(lambda text: len(text.split()))(messages) == words
    assert message_counter(lambda text: {"input_ids": text.split()})(messages) == words

    class Tokenizer:
        chat_template = "given"

        def apply_chat_template(self, chat: Sequence[Any], **options: Any) -> str:
            return " ".join(["<|im_start|>"] * len(chat))

        def __call__(self, text: str, **options: Any) -> dict[str, Any]:
            return {"input_ids": text.split()}

    assert message_counter(Tokenizer())(messages) == 2
    with pytest.raises(ConfigError, match="`tokenizer` should be"):
        message_counter(3)


def test_every_adapter_reads_what_was_written_for_its_trainer_and_scores_as_the_scorer(
    benchmark: Path, tmp_path: Path
) -> None:
    databases = benchmark / "train_databases"
    for trainer in writing.TRAINERS:
        assert prepare(benchmark, tmp_path / trainer, "--to", trainer, "--format", "jsonl") == 0
    rows = {trainer: rows_of(tmp_path / trainer) for trainer in writing.TRAINERS}
    spec = "2 * execution_match() + executable() + well_formed()"
    texts = [PROMPTS["finer"].completion(THOUGHT, sql) for sql in ("SELECT count(*) FROM singer", "SELECT 1")]
    golds = [QUESTIONS[0], QUESTIONS[3]]
    with fr.Scorer(spec, fr.SQLite(databases)) as scorer:
        samples = [
            fr.Sample(text, gold["SQL"], gold["db_id"]) for text, gold in zip(texts, golds, strict=True)
        ]
        expected = [score.value for score in scorer.score(samples)]
        reward = TRLReward(scorer, gold="gold_sql", db="db_id", question="question")
        reward.check(rows["trl"])
        columns = {name: [row[name] for row in rows["trl"]] for name in rows["trl"][0] if name != "prompt"}
        messages = [[{"role": "assistant", "content": text}] for text in texts]
        assert reward([row["prompt"] for row in rows["trl"]], messages, **columns) == expected
        reward_func = openrlhf_reward(scorer, question="question")
        replies = [
            reward_func([f"prompt{text}"], ["prompt"], [row["label"]])
            for text, row in zip(texts, rows["openrlhf"], strict=True)
        ]
        assert [reply["rewards"] for reply in replies] == expected
        assert all(reply["extra_logs"]["unscorable"] == 0 for reply in replies)
    assert [
        compute_score(
            row["data_source"], text, row["reward_model"]["ground_truth"], row["extra_info"],
            spec=spec, root=str(databases),
        )["score"]
        for text, row in zip(texts, rows["verl"], strict=True)
    ] == expected  # fmt: skip


def test_several_golds_make_the_column_a_list_and_bad_ones_go(benchmark: Path, tmp_path: Path) -> None:
    record = {
        **QUESTIONS[0],
        "SQL": ["SELECT count(*) FROM singer", "SELECT nme FROM singer", "SELECT count(id) FROM singer"],
    }
    (benchmark / "train.json").write_text(json.dumps([record, QUESTIONS[3]]))
    assert prepare(benchmark, tmp_path / "rows", "--to", "trl") == 0
    first, second = rows_of(tmp_path / "rows")
    assert first["gold_sql"] == ["SELECT count(*) FROM singer", "SELECT count(id) FROM singer"]
    assert second["gold_sql"] == [QUESTIONS[3]["SQL"]]


def test_wikitablequestions_have_answers_instead_of_sql(tmp_path: Path) -> None:
    connection = sqlite3.connect(tmp_path / "203_515.db")
    connection.executescript("CREATE TABLE w (id INT, c1 TEXT); INSERT INTO w VALUES (1, 'a|b'), (2, 'c')")
    connection.close()
    table = tmp_path / "wtq.tsv"
    table.write_text("id\tutterance\tcontext\ttargetValue\nnt-0\twhich?\tcsv/203-csv/515.csv\ta\\pb|c\n")
    out = tmp_path / "rows"
    assert main(["prepare", str(table), "--db", str(tmp_path), "--to", "trl", "-o", str(out)]) == 0
    (row,) = rows_of(out)
    assert (row["question_id"], row["db_id"], json.loads(row["answer"])) == (
        "nt-0",
        "203_515",
        [["a|b"], ["c"]],
    )
    assert "gold_sql" not in row
    with fr.Scorer("answer_match()", fr.SQLite(tmp_path)) as scorer:
        reward = TRLReward(scorer, db="db_id", answer="answer")
        reward.check([row])
        values = reward(["?"], ["SELECT c1 FROM w"], db_id=[row["db_id"]], answer=[row["answer"]])
    assert values == [1.0]
    table.write_text("id\tutterance\tcontext\ttargetValue\nnt-0\twhich?\n")
    with pytest.raises(DataError, match="line 2, should have 4 columns, but has 2"):
        read_source(str(table), str(tmp_path))


# -- bad input


@pytest.mark.parametrize(
    ("change", "options", "says"),
    [
        ({"question": None}, [], "should have the question in `question`, but 1 of 1 records have none"),
        ({"db_id": None}, [], "should name its database in `db_id`"),
        ({"db_id": "shps"}, [], "Did you mean 'ships'"),
        ({"SQL": None}, [], "should have text or a list of texts in `SQL`"),
        (
            {},
            ["--to", "tlr"],
            "`--to` should be one of trl, verl, openrlhf, but got 'tlr'. Did you mean 'trl'?",
        ),
        ({}, ["--prompt", "fner"], "Did you mean 'finer'?"),
        ({}, ["--format", "csv"], "`format` should be one of jsonl, parquet"),
        ({}, ["--part", "dev"], "It has the part train: pass --part train."),
        ({}, ["--part", "all"], "`part` should be one of"),
        ({}, ["--dev-share", "2"], "above 0 and below 1"),
        ({}, ["--dev-share", "0.5"], "at least two databases"),
        ({"SQL": "SELECT nme FROM ship"}, [], "all 1 questions were left out (1 fails)"),
        ({}, ["--tables", "some"], "'all', 'question' or a list"),
    ],
)
def test_bad_input_is_said_in_one_sentence_and_nothing_is_written(
    benchmark: Path, tmp_path: Path, capsys: Any, change: dict[str, Any], options: list[str], says: str
) -> None:
    record = {**QUESTIONS[3], **change}
    (benchmark / "train.json").write_text(
        json.dumps([{key: value for key, value in record.items() if value is not None or key == "SQL"}])
    )
    trainer = [] if "--to" in options else ["--to", "trl"]
    assert prepare(benchmark, tmp_path / "rows", *trainer, *options) == 2
    said = capsys.readouterr()
    assert says in said.err
    assert said.out == ""
    assert [path.name for path in tmp_path.iterdir()] == ["bird"]


def test_a_missing_database_is_an_error_or_a_listed_question(
    benchmark: Path, tmp_path: Path, capsys: Any
) -> None:
    (benchmark / "train.json").write_text(json.dumps([*QUESTIONS, {**QUESTIONS[0], "db_id": "ferries"}]))
    assert prepare(benchmark, tmp_path / "rows", "--to", "trl") == 2
    assert "1 question on the database 'ferries'" in capsys.readouterr().err
    assert not (tmp_path / "rows").exists()
    assert prepare(benchmark, tmp_path / "rows", "--to", "trl", "--skip-missing") == 0
    report = json.loads((tmp_path / "rows" / "report.json").read_text())
    assert report["counts"] == {"in": 5, "train": 2, "left_out": 3}
    assert report["left_out_by_reason"]["no_database"] == 1


def test_golds_in_a_file_beside_have_to_be_the_same(benchmark: Path, tmp_path: Path, capsys: Any) -> None:
    lines = [f"{one['SQL']}\t{one['db_id']}\n" for one in QUESTIONS]
    beside = tmp_path / "gold.sql"
    for text, says in (
        (lines[:3], "a gold for each of the 4 questions"),
        ([lines[1], lines[0], *lines[2:]], "for question 11 it stands there in place 2"),
    ):
        beside.write_text("".join(text))
        assert prepare(benchmark, tmp_path / "rows", "--to", "trl", "--against", str(beside)) == 2
        assert says in capsys.readouterr().err
        assert not (tmp_path / "rows").exists()
    beside.write_text("".join(lines))
    assert prepare(benchmark, tmp_path / "rows", "--to", "trl", "--against", str(beside)) == 0


def test_one_database_serves_questions_that_name_none(benchmark: Path, tmp_path: Path) -> None:
    record = {"question": "Fast ships?", "SQL": QUESTIONS[3]["SQL"]}
    (tmp_path / "mine.jsonl").write_text(json.dumps(record) + "\n")
    file = benchmark / "train_databases" / "ships" / "ships.sqlite"
    assert prepare(tmp_path / "mine.jsonl", tmp_path / "rows", "--to", "trl", "--db", str(file)) == 0
    assert rows_of(tmp_path / "rows")[0]["db_id"] == str(file)


def test_a_folder_with_other_things_is_never_replaced(benchmark: Path, tmp_path: Path, capsys: Any) -> None:
    out = tmp_path / "rows"
    out.mkdir()
    (out / "thesis.txt").write_text("years of work")
    assert prepare(benchmark, out, "--to", "trl") == 2
    assert "holds other things" in capsys.readouterr().err
    assert (out / "thesis.txt").read_text() == "years of work"
    assert prepare(benchmark, tmp_path / "no" / "rows", "--to", "trl") == 2
    assert prepare(benchmark, benchmark / "train.json", "--to", "trl") == 2


@pytest.mark.parametrize("before", [False, True])
def test_an_interruption_leaves_what_was_there(
    benchmark: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, before: bool
) -> None:
    out = tmp_path / "rows"
    if before:
        assert prepare(benchmark, out, "--to", "trl") == 0
    was = {path.name: path.read_bytes() for path in out.iterdir()} if before else None
    write: Callable[..., None] = writing._write

    def interrupted(path: Path, rows: Any, file_format: str) -> None:
        write(path, rows, file_format)
        if path.name.startswith("dev"):
            raise KeyboardInterrupt

    monkeypatch.setattr(writing, "_write", interrupted)
    assert prepare(benchmark, out, "--to", "trl", "--dev-share", "0.3") == 130
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bird"] + ["rows"] * before
    assert ({path.name: path.read_bytes() for path in out.iterdir()} if before else None) == was
    monkeypatch.undo()
    assert prepare(benchmark, out, "--to", "trl", "--dev-share", "0.3") == 0
    assert sorted(path.name for path in out.iterdir()) == ["dev.jsonl", "report.json", "train.jsonl"]


# -- the hub, by a stand-in: what is tested is how we ask, and what we say


def hub(monkeypatch: pytest.MonkeyPatch, load: Callable[..., Any]) -> None:
    module = ModuleType("datasets")
    module.load_dataset = load  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "datasets", module)


def test_a_hub_data_set_is_read_as_a_file_is(
    benchmark: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def load(name: str, *, split: str) -> list[dict[str, Any]]:
        asked.append((name, split))
        return [
            {
                "db_id": "ships",
                "question": "Fast ships?",
                "query": QUESTIONS[3]["SQL"],
                "query_toks": ["SELECT"],
            }
        ]

    hub(monkeypatch, load)
    options = ["--db", str(benchmark / "train_databases"), "--to", "trl", "--part", "dev"]
    assert main(["prepare", "hub:xlangai/spider", "-o", str(tmp_path / "rows"), *options]) == 0
    assert asked == [("xlangai/spider", "validation")]
    (row,) = rows_of(tmp_path / "rows", "dev")
    assert row["gold_sql"] == QUESTIONS[3]["SQL"]
    assert "aggregates first" in row["prompt"][0]["content"]


def test_a_hub_that_is_not_there_is_said_plainly(monkeypatch: pytest.MonkeyPatch) -> None:
    def load(name: str, *, split: str) -> Any:
        raise ConnectionError(f"Couldn't reach '{name}' on the Hub (LocalEntryNotFoundError)\nmore")

    hub(monkeypatch, load)
    with pytest.raises(DataError, match="cannot be loaded: Couldn't reach 'a/b' on the Hub") as caught:
        read_source("hub:a/b", "databases")
    assert "\n" not in str(caught.value)
    hub(monkeypatch, lambda name, split: [{"question": "?", "db_id": "x"}])
    with pytest.raises(DataError, match="`hub:a/b`, line 1, should have one of the fields"):
        read_source("hub:a/b", "databases")
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(fr.errors.MissingExtraError, match=r"finer-rewards\[prepare\]"):
        read_source("hub:a/b", "databases")


# -- golds for another engine


@pytest.mark.slow
def test_golds_are_translated_for_another_engine_and_kept_where_they_mean_the_same(tmp_path: Path) -> None:
    pytest.importorskip("duckdb", reason="DuckDB runs the translations")
    connection = sqlite3.connect(tmp_path / "shop.sqlite")
    connection.executescript(
        "CREATE TABLE item (name TEXT, price INTEGER);"
        "INSERT INTO item VALUES ('Ax', 7), ('axle', 8), ('Bow', 9), (NULL, 1)"
    )
    connection.close()
    golds = {
        "like": "SELECT name FROM item WHERE name LIKE 'a%'",
        "not_like": "SELECT name FROM item WHERE name NOT LIKE 'a%'",
        "text": 'SELECT price FROM item WHERE name = "Bow"',
        "quoted": "SELECT \"price\" FROM item WHERE name = 'Bow'",
        "nulls": "SELECT name FROM item ORDER BY name",
        "bare": "SELECT name, MAX(price) FROM item",
        "affinity": "SELECT name FROM item WHERE price = '7' || ''",
        "broken": "SELECT nme FROM item",
    }
    questions = [
        {"question_id": name, "db_id": "shop", "question": f"{name}?", "SQL": sql}
        for name, sql in golds.items()
    ]
    (tmp_path / "mine.json").write_text(json.dumps(questions))
    out = tmp_path / "rows"
    command = ["prepare", str(tmp_path / "mine.json"), "--db", str(tmp_path), "--to", "trl", "-o", str(out)]
    assert main([*command, "--engine", "duckdb", "--format", "jsonl"]) == 0
    kept = {row["question_id"]: row["gold_sql"] for row in rows_of(out)}
    assert kept.keys() >= {"like", "not_like", "text", "quoted", "nulls"}
    left_out = {
        one["question_id"]: one["kind"] for one in json.loads((out / "report.json").read_text())["left_out"]
    }
    assert left_out == {"bare": "untranslated", "broken": "fails"} | (
        {} if "affinity" in kept else {"affinity": left_out["affinity"]}
    )
    with fr.DuckDB(tmp_path) as there, fr.SQLite(tmp_path) as here:
        for name, sql in kept.items():
            ours, theirs = here.execute(golds[name], "shop"), there.execute(sql, "shop")
            assert fr.compare(ours, theirs, gold_sql=golds[name], predicted_sql=sql).match, name
