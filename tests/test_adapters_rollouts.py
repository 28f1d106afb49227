"""The adapters to trainers that play rollouts: OpenEnv, tinker-cookbook, rLLM and NeMo-RL, each in its own code.

rLLM and NeMo-RL are on no index that CI reaches: their tests run where a checkout is on the path.
"""

from __future__ import annotations

import asyncio
import json
import pickle
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import finer_rewards as fr
from finer_rewards.adapters import nemo_rl, scorers
from finer_rewards.adapters._episodes import TextEpisode
from finer_rewards.adapters._training_rows import Judged
from finer_rewards.errors import ConfigError, MissingExtraError
from finer_rewards.types import Status, unscored

SPEC = "2 * execution_match() + executable()"
SCRIPT = "CREATE TABLE t (a INTEGER, b TEXT); INSERT INTO t VALUES (1, 'x'), (2, 'y');"
GOLD = "SELECT a FROM t"
LOST = "SELECT a, 'lost' FROM t"
CALL = '<tool_call>{"name": "run_sql", "arguments": {"sql": "SELECT count(*) FROM t"}}</tool_call>'
SLOW = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT max(i) FROM n, t"
#: A group in which the system loses one, and one whose gold is broken.
GROUP = [GOLD, "SELECT b FROM t", LOST, SLOW]
VALUES: list[float | None] = [3.0, 1.0, None, 0.0]
ROW = {"gold": GOLD, "db": "shop", "question": "Which a?"}
BROKEN = {**ROW, "gold": "SELECT nope FROM t"}


