from __future__ import annotations

import io
import json
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from bounds import assert_linear
from hypothesis import given, settings
from hypothesis import strategies as st

from finer_rewards._statement_files import read_pairs, read_statements
from finer_rewards._statement_records import FileStatement
from finer_rewards._util.sql_text import split_statements
from finer_rewards.errors import ConfigError, DataError

Write = Callable[..., Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def write(content: str | bytes, name: str = "file.sql") -> Path:
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    return write


def sqls(entries: list[FileStatement]) -> list[str]:
    return [entry.sql for entry in entries]


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("SELECT 1", ["SELECT 1"]),
        ("SELECT 1;\nSELECT 2;\n", ["SELECT 1;", "SELECT 2;"]),
        ("SELECT 1\nSELECT 2\n", ["SELECT 1", "SELECT 2"]),
        ("SELECT 1\n\nSELECT 3\n", ["SELECT 1", "", "SELECT 3"]),
        ("SELECT 1;\n\nSELECT 2;\n", ["SELECT 1", "SELECT 2"]),
        ("SELECT 1;\n;\nSELECT 3;\n", ["SELECT 1", "", "SELECT 3"]),
        ("SELECT 1;;\nSELECT\n2", ["SELECT 1", "SELECT\n2"]),
        (
            "SELECT name\nFROM singer\nWHERE age > 1;\n\nSELECT 2\n;",
            ["SELECT name\nFROM singer\nWHERE age > 1", "SELECT 2"],
        ),
        ("SELECT a\nFROM t", ["SELECT a\nFROM t"]),
        ("SELECT a FROM t UNION\nSELECT b FROM t", ["SELECT a FROM t UNION\nSELECT b FROM t"]),
        ("WITH c AS (SELECT 1)\nSELECT * FROM c", ["WITH c AS (SELECT 1)\nSELECT * FROM c"]),
        ("SELECT a FROM t WHERE b IN (\nSELECT 1)", ["SELECT a FROM t WHERE b IN (\nSELECT 1)"]),
        (
            "-- one\nSELECT ';' ; -- of one\n/* ; */ SELECT 2; -- end",
            ["-- one\nSELECT ';'", "-- of one\n/* ; */ SELECT 2"],
        ),
        (
            "SELECT `a;b`, [c;d], \"e;f\", 'it''s; x';SELECT 2",
            ["SELECT `a;b`, [c;d], \"e;f\", 'it''s; x'", "SELECT 2"],
        ),
        ("SELECT begin FROM t;\nSELECT (2;\nSELECT 3", ["SELECT begin FROM t", "SELECT (2", "SELECT 3"]),
        ("SELECT 1; SELECT 9;\nSELECT 2;", ["SELECT 1; SELECT 9;", "SELECT 2;"]),
        ("SELECT 1\r\nSELECT 2\r\n", ["SELECT 1", "SELECT 2"]),
        ("\ufeffSELECT 1\nSELECT 2\n\n\n", ["SELECT 1", "SELECT 2"]),
        ("SELECT '\u2028', '\x0b'\nSELECT 2", ["SELECT '\u2028', '\x0b'", "SELECT 2"]),
    ],
)
def test_sql_files(write: Write, content: str, expected: list[str]) -> None:
    assert sqls(read_statements(write(content))) == expected


def test_spider_lines_keep_their_places(write: Write) -> None:
    path = write("SELECT 1\tconcert_singer\n\n\tpets_1\nnot\ta query\tcar_1 \n")
    assert [(entry.sql, entry.db) for entry in read_statements(path, file_format="lines")] == [
        ("SELECT 1", "concert_singer"),
        ("", None),
        ("", "pets_1"),
        ("not\ta query", "car_1"),
    ]
    assert len(read_statements(path)) == 4


def test_one_broken_line_in_ten_does_not_hide_the_lines(write: Write) -> None:
    content = "SELECT 1\n" * 9 + "I do not know\n"
    assert len(read_statements(write(content))) == 10
    assert len(read_statements(write("SELECT 1\nerror\n"))) == 1
    assert len(read_statements(write("SELECT 1\nerror\n"), file_format="lines")) == 2


