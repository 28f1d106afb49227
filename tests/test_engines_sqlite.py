"""What only SQLite has: virtual tables, text that is not UTF-8, date functions that read the clock when told so."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing

import pytest
from bounds import examples
from hypothesis import given, settings
from hypothesis import strategies as st

import finer_rewards as fr
from finer_rewards.cli import main
from finer_rewards.types import Status

SCRIPT = """
CREATE VIRTUAL TABLE m5 USING fts5(title, body); INSERT INTO m5 VALUES ('one', 'red fox'), ('two', 'blue whale');
CREATE VIRTUAL TABLE m4 USING fts4(title, body); INSERT INTO m4 VALUES ('one', 'red fox'), ('two', 'blue whale');
CREATE VIRTUAL TABLE m3 USING fts3(title, body); INSERT INTO m3 VALUES ('one', 'red fox'), ('two', 'blue whale');
CREATE VIRTUAL TABLE boxes USING rtree(id, x0, x1); INSERT INTO boxes VALUES (1, 0, 1), (2, 5, 6);
CREATE VIRTUAL TABLE grid USING rtree_i32(id, x0, x1); INSERT INTO grid VALUES (1, 0, 1), (2, 5, 6);
CREATE TABLE rider (id INTEGER PRIMARY KEY, name TEXT);
INSERT INTO rider VALUES (1, CAST(x'4D61E1' AS TEXT)), (2, CAST(x'4D61ED' AS TEXT)), (3, 'Ma'), (4, 'Maß');
CREATE TABLE event (day TEXT, title TEXT); INSERT INTO event VALUES ('2020-01-02', 'now'), ('2024-02-03', 'know');
CREATE VIEW today AS SELECT date('now') AS day;
"""


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    path = tmp_path_factory.mktemp("sqlite") / "shop.sqlite"
    with closing(sqlite3.connect(path)) as connection:
        names = [name for (name,) in connection.execute("SELECT name FROM pragma_module_list")]
        if not {"fts3", "fts4", "fts5", "rtree", "dbstat"} <= set(names):
            pytest.skip("this SQLite lacks a module")
        connection.executescript(SCRIPT)
    return path


@pytest.fixture(scope="module", params=["sqlite3", "apsw"])
def executor(request, path):
    if request.param == "apsw":
        pytest.importorskip("apsw")
    with fr.SQLite(path.parent, workers=1, engine=request.param) as executor:
        yield executor


@pytest.mark.parametrize(
    ("sql", "rows"),
    [
        ("SELECT title FROM m5 WHERE m5 MATCH 'red'", (("one",),)),
        ("SELECT highlight(m5, 1, '<', '>') FROM m5 WHERE m5 MATCH 'fox' ORDER BY rank", (("red <fox>",),)),
        ("SELECT count(*) FROM m5", ((2,),)),
        ("SELECT title FROM m4 WHERE m4 MATCH 'red'", (("one",),)),
        ("SELECT snippet(m4) FROM m4 WHERE body MATCH 'fox'", (("red <b>fox</b>",),)),
        ("SELECT title FROM m3 WHERE m3 MATCH 'red'", (("one",),)),
        ("SELECT id FROM boxes WHERE x0 < 2", ((1,),)),
        ("SELECT id FROM grid WHERE x1 > 2", ((2,),)),
        ("SELECT title FROM m5 JOIN grid ON grid.id = m5.rowid WHERE m5 MATCH 'whale'", (("two",),)),
        ("SELECT count(*) > 0 FROM dbstat WHERE name = 'rider'", ((1,),)),
    ],
)
def test_virtual_tables_are_read(executor, sql, rows):
    run = executor.execute(sql, "shop")
    assert (run.status, run.rows) == (Status.ok, rows)


@pytest.mark.parametrize(
    "sql",
    [
        "INSERT INTO m5 (m5) VALUES ('optimize')",
        "INSERT INTO m4 VALUES ('a', 'b')",
        "SELECT optimize(m3) FROM m3",
        "DELETE FROM boxes",
        "UPDATE grid SET x0 = 1",
        "CREATE VIRTUAL TABLE more USING fts5(a)",
        "DROP TABLE m5",
        "WITH x AS (SELECT 1) INSERT INTO m5 SELECT 1, 2",
        "SELECT fts3_tokenizer('simple')",
    ],
)
def test_writing_virtual_tables_stays_refused(executor, path, sql):
    before = path.read_bytes()
    assert executor.execute(sql, "shop").status is Status.refused
    assert path.read_bytes() == before and [entry.name for entry in path.parent.iterdir()] == [path.name]


def test_reading_a_full_text_table_is_reading_a_table(executor):
    gold = "SELECT title FROM m5 WHERE m5 MATCH 'red'"
    with fr.Scorer("execution_match()", executor, neighbours=0) as scorer:
        score = scorer.score_one(
            fr.Sample("SELECT title FROM m5 WHERE body LIKE '%red%'", gold=gold, db="shop")
        )
    assert score.value == 1


BYTES = "SELECT name FROM rider WHERE id = {}"


@pytest.mark.parametrize(
    ("mode", "same", "other", "clean"),
    [
        ("answer", 1, 0, 0),
        ("strict", 1, 0, 0),
        ("lenient", 1, 0, 0),
        ("test_suite", 1, 1, 1),
        ("bird", 0, 0, 0),
    ],
)
def test_bytes_that_are_not_utf8_tell_texts_apart(executor, mode, same, other, clean):
    """As SQLite has it; the test-suite evaluator leaves them out, BIRD's cannot read such a result."""
    with fr.Scorer(fr.rewards.execution_match(mode), executor, neighbours=0) as scorer:
        texts = ("SELECT name FROM rider WHERE id < 2", BYTES.format(2), BYTES.format(3))
        samples = [fr.Sample(text, gold=BYTES.format(1), db="shop") for text in texts]
        assert [score.value for score in scorer.score(samples)] == [same, other, clean]
        # Text that decodes is nobody's trouble.
        assert scorer.score_one(fr.Sample(BYTES.format(4), gold=BYTES.format(4) + " ", db="shop")).value == 1


