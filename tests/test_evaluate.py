"""`evaluate` and `vote`: pairing, difficulty, tables, what is left out, and the recorded verdicts."""

from __future__ import annotations

import gzip
import json
import re
import sqlite3

import pytest

from finer_rewards._statement_files import read_statements
from finer_rewards._statement_records import FileStatement
from finer_rewards.cli import main
from finer_rewards.datasets.benchmark import pair_predictions, read_benchmark
from finer_rewards.datasets.candidates import read_candidates
from finer_rewards.datasets.hardness import hardness
from finer_rewards.engines.sqlite import SQLite
from finer_rewards.errors import DataError
from finer_rewards.evaluating import evaluate, recall, summarise

GOLD = ["SELECT name FROM city", "SELECT count(*) FROM city WHERE people > 1 OR name LIKE 'O%'"]
QUESTIONS = [
    {"db_id": "cities", "question": "names?", "query": GOLD[0]},
    {"db_id": "cities", "question": "how many?", "query": GOLD[1]},
    {"db_id": "towns", "question": "names?", "query": GOLD[0]},
]


@pytest.fixture
def spider(tmp_path):
    folder = tmp_path / "spider"
    for name in ("cities", "towns"):
        (folder / "database" / name).mkdir(parents=True)
        connection = sqlite3.connect(folder / "database" / name / f"{name}.sqlite")
        connection.executescript(
            "CREATE TABLE city (name TEXT, people INT); INSERT INTO city VALUES ('Oslo', 7), ('Rome', 0)"
        )
        connection.close()
    (folder / "dev.json").write_text(json.dumps(QUESTIONS))
    return folder


def write(path, lines):
    path.write_text("".join(f"{line}\n" for line in lines))
    return str(path)


def run(capsys, *arguments):
    status = main([str(argument) for argument in arguments])
    out, err = capsys.readouterr()
    return status, out, err


def test_a_spider_folder_end_to_end(spider, tmp_path, capsys):
    predicted = write(tmp_path / "p.sql", [f"{GOLD[0]}\tcities", "SELECT 5\tcities", "SELECT nope\ttowns"])
    failures = tmp_path / "wrong.jsonl"
    status, out, _ = run(capsys, "evaluate", predicted, spider, "--failures", failures, "--workers", 1)
    assert status == 0
    table = {line.split()[0]: line.split()[1:] for line in out.splitlines() if line.strip()}
    assert table["easy"][:2] == ["2", "50.00"]
    assert table["hard" if "hard" in table else "medium"][:2] == ["1", "0.00"]
    assert table["all"][:2] == ["3", "33.33"]
    assert table["cities"][:2] == ["2", "50.00"] and table["towns"][:2] == ["1", "0.00"]
    wrong = [json.loads(line) for line in failures.read_text().splitlines()]
    assert [one["question_id"] for one in wrong] == ["1", "2"]
    assert wrong[1]["status"] == "failed" and "nope" in wrong[1]["reason"]


def test_formats_and_the_threshold(spider, tmp_path, capsys):
    predicted = write(tmp_path / "p.sql", [*GOLD, "SELECT 1"])
    status, out, err = run(capsys, "evaluate", predicted, spider, "--format", "json", "--fail-under", "0.9")
    report = json.loads(out)
    assert status == 1 and "below --fail-under" in err
    assert report["accuracy"] == pytest.approx(2 / 3) and report["by_database"]["cities"]["accuracy"] == 1
    assert report["mode"] == "test_suite" and report["scored"] == report["asked"] == 3
    status, out, _ = run(capsys, "evaluate", predicted, spider, "--format", "jsonl")
    assert [json.loads(line)["value"] for line in out.splitlines()] == [1.0, 1.0, 0.0] and status == 0


