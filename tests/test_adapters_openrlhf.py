"""`openrlhf_reward`, called as OpenRLHF 0.11 calls it; the slow tests run OpenRLHF's own executor over it."""

from __future__ import annotations

import importlib.util
import json
import os
import pickle
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import finer_rewards as fr
from finer_rewards.adapters.openrlhf import (
    build,
    build_agent,
    openrlhf_reward,
    response_of,
    write_shim,
)
from finer_rewards.errors import ConfigError, MissingExtraError
from finer_rewards.parsing import without_endings

SPEC = "2 * execution_match() + executable()"
SCRIPT = "CREATE TABLE t (a INTEGER, b TEXT); INSERT INTO t VALUES (1, 'x'), (2, 'y');"
GOLD = "SELECT a FROM t"
LABEL = {"gold": GOLD, "db": "shop"}
PROMPT = "<|im_start|>user\nWhich a?<|im_end|>\n<|im_start|>assistant\n"
LOGS = {"execution_match", "executable", "unscorable", "reward_error"}
ROWS: list[tuple[str, Any, float, float]] = [  # response, label, reward, unscorable
    ("<think>All.</think>SELECT a FROM t", LABEL, 3.0, 0.0),
    ("SELECT a FROM t", json.dumps(LABEL), 3.0, 0.0),
    ("SELECT b FROM t", LABEL, 1.0, 0.0),
    ("no idea", LABEL, 0.0, 0.0),
    ("SELECT a FROM t", {**LABEL, "gold": "SELECT no_such FROM t"}, 0.0, 1.0),
    ("SELECT a FROM t", {**LABEL, "db": "no_such_database"}, 0.0, 1.0),
    ("SELECT a FROM t", {**LABEL, "db": None}, 0.0, 1.0),
    ("SELECT a FROM t", "", 0.0, 1.0),
    ("SELECT a FROM t", "SELECT a FROM t", 0.0, 1.0),
    ("SELECT a FROM t", "[1]", 0.0, 1.0),
    ("SELECT a FROM t", None, 0.0, 1.0),
]


@pytest.fixture
def root(make_db: Callable[..., Path]) -> str:
    return str(make_db("shop", SCRIPT).parent)


@pytest.fixture
def scorer(root: str) -> Iterator[fr.Scorer]:
    with fr.Scorer(SPEC, fr.SQLite(root, workers=1)) as scorer:
        yield scorer


def call(function: Any, response: str, label: Any) -> Any:
    return function([PROMPT + response + "<|im_end|>"], [PROMPT], [label])


@pytest.mark.parametrize(("response", "label", "reward", "unscorable"), ROWS)
def test_floats_under_the_same_keys_whatever_comes(
    scorer: fr.Scorer, response: str, label: Any, reward: float, unscorable: float
) -> None:
    reply = call(openrlhf_reward(scorer, best=3), response, label)
    assert set(reply) == {"rewards", "scores", "extra_logs"}
    assert set(reply["extra_logs"]) == LOGS
    assert all(
        type(value) is float for value in (reply["rewards"], reply["scores"], *reply["extra_logs"].values())
    )
    assert reply["rewards"] == reward
    assert reply["scores"] == pytest.approx(reward / 3)
    assert (reply["extra_logs"]["unscorable"], reply["extra_logs"]["reward_error"]) == (unscorable, 0.0)


def test_scores_stay_between_0_and_1(root: str) -> None:
    for spec, best, expected in (("3 * executable()", 2.0, 1.0), ("-1 * executable()", 1.0, 0.0)):
        assert call(build(spec, root=root, best=best, workers=1), GOLD, LABEL)["scores"] == expected


def test_what_cannot_be_scored_gets_the_fallback_and_says_so_once(
    scorer: fr.Scorer, caplog: pytest.LogCaptureFixture
) -> None:
    function = openrlhf_reward(scorer, fallback=-1)
    replies = [call(function, GOLD, {**LABEL, "gold": "SELECT no_such FROM t"}) for _ in range(3)]
    assert [reply["rewards"] for reply in replies] == [-1.0] * 3
    assert [record.levelname for record in caplog.records] == ["WARNING"]