@settings(max_examples=examples(30), deadline=None)
@given(st.binary(min_size=1, max_size=6), st.binary(min_size=1, max_size=6))
def test_texts_are_equal_when_their_bytes_are(path, one, two):
    def rows(value: bytes) -> tuple[tuple[str, ...], ...]:
        return ((value.decode("utf-8", "surrogateescape"),),)

    for mode in ("answer", "strict"):
        assert fr.compare(rows(one), rows(two), mode).match == (one == two)
    dropped = one.decode("utf-8", "ignore") == two.decode("utf-8", "ignore")
    assert fr.compare(rows(one), rows(two), "test_suite").match == dropped


@pytest.mark.parametrize(
    ("verb", "kind"),
    [
        ("score", "json"),
        ("explain", "text"),
        *(
            pytest.param(*one, marks=pytest.mark.slow)
            for one in (("score", "text"), ("score", "csv"), ("explain", "jsonl"))
        ),
    ],
)
def test_such_text_leaves_the_process_as_text(path, tmp_path, capsys, verb, kind):
    log = ["--log", str(tmp_path / "log.jsonl")] if verb == "score" else []
    arguments = [verb, BYTES.format(2), BYTES.format(1), "--db", str(path), "--format", kind, *log]
    assert main(arguments) == 0
    shown = capsys.readouterr().out
    shown.encode("ascii" if kind in ("json", "jsonl") else "utf-8", "backslashreplace")
    if kind == "json":
        json.loads(shown)
    assert main([*arguments, "-o", str(tmp_path / f"out.{kind}")]) == 0
    assert (tmp_path / f"out.{kind}").read_text(encoding="utf-8")
    if log:
        assert main(["rescore", log[1], "--db", str(path)]) == 0
        if pytest.importorskip("duckdb"):
            assert main(["report", log[1], "-o", str(tmp_path / "report.html")]) == 0


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT date('now')",
        "SELECT strftime('%Y')",
        "SELECT * FROM today",
        "SELECT date('n' || 'ow')",
        """SELECT date(json_extract('["n\\u006fw"]', '$[0]'))""",
        """SELECT date('["now"]' ->> 0)""",
        "SELECT date(group_concat(x, '')) FROM (SELECT 'n' AS x UNION ALL SELECT 'o' UNION ALL SELECT 'w')",
        "SELECT date(a || b || c) FROM (SELECT 'n' AS a, 'o' AS b, 'w' AS c)",
        "SELECT date('now' || char(0) || 'x')",
        "SELECT date(x'6e6f77')",
        "SELECT title FROM event WHERE day < date(CASE title WHEN 'now' THEN 'now' END)",
    ],
)
def test_a_hidden_clock_is_one(executor, sql):
    run = executor.execute(sql, "shop")
    assert (run.status, run.volatile) == (Status.ok, "clock") or run.status is Status.failed


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT date(day) FROM event WHERE title = 'now'",
        "SELECT date(day) FROM event WHERE title IN ('x', 'NOW')",
        "SELECT day, 'know' FROM event WHERE date(day) < date('20' || '25-01-01')",
        "SELECT strftime('%Y', day), group_concat(title) FROM event GROUP BY 1",
        "SELECT julianday(day) - julianday('2020-01-01') FROM event WHERE title <> 'now'",
    ],
)
def test_the_word_beside_a_date_is_no_clock(executor, sql):
    run = executor.execute(sql, "shop")
    assert (run.status, run.volatile) == (Status.ok, "")


