"""What the design page says of unusable golds is what rewards and presets do."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

import finer_rewards as fr
from finer_rewards import presets, rewards
from finer_rewards.errors import ConfigError

PAGE = Path(__file__).parent.parent / "docs" / "design" / "unusable-gold.md"
GOLDS = {
    "gold fails": "SELECT nope FROM boat",
    "gold is empty": "SELECT seats FROM boat WHERE seats > 99",
    "tie at the LIMIT": "SELECT name FROM boat ORDER BY seats DESC LIMIT 1",
}
SCRIPT = "CREATE TABLE boat (name TEXT, seats INTEGER); INSERT INTO boat VALUES ('Ahti', 4), ('Bore', 9), ('Vega', 9);"
WRONG = "SELECT name FROM boat WHERE seats < 5"
THOUGHT = (
    "The question asks for boats with few seats, so the table of boats is filtered by its number of seats, and of each "
    "that is left the name is shown."
)
FORMS = (
    WRONG,
    f"<think>{THOUGHT}</think>\n<answer>\n```sql\n{WRONG}\n```\n</answer>",
    f"<think>{THOUGHT}</think>\n<solution>{WRONG}</solution>",
    f"<think>{THOUGHT}</think>\n```sql\n{WRONG}\n```",
)


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


@pytest.fixture(scope="module")
def executor(tmp_path_factory: pytest.TempPathFactory) -> Iterator[fr.SQLite]:
    folder = tmp_path_factory.mktemp("harbour")
    with closing(sqlite3.connect(folder / "harbour.sqlite")) as connection:
        connection.executescript(SCRIPT)
    with fr.SQLite(folder, workers=1) as made:
        yield made


@pytest.fixture(scope="module")
def memory(tmp_path_factory: pytest.TempPathFactory) -> fr.TraceMemory:
    pytest.importorskip("numpy", reason="needs the extra [memory]")
    return fr.TraceMemory.open(tmp_path_factory.mktemp("traces"), embedder="hashing")


@pytest.mark.parametrize("reward", table())
def test_an_unusable_gold_gives_what_the_page_says(
    executor: fr.SQLite, reward: str, request: pytest.FixtureRequest
) -> None:
    needs = fr.parse_reward(reward).needs
    memory = request.getfixturevalue("memory") if "memory" in needs else None
    judge = (lambda prompts: ["Score: 0.5"] * len(prompts)) if "judge" in needs else None
    scorer = fr.Scorer(reward, executor, memory=memory, judge=judge, neighbours=0)
    found = []
    for gold in GOLDS.values():
        # Without the form that a reward asks for a completion is malformed, whatever the gold.
        scores = scorer.score([fr.Sample(text, gold, "harbour") for text in FORMS])
        found.append("None" if any(score.value is None for score in scores) else "a number")
    assert found == table()[reward]


def test_the_page_has_every_reward_and_preset() -> None:
    """Those that stand alone; what is made of others has the rule of its parts."""
    listed = {reward.partition("(")[0] for reward in table()}
    for name in {*rewards.__all__, *presets.PRESETS}:
        try:
            fr.parse_reward(f"{name}()")
        except ConfigError:
            continue
        assert name in listed, f"{name} is not in the table of {PAGE.name}"


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