@pytest.fixture
def root(make_db: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A folder of databases; the system fails at what has `LOST` as its completion."""
    judge = scorers.judge

    def judged(scorer: Any, items: Any, **known: Any) -> list[Judged]:
        away = [isinstance(item, fr.Sample) and "lost" in str(item.completion) for item in items]
        gone = Judged(unscored(Status.unavailable, "The worker was lost."), None, Status.unavailable)
        return [gone if lost else one for lost, one in zip(away, judge(scorer, items, **known), strict=True)]

    monkeypatch.setattr(scorers, "judge", judged)
    yield str(make_db("shop", SCRIPT).parent)
    scorers._scorer.cache_clear()


def options(root: str, spec: str = SPEC) -> dict[str, Any]:
    return {"spec": spec, "root": root, "deadline_floor": 0.2, "workers": 1}


def test_an_episode_of_texts_replies_and_then_scores(root: str) -> None:
    spec = "execution_match() + each_call(executable())"
    episode = TextEpisode({**options(root, spec), "tool": {"max_calls": 3}}, ROW)
    assert episode.step(CALL) == "count(*)\n2\n(1 row)"
    assert episode.judged is None and episode.record == {}
    assert episode.step(GOLD) is None and episode.record["score"] == 2.0
    with pytest.raises(ConfigError, match="A row should have a column 'db'"):
        TextEpisode(options(root), {"gold": GOLD})


# --- OpenEnv ---


@pytest.fixture
def server(root: str, tmp_path: Path) -> Iterator[str]:
    pytest.importorskip("openenv.core.env_server.http_server", reason="openenv-core is not installed")
    import uvicorn

    from finer_rewards.adapters.openenv import build_app

    rows = tmp_path / "rows.jsonl"
    rows.write_text("".join(json.dumps(row) + "\n" for row in (ROW, BROKEN)))
    known = options(root, "2 * execution_match() + executable() + each_call(executable())")
    app = build_app(known.pop("spec"), dataset=rows, tool={"max_calls": 2}, **known)
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        running = uvicorn.Server(uvicorn.Config(app, log_level="error"))
        thread = threading.Thread(target=running.run, args=([listening],))
        thread.start()
        while not running.started:
            assert thread.is_alive()
            time.sleep(0.01)
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"
        running.should_exit = True
        thread.join()


@pytest.mark.filterwarnings("default")
def test_openenv_plays_several_turns_through_its_own_client(server: str) -> None:
    from openenv.core.generic_client import GenericEnvClient

    with GenericEnvClient(base_url=server).sync() as env, GenericEnvClient(base_url=server).sync() as other:
        assert env.reset(seed=0).observation["prompt"] == "Which a?"
        other.reset(seed=3)
        seen = env.step({"message": CALL})
        assert (seen.observation["reply"], seen.reward, seen.done) == ("count(*)\n2\n(1 row)", 0.0, False)
        done = env.step({"message": GOLD})
        assert done.done and done.reward == 4.0 and done.observation["scores"]["acc"] == 1.0
        broken = other.step({"message": GOLD})
        assert broken.done and broken.reward is None and broken.observation["scores"]["unscorable"] == 1.0
        found = []
        for text in GROUP:
            env.reset(gold=GOLD, db="shop")
            found.append(env.step({"message": text}).reward)
        assert found == VALUES
        with pytest.raises(RuntimeError, match="Call reset first"):
            env.step({"message": GOLD})


@pytest.mark.filterwarnings("default")
def test_openenv_tells_wrong_options_before_it_serves(root: str, tmp_path: Path) -> None:
    pytest.importorskip("openenv.core.env_server.http_server", reason="openenv-core is not installed")
    from finer_rewards.adapters.openenv import FinerEnvironment, build_app

    rows = tmp_path / "rows.jsonl"
    rows.write_text(json.dumps({"gold": GOLD, "db_id": "shop"}) + "\n")
    with pytest.raises(ConfigError, match="Name the right one: build_app"):
        build_app(SPEC, root=root, dataset=rows)
    with pytest.raises(ConfigError, match="Did you mean 'timeout'"):
        build_app(SPEC, root=root, dataset=rows, db="db_id", tiemout=3)
    environment = FinerEnvironment(**options(root))
    with pytest.raises(ConfigError, match="or the server a dataset"):
        environment.reset()
    assert environment.reset(label=json.dumps({"gold": GOLD, "db": "shop"})).done is False
    # Whoever reaches the server names databases under its root, and nothing else.
    for db in (f"{root}/shop/shop.sqlite", "../shop", "CREATE TABLE t (x)", "postgresql://host/shop", None):
        with pytest.raises(ConfigError, match="the id of a database"):
            environment.reset(gold=GOLD, db=db)


# --- tinker-cookbook ---


class Renderer:
    """A renderer of tinker-cookbook's kind for a model that speaks in letters."""

    def get_stop_sequences(self) -> list[str]:
        return ["\0"]

    def build_generation_prompt(self, messages: Any, **known: Any) -> Any:
        import tinker

        text = json.dumps([message["role"] for message in messages])
        return tinker.ModelInput.from_ints([ord(one) for one in text])

    def parse_response(self, tokens: list[int]) -> Any:
        from tinker_cookbook.renderers.base import ParseTermination, ToolCall

        text = "".join(map(chr, tokens))
        message: dict[str, Any] = {"role": "assistant", "content": text}
        if text.startswith("{"):
            function = ToolCall.FunctionBody(name="run_sql", arguments=text)
            message = {"role": "assistant", "content": "", "tool_calls": [ToolCall(function=function)]}
        return message, ParseTermination.STOP_SEQUENCE


@pytest.mark.filterwarnings("default")
def test_tinker_cookbook_lifts_what_is_lost_to_the_mean_of_its_group(root: str) -> None:
    pytest.importorskip("tinker_cookbook.tool_use", reason="tinker-cookbook is not installed")
    from tinker_cookbook.rl.data_processing import compute_advantages
    from tinker_cookbook.rl.rollouts import do_single_rollout
    from tinker_cookbook.rl.types import TrajectoryGroup

    from finer_rewards.adapters.tinker import build_group

    def policy(turns: list[str]) -> Any:
        from tinker_cookbook.completers import TokensWithLogprobs

        left = iter(turns)

        async def answer(observation: Any, stop: Any, **known: Any) -> Any:
            tokens = [ord(one) for one in next(left)]
            return TokensWithLogprobs(tokens=tokens, maybe_logprobs=[0.0] * len(tokens))

        return answer

    async def group(row: dict[str, str], turns: list[list[str]], **known: Any) -> Any:
        asked = [{"role": "user", "content": "Which a?"}]
        builder = build_group(row, asked, Renderer(), len(turns), **known)
        builder = pickle.loads(pickle.dumps(builder))
        envs = await builder.make_envs()
        played = [await do_single_rollout(policy(one), env) for one, env in zip(turns, envs, strict=True)]
        final = await builder.compute_group_rewards(played, envs)
        return TrajectoryGroup(played, [one for one, _ in final], [one for _, one in final])

    turns = [[text] for text in GROUP]
    good = asyncio.run(group(ROW, turns, **options(root)))
    assert good.get_total_rewards() == pytest.approx([3.0, 1.0, 4 / 3, 0.0])
    broken = asyncio.run(group(BROKEN, turns, **options(root)))
    advantages, none = compute_advantages([good, broken])
    assert abs(advantages[2]) < 1e-6 and none.abs().max() == 0
    assert advantages[0] > advantages[1] > advantages[3]
    last = good.trajectories_G[2].transitions[-1].metrics
    assert last["unscorable"] == 1.0 and {"acc", "execution_match", "executable"} <= set(last)
    spec = "execution_match() + each_call(executable()) + few_turns(most=2)"
    ran = asyncio.run(
        group(
            {"label": json.dumps({"gold": GOLD, "db": "shop"})},
            [['{"sql": "SELECT count(*) FROM t"}', GOLD], [GOLD]],
            tool={"max_calls": 2},
            **options(root, spec),
        )
    )
    expected = fr.Scorer(spec, fr.SQLite(root, workers=1)).score_one(
        fr.Sample(
            [
                {
                    "role": "assistant",
                    "tool_calls": [{"function": {"arguments": {"sql": "SELECT count(*) FROM t"}}}],
                },
                {"role": "tool", "content": "2"},
                {"role": "assistant", "content": GOLD},
            ],
            GOLD,
            "shop",
        )
    )
    assert ran.get_total_rewards()[0] == expected.value
    assert len(ran.trajectories_G[0].transitions) == 2


# --- rLLM ---


@pytest.mark.filterwarnings("default")
def test_rllm_leaves_out_what_is_lost(root: str) -> None:
    pytest.importorskip("rllm.eval.types", reason="rLLM 0.3.0 is not installed")
    transform = pytest.importorskip("rllm.trainer.algorithms.transform", reason="rLLM 0.3.0 is not installed")
    from rllm.eval._resolution import _adapt_legacy_evaluator
    from rllm.types import Episode, Step, Task, Trajectory

    from finer_rewards.adapters.rllm import RowEvaluator

    reward = _adapt_legacy_evaluator(RowEvaluator(**options(root)))
    task = Task(id="1", instruction="Which a?", metadata=ROW)
    episodes, found = [], []
    for index, text in enumerate(GROUP):
        chat = [{"role": "user", "content": "Which a?"}, {"role": "assistant", "content": text}]
        step = Step(chat_completions=chat, model_response=text)
        episode = Episode(id=f"1:{index}", trajectories=[Trajectory(name="solver", steps=[step])])
        output = reward.evaluate(task, episode)
        # As `AgentFlowEngine` does with what an evaluator returns.
        for trajectory in episode.trajectories:
            trajectory.reward = output.reward
        found.append((output.reward, output.is_correct, len(episode.trajectories)))
        assert {one.name for one in output.signals} == {"acc", "execution_match", "executable", "unscorable"}
        episodes.append(episode)
    assert found == [(3.0, True, 1), (1.0, False, 1), (0.0, False, 0), (0.0, False, 1)]
    (group,) = transform._build_trajectory_groups(episodes)
    assert [one.reward for one in group.trajectories] == [3.0, 1.0, 0.0]
    called = {"role": "assistant", "tool_calls": [{"function": {"arguments": {"sql": GOLD}}}]}
    told = {"role": "tool", "content": "1"}
    chat = [{"role": "user", "content": "?"}, called, told, {"role": "assistant", "content": GOLD}]
    episode = Episode(id="1:0", trajectories=[Trajectory(steps=[Step(chat_completions=chat)])])
    spec = "execution_match() + each_call(executable())"
    assert RowEvaluator(**options(root, spec)).evaluate(ROW, episode).reward == 2.0


# --- NeMo-RL ---


@pytest.mark.parametrize("ask", ["build_environment", "register_environment"])
def test_nemo_rl_is_named_where_it_is_missing(ask: str, monkeypatch: pytest.MonkeyPatch) -> None:
    nemo_rl._environment.cache_clear()
    monkeypatch.setitem(sys.modules, "nemo_rl", None)
    with pytest.raises(MissingExtraError, match=rf"{ask}\(\) needs nemo-rl. Run inside a checkout"):
        getattr(nemo_rl, ask)()


@pytest.mark.filterwarnings("default")
def test_nemo_rl_gets_the_mean_of_the_group(root: str) -> None:
    torch = pytest.importorskip("torch")
    pytest.importorskip("nemo_rl.environments.interfaces", reason="NeMo-RL 0.6 is not installed")
    from nemo_rl.algorithms.utils import calculate_baseline_and_std_per_prompt

    from finer_rewards.adapters.nemo_rl import FinerEnvironment

    environment = FinerEnvironment(options(root))
    logs = [
        [{"role": "user", "content": "Which a?"}, {"role": "assistant", "content": f"{text}<|im_end|>"}]
        for text in GROUP * 2
    ]
    truths = [{"gold": GOLD, "db": "shop"}] * 4 + [{"ground_truth": json.dumps(BROKEN)}] * 4
    found = environment.step(logs, truths)
    assert found.rewards.tolist() == pytest.approx([3.0, 1.0, 4 / 3, 0.0, 0.0, 0.0, 0.0, 0.0])
    assert found.terminateds.tolist() == [1.0] * 8 and found.metadata == truths
    prompts = torch.tensor([[1]] * 4 + [[2]] * 4)
    baseline, _ = calculate_baseline_and_std_per_prompt(
        prompts, found.rewards, torch.ones(8), leave_one_out_baseline=True
    )
    advantages = found.rewards - baseline
    assert abs(advantages[2]) < 1e-6 and advantages[4:].abs().max() == 0
    assert advantages[0] > advantages[1] > advantages[3]
    with pytest.raises(ConfigError, match="`extra_env_info` of a row should have a column 'db'"):
        environment.step(logs[:1], [{"gold": GOLD}])


@pytest.mark.slow
@pytest.mark.filterwarnings("default")
def test_nemo_rl_makes_the_actor_itself(root: str) -> None:
    ray = pytest.importorskip("ray")
    utils = pytest.importorskip("nemo_rl.environments.utils", reason="NeMo-RL 0.6 is not installed")
    from nemo_rl.distributed import ray_actor_environment_registry as registry

    from finer_rewards.adapters.nemo_rl import register_environment

    register_environment("ours")
    assert registry.get_actor_python_env("finer_rewards.adapters.nemo_rl.FinerActor")
    ray.init(num_cpus=1, include_dashboard=False)
    try:
        actor = utils.create_env("ours", options(root))
        log = [{"role": "user", "content": "?"}, {"role": "assistant", "content": GOLD}]
        found = ray.get(actor.step.remote([log], [ROW]))
        assert found.rewards.tolist() == [3.0]
        ray.get(actor.shutdown.remote())
    finally:
        ray.shutdown()