@pytest.mark.parametrize("mode", ["test_suite", "bird", "strict", "answer"])
def test_score_and_evaluate_say_the_same_number_and_name_the_mode(spider, tmp_path, capsys, mode):
    predicted = write(
        tmp_path / "p.sql", [f"{sql}\tcities" for sql in GOLD[:1]] + ["SELECT 1\tcities", "SELECT 1\ttowns"]
    )
    _, out, _ = run(capsys, "evaluate", predicted, spider, "--mode", mode)
    shown = out.split("\nall ")[1].split()[1]
    assert f"Compared by {mode};" in out
    questions, databases = str(next(spider.glob("dev.json"))), str(spider / "database")
    _, out, _ = run(capsys, "score", predicted, questions, "--db", databases, "--mode", mode)
    mean = re.search(r"mean ([\d.]+) over", out)
    assert mean is not None and f"{100 * float(mean.group(1)):.1f}" == f"{float(shown):.1f}"
    assert f"compared by {mode}" in out


def test_an_unusable_gold_fails_an_evaluation_only_where_that_is_asked_for(spider, tmp_path, capsys):
    predicted = write(tmp_path / "p.sql", [*GOLD, GOLD[0]])
    questions = json.loads((spider / "dev.json").read_text())
    questions[0]["query"] = "SELECT nope FROM city"
    (spider / "dev.json").write_text(json.dumps(questions))
    assert run(capsys, "evaluate", predicted, spider)[0] == 0
    assert run(capsys, "evaluate", predicted, spider, "--strict-golds")[0] == 1


def test_efficiency_is_told_from_enough_repeats_with_its_spread(spider, tmp_path, capsys):
    predicted = write(tmp_path / "p.sql", [*GOLD, "SELECT 1"])
    _, out, _ = run(capsys, "evaluate", predicted, spider)
    assert "from --repeat 5 on" in out and out.split("\nall ")[1].split()[3:5] == ["-", "-"]
    _, out, _ = run(capsys, "evaluate", predicted, spider, "--repeat", "5", "--format", "json")
    report = json.loads(out)
    assert report["ves"] > 0 and report["r_ves"] > 0
    assert report["ves_spread"] >= 0 and report["r_ves_spread"] >= 0
    _, out, _ = run(capsys, "evaluate", predicted, spider, "--repeat", "5")
    assert "Over 5 repeats VES and R-VES have standard deviations of" in out


def test_two_systems_are_compared_question_by_question(spider, tmp_path, capsys):
    pytest.importorskip("scipy")
    right = [*GOLD, json.loads((spider / "dev.json").read_text())[2]["query"]]
    one = write(tmp_path / "old_one.sql", ["SELECT 5", "SELECT 5", "SELECT 5"])
    two = write(tmp_path / "new.sql", [right[0], "SELECT 5", right[2]])
    status, out, _ = run(capsys, "evaluate", one, two, spider, "--paired", "--format", "json")
    report = json.loads(out)
    (paired,) = report["paired"]
    assert status == 0 and (paired["better"], paired["worse"], paired["questions"]) == (2, 0, 3)
    assert (
        paired["difference"] == pytest.approx(2 / 3) and paired["p"] == 0.5
    )  # two of two, by chance, both ways
    assert report["confidence"][0] == [0, 0] and report["confidence"][1] == [0, 1]
    # There is no vote between systems.
    assert report["accuracy"] == report["candidates"][1]["accuracy"] == pytest.approx(2 / 3)
    _, lines, _ = run(capsys, "evaluate", two, one, spider, "--paired", "--format", "jsonl")
    assert [json.loads(line)["value"] for line in lines.splitlines()] == [0, 0, 0]
    _, out, _ = run(capsys, "evaluate", one, two, spider, "--paired")
    last = out.splitlines()[-1]
    assert (
        last.split()[:3] == ["new", "3", "66.67"]
        and "+66.67" in last
        and last.split()[-3:] == ["2", "0", "0.5"]
    )
    status, _, err = run(capsys, "evaluate", one, spider, "--paired")
    assert status == 2 and "two systems or more" in err


