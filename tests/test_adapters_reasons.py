"""The most frequent reasons reach stderr where a trainer's own logs take only numbers."""

from __future__ import annotations

import json
import logging
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import finer_rewards as fr
from finer_rewards.adapters import _reasons, scorers
from finer_rewards.adapters.openrlhf import openrlhf_reward
from finer_rewards.adapters.verl import compute_score

GOLD = "SELECT a FROM t"
WRONG, BROKEN = "SELECT a FROM t WHERE a < 2", "SELECT nope FROM t"


@pytest.fixture
def root(make_db: Callable[..., Path]) -> Iterator[str]:
    yield str(make_db("shop", "CREATE TABLE t (a); INSERT INTO t VALUES (1), (2);").parent)
    scorers._scorer.cache_clear()


def lines(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [one.getMessage() for one in caplog.records if one.name == "finer_rewards.reasons"]


def test_verl_with_our_manager_says_them_once_a_step(root: str, caplog: pytest.LogCaptureFixture) -> None:
    def scored(text: str, step: int) -> None:
        compute_score("spider", text, GOLD, {"db": "shop", "step": step}, root=root, timeout=5)

    for text in (GOLD, BROKEN, WRONG, BROKEN):
        scored(text, 1)
    assert lines(caplog) == []
    scored(GOLD, 2)
    (said,) = lines(caplog)
    assert said.startswith("Why 4 samples of step 1 were no match, most often: 50% ") and "; 25% " in said
    # A late sample of the first step ends nothing, and a step of matches has nothing to say.
    scored(GOLD, 1)
    scored(BROKEN, 3)
    assert len(lines(caplog)) == 1


def test_openrlhf_says_them_now_and_then(
    root: str, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_reasons, "EVERY", 4)
    label = json.dumps({"gold": GOLD, "db": "shop"})
    with fr.Scorer("execution_match()", fr.SQLite(root)) as scorer:
        reward = openrlhf_reward(scorer)
        for _ in range(2):
            for text in (BROKEN, BROKEN, BROKEN, WRONG):
                reward([f"? {text}"], ["? "], [label])
    first, second = lines(caplog)
    assert first == second and first.startswith("Why 4 samples were no match, most often: 75% ")


def test_they_are_on_stderr_where_nothing_was_set_up_and_can_be_silenced(tmp_path: Path) -> None:
    program = """
import logging, sys
from finer_rewards import Score, Scorer
from finer_rewards.adapters._reasons import EVERY, tell_reasons
if sys.argv[1] == "quiet":
    logging.getLogger("finer_rewards.reasons").setLevel("ERROR")
tell_reasons(Scorer("well_formed()"), [Score(0.0, "no SQL")] * EVERY)
"""
    found = {
        mode: subprocess.run(
            [sys.executable, "-c", program, mode], capture_output=True, text=True, check=True
        )
        for mode in ("loud", "quiet")
    }
    assert found["loud"].stderr == "Why 256 samples were no match, most often: 100% no SQL\n"
    assert found["quiet"].stderr == "" and found["loud"].stdout == ""
    assert logging.getLogger("finer_rewards.reasons").level == logging.NOTSET
