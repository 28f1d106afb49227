"""The adapters to environments: verifiers, SkyRL-gym and NeMo-Gym, each inside the real package where it is there."""

from __future__ import annotations

import asyncio
import json
import pickle
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import finer_rewards as fr
from finer_rewards.adapters import scorers, skyrl, verifiers
from finer_rewards.errors import ConfigError, MissingExtraError

SPEC = "2 * execution_match() + executable()"
SCRIPT = "CREATE TABLE t (a INTEGER, b TEXT); INSERT INTO t VALUES (1, 'x'), (2, 'y');"
GOLD = "SELECT a FROM t"
SLOW = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT max(i) FROM n, t"
PROMPT = [{"role": "user", "content": "Which a?"}]
ROWS: list[tuple[str, Any, Any]] = [  # completion, gold, db
    ("<think>All.</think>SELECT a FROM t", GOLD, "shop"),
    ("SELECT b FROM t", GOLD, "shop"),
    ("", GOLD, "shop"),
    ("no idea", GOLD, "shop"),
    (GOLD, ["SELECT b FROM t", GOLD], "shop"),
    (GOLD, "SELECT no_such FROM t", "shop"),
    (GOLD, GOLD, "no_such_database"),
    (SLOW, GOLD, "shop"),
]
KEYS = {"acc", "execution_match", "executable", "unscorable"}


@pytest.fixture
def root(make_db: Callable[..., Path]) -> Iterator[str]:
    yield str(make_db("shop", SCRIPT).parent)
    scorers._scorer.cache_clear()


def options(root: str) -> dict[str, Any]:
    return {"spec": SPEC, "root": root, "timeout": 1.0, "workers": 1}


def expected(root: str) -> list[float]:
    with fr.Scorer(SPEC, fr.SQLite(root, workers=1, timeout=1.0)) as scorer:
        samples = [
            fr.Sample(text, tuple(gold) if isinstance(gold, list) else gold, db) for text, gold, db in ROWS
        ]
        values = [score.value for score in scorer.score(samples)]
    assert values == [3.0, 1.0, 0.0, 0.0, 3.0, None, None, 0.0]
    return [0.0 if value is None else value for value in values]


@pytest.mark.parametrize(
    ("module", "build", "package"),
    [(skyrl, "build_environment", "skyrl_gym"), (verifiers, "build_tasks", "verifiers")],
)
def test_a_missing_package_is_named(
    monkeypatch: pytest.MonkeyPatch, module: Any, build: str, package: str
) -> None:
    cached = module._environment if module is skyrl else module._classes
    cached.cache_clear()
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(MissingExtraError, match="pip install"):
        getattr(module, build)()
    with pytest.raises(AttributeError, match="no_such"):
        module.no_such  # noqa: B018


# --- SkyRL-gym ---


def play(root: str, text: str, gold: Any, db: Any, **more: Any) -> Any:
    gym = pytest.importorskip("skyrl_gym")
    if "finer_rewards" not in gym.envs.registration.registry:
        skyrl.register_environment()
    extras = {"reward_spec": {"method": "rule", "ground_truth": gold}, "extra_info": {"db": db}, **more}
    environment = gym.make("finer_rewards", env_config=options(root), extras=extras)
    assert environment.init(PROMPT) == (PROMPT, {})
    step = environment.step(text)
    environment.close()
    return environment, step


@pytest.mark.filterwarnings("default")
def test_skyrl_gym_gets_the_same_scores(root: str) -> None:
    pytest.importorskip("skyrl_gym")
    steps = [play(root, *row)[1] for row in ROWS]
    assert [step["reward"] for step in steps] == expected(root)
    assert all(
        type(step["reward"]) is float and step["done"] and step["observations"] == [] for step in steps
    )
    assert all(set(step["metadata"]) == {"score", *KEYS} for step in steps)
    assert [step["metadata"]["unscorable"] for step in steps] == [0, 0, 0, 0, 0, 1, 1, 0]
    environment, step = play(root, GOLD, json.dumps({"gold": GOLD, "db": "shop"}), None)
    assert step["reward"] == 3.0
    metrics = [environment.get_metrics(), play(root, "no", GOLD, "shop")[0].get_metrics()]
    assert skyrl.FinerEnvironment.aggregate_metrics(metrics)["acc"] == 0.5


@pytest.mark.filterwarnings("default")
def test_a_row_that_skyrl_cannot_use_says_so_when_it_is_made(root: str) -> None:
    pytest.importorskip("skyrl_gym")
    with pytest.raises(ConfigError, match="reward_spec"):
        skyrl.FinerEnvironment(options(root), {"gold": GOLD})
    with pytest.raises(ConfigError, match="'db', but it has gold"):
        skyrl.FinerEnvironment(options(root), {"reward_spec": {"ground_truth": GOLD}})
    with pytest.raises(ConfigError, match="Did you mean 'timeout'"):
        skyrl.FinerEnvironment(
            {**options(root), "tiemout": 3}, {"reward_spec": {"ground_truth": GOLD}, "db": "shop"}
        )


# --- verifiers ---


def trace_of(task: Any, text: str) -> Any:
    vf = pytest.importorskip("verifiers.v1")
    from verifiers.v1.configs.agent import AgentConfig
    from verifiers.v1.graph import MessageNode
    from verifiers.v1.trace import AgentInfo, Trace, TraceTask

    nodes = [
        MessageNode(message=vf.UserMessage(content="Which a?")),
        MessageNode(message=vf.AssistantMessage(content=text), parent=0, sampled=True),
    ]
    return Trace(
        agent=AgentInfo(config=AgentConfig()),
        task=TraceTask(type=type(task).__name__, data=task.data),
        nodes=nodes,
    )


@pytest.mark.filterwarnings("default")
def test_verifiers_gets_the_same_scores(root: str, tmp_path: Path) -> None:
    pytest.importorskip("verifiers.v1")
    file = tmp_path / "rows.jsonl"
    lines = [{"prompt": PROMPT, "gold": gold, "db": db, "more": 1} for _, gold, db in ROWS]
    file.write_text("".join(json.dumps(line) + "\n" for line in lines))
    made = verifiers.build_tasks()
    known = options(root)
    config = made.FinerTaskConfig(spec=known.pop("spec"), root=known.pop("root"), options=known)
    tasks = list(made.FinerTaskset(made.FinerTasksetConfig(path=str(file), task=config)))
    traces = [trace_of(task, text) for task, (text, _, _) in zip(tasks, ROWS, strict=True)]

    async def score() -> None:
        await asyncio.gather(*(task.score(trace) for task, trace in zip(tasks, traces, strict=True)))

    asyncio.run(score())
    assert [trace.rewards["finer"].value for trace in traces] == expected(root)
    assert all(set(trace.metrics) == {f"finer/{key}" for key in KEYS} for trace in traces)
    assert [trace.metrics["finer/unscorable"] for trace in traces] == [0, 0, 0, 0, 0, 1, 1, 0]
    assert pickle.loads(pickle.dumps(tasks[0].data)) == tasks[0].data