def test_tables_for_papers(spider, tmp_path, capsys):
    pytest.importorskip("scipy")
    predicted = write(tmp_path / "p.sql", [*GOLD, "SELECT 1"])
    plain = run(capsys, "evaluate", predicted, spider)[1]
    figures = {line.split()[0]: line.split()[1:] for line in plain.splitlines() if line.strip()}
    markdown = run(capsys, "evaluate", predicted, spider, "--format", "md", "--confidence")[1]
    rows = {line.split("|")[1].strip(): line for line in markdown.splitlines() if line.startswith("|")}
    assert [cell.strip() for cell in rows["all"].split("|")][2:4] == figures["all"][:2]
    assert "[0.00, 100.00]" in rows["all"] and rows[""].count("|") == rows["all"].count("|") == rows[
        "---"
    ].count("|")
    latex = run(capsys, "evaluate", predicted, spider, "--format", "latex")[1]
    assert f"all & {' & '.join(figures['all'])} \\\\" in latex
    assert latex.count(r"\begin{tabular}{lrrrrr}") == latex.count(r"\end{tabular}") == 2


def test_a_name_cannot_break_a_table_of_latex(spider, tmp_path, capsys):
    one = write(tmp_path / "a_b%c&d.sql", [*GOLD, "SELECT 1"])
    latex = run(capsys, "evaluate", one, one, spider, "--paired", "--format", "latex")[1]
    rows = [line for line in latex.splitlines() if line.endswith(r"\\")]
    assert r"a\_b\%c\&d & 3" in rows[1] and all(len(re.findall(r"(?<!\\)&", row)) == 8 for row in rows)


def test_questions_without_a_prediction_count_as_wrong_and_are_counted(spider, tmp_path, capsys):
    path = tmp_path / "p.jsonl"
    path.write_text(json.dumps({"question_id": "1", "sql": GOLD[1]}) + "\n")
    status, out, err = run(capsys, "evaluate", path, spider)
    assert status == 0 and out.split("\nall ")[1].split()[:2] == ["3", "33.33"]
    assert "has no prediction for 2 of 3 questions: they count as wrong" in err
    path.write_text(json.dumps({"question_id": "elsewhere", "sql": GOLD[1]}) + "\n")
    assert run(capsys, "evaluate", path, spider)[0] == 2
    path.write_text(json.dumps({"question_id": "1", "candidates": [GOLD[1], "SELECT 1"]}) + "\n")
    status, out, err = run(capsys, "evaluate", path, spider)
    assert status == 0 and "no prediction for 2 of 3" in err


def test_missing_databases_are_left_out_and_said(spider, tmp_path, capsys):
    (spider / "database" / "towns" / "towns.sqlite").unlink()
    predicted = write(tmp_path / "p.sql", [*GOLD, GOLD[0]])
    status, out, err = run(capsys, "evaluate", predicted, spider)
    assert status == 1
    assert "1 of 3 questions left out" in err and "towns" in err
    assert out.split("\nall ")[1].split()[:2] == ["2/3", "100.00"]