def test_text_that_is_not_utf8_is_sorted_by_its_bytes(executor):
    sql = "SELECT id FROM rider ORDER BY name"
    with fr.Scorer("execution_match()", executor, neighbours=0) as scorer:
        sample = fr.Sample("SELECT id FROM rider ORDER BY name DESC", gold=sql, db="shop")
        seen = scorer.observe([sample])[0]
        assert seen.gold is not None and seen.gold.order is not None
        assert scorer.grade([seen])[0].value == 0


def test_two_semicolons_are_an_error_of_birds_evaluator_only(executor):
    gold = "SELECT id FROM rider"
    for mode, value in (("bird", 0), ("bird_nonempty", 0), ("strict", 1), ("answer", 1), ("test_suite", 1)):
        with fr.Scorer(fr.rewards.execution_match(mode), executor, neighbours=0) as scorer:
            samples = [
                fr.Sample(f"{gold};", gold=gold, db="shop"),
                fr.Sample(f"{gold};;", gold=gold, db="shop"),
            ]
            assert [score.value for score in scorer.score(samples)] == [1, value], mode


@pytest.mark.parametrize(
    ("gold", "mended"),
    [
        ("SELECT name FROM rider WHERE id > = 2", "SELECT name FROM rider WHERE id >= 2"),
        ("SELECT name FROM rider WHERE id < = 2", "SELECT name FROM rider WHERE id <= 2"),
        ("SELECT name FROM rider WHERE id ! = 2", "SELECT name FROM rider WHERE id != 2"),
        ("SELECT YEAR(CURDATE()) - id FROM rider", "SELECT 2020 - id FROM rider"),
    ],
)
@pytest.mark.parametrize("mode", ["test_suite", "test_suite_keep_distinct"])
def test_the_test_suite_evaluator_mends_golds_as_it_mends_predictions(executor, mode, gold, mended):
    with fr.Scorer(fr.rewards.execution_match(mode), executor, neighbours=0) as scorer:
        for one, other in ((gold, mended), (mended, gold), (gold, gold)):
            assert scorer.score_one(fr.Sample(one, gold=other, db="shop")).value == 1
        assert scorer.score_one(fr.Sample("SELECT -9", gold=gold, db="shop")).value == 0
    with fr.Scorer("execution_match('strict')", executor, neighbours=0) as scorer:
        assert scorer.score_one(fr.Sample(mended, gold=gold, db="shop")).status is Status.gold_failed


@pytest.mark.parametrize(("mode", "value"), [("strict", 0), ("test_suite", 1), ("bird", 0)])
def test_such_text_in_more_rows_than_are_fetched(executor, path, mode, value):
    """Digests of rows say nothing of how a mode reads it."""
    many = "(WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c) SELECT x FROM c LIMIT 50)"
    gold, other = (f"SELECT name, x FROM rider, {many} WHERE id = {number}" for number in (1, 2))
    with (
        fr.SQLite(path.parent, workers=1, max_rows=5, engine=executor.engine) as small,
        fr.Scorer(fr.rewards.execution_match(mode), small, neighbours=0) as scorer,
    ):
        samples = [fr.Sample(text, gold=gold, db="shop") for text in (other, gold + " ")]
        assert [score.value for score in scorer.score(samples)] == [value, 0 if mode == "bird" else 1]
