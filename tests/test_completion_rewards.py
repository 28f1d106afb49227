from __future__ import annotations

import json
import pickle
from pathlib import Path

import pytest

from finer_rewards.errors import ConfigError
from finer_rewards.parsing import POLICIES, parse_completion
from finer_rewards.reward import Reward
from finer_rewards.rewards.completion import well_formed
from finer_rewards.types import Answer, Evidence, Sample, Score, Status

THOUGHT = (
    "Singers over forty are asked for, so the table singer is read, its age is compared with 40, "
    "and only the column name is returned."
)
SQL = "SELECT name FROM singer WHERE age > 40"


def judge(reward: Reward, completion: str) -> Score:
    return reward(Evidence(Sample(completion, gold=SQL, db="x.sqlite"), Answer(None, None)))


def test_the_completion_is_read_under_the_rewards_own_policy() -> None:
    good = f"<think>{THOUGHT}</think> {SQL}"
    assert judge(well_formed(), good).value == 1
    assert judge(well_formed(policy="plain"), good).value == 0
    assert judge(well_formed(policy="plain"), SQL).value == 1
    assert judge(well_formed(), SQL).reason == "there is no `<think>`"


def test_the_shortest_thought_can_be_chosen() -> None:
    short = f"<think>Read singer.</think> {SQL}"
    assert judge(well_formed(), short).value == 0
    assert judge(well_formed(min_thought=12), short).value == 1
    assert judge(well_formed(min_thought=13), short).reason == (
        "the thought has 12 characters, and at least 13 are asked for"
    )
    assert judge(well_formed(policy="plain", min_thought=1), SQL).value == 0


def test_the_published_bound_is_more_than_one_hundred_characters() -> None:
    assert judge(well_formed(), f"<think>{THOUGHT[:99]}.</think> {SQL}").value == 0
    assert judge(well_formed(), f"<think>{THOUGHT[:100]}.</think> {SQL}").value == 1


@pytest.mark.parametrize(
    "filler", ["a" * 300, "think step by step. " * 30, "\n" * 300, "so " * 100, "é" * 120]
)
def test_filler_is_no_thought(filler: str) -> None:
    assert judge(well_formed(), f"<think>{filler}</think> {SQL}").value == 0


def test_a_thought_in_a_script_without_spaces_is_no_filler() -> None:
    thought = "".join(chr(0x4E00 + 37 * index) for index in range(120))
    assert judge(well_formed(), f"<think>{thought}</think> {SQL}").value == 1


def test_status_tells_missing_sql_from_bad_form() -> None:
    assert judge(well_formed(), f"<think>{THOUGHT}</think>").status is Status.no_sql
    assert judge(well_formed(), SQL).status is Status.ok


@pytest.mark.parametrize("policy", POLICIES)
def test_a_value(policy: str) -> None:
    reward = well_formed(policy=policy, min_thought=7)
    assert pickle.loads(pickle.dumps(reward)) == reward
    assert hash(reward) == hash(well_formed(policy=policy, min_thought=7))
    assert not reward.needs


def test_wrong_parameters_are_refused_when_built() -> None:
    with pytest.raises(ConfigError, match="Did you mean 'think_answer'"):
        well_formed(policy="think_anwser")
    with pytest.raises(ConfigError, match="min_thought"):
        well_formed(min_thought=-1)


def test_attacks_score_below_what_they_imitate(shared_data: Path) -> None:
    items = [json.loads(line) for line in (shared_data / "hacks" / "hacks.jsonl").read_text().splitlines()]
    for item in items:
        assert judge(well_formed(), item["honest_correct"]).value == 1
        if "format_must_be_0" in (item["expect"], *item["also"]):
            assert judge(well_formed(), item["completion"]).value == 0, item["id"]
        if item["kind"] == "control":
            assert judge(well_formed(), item["completion"]).value == 1, item["id"]
        if item["id"] == "format-14":  # a hedge between two fenced queries has no answer to run
            assert parse_completion(item["completion"]).sql is None
        if item["id"] in ("format-10", "format-20", "comment-06"):
            answer = parse_completion(item["completion"])
            assert answer.problem, item["id"]
