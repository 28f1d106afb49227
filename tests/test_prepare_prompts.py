"""What a model is asked: schema prompts, and system prompts with their policies."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any

import pytest
from bounds import examples
from hypothesis import given, settings
from hypothesis import strategies as st

import finer_rewards as fr
from finer_rewards.datasets.prompts import PROMPTS, chat_prompt
from finer_rewards.datasets.schema_text import DescribedSchema, describe_database, quoted, schema_prompt
from finer_rewards.errors import ConfigError
from finer_rewards.parsing import parse_completion
from finer_rewards.schema import Column, ForeignKey, Schema, Table

THOUGHT = (
    "The singers are in the table singer, one row each. The question asks how many there are, so the rows are "
    "counted, without any condition, join or grouping."
)


def described(folder: Path, db: str = "singers", samples: int = 3) -> DescribedSchema:
    with fr.SQLite(folder, workers=1) as executor:
        return describe_database(db, executor, samples=samples)


# -- schema prompts


def test_a_schema_prompt_has_quotes_keys_and_values(bird_databases: Path) -> None:
    assert schema_prompt(described(bird_databases), tables=["singer", "CONCERT"]) == (
        "CREATE TABLE singer (\n"
        "  id INTEGER PRIMARY KEY, -- 1, 2, 3\n"
        "  name TEXT NOT NULL, -- 'Joe', 'O''Hara', 'Ann'\n"
        "  \"group\" TEXT, -- 'A'\n"
        '  "unit price" REAL -- 1.5, 2.5\n'
        ");\n\n"
        "CREATE TABLE concert (\n"
        "  id INTEGER PRIMARY KEY, -- 1, 2, 3\n"
        "  title TEXT, -- 'Gala'\n"  # no markup, no line break
        "  singer_id INT, -- 1, 2, 3\n"
        "  FOREIGN KEY (singer_id) REFERENCES singer (id)\n"
        ");"
    )


def test_a_schema_prompt_takes_a_path_an_id_or_a_schema(bird_databases: Path) -> None:
    path = bird_databases / "ships" / "ships.sqlite"
    with fr.SQLite(bird_databases) as executor:
        texts = {
            schema_prompt(path),
            schema_prompt("ships", executor),
            schema_prompt(described(bird_databases, "ships")),
        }
        bare = schema_prompt(executor.schema("ships"))
    assert len(texts) == 1
    assert "'Vega'" in texts.pop()
    assert bare == "CREATE TABLE ship (\n  name TEXT,\n  speed INT\n);"


def test_a_budget_takes_values_first_and_then_the_tables_least_asked_about(bird_databases: Path) -> None:
    whole = described(bird_databases)
    full = schema_prompt(whole)
    assert "-- 1, 2, 3" in full
    one = schema_prompt(whole, budget=len(full) - 1)
    assert "-- 1, 2, 3" not in one
    assert "-- 'Joe'" in one
    none = schema_prompt(whole, budget=len(one) - 1)
    assert "--" not in none
    assert none.count("CREATE TABLE") == 3
    less = schema_prompt(whole, budget=len(none) - 1, question="Which singers gave concerts?")
    assert "stadium" not in less
    assert less.count("CREATE TABLE") == 2
    least = schema_prompt(whole, budget=1, question="In which city is the stadium?")
    assert least.startswith("CREATE TABLE stadium")
    assert least.count("CREATE TABLE") == 1
    assert schema_prompt(whole, budget=30, count=lambda text: len(text.split())).count("CREATE TABLE") < 3


def test_tables_by_question_keep_the_one_that_links_them() -> None:
    def keys(*tables: str) -> tuple[ForeignKey, ...]:
        return tuple(ForeignKey((f"{name}_x",), name, ("x",)) for name in tables)

    schema = Schema(
        (
            Table("singer", (Column("x"),)),
            Table("song", (Column("x"),)),
            Table("performs", (Column("singer_x"), Column("song_x")), foreign_keys=keys("singer", "song")),
            Table("weather", (Column("rain"),)),
        )
    )
    text = schema_prompt(schema, tables="question", question="Songs by each artist or vocalist, a singer?")
    assert [name for name in ("singer", "song", "performs", "weather") if f"TABLE {name} " in text] == [
        "singer", "song", "performs"
    ]  # fmt: skip
    assert schema_prompt(schema, tables="question", question="zzz") == schema_prompt(schema)


NAMES = st.text(
    st.characters(exclude_categories=["Cs"], exclude_characters="\x00"), min_size=1, max_size=12
).filter(lambda name: not name.lower().startswith("sqlite_") and "$" not in name)


@settings(max_examples=examples(60), deadline=None)
@given(st.lists(st.one_of(NAMES, st.sampled_from(["order", "Index", "a b", 'q"q', "`", "]", "--", "*/"])),
                min_size=2, max_size=5, unique_by=lambda name: name.lower()))  # fmt: skip
def test_what_a_schema_prompt_says_is_sql_that_makes_these_tables(names: list[str]) -> None:
    table, *columns = names
    schema = Schema(
        (Table(table, tuple(Column(name, "INT") for name in columns), primary_key=(columns[0],)),)
    )
    connection = sqlite3.connect(":memory:")
    try:
        connection.executescript(schema_prompt(schema))
        found = connection.execute("SELECT name, pk FROM pragma_table_info(?)", (table,)).fetchall()
    finally:
        connection.close()
    assert found == [(name, int(place == 0)) for place, name in enumerate(columns)]


@pytest.mark.parametrize("word", ["select", "Group", "values", "a b", "1a", "a-b", "é", ""])
def test_a_name_that_needs_quotes_has_them(word: str) -> None:
    assert quoted(word).startswith('"')


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"tables": ["singr"]}, "Did you mean 'singer'?"),
        ({"tables": "some"}, "'all', 'question' or a list"),
        ({"tables": "question"}, "needs the question"),
        ({"budget": 0}, "above 0"),
        ({"samples": -1}, "0 or more"),
    ],
)
def test_a_schema_prompt_says_what_is_wrong(arguments: dict[str, Any], says: str) -> None:
    schema = Schema((Table("singer", (Column("name"),)),))
    with pytest.raises(ConfigError, match="`schema_prompt") as caught:
        schema_prompt(schema, **arguments)
    assert says in str(caught.value)


# -- prompts


@pytest.mark.parametrize("name", PROMPTS)
def test_what_a_prompt_demands_keeps_its_policy(name: str) -> None:
    prompt = PROMPTS[name]
    answer = parse_completion(prompt.completion(THOUGHT, "SELECT count(*) FROM singer"), prompt.policy)
    assert (answer.sql, answer.problem) == ("SELECT count(*) FROM singer", "")
    for tag in ("<think>", "<answer>", "```sql"):
        assert (tag in prompt.form) <= (tag in prompt.system)
    evidence = fr.Evidence(
        fr.Sample(prompt.completion(THOUGHT, "SELECT 1"), "SELECT 1", "any"), answer, None, None
    )
    assert fr.parse_reward(f"well_formed(policy={prompt.policy!r})")(evidence).value == 1.0


def test_hints_stand_where_they_are_given() -> None:
    system, user = chat_prompt(
        "CREATE TABLE t (a);", "How many?", evidence="t is a table", aggregate_first=True
    )
    assert "aggregates first" in system["content"]
    assert (
        user["content"]
        == "Database schema:\nCREATE TABLE t (a);\n\nHint: t is a table\n\nQuestion: How many?"
    )
    system, user = chat_prompt("CREATE TABLE t (a);", "How many?")
    assert "aggregates" not in system["content"]
    assert "Hint" not in user["content"]
