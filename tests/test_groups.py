"""Credit that counts only in groups without a right answer: in a scorer, in advantages, in trainers."""

from __future__ import annotations

import pickle
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import finer_rewards as fr
from finer_rewards import rewards as r
from finer_rewards.adapters.openrlhf import openrlhf_reward
from finer_rewards.adapters.scorers import RowScorer
from finer_rewards.adapters.trl import TRLReward
from finer_rewards.adapters.verl import compute_score, overrides
from finer_rewards.errors import ConfigError

GOLD = "SELECT a FROM t WHERE a > 1"
NEAR = "SELECT a FROM t WHERE a > 0"
FAR = "SELECT 7 FROM t"
LOST = "SELECT no_such FROM t"
REWARD = "execution_match() + in_lost_groups(atomic_f1(partial=0.5))"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    found = tmp_path_factory.mktemp("groups")
    with closing(sqlite3.connect(found / "x.sqlite")) as connection:
        connection.executescript("CREATE TABLE t (a INTEGER); INSERT INTO t VALUES (1), (2), (3);")
    return found


@pytest.fixture(scope="module")
def executor(folder: Path) -> Iterator[fr.SQLite]:
    with fr.SQLite(folder, workers=1) as made:
        yield made


@pytest.fixture
def scorer(executor: fr.SQLite) -> fr.Scorer:
    return fr.Scorer(REWARD, executor, neighbours=0)


def samples(*sqls: str, gold: str = GOLD) -> list[fr.Sample]:
    return [fr.Sample(sql, gold, "x") for sql in sqls]


def values(scores: list[fr.Score]) -> list[float | None]:
    return [score.value for score in scores]


def test_closeness_counts_only_where_no_answer_is_right(scorer: fr.Scorer) -> None:
    won, lost = samples(GOLD, NEAR, FAR), samples(NEAR, FAR, LOST)
    found = scorer.score([*won, *lost], groups=3)
    close = values(fr.Scorer("atomic_f1(partial=0.5)", scorer.executor).score(lost))
    assert values(found) == [1.0, 0.0, 0.0, *close]
    assert close[0] > close[1]
    # The same sample in two groups has two values; and a name for each group need not stand together.
    mixed = scorer.score([won[0], lost[0], won[1], lost[1], lost[2]], groups=["a", "b", "a", "b", "b"])
    assert values(mixed) == [1.0, close[0], 0.0, close[1], close[2]]
    # What was scored before is not taken for what it is in another group.
    assert values(scorer.score(samples(NEAR, GOLD), groups=2)) == [0.0, 1.0]
    assert values(scorer.score(samples(NEAR), groups=1)) == [close[0]]
    assert "right answer" in found[1].explain()


def test_groups_have_to_be_given_and_whole(scorer: fr.Scorer) -> None:
    with pytest.raises(ConfigError, match="groups=8"):
        scorer.score(samples(GOLD, NEAR))
    with pytest.raises(ConfigError, match="whole groups, but there are 3"):
        scorer.score(samples(GOLD, NEAR, FAR), groups=2)
    for wrong in (["a"], "ab", True, 0):
        with pytest.raises(ConfigError):
            scorer.score(samples(GOLD, NEAR), groups=wrong)
    with pytest.raises(ConfigError, match="for each completion alone"):
        r.in_lost_groups(r.constant(), right=r.in_lost_groups(r.constant()))
    plain = fr.Scorer("execution_match()", scorer.executor, neighbours=0)
    assert values(plain.score(samples(GOLD, NEAR), groups=2)) == values(plain.score(samples(GOLD, NEAR)))


def test_what_cannot_be_judged_is_no_right_answer(scorer: fr.Scorer) -> None:
    unusable = "SELECT no_such FROM t"
    assert values(scorer.score(samples(GOLD, NEAR, gold=unusable), groups=2)) == [None, None]


def test_it_prints_parses_and_signs(scorer: fr.Scorer) -> None:
    one = fr.parse_reward("in_lost_groups(0.5 * executable(), right=execution_match(mode='bird'))")
    assert fr.parse_reward(repr(one)) == one == pickle.loads(pickle.dumps(one))
    other = fr.Scorer(REWARD.replace("in_lost_groups", ""), scorer.executor, neighbours=0)
    assert scorer.signature.digest != other.signature.digest
    assert "groups" in scorer.reward.needs


def test_advantages_are_of_the_groups_that_were_graded(scorer: fr.Scorer) -> None:
    scores = scorer.score(samples(GOLD, NEAR, NEAR, FAR), groups=2)
    found = fr.group_advantages(scores, 2, scale="none")
    assert found[0] == 0.5
    assert found[2] > 0 > found[3]
    with pytest.raises(ConfigError, match="groups=4"):
        fr.group_advantages(scores, 4)