def test_bird_predictions_are_places_and_others_are_ids(write: Write) -> None:
    bird = {"1": "SELECT 2\t----- bird -----\tb", "0": "SELECT 1\t----- bird -----\ta", "2": ""}
    assert read_statements(write(json.dumps(bird, indent=1))) == [
        FileStatement("SELECT 1", "a"),
        FileStatement("SELECT 2", "b"),
        FileStatement(""),
    ]
    ids = {"17": "SELECT 1\t----- bird -----\ta", "4": "SELECT 2"}
    assert [(e.question_id, e.db) for e in read_statements(write(json.dumps(ids)))] == [
        ("17", "a"),
        ("4", None),
    ]


def test_json_records(write: Write) -> None:
    bird = {
        "question_id": 5,
        "db_id": "d",
        "question": "Q?",
        "evidence": "E",
        "SQL": "SELECT 1",
        "difficulty": "x",
    }
    entry = FileStatement("SELECT 1", "d", "5", "Q?", (), {"evidence": "E", "difficulty": "x"})
    spider = {"db_id": "d", "question": "Q?", "query": "SELECT 1", "query_toks": ["SELECT", "1"]}
    for name, content in (
        ("a.json", json.dumps([bird])),
        ("a.jsonl", json.dumps(bird)),
        ("a.txt", f"{json.dumps(bird)}\n"),
        ("a.json", json.dumps(bird, indent=2)),
    ):
        assert read_statements(write(content, name)) == [entry]
    assert read_statements(write(json.dumps([spider])), side="gold")[0].sql == "SELECT 1"
    assert sqls(read_statements(write('["SELECT 1", "SELECT 2"]'))) == ["SELECT 1", "SELECT 2"]
    assert sqls(read_statements(write('"SELECT 1"\n"SELECT 2"\n', "a.jsonl"))) == ["SELECT 1", "SELECT 2"]
    assert sqls(read_statements(write('{"sql": "SELECT 1"}\n\n{"sql": null}\n', "a.txt"))) == ["SELECT 1", ""]


def test_each_side_reads_its_own_field(write: Write) -> None:
    chat = [{"role": "assistant", "content": "<think>t</think>SELECT 3"}]
    path = write(
        '{"gold": ["SELECT 1", "SELECT 2"], "completion": ' + json.dumps(chat) + "}\n"
        '{"gold_sql": "SELECT 4", "predicted": "SELECT 5", "query": "SELECT 6"}\n'
    )
    assert sqls(read_statements(path)) == ["<think>t</think>SELECT 3", "SELECT 5"]
    gold = read_statements(path, side="gold")
    assert [(entry.sql, entry.others) for entry in gold] == [("SELECT 1", ("SELECT 2",)), ("SELECT 4", ())]


def test_pairs_by_position(write: Write) -> None:
    gold = write("SELECT 1\ta\nSELECT 2\tb\nSELECT 3\tc\n", "gold.sql")
    for content in ("SELECT 10\n\n\n", "SELECT 10\n\n\n\n\n", '{"0": "SELECT 10", "1": "", "2": ""}'):
        pairs = read_pairs(write(content), gold, predicted_format=None if content[0] == "{" else "lines")
        assert [(p.sql, g.sql) for p, g in pairs] == [
            ("SELECT 10", "SELECT 1"),
            ("", "SELECT 2"),
            ("", "SELECT 3"),
        ]
    with pytest.raises(DataError, match=r"has 2 and .* has 3"):
        read_pairs(write("SELECT 10\n\n"), gold, predicted_format="lines")
    # An empty record is a prediction and is never dropped.
    with pytest.raises(DataError, match=r"has 4 and .* has 3"):
        read_pairs(write('["a", "", "", ""]'), gold)


def test_pairs_by_question_id(write: Write) -> None:
    gold = write(json.dumps([{"question_id": i, "SQL": f"SELECT {i}"} for i in (7, 8, 9)]), "gold.json")
    shuffled = write(
        "".join(f'{{"question_id": "{i}", "sql": "SELECT {i}"}}\n' for i in (9, 7, 8)), "p.jsonl"
    )
    assert [(p.sql, g.sql) for p, g in read_pairs(shuffled, gold)] == [
        (f"SELECT {i}",) * 2 for i in (7, 8, 9)
    ]
    places = write('{"0": "SELECT 7", "1": "SELECT 8", "2": "SELECT 9"}', "bird.json")
    assert all(p.sql == g.sql for p, g in read_pairs(places, gold))
    partly = write('{"question_id": 9, "sql": "a"}\n{"sql": "b"}\n{"sql": "c"}', "partly.jsonl")
    assert [p.sql for p, _ in read_pairs(partly, gold)] == ["a", "b", "c"]