def test_an_error_is_logged_and_counted_not_raised(
    scorer: fr.Scorer, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def burst(samples: Any) -> Any:
        raise RuntimeError("disk on fire")

    monkeypatch.setattr(scorer, "observe", burst)
    reply = call(openrlhf_reward(scorer), GOLD, LABEL)
    assert reply["rewards"] == 0.0
    assert set(reply["extra_logs"]) == LOGS
    assert reply["extra_logs"]["reward_error"] == reply["extra_logs"]["unscorable"] == 1.0
    assert "disk on fire" in caplog.text
    assert openrlhf_reward(scorer)([GOLD], [], [LABEL])["extra_logs"]["reward_error"] == 1.0


def test_several_at_once_give_lists(scorer: fr.Scorer) -> None:
    reply = openrlhf_reward(scorer)([PROMPT + GOLD, PROMPT + "no"], [PROMPT] * 2, [LABEL, "{"])
    assert reply["rewards"] == [3.0, 0.0]
    assert reply["extra_logs"]["unscorable"] == [0.0, 1.0]


def test_many_threads(scorer: fr.Scorer) -> None:
    function = openrlhf_reward(scorer)
    with ThreadPoolExecutor(16) as pool:
        replies = pool.map(lambda row: call(function, row[0], row[1])["rewards"], ROWS * 8)
    assert list(replies) == [reward for _, _, reward, _ in ROWS] * 8


def test_a_dataset_is_checked_before_training(scorer: fr.Scorer) -> None:
    function = openrlhf_reward(scorer)
    good = {"input": "Which a?", "label": LABEL}
    assert function.check([good, {**good, "label": json.dumps(LABEL)}]) == 2
    assert function.check([{"input": "?", "truth": LABEL}], label="truth") == 1
    for row, words in [
        ({"input": "?", "labels": LABEL}, "column 'label', but it has input, labels. Did you mean 'labels'"),
        ({"input": "?", "label": GOLD}, "Row 1 of the dataset cannot be used.*mapping or its JSON"),
        ({"input": "?", "label": ""}, "Row 1 of the dataset cannot be used"),
        ({"input": "?", "label": {"gold": GOLD}}, "The label should have a column 'db'"),
        (
            {"input": "?", "label": {**LABEL, "gold": None}},
            "Row 1 of the dataset has no gold in 'label.gold'",
        ),
        ({"input": "?", "label": {**LABEL, "db": "no_such_database"}}, "no_such_database"),
    ]:
        with pytest.raises(ConfigError, match=words):
            function.check([good, row])


def test_it_pickles(scorer: fr.Scorer) -> None:
    copy = pickle.loads(pickle.dumps(openrlhf_reward(scorer, best=3)))
    with copy.scorer:
        assert call(copy, GOLD, LABEL)["rewards"] == 3.0


# --- where the response starts and ends ---


@given(
    prompt=st.text(max_size=80),
    response=st.text(min_size=1, max_size=40),
    ending=st.sampled_from(["", "<|im_end|>", "<end_of_turn>", "</s>\n<pad>"]),
)
def test_an_unchanged_prompt_is_taken_off_exactly(prompt: str, response: str, ending: str) -> None:
    assert response_of(prompt + response + ending, prompt) == without_endings(response)


@given(kept=st.integers(12, 250), response=st.sampled_from([GOLD, "<think>x</think>" + GOLD]))
def test_a_prompt_cut_at_the_front_is_found_by_its_end(kept: int, response: str) -> None:
    long = "Table t has a column. " * 9 + PROMPT
    assert response_of(long[-kept:] + response + "<|im_end|>", long) == response


def test_a_prompt_that_decodes_differently_is_found_by_its_end() -> None:
    decoded = "Which  é ? " + PROMPT
    assert response_of(decoded + GOLD, "Which é? " + PROMPT) == GOLD


def test_several_endings_are_taken_off() -> None:
    assert response_of(PROMPT + GOLD + "<|im_end|>\n<|endoftext|><|endoftext|>", PROMPT) == GOLD
    assert response_of(PROMPT + GOLD + "[END]", PROMPT, ["[END]"]) == GOLD


# --- the file OpenRLHF loads ---


def load_as_openrlhf_does(path: Path) -> Any:
    spec = importlib.util.spec_from_file_location("reward_func", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.reward_func


def test_the_shim_is_two_lines_and_works(root: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(root)
    path = write_shim("reward.py", SPEC, root=".", best=3, workers=1)
    assert path.is_absolute()
    assert len([line for line in path.read_text().splitlines() if line]) == 2
    monkeypatch.chdir("/")
    assert call(load_as_openrlhf_does(path), GOLD, LABEL)["rewards"] == 3.0


def test_the_agent_needs_openrlhf(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "openrlhf", None)
    with pytest.raises(MissingExtraError, match="Install it as its own documentation says"):
        build_agent()


def test_a_shim_names_a_server_as_it_was_named(tmp_path: Path) -> None:
    pytest.importorskip("psycopg")
    dsn = "postgresql://reader@nowhere/shop"
    assert f"root={dsn!r}" in write_shim(tmp_path / "reward.py", SPEC, root=dsn).read_text()


def test_a_wrong_shim_is_not_written(tmp_path: Path) -> None:
    for name, options, words in (
        ("reward.txt", {}, "end in .py"),
        ("reward.py", {"tiemout": 3}, "Did you mean 'timeout'"),
        ("reward.py", {"best": 0}, "above 0"),
    ):
        with pytest.raises(ConfigError, match=words):
            write_shim(tmp_path / name, SPEC, **options)
    assert list(tmp_path.iterdir()) == []


# --- OpenRLHF itself ---

DRIVER = """
import asyncio, importlib.util, json, os, sys, types
sys.path.insert(0, sys.argv[4])
from losing_workers import losing_workers
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast
from openrlhf.utils.agent import AgentExecutorBase, SingleTurnAgentExecutor

shim, rows = sys.argv[1], json.loads(sys.argv[2])
prompt = "<|im_start|> user : which a ? <|im_end|> <|im_start|> assistant :"
words = sorted({word for row in rows for word in row["response"].split()} | {"--", "again", *prompt.split()})
vocabulary = {word: index for index, word in enumerate(["<pad>", "<unk>", *words])}
backend = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
backend.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
tokenizer = PreTrainedTokenizerFast(tokenizer_object=backend, pad_token="<pad>", eos_token="<|im_end|>")

class Engine:
    def __init__(self, text):
        self.text = text

    async def generate(self, prompt_token_ids, params, multi_modal_data=None):
        tokens = tokenizer(self.text + " <|im_end|>")["input_ids"]
        one = types.SimpleNamespace(token_ids=tokens, text=self.text, finish_reason="stop", logprobs=None)
        return types.SimpleNamespace(outputs=[one])

def load_agent(path):
    spec = importlib.util.spec_from_file_location("agent_module", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert issubclass(module.AgentExecutor, AgentExecutorBase)
    return module.AgentExecutor()

async def main(kind, more=""):
    executor = load_agent(shim) if kind == "agent" else SingleTurnAgentExecutor([shim])
    sampling = types.SimpleNamespace(max_tokens=64, logprobs=None)
    return await asyncio.gather(*[
        executor.execute(prompt, row["label"], sampling, limit, tokenizer,
                         Engine(row["response"] + (more if row is rows[-1] else "")))
        for row in rows for limit in (256, 68)  # the second leaves room for 4 tokens of the prompt
    ])

class RolloutActor:
    # As the actor of a vLLM engine: one process with its own copy of the reward, many samples at once.
    async def score(self, kind, more=""):
        outputs = await main(kind, more)
        return os.getpid(), [[one["reward"], one["extra_logs"]["unscorable"]] for one in outputs]

if sys.argv[3] == "ray":
    import ray
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, object_store_memory=100_000_000,
             runtime_env={"env_vars": {"PYTHONPATH": os.environ.get("PYTHONPATH", "")}})
    actors = [ray.remote(num_cpus=1)(RolloutActor).remote() for _ in range(2)]
    calm = ray.get([actor.score.remote("function") for actor in actors])
    # What used up its time is not run again: the endless query is another one here.
    with losing_workers() as killed:
        lost = ray.get(
            [actor.score.remote(kind, " -- again") for actor in actors for kind in ("function", "agent")], timeout=120
        )
    ray.shutdown()
    print("RESULT " + json.dumps({"calm": calm, "lost": lost, "killed": len(killed)}))
    sys.exit()

outputs = asyncio.run(main(sys.argv[3]))

class SamplingParams:
    pass

vllm = types.ModuleType("vllm")
vllm.SamplingParams = SamplingParams
sys.modules["vllm"] = vllm
engine = types.ModuleType("openrlhf.trainer.ray.vllm_engine")  # needs a GPU build of vLLM
engine.batch_vllm_engine_call = None
package = types.ModuleType("openrlhf.trainer.ray")
package.__path__ = []
sys.modules["openrlhf.trainer.ray"] = package
sys.modules["openrlhf.trainer.ray.vllm_engine"] = engine
from openrlhf.trainer.ppo_utils.experience import Experience
from openrlhf.trainer.ppo_utils.samples_generator import SamplesGenerator

single = [SamplesGenerator._process_response_into_experience(None, one, max_len=256) for one in outputs]
merged = Experience.concat_experiences(single, 0)
print("RESULT " + json.dumps({
    "rewards": merged.rewards.tolist(),
    "scores": merged.scores.tolist(),
    "info": {name: value.tolist() for name, value in merged.info.items()},
}))
"""


SLOW = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT max(i) FROM n , t"
REAL = [*ROWS[:8], (SLOW, LABEL, 0.0, 0.0)]


def run_openrlhf(root: str, folder: Path, rows: list[tuple[str, Any, float, float]], kind: str) -> Any:
    pytest.importorskip("ray")
    pytest.importorskip("openrlhf.utils")
    shim = write_shim(
        folder / "reward.py", SPEC, agent=kind == "agent", root=root, best=3, timeout=4.0, workers=1
    )
    # A file may hold both, whichever OpenRLHF asks for.
    agent = shim.read_text().replace("import build", "import build_agent").replace(
        "reward_func = build", "AgentExecutor = build_agent"
    )  # fmt: skip
    shim.write_text(shim.read_text() + (agent if kind == "ray" else ""))
    text = json.dumps([{"response": response, "label": label} for response, label, _, _ in rows])
    done = subprocess.run(
        [sys.executable, "-c", DRIVER, str(shim), text, kind, str(Path(__file__).parent)],
        capture_output=True, text=True, timeout=400, env={**os.environ, "HF_HUB_OFFLINE": "1"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-4000:]
    return json.loads(next(line for line in done.stdout.splitlines() if line.startswith("RESULT "))[7:])


@pytest.mark.slow
@pytest.mark.filterwarnings("default")
@pytest.mark.parametrize("kind", ["function", "agent"])
def test_the_executor_of_openrlhf_gets_the_same_rewards(root: str, tmp_path: Path, kind: str) -> None:
    rows = REAL
    out = run_openrlhf(root, tmp_path, rows, kind)
    twice = [row for row in rows for _ in range(2)]
    assert out["rewards"] == [reward for _, _, reward, _ in twice]
    assert out["scores"] == pytest.approx([reward / 3 for _, _, reward, _ in twice])
    assert set(out["info"]) >= LOGS
    assert out["info"]["unscorable"] == [unscorable for _, _, _, unscorable in twice]
    assert sum(out["info"]["reward_error"]) == 0


@pytest.mark.slow
@pytest.mark.filterwarnings("default")
def test_two_ray_actors_get_the_same_rewards_also_while_workers_die(root: str, tmp_path: Path) -> None:
    out = run_openrlhf(root, tmp_path, REAL, "ray")
    wanted = [[reward, unscorable] for _, _, reward, unscorable in REAL for _ in range(2)]
    assert len({process for process, _ in out["calm"]}) == 2
    for _, got in out["calm"]:
        assert got == wanted
    assert out["killed"] >= 1
    assert len(out["lost"]) == 4
    for _, got in out["lost"]:
        assert all(one in (right, [0.0, 1.0]) for one, right in zip(got, wanted, strict=True))


def write_rows(folder: Path, label: Any) -> Path:
    path = folder / "train.jsonl"
    path.write_text(json.dumps({"input": "?", "label": label}) + "\n")
    return path


WRONG = {
    "a missing database": {"gold": GOLD, "db": "no_such_db"},
    "a wrong column": {"query": GOLD, "db": "shop"},
}


@pytest.mark.parametrize("what", WRONG)
def test_a_reward_that_names_its_dataset_checks_it_when_it_is_loaded(
    root: str, tmp_path: Path, what: str
) -> None:
    rows = write_rows(tmp_path, LABEL)
    shim = write_shim(tmp_path / "reward.py", SPEC, root=root, dataset=rows)
    assert load_as_openrlhf_does(shim)([GOLD], [""], [LABEL])["rewards"] == 3.0
    write_rows(tmp_path, WRONG[what])
    for load in (
        lambda: load_as_openrlhf_does(shim),
        lambda: write_shim(shim, SPEC, root=root, dataset=rows),
    ):
        with pytest.raises(ConfigError, match=r"no_such_db|should have a column 'gold'"):
            load()
    with pytest.raises(ConfigError, match="is not there"):
        write_shim(shim, SPEC, root=str(tmp_path / "nowhere"), dataset=rows)


@pytest.mark.slow
@pytest.mark.filterwarnings("default")
@pytest.mark.parametrize("what", [*WRONG, "a wrong path"])
def test_openrlhf_does_not_start_on_rows_that_cannot_be_used(root: str, tmp_path: Path, what: str) -> None:
    pytest.importorskip("ray")
    pytest.importorskip("openrlhf.utils")
    databases = shutil.copytree(root, tmp_path / "databases")
    shim = write_shim(tmp_path / "reward.py", SPEC, root=databases, dataset=write_rows(tmp_path, LABEL))
    if what == "a wrong path":
        shutil.rmtree(databases)
    else:
        write_rows(tmp_path, WRONG[what])
    program = "import sys; from openrlhf.utils.agent import SingleTurnAgentExecutor as E; E([sys.argv[1]])"
    done = subprocess.run(
        [sys.executable, "-c", program, str(shim)], capture_output=True, text=True, timeout=400,
        env={**os.environ, "HF_HUB_OFFLINE": "1"},
    )  # fmt: skip
    assert done.returncode == 1
    kind = "DataError" if what == "a wrong path" else "ConfigError"
    assert f"finer_rewards.errors.{kind}: " in done.stderr.splitlines()[-1]