def test_silent_groups_are_those_of_one_value() -> None:
    assert fr.silent_groups([0, 0, 0, 1, None, 1, None, None], 2) == 0.75
    assert fr.silent_groups([], 4) == 0
    with pytest.raises(ConfigError, match="whole groups of 3"):
        fr.silent_groups([0, 0], 3)


def config(**settings: Any) -> SimpleNamespace:
    given = {
        "num_generations": 2, "per_device_train_batch_size": 1, "steps_per_generation": 4,
        "generation_batch_size": 4, "scale_rewards": "group", "num_generations_eval": None, **settings,
    }  # fmt: skip
    return SimpleNamespace(**given)


def test_trl_grades_by_its_own_groups_and_counts_the_silent_ones(scorer: fr.Scorer) -> None:
    reward, logged = TRLReward(scorer, args=config()), []
    sqls = [GOLD, NEAR, LOST, LOST]
    found = reward(
        prompts=["p", "p", "q", "q"],
        completions=sqls,
        gold=[GOLD] * 4,
        db=["x"] * 4,
        log_metric=lambda name, value: logged.append((name, value)),
    )
    close = fr.Scorer("atomic_f1(partial=0.5)", scorer.executor).score(samples(LOST))[0].value
    assert found[:2] == [1.0, 0.0]
    assert found[2] == found[3] == pytest.approx(close, abs=1e-4)
    assert [value for name, value in logged if name == "finer/silent_groups"] == [0.0, 1.0]
    first, second = TRLReward.components(scorer, args=config())
    call: dict[str, Any] = {"prompts": ["p", "p"], "gold": [GOLD] * 2, "db": ["x"] * 2}
    assert first(completions=[GOLD, NEAR], **call) == [1.0, 0.0]
    assert second(completions=[GOLD, NEAR], **call) == [0.0, 0.0]


def test_trl_refuses_groups_that_are_split_by_its_numbers(scorer: fr.Scorer) -> None:
    with pytest.raises(ConfigError, match="GRPOConfig"):
        TRLReward(scorer)
    with pytest.raises(ConfigError, match=r"size 1 x steps_per_generation 4 = 4 .* num_generations 8"):
        TRLReward(scorer, args=config(num_generations=8, generation_batch_size=8))
    reward = TRLReward(scorer, args=config())
    with pytest.raises(ConfigError, match="this rank got 3 completions"):
        reward(prompts=["p"] * 3, completions=[GOLD] * 3, gold=[GOLD] * 3, db=["x"] * 3)
    with pytest.raises(ConfigError, match="whole groups of 2"):
        reward(prompts=["p", "q"], completions=[GOLD] * 2, gold=[GOLD] * 2, db=["x"] * 2)
    # Evaluation has groups of its own size.
    reward = TRLReward(scorer, args=config(num_generations_eval=1))
    asked: dict[str, Any] = {"gold": [GOLD] * 2, "db": ["x"] * 2}
    assert reward(prompts=["p", "q"], completions=[GOLD, FAR], **asked)[1] > 0


def test_trl_is_told_that_batch_scaling_does_nothing_with_one_prompt(executor: fr.SQLite) -> None:
    plain = fr.Scorer("execution_match()", executor)
    with pytest.warns(RuntimeWarning, match="= 1 prompt a step"):
        TRLReward(plain, args=config(generation_batch_size=2, scale_rewards="batch"))
    TRLReward(plain, args=config(scale_rewards="batch"))  # two prompts a step: no warning


def test_trainers_that_show_one_completion_refuse_it(scorer: fr.Scorer, folder: Path) -> None:
    with pytest.raises(ConfigError, match="one completion at a time"):
        openrlhf_reward(scorer)
    with pytest.raises(ConfigError, match="lost_groups=True"):
        compute_score("d", GOLD, GOLD, {"db": "x"}, spec=REWARD, root=str(folder))
    with pytest.raises(ConfigError, match="one completion at a time"):
        asked = RowScorer(REWARD, str(folder), limits={"workers": 1})
        asked.judge({"gold": GOLD, "db": "x"}, GOLD, where="A row", caller="options")


def test_openrlhf_filters_by_the_match(executor: fr.SQLite) -> None:
    scorer = fr.Scorer("execution_match() + atomic_f1()", executor, neighbours=0)
    label = {"gold": GOLD, "db": "x"}
    for chosen, wanted in (("value", True), ("match", False)):
        reply = openrlhf_reward(scorer, best=2, scores=chosen)([f"p {NEAR}"], ["p "], [label])
        assert (reply["scores"] > 0) is wanted
        assert reply["rewards"] > 0
    assert openrlhf_reward(scorer, best=2, scores="match")([f"p {GOLD}"], ["p "], [label])["scores"] == 1
    with pytest.raises(ConfigError, match="value or match"):
        openrlhf_reward(scorer, scores="acc")


