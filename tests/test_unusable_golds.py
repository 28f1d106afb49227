"""What the design page says of unusable golds is what rewards and presets do."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest

import finer_rewards as fr

PAGE = Path(__file__).parent.parent / "docs" / "design" / "unusable-gold.md"
GOLDS = {
    "gold fails": "SELECT nope FROM boat",
    "gold is empty": "SELECT seats FROM boat WHERE seats > 99",
    "tie at the LIMIT": "SELECT name FROM boat ORDER BY seats DESC LIMIT 1",
}
SCRIPT = "CREATE TABLE boat (name TEXT, seats INTEGER); INSERT INTO boat VALUES ('Ahti', 4), ('Bore', 9), ('Vega', 9);"
WRONG = "SELECT name FROM boat WHERE seats < 5"


def table() -> dict[str, list[str]]:
    """Return what each reward of the page's table gets, in the order of its columns."""
    rows = [
        line.strip("|").split("|")
        for line in PAGE.read_text(encoding="utf-8").splitlines()
        if line.startswith("|")
    ]
    header, _, *body = ([cell.strip() for cell in row] for row in rows)
    assert header[1:] == list(GOLDS)
    return {reward: row[1:] for row in body for reward in re.findall(r"`([^`]+)`", row[0])}


@pytest.mark.parametrize("reward", table())
def test_an_unusable_gold_gives_what_the_page_says(make_db: Callable[..., Path], reward: str) -> None:
    root = make_db("harbour", SCRIPT).parent
    with fr.Scorer(reward, fr.SQLite(root, workers=1), neighbours=0) as scorer:
        scores = scorer.score([fr.Sample(WRONG, gold, "harbour") for gold in GOLDS.values()])
    assert ["None" if score.value is None else "a number" for score in scores] == table()[reward]


def test_what_is_malformed_is_so_whatever_the_gold(make_db: Callable[..., Path]) -> None:
    root = make_db("harbour", SCRIPT).parent
    with fr.Scorer("finer(memory=False)", fr.SQLite(root, workers=1), neighbours=0) as scorer:
        for gold in GOLDS.values():
            scores = scorer.score(
                [fr.Sample(text, gold, "harbour") for text in ("no idea", WRONG, "no idea", "?")]
            )
            assert [score.value for score in scores] == [0.0, None, 0.0, 0.0]
            assert fr.group_advantages(scores, 4) == [0.0, None, 0.0, 0.0]


def test_a_row_of_null_is_a_result_and_check_warns_of_it(make_db: Callable[..., Path], capsys) -> None:
    from finer_rewards.cli import main

    database = make_db("harbour", SCRIPT)
    gold = "SELECT MAX(seats) FROM boat WHERE seats > 99"
    with fr.Scorer("execution_match()", fr.SQLite(database.parent, workers=1)) as scorer:
        scores = scorer.score([fr.Sample(text, gold, "harbour") for text in (gold, WRONG)])
    assert [score.value for score in scores] == [1.0, 0.0]
    (database.parent / "gold.sql").write_text(f"{gold};\n")
    main(["check", str(database.parent / "gold.sql"), "--db", str(database)])
    assert "NULL" in capsys.readouterr().out