def test_files_that_do_not_belong_together(write: Write) -> None:
    gold = write("SELECT 1;\nSELECT 2;\n", "gold.sql")
    with pytest.raises(DataError, match=r"p\.sql` has 3 and .*gold\.sql` has 2\."):
        read_pairs(write("SELECT 1;\nSELECT 2;\nSELECT 3;", "p.sql"), gold)
    by_id = write(json.dumps([{"question_id": i, "SQL": "SELECT 1"} for i in (1, 2)]), "gold.json")
    with pytest.raises(
        DataError, match=r"1 gold without prediction .such as 2. and 1 predictions without gold .such as 3"
    ):
        read_pairs(write('{"question_id": 1, "sql": ""}\n{"question_id": 3, "sql": ""}'), by_id)
    with pytest.raises(DataError, match=r"has 1 .* has 2.*1 gold without prediction .such as 2."):
        read_pairs(write('{"question_id": 1, "sql": ""}'), by_id)
    with pytest.raises(DataError, match="once each"):
        read_pairs(write('{"question_id": 1, "sql": ""}\n{"question_id": 1, "sql": ""}'), by_id)
    with pytest.raises(ConfigError, match="Only one"):
        read_pairs("-", "-")


@pytest.mark.parametrize(
    ("content", "name", "message"),
    [
        ("", "a.sql", "is empty"),
        (" \n\t\n", "a.sql", "is empty"),
        (b"\xef\xbb\xbf", "a.sql", "is empty"),
        (b"SELECT \xff", "a.sql", r"byte 7 \(0xff\)"),
        (b"\xef\xbb\xbfSELECT \xff", "a.sql", r"byte 10 \(0xff\)"),
        (b"\xff\xfeS", "a.sql", "should be UTF-16 text, but byte 2"),
        (b"SQLite format 3\0rest", "a.sql", "is a SQLite database"),
        ("-- only a comment\n", "a.sql", "there is none in it"),
        ("[]", "a.json", "there is none in it"),
        ("{}", "a.json", "there is none in it"),
        ("3", "a.json", "should hold a list or an object, but got 3"),
        ("SELECT 1", "a.json", "line 1, column 1 is not"),
        ('[{"sql": "a"},\n{"sql": b}]', "a.json", "line 2, column 9 is not"),
        ('{"sql": "a"}\n{"sql": "b"', "a.jsonl", "line 2, column"),
        ('{"sql": "a"}\n{"sql": "b"', "a.txt", "line 2, column"),
        ("[" * 200_000, "a.json", "nested too deeply"),
        (
            '{"sql": "a"}\n{"text": "b", "n": 1}',
            "a.jsonl",
            "line 2, should have one of .* it has only text, n",
        ),
        ('[{"sql": 3}]', "a.json", "record 0, should have text in `sql`, but got 3"),
        ("[[1]]", "a.json", r"record 0, should be a record or a text, but got \[1\]"),
        ('[{"completion": [1]}]', "a.json", "record 0, cannot be read. A completion should be"),
    ],
)
def test_unusable_files_get_one_sentence(write: Write, content: str | bytes, name: str, message: str) -> None:
    path = write(content, name)
    with pytest.raises(DataError, match=message) as caught:
        read_statements(path)
    assert f"`{path}`" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_gold_is_never_null(write: Write) -> None:
    with pytest.raises(DataError, match="text or a list of texts in `SQL`, but got None"):
        read_statements(write('[{"SQL": null}]'), side="gold")


def test_paths_that_are_no_file(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="there is none of that name"):
        read_statements(tmp_path / "absent.sql")
    with pytest.raises(DataError, match="is a folder"):
        read_statements(tmp_path)
    with pytest.raises(DataError, match="should be readable"):
        read_statements("a\0b")
    with pytest.raises(ConfigError, match="Did you mean 'jsonl'"):
        read_statements(tmp_path, file_format="jsnol")
    assert not list(tmp_path.iterdir())


def test_standard_input(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    gold = write("SELECT 1\nSELECT 2\n")
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"SELECT 3;\nSELECT 4;")))
    assert [(p.sql, g.sql) for p, g in read_pairs("-", gold)] == [
        ("SELECT 3;", "SELECT 1"),
        ("SELECT 4;", "SELECT 2"),
    ]
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"")))
    with pytest.raises(DataError, match="Standard input should hold statements"):
        read_statements("-")


