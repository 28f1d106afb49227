"""The adapters to trainers that take a function: ms-swift, tunix, EasyR1, slime, AReaL.

Each through the trainer's own scoring code where that is installed.
"""

from __future__ import annotations

import asyncio
import json
import pickle
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import finer_rewards as fr
from finer_rewards.adapters import areal, easyr1, ms_swift, scorers, slime
from finer_rewards.adapters._training_rows import Judged, fill_groups
from finer_rewards.adapters.columns import ColumnReward
from finer_rewards.errors import ConfigError, UnscorableError
from finer_rewards.types import Status, unscored

SPEC = "2 * execution_match() + executable()"
SCRIPT = "CREATE TABLE t (a INTEGER, b TEXT); INSERT INTO t VALUES (1, 'x'), (2, 'y');"
GOLD = "SELECT a FROM t"
SLOW = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT max(i) FROM n, t"
CALL = '<tool_call>{"name": "run_sql", "arguments": {"sql": "SELECT 1"}}</tool_call>'
#: Two groups: in the first the system loses one sample, of the second the gold is broken.
GROUPS = [
    [
        ("SELECT a FROM t", GOLD, "shop"),
        ("SELECT b FROM t", GOLD, "shop"),
        (GOLD, GOLD, "gone"),
        (SLOW, GOLD, "shop"),
    ],
    [(GOLD, "SELECT nope FROM t", "shop")] * 4,
]
ROWS = [row for group in GROUPS for row in group]
VALUES: list[float | None] = [3.0, 1.0, None, 0.0, None, None, None, None]
FILLED = [3.0, 1.0, 4 / 3, 0.0, 0.0, 0.0, 0.0, 0.0]


#: The same groups, as trainers that tell groups by their rows see them: the query of one sample is lost on the way.
LOST = "SELECT a, 'lost' FROM t"
LOSING = [(LOST, GOLD, "shop") if row[2] == "gone" else row for row in ROWS]


