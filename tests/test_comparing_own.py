"""Modes and rules from outside the package: in rewards, by name, on the command line, in other processes."""

from __future__ import annotations

import json
import pickle
import sqlite3
import subprocess
import sys
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

import finer_rewards as fr
from finer_rewards.cli import main
from finer_rewards.comparing import Comparison, Sides, compare, find_mode, modes, rule
from finer_rewards.comparing.rules import find_rule
from finer_rewards.errors import ConfigError, MissingExtraError
from finer_rewards.rewards import execution_match
from finer_rewards.types import Execution, Status

EXAMPLE = Path(__file__).parent.parent / "examples" / "extending" / "mode.py"
NEAR = replace(modes()["strict"], name="near", absolute_tolerance=0.01)


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    path = tmp_path / "shop.sqlite"
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(
            "CREATE TABLE item (name TEXT, price REAL, cost REAL);"
            "INSERT INTO item VALUES ('a', 1.0, 2.0), ('b', 2.0, 1.0), ('c', 3.0, 3.0), ('d', 3.0, 2.0);"
        )
    return path


def score(reward: fr.Reward, db: Path, gold: str, predicted: str) -> float | None:
    with fr.Scorer(reward, fr.SQLite(workers=1), neighbours=0) as scorer:
        return scorer.score_one(fr.Sample(predicted, gold, str(db))).value


def test_a_mode_of_ones_own_compares_in_a_reward(shop: Path) -> None:
    gold, predicted = "SELECT max(price) FROM item", "SELECT max(price) + 0.005 FROM item"
    assert score(execution_match(), shop, gold, predicted) == 0
    assert score(execution_match(mode=NEAR), shop, gold, predicted) == 1
    assert score(2 * execution_match(mode=NEAR), shop, gold, predicted) == 2
    assert score(fr.presets.execution_only(mode=NEAR), shop, gold, predicted) == 1


@pytest.mark.parametrize(
    ("gold", "predicted", "value"),
    [
        ("SELECT count(*) FROM item", "SELECT 4", 0),  # reads no table
        ("SELECT name FROM item WHERE price > 9", "SELECT name FROM item WHERE price > 8", None),
        ("SELECT name FROM item ORDER BY price DESC LIMIT 1", "SELECT 'd' FROM item LIMIT 1", None),
        ("SELECT random() FROM item", "SELECT 1 FROM item", None),
        ("SELECT price, cost FROM item", "SELECT cost, price FROM item", 0),  # look-alike columns swapped
        ("SELECT count(*) FROM item", "SELECT count(*) + 0 * (strftime('%s', 'now') > 0) FROM item", 0),
        ("SELECT nothing FROM item", "SELECT name FROM item", None),
    ],
)
@pytest.mark.parametrize("mode", [NEAR, fr.Mode("bare", row_order="query", permute_columns=True)])
def test_every_guard_holds_for_it(
    shop: Path, mode: fr.Mode, gold: str, predicted: str, value: float | None
) -> None:
    assert score(execution_match(mode=mode), shop, gold, predicted) == value


def test_it_prints_reads_back_pickles_and_is_in_the_signature() -> None:
    reward = 2 * execution_match(mode=NEAR) + execution_match(mode="bird")
    assert "Mode(name='near', row_order='query'" in repr(reward)
    assert fr.parse_reward(repr(reward)) == reward
    again = pickle.loads(pickle.dumps(reward))
    assert again == reward and hash(again) == hash(reward)
    wider = execution_match(mode=replace(NEAR, absolute_tolerance=0.02))
    assert wider != execution_match(mode=NEAR)
    signatures = [
        fr.Scorer(one, fr.SQLite(workers=1)).signature for one in (execution_match(mode=NEAR), wider)
    ]
    assert "absolute_tolerance=0.01" in str(signatures[0])
    assert signatures[0].digest != signatures[1].digest


def test_a_shipped_mode_is_written_by_its_name() -> None:
    assert repr(execution_match(mode=modes()["bird"])) == "execution_match(mode='bird')"
    assert execution_match(mode=modes()["answer"]) == execution_match()
    reworded = replace(modes()["answer"], description="The same in other words.")
    assert execution_match(mode=reworded) == execution_match()


def test_it_is_known_by_name_once_registered() -> None:
    mine = replace(NEAR, name="registered_near")
    with pytest.raises(ConfigError, match="register_mode"):
        execution_match(mode="registered_near")
    assert fr.register_mode(mine) is mine and fr.register_mode(replace(mine)) is mine
    assert find_mode("registered_near") is mine
    assert execution_match(mode="registered_near") == execution_match(mode=mine)
    for taken in (replace(mine, absolute_tolerance=0.5), replace(mine, name="strict")):
        with pytest.raises(ConfigError, match="new name"):
            fr.register_mode(taken)
    with pytest.raises(ConfigError, match="should be a Mode"):
        fr.register_mode("near")  # type: ignore[arg-type]


