"""The adapters to environments: verifiers, SkyRL-gym and NeMo-Gym, each inside the real package where it is there."""

from __future__ import annotations

import asyncio
import json
import pickle
import sys
import types
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import finer_rewards as fr
from finer_rewards.adapters import nemo_gym, scorers, skyrl, verifiers
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
    return {"spec": SPEC, "root": root, "deadline_floor": 0.2, "workers": 1}


def expected(root: str) -> list[float]:
    with fr.Scorer(SPEC, fr.SQLite(root, workers=1, deadline_floor=0.2)) as scorer:
        samples = [
            fr.Sample(text, tuple(gold) if isinstance(gold, list) else gold, db) for text, gold, db in ROWS
        ]
        values = [score.value for score in scorer.score(samples)]
    assert values == [3.0, 1.0, 0.0, 0.0, 3.0, None, None, 0.0]
    return [0.0 if value is None else value for value in values]


@pytest.mark.parametrize(
    ("module", "build", "package"),
    [
        (skyrl, "build_environment", "skyrl_gym"),
        (verifiers, "build_tasks", "verifiers"),
        (nemo_gym, "build_server", "nemo_gym"),
    ],
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
    lines = [{"prompt": PROMPT, "gold_sql": gold, "db_id": db, "more": 1} for _, gold, db in ROWS]
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


@pytest.mark.filterwarnings("default")
def test_the_plugged_function_of_verifiers(root: str) -> None:
    vf = pytest.importorskip("verifiers.v1")

    class Data(vf.TaskData):  # type: ignore[misc]
        gold: str
        db: str
        finer: dict[str, Any]

    class Mine(vf.Task[Data, vf.State, vf.TaskConfig]):  # type: ignore[misc]
        pass

    plugged = {"finer": {"fn": "finer_rewards.adapters.verifiers:finer", "weight": 2.0}}
    task = Mine(
        Data(gold=GOLD, db="shop", prompt=PROMPT, finer=options(root)), vf.TaskConfig(rewards=plugged)
    )
    trace = trace_of(task, GOLD)
    asyncio.run(task.score(trace))
    assert (trace.rewards["finer"].score, trace.rewards["finer"].value) == (3.0, 6.0)


@pytest.mark.filterwarnings("default")
def test_lines_that_verifiers_cannot_use_are_named_before_the_first_task(root: str, tmp_path: Path) -> None:
    pytest.importorskip("verifiers.v1")
    made = verifiers.build_tasks()
    file = tmp_path / "rows.jsonl"
    for line in ("{", "[]", '{"prompt": "x", "gold_sql": "y"}', '{"gold_sql": "y", "db_id": "shop"}'):
        file.write_text('{"prompt": "x", "gold_sql": "y", "db_id": "shop"}\n' + line + "\n")
        with pytest.raises(ConfigError, match="Line 2 of"):
            list(made.FinerTaskset(made.FinerTasksetConfig(path=str(file))))
    with pytest.raises(ConfigError, match="should be a file"):
        list(made.FinerTaskset(made.FinerTasksetConfig(path=str(tmp_path / "none.jsonl"))))


# --- NeMo-Gym, which needs a newer Python than most have: its published interface stands in for it elsewhere ---


def nemo_interface() -> dict[str, types.ModuleType]:
    """Return the classes of `nemo_gym.base_resources_server` 0.7.0 that the adapter builds on, bare."""
    from pydantic import BaseModel, ConfigDict

    class Response(BaseModel):
        output_text: str

    class BaseVerifyRequest(BaseModel):
        model_config = ConfigDict(populate_by_name=True)
        responses_create_params: dict[str, Any]
        response: Response

    class BaseMultiRewardVerifyResponse(BaseVerifyRequest):
        reward: float
        mask_sample: bool = False
        failure_kind: str | None = None
        failure_reason: str | None = None
        reward_components: dict[str, float]

    class BaseResourcesServerConfig(BaseModel):
        name: str = "finer"

    class SimpleResourcesServer(BaseModel):
        config: BaseResourcesServerConfig

    for one in (BaseVerifyRequest, BaseMultiRewardVerifyResponse):
        one.model_rebuild(_types_namespace={"Any": Any, "Response": Response})
    package, module = types.ModuleType("nemo_gym"), types.ModuleType("nemo_gym.base_resources_server")
    for one in (
        BaseVerifyRequest,
        BaseMultiRewardVerifyResponse,
        BaseResourcesServerConfig,
        SimpleResourcesServer,
    ):
        setattr(module, one.__name__, one)
    return {"nemo_gym": package, "nemo_gym.base_resources_server": module}


def test_nemo_gym_gets_the_same_scores(root: str, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("pydantic")
    for name, module in nemo_interface().items():
        monkeypatch.setitem(sys.modules, name, module)
    nemo_gym._classes.cache_clear()
    try:
        made = nemo_gym.build_server()
        known = options(root)
        config = made.FinerServerConfig(spec=known.pop("spec"), root=known.pop("root"), options=known)
        server = made.FinerServer(config=config)

        async def verify() -> list[Any]:
            asked = {"input": PROMPT}
            requests = [
                made.FinerVerifyRequest(
                    responses_create_params=asked,
                    response={"output_text": text},
                    gold=gold,
                    db=db,
                    difficulty="easy",
                )
                for text, gold, db in ROWS
            ]
            return list(await asyncio.gather(*(server.verify(request) for request in requests)))

        replies = asyncio.run(verify())
    finally:
        nemo_gym._classes.cache_clear()
    assert [reply.reward for reply in replies] == expected(root)
    assert all(set(reply.reward_components) == KEYS for reply in replies)
    assert [reply.mask_sample for reply in replies] == [False] * 5 + [True, True, False]
    assert [reply.failure_kind for reply in replies[4:7]] == [
        None, "finer_rewards:gold_failed", "finer_rewards:unavailable"
    ]  # fmt: skip
    assert "no_such_database" in replies[6].failure_reason
    assert replies[0].difficulty == "easy"


@pytest.mark.filterwarnings("default")
def test_the_server_of_nemo_gym_itself_answers(root: str) -> None:
    pytest.importorskip("nemo_gym.base_resources_server")
    testing = pytest.importorskip("fastapi.testclient")
    from unittest.mock import MagicMock

    from nemo_gym.server_utils import ServerClient

    nemo_gym._classes.cache_clear()
    made, known = nemo_gym.build_server(), options(root)
    config = made.FinerServerConfig(
        host="127.0.0.1", port=1, entrypoint="app.py", name="finer", options=known,
        spec=known.pop("spec"), root=known.pop("root"),
    )  # fmt: skip
    server = made.FinerServer(config=config, server_client=MagicMock(spec=ServerClient))
    client = testing.TestClient(server.setup_webserver())

    def verify(text: str, gold: Any, db: Any) -> Any:
        part = {"type": "output_text", "text": text, "annotations": []}
        message = {
            "id": "m", "type": "message", "role": "assistant", "status": "completed", "content": [part]
        }  # fmt: skip
        response = {
            "id": "r", "created_at": 0, "model": "m", "object": "response", "output": [message],
            "parallel_tool_calls": False, "tool_choice": "auto", "tools": [],
        }  # fmt: skip
        asked = {"responses_create_params": {"input": PROMPT}, "response": response, "gold": gold, "db": db}
        reply = client.post("/verify", json=asked)
        assert reply.status_code == 200, reply.text
        return reply.json()

    replies = [verify(*row) for row in ROWS]
    assert [reply["reward"] for reply in replies] == expected(root)
    assert [reply["mask_sample"] for reply in replies] == [False] * 5 + [True, True, False]
    assert replies[5]["failure_kind"] == "finer_rewards:gold_failed"
    assert client.post("/verify", json={"gold": GOLD}).status_code == 422