def test_candidates_recall_and_vote(spider, tmp_path, capsys):
    groups = [
        {
            "question_id": 0,
            "db_id": "cities",
            "candidates": ["SELECT 1", GOLD[0], "SELECT name FROM city ORDER BY 1"],
        },
        {"question_id": 1, "db_id": "cities", "candidates": ["SELECT 9", "SELECT 9", GOLD[1]]},
        {"question_id": 2, "db_id": "towns", "candidates": ["SELECT nope", "", "SELECT"]},
    ]
    path = write(tmp_path / "c.jsonl", map(json.dumps, groups))
    status, out, _ = run(capsys, "evaluate", path, spider, "--format", "json")
    report = json.loads(out)
    assert status == 0
    assert report["accuracy"] == pytest.approx(1 / 3)
    assert [one["accuracy"] for one in report["candidates"]] == [
        0,
        pytest.approx(1 / 3),
        pytest.approx(2 / 3),
    ]
    assert report["recall"] == {"1": 0, "2": pytest.approx(1 / 3), "3": pytest.approx(2 / 3)}
    status, out, _ = run(capsys, "vote", path, "--db", spider / "database", "--format", "jsonl")
    chosen = [json.loads(line) for line in out.splitlines()]
    assert [one["index"] for one in chosen] == [1, 0, None] and status == 0
    assert (chosen[0]["ran"], chosen[0]["groups"], chosen[0]["votes"]) == (3, 2, 2)
    status, out, _ = run(capsys, "vote", path, "--db", spider / "database", "--strategy", "majority")
    voted = write(tmp_path / "voted.sql", out.splitlines())
    assert read_statements(voted)[0] == FileStatement(GOLD[0], "cities")
    status, out, _ = run(capsys, "evaluate", voted, spider, "--format", "json")
    assert json.loads(out)["accuracy"] == pytest.approx(1 / 3)


def test_a_voted_line_keeps_what_the_query_means(tmp_path, capsys, make_db):
    db = make_db("t", "CREATE TABLE t (a TEXT)")
    sql = "SELECT a -- the column\nFROM t /* the\n table */ WHERE a = '--x' AND\n\ta <> \"b  c\""
    path = write(tmp_path / "c.jsonl", [json.dumps({"candidates": [sql]})])
    status, out, _ = run(capsys, "vote", path, "--db", db)
    assert status == 0 and out == "SELECT a FROM t WHERE a = '--x' AND a <> \"b  c\"\n"


def test_predictions_are_paired_by_id_by_place_or_refused(spider):
    questions = read_benchmark(spider).questions
    whole = [FileStatement(f"SELECT {i}", None) for i in range(9)]
    assert [one.sql for one in pair_predictions(questions[1:], whole, "p")] == ["SELECT 1", "SELECT 2"]
    by_id = [
        FileStatement("b", None, "2"),
        FileStatement("c", None, "1"),
        FileStatement("a", None, "0"),
        FileStatement("x", None, "7"),
    ]
    assert [one.sql for one in pair_predictions(questions, by_id, "p")] == ["a", "c", "b"]
    with pytest.raises(DataError, match="holds 2"):
        pair_predictions(questions, whole[:2], "p")
    with pytest.raises(DataError, match="'towns' instead of 'cities'"):
        pair_predictions(questions, [FileStatement("a", "towns")] * 3, "p")