@pytest.fixture
def losing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the system fail at what has `LOST` as its completion."""
    judge = scorers.judge

    def judged(scorer: Any, items: Any, **known: Any) -> list[Judged]:
        lost = [isinstance(item, fr.Sample) and "lost" in str(item.completion) for item in items]
        found = judge(scorer, items, **known)
        gone = Judged(unscored(Status.unavailable, "The worker was lost."), None, Status.unavailable)
        return [gone if away else one for away, one in zip(lost, found, strict=True)]

    monkeypatch.setattr(scorers, "judge", judged)


@pytest.fixture
def root(make_db: Callable[..., Path]) -> Iterator[str]:
    yield str(make_db("shop", SCRIPT).parent)
    scorers._scorer.cache_clear()


def options(root: str) -> dict[str, Any]:
    return {"root": root, "deadline_floor": 0.2, "workers": 1}


def test_these_are_the_values_of_the_scorer(root: str) -> None:
    with fr.Scorer(SPEC, fr.SQLite(root, deadline_floor=0.2, workers=1)) as scorer:
        assert [score.value for score in scorer.score(fr.Sample(*row) for row in ROWS)] == VALUES
    assert fill_groups(VALUES, [0] * 4 + [1] * 4) == FILLED


# --- ms-swift ---


def columns() -> dict[str, list[Any]]:
    return {
        "gold": [gold for _, gold, _ in ROWS],
        "db": [db for _, _, db in ROWS],
        "prompt_id": ["one"] * 4 + ["two"] * 4,
        "messages": [
            [{"role": "user", "content": "?"}, {"role": "assistant", "content": text}] for text, _, _ in ROWS
        ],
    }


def test_ms_swift_gets_the_mean_of_the_group_for_what_cannot_be_scored(root: str) -> None:
    reward = ColumnReward(SPEC, **options(root))
    texts = [text for text, _, _ in ROWS]
    assert reward(texts, **columns(), trainer_state=None, finish_reason=["stop"] * 8) == FILLED
    whole = columns()
    del whole["prompt_id"]
    # Without ids rows that are equal are a group, and the one whose database is gone is alone.
    assert reward(texts, **whole)[2] == 0.0
    with pytest.raises(ConfigError, match="'gold', but it has"):
        reward(texts, db=whole["db"])


def test_ms_swift_counts_the_calls_of_its_messages(root: str) -> None:
    reward = ColumnReward("each_call(executable()) + few_turns(most=1)", **options(root))
    call = {"function": {"name": "run_sql", "arguments": json.dumps({"sql": "SELECT a FROM t"})}}
    said = {"role": "assistant", "content": "", "tool_calls": [call]}
    chat = [
        {"role": "user", "content": "?"},
        said,
        {"role": "tool", "content": "1"},
        {"role": "assistant", "content": GOLD},
    ]
    assert reward([GOLD, GOLD], messages=[chat, chat[:1] + chat[-1:]], gold=[GOLD] * 2, db=["shop"] * 2) == [
        1.0,
        1.0,
    ]


def test_ms_swift_scores_by_its_own_code(root: str) -> None:
    torch = pytest.importorskip("torch")
    algorithm = pytest.importorskip("swift.rl_core.grpo_algorithm")
    from swift.rewards import orms
    from swift.rl_core.advantage import compute_advantages
    from swift.rl_core.data import GRPOSample

    made = ms_swift.register(SPEC, name="finer_test", **options(root))
    assert orms["finer_test"] is made and made.__name__ == "finer_test"
    known = columns()
    samples = []
    for index in range(len(ROWS)):
        row = {name: known[name][index] for name in ("gold", "db")}
        samples.append(
            GRPOSample(messages=known["messages"][index], prompt_id=known["prompt_id"][index], extra=row)
        )
    found = algorithm.compute_rewards_per_func(samples, [made(args=None)], [None], torch.device("cpu"))
    assert found[:, 0].tolist() == pytest.approx(FILLED)
    advantages, _ = compute_advantages(found, torch.ones(1), 4)
    assert advantages[2].abs() < 1e-6 and advantages[4:].abs().max() == 0
    assert advantages[0] > advantages[1] > advantages[3]


# --- tunix ---


def test_tunix_gets_the_mean_of_the_group_and_shorter_columns_are_told(root: str) -> None:
    reward = ColumnReward(SPEC, name="ours", **options(root))
    known = {name: columns()[name] for name in ("gold", "db")}
    texts = [text for text, _, _ in ROWS]
    # The prompts tell groups apart; the row whose database is gone stands in a group of its own.
    found = reward(prompts=["one"] * 4 + ["two"] * 4, completions=texts, **known, mode="train")
    assert reward.__name__ == "ours" and found == [3.0, 1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0]
    with pytest.raises(ConfigError, match="`db` should hold one value a completion, but got 1 for 8"):
        reward(prompts=texts, completions=texts, gold=known["gold"], db=["shop"])
    with pytest.raises(ConfigError, match="in_lost_groups"):
        ColumnReward("execution_match() + in_lost_groups(executable())", **options(root))


def test_tunix_scores_by_its_own_code(root: str, losing: None) -> None:
    np = pytest.importorskip("numpy")
    reason = "google-tunix 0.1.7 is not installed"
    managing = pytest.importorskip("tunix.rl.reward_manager", reason=reason)
    from tunix.rl import algo_core
    from tunix.rl.algorithm_config import AlgorithmConfig

    known = {name: np.array([row[place] for row in LOSING]) for name, place in (("gold", 1), ("db", 2))}
    texts = [text for text, _, _ in LOSING]
    manager = managing.SequenceRewardManager(ColumnReward(SPEC, **options(root)), AlgorithmConfig())
    info = manager(prompts=["?"] * 4 + ["!"] * 4, completions=texts, **known, mode="train")
    assert info["rewards"].tolist() == pytest.approx(FILLED)
    assert info["log_metrics"]["rewards/finer"][0].tolist() == info["rewards"].tolist()
    advantages = np.array(algo_core.compute_advantages(info["rewards"], 4))
    assert abs(advantages[2]) < 1e-6 and abs(advantages[4:]).max() == 0
    assert advantages[0] > advantages[1] > advantages[3]


# --- EasyR1 ---


def truths(rows: list[tuple[str, str, str]]) -> list[dict[str, Any]]:
    return [
        {"response": text, "response_length": 3, "ground_truth": json.dumps({"gold": gold, "db": db})}
        for text, gold, db in rows
    ]


def test_easyr1_gets_the_same_keys_for_all(root: str) -> None:
    found = easyr1.compute_score(truths(ROWS), spec=SPEC, **options(root))
    assert [one["overall"] for one in found] == [0.0 if value is None else value for value in VALUES]
    assert [one["unscorable"] for one in found] == [float(value is None) for value in VALUES]
    assert all(
        list(one) == ["overall", "accuracy", "execution_match", "executable", "unscorable"] for one in found
    )
    with pytest.raises(ConfigError, match="A ground truth should have a column 'db'"):
        easyr1.compute_score(
            [{"response": "", "ground_truth": json.dumps({"gold": GOLD})}], spec=SPEC, **options(root)
        )
    # Bare SQL names no database, and a text that begins as JSON may be cut.
    for truth in (GOLD, '{"gold": "SELECT 1", "db"'):
        with pytest.raises(ConfigError, match=r"should be JSON with .* but got .* Write json.dumps"):
            easyr1.compute_score([{"response": "", "ground_truth": truth}], spec=SPEC, **options(root))


def test_easyr1_scores_by_its_own_code(root: str, losing: None) -> None:
    np, torch = pytest.importorskip("numpy"), pytest.importorskip("torch")
    rewards = pytest.importorskip("verl.workers.reward.function", reason="EasyR1 0.3.3 is not installed")
    from verl.protocol import DataProto
    from verl.trainer.core_algos import compute_grpo_outcome_advantage
    from verl.workers.reward.config import RewardConfig

    class Tokenizer:
        def decode(self, ids: Any, skip_special_tokens: bool) -> str:
            return "".join(map(chr, ids.tolist()))

    config = RewardConfig(
        reward_function=f"{easyr1.__file__}:compute_score",
        reward_function_kwargs={"spec": SPEC, **options(root)},
    )
    config.post_init()
    width = max(len(text) for text, _, _ in LOSING)
    responses = torch.zeros((len(LOSING), width), dtype=torch.long)
    mask = torch.zeros_like(responses)
    for index, (text, _, _) in enumerate(LOSING):
        responses[index, : len(text)] = torch.tensor([ord(one) for one in text])
        mask[index, : len(text)] = 1
    truth = np.array([one["ground_truth"] for one in truths(LOSING)], dtype=object)
    data = DataProto.from_dict({"responses": responses, "response_mask": mask}, {"ground_truth": truth})
    tensor, metrics = rewards.AutoRewardManager(config, Tokenizer()).compute_reward(data)
    assert tensor.sum(-1).tolist() == pytest.approx(FILLED)
    assert metrics["unscorable"] == [float(value is None) for value in VALUES]
    groups = np.array(["one"] * 4 + ["two"] * 4, dtype=object)
    advantages = compute_grpo_outcome_advantage(tensor, mask, groups)[0][:, 0]
    assert advantages[2].abs() < 1e-6 and advantages[4:].abs().max() == 0
    assert advantages[0] > advantages[1] > advantages[3]


# --- slime ---


def sample(text: str, gold: str, db: str, **changes: Any) -> Any:
    label = json.dumps({"gold": gold, "db": db})
    known = {
        "prompt": "?",
        "response": text,
        "label": label,
        "metadata": {},
        "group_index": None,
        "remove_sample": False,
    }
    return SimpleNamespace(**{**known, **changes})


def test_slime_takes_what_cannot_be_scored_out_of_the_loss(root: str) -> None:
    reward = slime.build(SPEC, **options(root))

    async def score() -> tuple[list[float], list[Any], list[float]]:
        group = [sample(*row, group_index=index // 4) for index, row in enumerate(ROWS)]
        alone = [sample(*row) for row in ROWS]
        return await reward(None, group), group, [await reward(None, one) for one in alone]

    together, group, one_by_one = asyncio.run(score())
    assert together == FILLED
    assert [one.remove_sample for one in group] == [value is None for value in VALUES]
    assert one_by_one == [0.0 if value is None else value for value in VALUES]


def test_slime_reads_metadata_and_rollouts_with_tools(root: str) -> None:
    reward = slime.build("executable() + each_call(executable())", fallback=-1.0, **options(root))
    text = f"{CALL}\nuser\n<tool_response>\n1\n</tool_response>\nassistant\n{GOLD}"
    known = {"gold": GOLD, "db": "shop"}
    assert asyncio.run(reward(None, sample(text, "", "", label=None, metadata=known))) == 2.0
    assert asyncio.run(reward(None, sample(text, "", "", label=GOLD, metadata={"db": "gone"}))) == -1.0


def test_slime_awaits_it(root: str, monkeypatch: pytest.MonkeyPatch) -> None:
    hub = pytest.importorskip("slime.rollout.rm_hub")
    import sys
    from types import ModuleType

    module = ModuleType("my_reward")
    module.reward = slime.build(SPEC, **options(root))  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "my_reward", module)
    args = SimpleNamespace(custom_rm_path="my_reward.reward")
    group = [
        hub.Sample(response=text, label=json.dumps({"gold": gold, "db": db}), prompt="?")
        for text, gold, db in ROWS[:4]
    ]
    assert asyncio.run(hub.batched_async_rm(args, group)) == FILLED[:4]
    assert [one.remove_sample for one in group] == [False, False, True, False]
    assert asyncio.run(hub.async_rm(args, group[0])) == 3.0


# --- AReaL ---


def test_areal_gets_a_function_that_pickles_and_shares_a_scorer(root: str) -> None:
    known = {"root": root, "deadline_floor": 0.2, "workers": 1}
    reward = pickle.loads(pickle.dumps(areal.build(SPEC, fallback=-1.0, **known)))
    found = [reward("?", f"{text}<|im_end|>", [1], [2], gold=gold, db=db, other=3) for text, gold, db in ROWS]
    assert found == [-1.0 if value is None else value for value in VALUES]
    assert all(type(value) is float for value in found)
    assert scorers._scorer.cache_info().currsize == 1
    with pytest.raises(ConfigError, match="at most 6 s"):
        areal.build(SPEC, root=root, timeout=30)
    with pytest.raises(ConfigError, match="should have a column 'gold'"):
        reward("?", GOLD, db="shop")
    with pytest.raises(UnscorableError, match=r"A sample cannot be scored: .*gold.* no such column: nope"):
        areal.build(SPEC, **known)("?", GOLD, gold="SELECT nope FROM t", db="shop")


def test_areal_calls_it_in_its_own_pool_and_tries_again_what_cannot_be_scored(root: str) -> None:
    api = pytest.importorskip("areal.api.reward_api")
    reward = areal.build(SPEC, root=root, deadline_floor=0.2, workers=1)

    async def score() -> list[float | BaseException]:
        wrapper = api.AsyncRewardWrapper(reward, max_workers=1)
        calls = [wrapper("?", text, [1], [2], gold=gold, db=db) for text, gold, db in ROWS]
        return await asyncio.gather(*calls, return_exceptions=True)

    found = asyncio.run(score())
    assert [None if isinstance(one, UnscorableError) else one for one in found] == VALUES


def test_areal_rejects_the_group_of_what_cannot_be_scored(root: str) -> None:
    reason = "AReaL 1.0.4 is not installed"
    api = pytest.importorskip("areal.api.reward_api", reason=reason)
    grouping = pytest.importorskip("areal.infra.remote_inf_engine", reason=reason)
    torch = pytest.importorskip("torch")
    wrapper = api.AsyncRewardWrapper(
        areal.build(SPEC, root=root, deadline_floor=0.2, workers=1), max_workers=1
    )
    texts = iter([text for text, _, _ in ROWS])

    class Workflow:
        async def arun_episode(self, engine: Any, data: dict[str, Any]) -> dict[str, Any]:
            value = await wrapper("?", next(texts), [1], [2], **data)
            found = {"rewards": torch.tensor([value]), "input_ids": torch.ones((1, 1))}
            return {**found, "attention_mask": torch.ones((1, 1), dtype=torch.bool)}

    group = grouping.GroupedRolloutWorkflow(Workflow(), 4, None)
    whole = asyncio.run(group.arun_episode(None, {"gold": GOLD, "db": "shop"}))
    assert whole["rewards"].tolist() == [3.0, 1.0, 3.0, 0.0]
    # `WorkflowExecutor` counts what this raises as a rejected rollout, and samples another.
    with pytest.raises(UnscorableError):
        asyncio.run(group.arun_episode(None, {"gold": "SELECT nope FROM t", "db": "shop"}))
