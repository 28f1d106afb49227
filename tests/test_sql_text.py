"""The reader of SQL as text, against SQLite and against itself."""

from __future__ import annotations

import sqlite3

from hypothesis import example, given
from hypothesis import strategies as st

from finer_rewards._util.sql_text import bare, normalise, one_line, split_statements, tokens, without_comments

PIECES = st.sampled_from(
    [
        "'",
        "''",
        '"',
        "`",
        "[",
        "]",
        "--",
        "/*",
        "*/",
        "\n",
        " ",
        ";",
        "a",
        "b1",
        "1",
        ".5",
        "-",
        "(",
        ")",
        ",",
        "é",
    ]
)
TEXTS = st.lists(PIECES, max_size=14).map("".join)


@given(TEXTS)
def test_comments_and_spaces_are_no_tokens(text: str) -> None:
    assert list(tokens(without_comments(text))) == list(tokens(text))
    assert list(tokens(normalise(text))) == list(tokens(text.strip(" \n;")))


@given(TEXTS)
def test_one_line_is_one_line(text: str) -> None:
    line = one_line(text)
    assert len(line.splitlines()) <= 1
    assert one_line(line) == line
    if not text.count(chr(10)):
        assert list(tokens(line)) == list(tokens(text.strip()))


@given(TEXTS)
@example("--\n;'")
def test_statements_are_split_where_sqlite_ends_them(text: str) -> None:
    """`complete_statement` knows the quotes and comments of SQLite; before a cut the text is complete."""
    pieces = split_statements(text)
    for piece in pieces[:-1]:
        # A piece may end in a comment whose line end was white space around it.
        assert sqlite3.complete_statement(f"{piece}\n;") or not piece
    assert ";" not in "".join(map(bare, pieces)) or not pieces


def test_dashes_in_a_literal_over_a_line_end_are_no_comment() -> None:
    assert one_line("SELECT 'it -- x\nFROM t' -- why\nFROM u") == "SELECT 'it -- x FROM t' FROM u"
    assert one_line("SELECT 'it -- x\nFROM t") == "SELECT 'it -- x FROM t"
