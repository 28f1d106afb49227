"""The verbs, in process: what they write, where, and with which exit status."""

from __future__ import annotations

import csv
import io
import json
import re
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from finer_rewards import adapters
from finer_rewards.cli import GROUPS, VERBS, main
from finer_rewards.cli.doctor import EXTRAS, TRAPS
from finer_rewards.engines.engine import Check
from finer_rewards.engines.registry import ENGINES

SCRIPT = """
CREATE TABLE singer (id INTEGER PRIMARY KEY, name TEXT NOT NULL, age INTEGER);
INSERT INTO singer VALUES (1, 'Ann', 41), (2, 'Bo', 29), (3, 'Cy', 52);
"""
GOLD = ["SELECT name FROM singer WHERE age > 40", "SELECT COUNT(*) FROM singer", "SELECT nmae FROM singer"]
PREDICTED = [
    "SELECT name FROM singer WHERE 40 < age",
    "SELECT MAX(age) FROM singer",
    "SELECT name FROM singer",
]


@pytest.fixture
def files(tmp_path: Path, make_db: Callable[..., Path]) -> Path:
    make_db("concert", SCRIPT)
    (tmp_path / "pred.sql").write_text(";\n".join(PREDICTED) + ";\n")
    (tmp_path / "gold.sql").write_text(";\n".join(GOLD) + ";\n")
    return tmp_path


def run(*arguments: object) -> int:
    return main([str(argument) for argument in arguments])


def score(files: Path, *more: object) -> int:
    return run("score", files / "pred.sql", files / "gold.sql", "--db", files / "concert.sqlite", *more)