def test_a_mode_that_rewrites_runs_what_it_rewrites(shop: Path) -> None:
    mine = fr.Mode("no_distinct", rule="test_suite", row_order="text", rewriting="repair_and_drop_distinct")
    gold = "SELECT cost FROM item"
    assert score(execution_match(mode=mine), shop, gold, "SELECT DISTINCT cost FROM item") == 1
    assert score(execution_match(mode=NEAR), shop, gold, "SELECT DISTINCT cost FROM item") == 0
    # Two modes with one rewriting share what ran.
    rewritten = {need for need in execution_match(mode=mine).needs if need.startswith("as:")}
    assert rewritten and rewritten < execution_match(mode="test_suite").needs


def test_wrong_modes_say_what_is_right() -> None:
    with pytest.raises(ConfigError, match=r"should be text or a Mode, but got 3"):
        execution_match(mode=3)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match=r"Did you mean 'row_order'"):
        fr.parse_reward("execution_match(mode=Mode('mine', row_ordr='query'))")
    with pytest.raises(ConfigError, match="at least one reward"):
        fr.parse_reward("Mode('mine')")
    with pytest.raises(ConfigError, match="has to be imported"):
        fr.parse_reward("execution_match(mode=Mode('mine', rule='elsewhere'))")
    with pytest.raises(ConfigError, match=r"`Mode\(name=...\)` should be text"):
        fr.Mode("")


def test_a_rule_is_registered_once() -> None:
    @rule(reads={"null_is_zero"})
    def first_cells(sides: Sides, mode: fr.Mode) -> Comparison:
        match = [row[:1] for row in sides.gold.rows] == [row[:1] for row in sides.predicted.rows]
        return Comparison(match, float(match), "first cells")

    mine = fr.Mode("first", rule="first_cells", null_is_zero=True)
    assert compare([(1, 2)], [(1, 3)], mine) and not compare([(1, 2)], [(2, 2)], mine)
    with pytest.raises(ConfigError, match="does not read it"):
        fr.Mode("first", rule="first_cells", row_order="always")
    first_cells.__module__ = "another"
    with pytest.raises(ConfigError, match="Rename the function"):
        rule()(first_cells)


def test_a_rule_that_needs_pandas_says_so_when_the_reward_is_built(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("finer_rewards._util.extras.find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match=r"finer-rewards\[published\]"):
        execution_match(mode="spider2")
    with pytest.raises(MissingExtraError, match="pandas"):
        compare([(1,)], [(1,)], "defog_exact")
    assert not compare([(1,)], Execution(Status.failed), "spider2")
    assert not find_rule("dict_rows").needs_pandas  # a preset uses it


def test_the_example_of_a_mode_runs(tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, str(EXAMPLE)], capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    values = [line.split()[0] for line in done.stdout.splitlines()[1:]]
    assert values == ["1.000", "0.000", "0.000"]


def test_the_command_line_imports_it(shop: Path, capsys: pytest.CaptureFixture[str]) -> None:
    argv = ["score", "SELECT max(price) + 0.001 FROM item", "SELECT max(price) FROM item", "--db", str(shop)]
    assert main([*argv, "--mode", "money"]) == 2
    assert "register_mode" in capsys.readouterr().err
    # In a process of its own: the test's would keep what was imported.
    words = [*argv, "--mode", "money", f"--import={EXAMPLE}", "--format", "jsonl"]
    command = [sys.executable, "-m", "finer_rewards", *words]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout.splitlines()[0])["value"] == 1
    assert main([*argv, "--import", "no_such_module"]) == 2
    assert "cannot be imported" in capsys.readouterr().err
    assert main([*argv, "--import"]) == 2


def test_a_pickled_reward_brings_the_module_of_its_rule(tmp_path: Path) -> None:
    (tmp_path / "my_modes.py").write_text(EXAMPLE.read_text())
    made = "import my_modes, sys, pickle; import finer_rewards as fr; " + (
        "sys.stdout.buffer.write(pickle.dumps(fr.rewards.execution_match(mode='money')))"
    )
    read = "import sys, pickle; print(pickle.loads(sys.stdin.buffer.read()))"
    pickled = subprocess.run([sys.executable, "-c", made], capture_output=True, cwd=tmp_path)
    assert pickled.returncode == 0, pickled.stderr
    found = subprocess.run(
        [sys.executable, "-c", read], input=pickled.stdout, capture_output=True, cwd=tmp_path
    )
    assert b"execution_match(Mode(name='money'" in found.stdout, found.stderr
