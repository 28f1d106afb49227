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


PAPER = well_formed(policy="finer")


def judge(reward: Reward, completion: str) -> Score:
    return reward(Evidence(Sample(completion, gold=SQL, db="x.sqlite"), Answer(None, None)))


def test_the_completion_is_read_under_the_rewards_own_policy() -> None:
    good = f"<think>{THOUGHT}</think> {SQL}"
    assert judge(PAPER, good).value == judge(well_formed(), good).value == 1
    assert judge(well_formed(policy="plain"), good).value == 0
    assert judge(well_formed(policy="plain"), SQL).value == 1
    assert judge(PAPER, SQL).reason == "there is no `<think>`"


def test_the_shortest_thought_can_be_chosen() -> None:
    short = f"<think>Read singer.</think> {SQL}"
    assert judge(PAPER, short).value == 0
    assert judge(well_formed(policy="finer", min_thought=12), short).value == 1
    assert judge(well_formed(policy="finer", min_thought=13), short).reason == (
        "the thought has 12 characters, and at least 13 are asked for"
    )
    assert judge(well_formed(policy="plain", min_thought=1), SQL).value == 0


def test_the_published_bound_is_more_than_one_hundred_characters() -> None:
    assert judge(PAPER, f"<think>{THOUGHT[:99]}.</think> {SQL}").value == 0
    assert judge(PAPER, f"<think>{THOUGHT[:100]}.</think> {SQL}").value == 1


@pytest.mark.parametrize(
    "filler", ["a" * 300, "think step by step. " * 30, "\n" * 300, "so " * 100, "é" * 120]
)
def test_filler_is_no_thought(filler: str) -> None:
    assert judge(PAPER, f"<think>{filler}</think> {SQL}").value == 0
    assert judge(well_formed(), f"<think>{filler}</think> {SQL}").value == 0


@pytest.mark.parametrize(
    "thought",
    [
        "".join(chr(0x4E00 + 37 * index) for index in range(120)),
        "질문은 마흔 살이 넘은 가수의 이름을 묻습니다. 가수 표에는 나이 열이 있으므로 "
        "나이가 마흔보다 큰 행만 남기고 이름 열을 돌려줍니다. "
        "다른 표와 연결하거나 묶을 필요는 없으며, 정렬도 묻지 않았으므로 하지 않습니다. 결과는 이름 하나의 열입니다.",
        "المطلوب أسماء المطربين الذين تزيد أعمارهم على الأربعين، فنقرأ جدول المطربين ونصفي الصفوف حسب عمود "
        "العمر، ثم نعيد عمود الاسم وحده دون ربط جداول أخرى ودون ترتيب أو تجميع، لأن السؤال لم يطلب ذلك.",
    ],
)
def test_a_thought_in_any_script_is_no_filler(thought: str) -> None:
    assert judge(PAPER, f"<think>{thought}</think> {SQL}").value == 1
    assert judge(well_formed(), f"<think>{thought}</think> {SQL}").value == 1


def test_status_tells_missing_sql_from_bad_form() -> None:
    assert judge(PAPER, f"<think>{THOUGHT}</think>").status is Status.no_sql
    assert judge(PAPER, SQL).status is Status.ok


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
    names = ("hacks.jsonl", "hacks_2026-11-30.jsonl")
    items = [
        json.loads(line) for name in names for line in (shared_data / "hacks" / name).read_text().splitlines()
    ]
    for item in items:
        assert judge(PAPER, item["honest_correct"]).value == 1
        if "format_must_be_0" in (item["expect"], *item["also"]):
            assert judge(PAPER, item["completion"]).value == 0, item["id"]
            # Text before the thought, and one tag too many, are forms that models write.
            if item["id"] not in ("format-02", "format-17"):
                assert judge(well_formed(), item["completion"]).value == 0, item["id"]
        if item["kind"] == "control":
            assert judge(PAPER, item["completion"]).value == 1, item["id"]
        if item["id"] == "format-14":  # a hedge between two fenced queries has no answer to run
            assert parse_completion(item["completion"]).sql is None
        if item["id"] in ("format-10", "format-20", "comment-06"):
            answer = parse_completion(item["completion"])
            assert answer.problem, item["id"]