def test_verl_scores_tell_right_from_wrong(folder: Path) -> None:
    def score(sql: str, spec: str = REWARD) -> float:
        options: dict[str, Any] = {"root": str(folder), "lost_groups": True, "neighbours": 0}
        return compute_score("d", sql, GOLD, {"db": "x"}, spec=spec, **options)["score"]

    assert score(GOLD) == 1
    assert 0 < score(FAR) < score(NEAR) < 1
    assert score(FAR, "execution_match() + in_lost_groups(constant())") == 1 - 2**-16
    for other in ("2 * execution_match() + in_lost_groups(constant())", "in_lost_groups(2 * constant())"):
        with pytest.raises(ConfigError, match="beside a right one"):
            score(GOLD if other.startswith("2") else FAR, other)
    lines = overrides(REWARD, str(folder), lost_groups=True)
    assert "algorithm.adv_estimator=finer_lost_groups" in lines


def test_verls_estimator_is_grpo_on_what_scorer_gives(scorer: fr.Scorer) -> None:
    torch = pytest.importorskip("torch", reason="verl computes with it")
    algorithms: Any = pytest.importorskip("verl.trainer.ppo.core_algos", reason="verl is not installed")
    from finer_rewards.adapters.verl_advantage import lost_groups_advantage, register

    register()
    assert algorithms.get_adv_estimator_fn("finer_lost_groups") is lost_groups_advantage
    alone = scorer.score(samples(GOLD, NEAR, NEAR, FAR), groups=1)
    scores = torch.tensor([[0.0, score.value] for score in alone])
    index = ["a", "a", "b", "b"]
    mask = torch.ones_like(scores)
    for divided in (True, False):
        settings = {"norm_adv_by_std_in_grpo": divided}
        found = lost_groups_advantage(scores, mask, index, config=settings)[0][:, 1].tolist()
        wanted = fr.group_advantages(
            scorer.score(samples(GOLD, NEAR, NEAR, FAR), groups=2), 2, scale="group" if divided else "none"
        )
        assert found == pytest.approx(wanted, abs=1e-4)
    with pytest.raises(ConfigError, match="use_kl_loss"):
        lost_groups_advantage(scores, mask, index, config={"use_kl_in_reward": True})


def test_verl_leaves_out_what_cannot_be_scored(scorer: fr.Scorer, folder: Path) -> None:
    torch = pytest.importorskip("torch", reason="verl computes with it")
    algorithms: Any = pytest.importorskip("verl.trainer.ppo.core_algos", reason="verl is not installed")
    from finer_rewards.adapters.verl_advantage import group_advantage, lost_groups_advantage, register

    register()
    assert algorithms.get_adv_estimator_fn("finer_groups") is group_advantage
    lines = overrides("execution_match()", str(folder), left_out=True)
    assert "algorithm.adv_estimator=finer_groups" in lines
    (fallback,) = [float(line.rpartition("=")[2]) for line in lines if "kwargs.fallback=" in line]

    def score(sql: str, db: str, **more: Any) -> float:
        given = {"root": str(folder), "neighbours": 0, "fallback": fallback, **more}
        return compute_score("d", sql, GOLD, {"db": db}, **given)["score"]

    played = [(GOLD, "x"), (FAR, "x"), (GOLD, "gone"), (FAR, "x")]
    played += [(GOLD, "x"), (GOLD, "gone"), (GOLD, "gone"), (GOLD, "gone")]
    index = ["a"] * 4 + ["b"] * 4
    for estimator, more in (
        (group_advantage, {}),
        (lost_groups_advantage, {"spec": REWARD, "lost_groups": True}),
    ):
        scores = torch.tensor([[0.0, score(*one, **more)] for one in played])
        assert scores[:, 1].tolist()[2] == fallback
        for divided in (True, False):
            settings = {"norm_adv_by_std_in_grpo": divided}
            found = estimator(scores, torch.ones_like(scores), index, config=settings)[0][:, 1].tolist()
            values = [1.0, 0.0, None, 0.0, 1.0, None, None, None]
            wanted = fr.group_advantages(values, 4, scale="group" if divided else "none")
            assert found == pytest.approx([one or 0.0 for one in wanted], abs=1e-4)
    # verl's own GRPO takes the lost one for a wrong one.
    own = algorithms.compute_grpo_outcome_advantage(scores, torch.ones_like(scores), index)[0][:, 1].tolist()
    assert own[2] < -0.4