def test_text_is_a_table_with_totals(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert score(files) == 0
    seen = capsys.readouterr()
    lines = seen.out.splitlines()
    assert lines[0].split() == ["#", "value", "status", "db", "reason"]
    assert re.match(r"1 +1\.000  ok +concert +\S", lines[1])
    assert re.match(r"2 +0\.000  ok +concert +\S", lines[2])
    assert re.match(r"3 +none  gold_failed +concert +no such column: nmae", lines[3])
    assert "mean 0.5000 over 2 scored of 3 statements" in lines
    assert "not scored: 1 gold_failed" in lines
    assert "compared by answer" in lines
    assert "signature: sha256:" in seen.err
    assert "sha256:" not in seen.out


def test_json_is_one_list_of_records(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert score(files, "--format", "json") == 0
    seen = capsys.readouterr()
    records = json.loads(seen.out)
    assert [record["value"] for record in records] == [1.0, 0.0, None]
    assert [record["execution_match"] for record in records] == [1.0, 0.0, None]
    assert [record["predicted"] for record in records] == PREDICTED
    assert [record["gold"].rstrip(";") for record in records] == GOLD
    assert records[2]["status"] == "gold_failed"
    assert all(record["db"].endswith("concert.sqlite") and record["reason"] for record in records)
    assert "mean 0.5000" in seen.err


def test_jsonl_and_csv_hold_the_same(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    reward = ("--reward", "execution_match() + 0.5 * executable()")
    assert score(files, *reward, "--format", "jsonl") == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line["executable"] for line in lines] == [1.0, 1.0, 1.0]
    assert score(files, *reward, "--format", "csv") == 0
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert [row["value"] for row in rows] == ["1.5", "0.5", ""]
    assert rows[0].keys() == lines[0].keys()


def test_explain_option_shows_the_tree(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert score(files, "--reward", "execution_match() + 0.5 * executable()", "--explain") == 0
    text = capsys.readouterr().out
    assert f"predicted  {PREDICTED[0]}" in text
    assert re.search(r"1\.000  0\.5 \* executable\(\)  \(it runs\)", text)


@pytest.mark.parametrize("verb", ["score", "explain"])
def test_an_unusable_gold_fails_only_where_that_is_asked_for(files: Path, verb: str) -> None:
    arguments = (verb, files / "pred.sql", files / "gold.sql", "--db", files / "concert.sqlite")
    assert run(*arguments) == 0
    assert run(*arguments, "--strict-golds") == 1
    (files / "concert.sqlite").write_bytes(b"SQLite format 3\0" + b"x" * 4096)
    assert run(*arguments) == 1  # that is the system's fault


def test_mode_preset_and_fail_under(tmp_path: Path, files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "pred.sql").write_text("SELECT DISTINCT age / 60 FROM singer WHERE age < 45")
    (tmp_path / "gold.sql").write_text("SELECT age / 60 FROM singer WHERE age < 45")
    assert score(files, "--mode", "bird", "--fail-under", "1") == 0
    assert score(files, "--preset", "arctic", "--fail-under", "1") == 0
    assert score(files, "--fail-under", "1") == 0
    assert score(files, "--mode", "strict", "--fail-under", "0.5") == 1
    assert "below --fail-under 0.5" in capsys.readouterr().err


def test_output_file_takes_its_format_from_its_name(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    target = files / "scores.jsonl"
    assert score(files, "-o", target) == 0
    assert len([json.loads(line) for line in target.read_text().splitlines()]) == 3
    assert capsys.readouterr().out == ""
    assert not list(files.glob(".scores*"))


def test_nothing_half_written(
    files: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    before = sorted(files.iterdir())
    monkeypatch.setattr("finer_rewards.scoring.Scorer.observe", interrupt)
    assert score(files, "-o", files / "scores.json") == 130
    assert sorted(files.iterdir()) == before
    assert "interrupted" in capsys.readouterr().err


def test_folder_of_databases(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (files / "pred.sql").write_text("SELECT COUNT(*) FROM singer\tconcert\nSELECT 1\tpets\n")
    (files / "gold.sql").write_text("SELECT COUNT(id) FROM singer\tconcert\nSELECT 1\tpets\n")
    assert run("score", files / "pred.sql", files / "gold.sql", "--db", files, "--format", "json") == 1
    seen = capsys.readouterr()
    records = json.loads(seen.out)
    assert [(record["db"], record["status"]) for record in records] == [
        ("concert", "ok"),
        ("pets", "unavailable"),
    ]
    assert "1 of 2 databases are missing or unreadable" in seen.err


def test_question_ids_and_several_golds(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    gold = [
        {"question_id": 7, "db_id": "concert", "SQL": ["SELECT 1 FROM singer", "SELECT name FROM singer"]}
    ]
    (files / "gold.json").write_text(json.dumps(gold))
    (files / "pred.json").write_text(json.dumps([{"question_id": 7, "sql": "SELECT name FROM singer"}]))
    assert run("score", files / "pred.json", files / "gold.json", "--db", files, "--format", "jsonl") == 0
    record = json.loads(capsys.readouterr().out)
    assert (record["value"], record["question_id"], record["gold"]) == (1.0, "7", gold[0]["SQL"])


def test_text_of_a_model_is_not_obeyed(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (files / "pred.sql").write_text("SELECT \x1b[2J FROM \u202e singer")
    (files / "gold.sql").write_text("SELECT name FROM singer")
    assert score(files, "--explain") == 0
    text = capsys.readouterr().out
    assert "\x1b" not in text
    assert "\u202e" not in text


def test_statements_on_the_command_line(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert (
        run("score", "select name from singer", "SELECT name FROM singer", "--db", files / "concert.sqlite")
        == 0
    )
    assert "mean 1.0000" in capsys.readouterr().out


def test_explain_shows_operations_and_rows(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    predicted, gold = (
        "SELECT name FROM singer WHERE age >= 29",
        "SELECT name FROM singer WHERE age > 29 ORDER BY age",
    )
    assert run("explain", predicted, gold, "--db", files / "concert.sqlite") == 0
    text = capsys.readouterr().out
    assert re.search(r"=  select singer\.name +select singer\.name +SELECT", text)
    assert re.search(r"~  filter singer\.age >= 29 +filter singer\.age > 29 +WHERE", text)
    assert re.search(r"-  +order by singer\.age +ORDER BY", text)
    assert "only predicted: 1 of 3 rows" in text
    assert re.search(r"^ +Bo +│$", text, re.MULTILINE)
    assert re.search(r"0\.000  execution_match\(\)", text)


def test_explain_as_json(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = (files / "pred.sql", files / "gold.sql", "--db", files / "concert.sqlite")
    assert run("explain", *arguments, "--only", 2, "--format", "json") == 0
    (record,) = json.loads(capsys.readouterr().out)
    assert record["number"] == 2
    assert 0 < record["operations"]["f1"] < 1
    assert {"operation": "select max(singer.age)", "kind": "select", "clause": "SELECT"} in (
        record["operations"]["extra"]
    )
    assert record["results"]["only_predicted"] == [[52]]
    assert record["results"]["only_gold"] == [[3]]


def test_explain_writes_cells_that_json_lacks(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = (
        "SELECT x'00ff', 9e999, NULL FROM singer",
        "SELECT 1, 2, 3",
        "--db",
        files / "concert.sqlite",
    )
    assert run("explain", *arguments, "--format", "jsonl") == 0
    record = json.loads(capsys.readouterr().out, parse_constant=pytest.fail)
    assert record["results"]["only_predicted"][0] == ["X'00ff'", "inf", None]


def test_unscored_golds_come_with_the_switch(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    empty = "SELECT name FROM singer WHERE age > 100"
    arguments = (empty, empty, "--db", files / "concert.sqlite")
    assert run("score", *arguments) == 0
    found = re.search(r'--reward "(.+)"', capsys.readouterr().out)
    assert found is not None
    assert run("score", *arguments, "--reward", found.group(1)) == 0


def test_explain_of_what_cannot_be_read(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert (
        run("explain", "SELECT FROM WHERE", "SELECT name FROM singer", "--db", files / "concert.sqlite") == 0
    )
    text = capsys.readouterr().out
    assert "operations: the predicted SQL cannot be read" in text
    assert "predicted failed" in text


def test_presets_and_modes_list_everything(capsys: pytest.CaptureFixture[str]) -> None:
    from finer_rewards import preset, presets
    from finer_rewards.comparing import modes

    assert run("presets", "--format", "json") == 0
    records = json.loads(capsys.readouterr().out)
    found = {record["name"]: record for record in records if record["kind"] == "preset"}
    assert found.keys() == presets.PRESETS.keys()
    assert all(repr(preset(name)) == record["reward"] and record["formula"] for name, record in found.items())
    assert {"execution_match", "executable"} <= {record["name"] for record in records}

    assert run("modes", "--format", "jsonl") == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line["name"] for line in lines] == list(modes())
    assert all(line["description"] and line["source"] for line in lines)
    for verb, word in (("presets", "arctic"), ("modes", "bird")):
        assert run(verb) == 0
        assert word in capsys.readouterr().out


def test_demo_explains_itself(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("demo", "--format", "json") == 0
    records = json.loads(capsys.readouterr().out)
    assert [record["status"] for record in records] == [
        "ok", "ok", "ok", "ok", "timeout", "refused", "gold_failed"
    ]  # fmt: skip
    assert [record["value"] for record in records] == [1.0, 0.0, 1.0, 0.0, 0.0, 0.0, None]
    assert [record["bird"] for record in records][2:4] == [1.0, 1.0]
    assert any("155" in line for line in records[1]["rows"])

    assert run("demo", "--keep", tmp_path / "example") == 0
    seen = capsys.readouterr()
    assert all(record["lesson"].split()[0] in seen.out for record in records)
    command = re.search(r"finer-rewards (score .+)", seen.err)
    assert command is not None
    assert main(command.group(1).split()) == 0
    assert "mean 0.3333 over 6 scored of 7" in capsys.readouterr().out
    assert run("demo", "--keep", tmp_path / "example") == 2


@pytest.mark.slow
def test_doctor_tests_this_machine(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("doctor", "--format", "json") == 0
    records = {record["name"]: record for record in json.loads(capsys.readouterr().out)}
    assert records["an endless query ends"]["ok"]
    assert records["a long step ends"]["found"].startswith("timeout")
    assert records["sqlite: nothing else was written"]["found"] == "yes"
    assert "pip install 'finer-rewards[" in records["trl"]["advice"] or records["trl"]["ok"]


def test_doctor_fails_where_a_limit_does_not_hold(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    broken = replace(ENGINES["sqlite"], checks=(Check("a query runs", "SELECT 1", "refused"),))
    monkeypatch.setattr("finer_rewards.cli.doctor.ENGINES", {"sqlite": broken})
    assert run("doctor") == 1
    seen = capsys.readouterr()
    assert re.search(r"FAILED +self-test +a query runs +ok", seen.out)
    assert "failed: a query runs" in seen.err


def test_doctor_knows_the_extras_there_are() -> None:
    project = (Path(__file__).parent.parent / "pyproject.toml").read_text()
    section = project.partition("[project.optional-dependencies]\n")[2].partition("\n[")[0]
    assert EXTRAS.keys() == set(re.findall(r"^(\w+) = ", section, re.MULTILINE)) - {"all", "dev", "docs"}


def test_the_adapters_that_doctor_names_are_there() -> None:
    named = {
        name for advice in TRAPS.values() for name in re.findall(r"finer_rewards\.adapters\.(\w+)", advice)
    }
    assert len(named) > 5 and named <= set(dir(adapters))


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_has_help_with_an_example(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(verb, "--help") == 0
    assert f"finer-rewards {verb}" in capsys.readouterr().out.partition("examples:")[2]


def test_help_lists_every_verb(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("--help") == 0
    text = capsys.readouterr().out
    assert all(f"\n  {verb} " in text and line in text for verb, line in VERBS.items())
    assert all(f"\n{group}:\n" in text for group in GROUPS)
    assert run("--version") == 0
    assert re.fullmatch(r"finer-rewards \S+\n", capsys.readouterr().out)
    assert run() == 2


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_knows_every_verb_and_its_options(shell: str, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("shtab")
    assert main(["completion", shell]) == 0
    script = capsys.readouterr().out
    assert all(verb in script for verb in VERBS) and "--fail-under" in script
    if shell == "bash":
        asked = f"{script}\nCOMP_WORDS=(finer-rewards sc); COMP_CWORD=1; _shtab_finer_rewards; echo ${{COMPREPLY[@]}}"
        done = subprocess.run(["bash", "-c", asked], capture_output=True, text=True)
        assert done.stdout.split() == ["score"], done.stderr