STATEMENT = st.sampled_from(
    [
        "SELECT 1",
        "SELECT ';'",
        'SELECT "a;b" FROM t',
        "-- c ; d\nSELECT 2",
        "SELECT 'it''s' /* ; */",
        "SELECT [x;y]",
        "SELECT ((",
    ]
)


@settings(deadline=None)
@given(st.lists(STATEMENT, min_size=1))
def test_splitting_undoes_joining(statements: list[str]) -> None:
    assert split_statements(";\n".join(statements)) == statements
    assert split_statements(";".join(statements) + ";  \n") == statements


@settings(deadline=None)
@given(st.text(alphabet="'\"`[]()-/*;\n aS", max_size=60))
def test_splitting_loses_nothing_but_separators_and_comments(text: str) -> None:
    pieces = split_statements(text)
    assert len(pieces) <= text.count(";") + 1
    position = 0
    for piece in pieces:
        position = text.index(piece, position) + len(piece)


@pytest.mark.parametrize("length", [5_000, pytest.param(40_000, marks=pytest.mark.slow)])
@pytest.mark.parametrize("unit", ["'", "/*", "(", "--\n", ";", "\t", "[", '"', "a\t"])
def test_hostile_text_is_read_in_linear_time(write: Write, unit: str, length: int) -> None:
    def read(length: int) -> None:
        assert read_statements(write("SELECT 1\n" + unit * (length // len(unit)) + "\n"))

    read(12 * length)
    assert_linear(read, length)


PREDICTIONS = {
    "predictions/bird_dev/codes__sft_3b_with_evidence.sql": 1534,
    "predictions/bird_dev/dailsql__gpt4_bird_0.sql": 1534,
    "predictions/bird_dev/damo_baseline__chatgpt.jsonl": 1534,
    "predictions/bird_dev/nl2sql360__C3_SQL.jsonl": 1534,
    "predictions/bird_mini_dev/birdbench__gpt_4_32k_sqlite_kg.jsonl": 500,
    "predictions/bird_mini_dev/birdbench__meta_llama_3_70b_instruct2_cot_SQLite.jsonl": 500,
    "predictions/bird_mini_dev/birdbench__meta_llama_3_70b_instruct_2_sqlite_kg.jsonl": 500,
    "predictions/bird_mini_dev/birdbench__meta_llama_3_8b_instruct_2_sqlite_kg.jsonl": 500,
    "predictions/spider_dev/nl2sql360__C3_SQL.sql": 1034,
    "predictions/spider_dev/nl2sql360__DAILSQL.sql": 1034,
    "predictions/spider_dev/nl2sql360__DAILSQL_SC.sql": 1034,
    "predictions/spider_dev/nl2sql360__DINSQL.sql": 1034,
    "predictions/spider_dev/nl2sql360__SFT_CodeS_1B.sql": 1034,
    "predictions/spider_dev/nl2sql360__SFT_CodeS_7B.sql": 1034,
    "questions/bird_dev.json": 129,
    "questions/bird_mini_dev.json": 52,
    "questions/spider_dev.json": 565,
    "questions/spider_train_gold.sql": 4869,
}


@pytest.mark.parametrize("name", PREDICTIONS)
def test_real_files_hold_what_they_should(shared_data: Path, tmp_path: Path, name: str) -> None:
    path = shared_data / name
    entries = read_statements(path, side="gold" if name.startswith("questions") else "predicted")
    assert len(entries) == PREDICTIONS[name]
    assert all(entry.db for entry in entries)
    if name.endswith(".sql"):
        # The same statements without their databases, as a file of lines and as one with blank lines.
        bare = [line.rpartition("\t")[0] for line in path.read_text().split("\n") if line]
        assert sqls(entries) == [sql.strip() for sql in bare]
        (tmp_path / "bare.sql").write_text("\n".join(bare))
        assert len(read_statements(tmp_path / "bare.sql")) == PREDICTIONS[name]


def test_real_files_pair(shared_data: Path) -> None:
    mini = shared_data / "predictions" / "bird_mini_dev"
    first, second = sorted(mini.iterdir())[:2]
    pairs = read_pairs(first, second)
    assert len(pairs) == 500
    assert all(ours.question_id == theirs.question_id for ours, theirs in pairs)
    spider = shared_data / "predictions" / "spider_dev" / "nl2sql360__DINSQL.sql"
    with pytest.raises(DataError, match=r"has 1034 and .* has 565"):
        read_pairs(spider, shared_data / "questions" / "spider_dev.json")