@pytest.mark.parametrize(
    "arguments, sentence",
    [
        (["p.sql", "empty"], "should be a benchmark folder"),
        (["p.sql", "spider", "--db", "nowhere"], "should be the folder of databases"),
        (["p.sql", "spider", "--mode", "brid"], "bird"),
        (["p.sql", "spider", "--strategy", "vaw"], "Did you mean 'vav'"),
        (["p.sql", "p.sql", "short.sql", "spider"], "should hold a prediction for each"),
        (["ragged.jsonl", "spider"], "as many candidates"),
        (["holes.jsonl", "spider"], "should have candidates"),
    ],
)
def test_what_cannot_be_evaluated_is_said_in_one_sentence(
    arguments, sentence, spider, tmp_path, capsys, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    write(tmp_path / "p.sql", [*GOLD, GOLD[0]])
    write(tmp_path / "short.sql", GOLD[:1])
    write(tmp_path / "ragged.jsonl", map(json.dumps, [{"candidates": ["a"] * n} for n in (1, 2, 2)]))
    write(
        tmp_path / "holes.jsonl", map(json.dumps, [{"candidates": ["a"]}, {"candidates": []}, {"sql": "b"}])
    )
    status, out, err = run(capsys, "evaluate", *arguments)
    assert status == 2 and out == "" and sentence in err and err.count("\n") == 1


def test_files_of_candidates_have_to_go_together(tmp_path):
    one, two = (
        write(tmp_path / "a.sql", ["SELECT 1\tx", "SELECT 2\ty"]),
        write(tmp_path / "b.sql", ["SELECT 1\tx"]),
    )
    with pytest.raises(DataError, match="as many predictions"):
        read_candidates([one, two])
    other = write(tmp_path / "c.sql", ["SELECT 1\ty", "SELECT 2\ty"])
    with pytest.raises(DataError, match="same order"):
        read_candidates([one, other])
    assert read_candidates([one, one])[1].texts == ("SELECT 2", "SELECT 2")


@pytest.mark.parametrize(
    "sql, level",
    [
        ("SELECT a FROM t WHERE b = 1", "easy"),
        ("SELECT a, b FROM t WHERE c = 1", "medium"),
        ("SELECT a FROM t JOIN u ON t.i = u.i GROUP BY a", "medium"),
        ("SELECT a FROM t WHERE b IN (SELECT b FROM u)", "hard"),
        ("SELECT a FROM t UNION SELECT b FROM u", "hard"),
        ("SELECT a, b FROM t UNION SELECT a, b FROM u", "extra"),
        (
            "SELECT a, max(b), min(c) FROM t JOIN u ON t.i = u.i WHERE d = 1 GROUP BY a ORDER BY a LIMIT 1",
            "extra",
        ),
        ("SELECT a FROM t WHERE b = 1 OR c = 2 OR d LIKE 'x'", "extra"),
        ("no SQL", "extra"),
    ],
)
def test_hardness_by_spiders_counts(sql, level):
    assert hardness(sql) == level


@pytest.mark.slow
def test_evaluate_gives_the_recorded_verdicts(shared_data):
    """DAIL-SQL and DAMO's ChatGPT, question for question."""
    for name, databases, mode, verdict, system, suffix in (
        ("spider_dev", "spider_dev/database", "test_suite", "official", "nl2sql360__DAILSQL", "sql"),
        ("bird_dev", "bird/databases", "bird", "set_ex", "damo_baseline__chatgpt", "jsonl"),
    ):
        benchmark = read_benchmark(shared_data / f"questions/{name}.json", shared_data / databases)
        with gzip.open(shared_data / f"candidates/{name}_dev.jsonl.gz", "rt") as file:
            recorded = {one["idx"]: one["candidates"][system][verdict] for one in map(json.loads, file)}
        entries = read_statements(shared_data / f"predictions/{name}/{system}.{suffix}")
        questions = [
            one for one in benchmark.questions if one.db in ("concert_singer", "pets_1", "superhero")
        ]
        paired = pair_predictions(questions, entries, system)
        outcomes = list(
            evaluate(
                questions, [[one.sql] for one in paired], SQLite(benchmark.databases, timeout=30), mode=mode
            )
        )
        ours = {one.question.place: one.verdict.value for one in outcomes}
        assert ours == {place: 0 if recorded[place] == "E" else recorded[place] for place in ours}
        assert recall(outcomes, 1) == summarise(outcomes).accuracy


def test_spiders_own_file_keeps_a_parsed_query_beside_the_text(tmp_path):
    record = {
        "db_id": "cities",
        "query": GOLD[0],
        "query_toks": ["select"],
        "question": "?",
        "sql": {"from": {}},
    }
    path = tmp_path / "dev.json"
    path.write_text(json.dumps([record]))
    assert read_statements(path, side="gold")[0].sql == GOLD[0]


def test_presets_are_listed_with_formula_source_and_what_they_reward_wrongly(capsys):
    status, out, _ = run(capsys, "presets", "--format", "json")
    records = {one["name"]: one for one in json.loads(out) if one["kind"] == "preset"}
    assert status == 0 and len(records) >= 24
    for name, record in records.items():
        assert record["formula"], name
        assert record["wrongly"], name
    assert "acb5c0d" in records["sql_r1"]["source"] and "DISTINCT" in records["sql_r1"]["wrongly"]
