"""`compute_score` and our reward manager in verl's own reward loop, and under its Ray."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import finer_rewards as fr

SPEC = "2 * execution_match() + executable()"
SCRIPT = "CREATE TABLE t (a INTEGER, b TEXT); INSERT INTO t VALUES (1, 'x'), (2, 'y');"
GOLD = "SELECT a FROM t"
KEYS = ["score", "acc", "execution_match", "executable", "unscorable"]


@pytest.fixture
def root(make_db: Callable[..., Path]) -> str:
    return str(make_db("shop", SCRIPT).parent)


DRIVER = """
import asyncio, json, os, sys
sys.path.insert(0, sys.argv[5])
import numpy as np, torch
from losing_workers import losing_workers
from hydra import compose, initialize_config_module
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast
from verl import DataProto
from finer_rewards.adapters.verl import overrides

SPEC = "2 * execution_match(mode='strict', empty='mask') + executable()"
root, folder, level, rows = sys.argv[1], sys.argv[2], sys.argv[3], json.loads(sys.argv[4])
words = sorted({word for row in rows for word in row["response"].split()} | {"--", "again"})
vocabulary = {word: index for index, word in enumerate(["<pad>", "<eos>", *words])}
backend = Tokenizer(models.WordLevel(vocabulary, unk_token="<pad>"))
backend.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
tokenizer = PreTrainedTokenizerFast(tokenizer_object=backend, pad_token="<pad>", eos_token="<eos>")
tokenizer.save_pretrained(folder)

def batch(more=""):
    ids = [tokenizer(row["response"] + (more if row is rows[-1] else "") + " <eos>")["input_ids"] for row in rows]
    width = max(map(len, ids))
    responses = torch.tensor([one + [0] * (width - len(one)) for one in ids])
    mask = torch.tensor([[1] + [1] * len(one) + [0] * (width - len(one)) for one in ids])
    prompts = torch.ones(len(rows), 1, dtype=torch.long)
    return DataProto.from_dict(
        tensors={"prompts": prompts, "responses": responses, "input_ids": torch.cat([prompts, responses], 1),
                 "attention_mask": mask},
        non_tensors={
            "data_source": np.array(["spider"] * len(rows), dtype=object),
            "reward_model": np.array([{"ground_truth": row["gold"]} for row in rows], dtype=object),
            "extra_info": np.array([{"db": row["db"]} for row in rows], dtype=object),
            # What the rollouts of verl's trainer add.
            "raw_prompt": np.array(
                [[{"role": "user", "content": f"Question {i // 2}?"}] for i in range(len(rows))], dtype=object
            ),
            "uid": np.array([f"group {i // 2}" for i in range(len(rows))], dtype=object),
            "global_steps": np.array([7] * len(rows)),
        },
    )

data = batch()
# What used up its time is not run again: where workers are lost, the endless query is another one.
anew = " -- again"
before = [dict(one) for one in data.non_tensor_batch["extra_info"]]

def config(name, root=root):
    with initialize_config_module("verl.trainer.config", version_base=None):
        return compose("ppo_trainer", overrides=[
            "actor_rollout_ref.rollout.name=vllm",
            f"actor_rollout_ref.model.path={folder}",
            "reward.num_workers=2",
            *overrides(SPEC, root, asynchronous=name.endswith("async"), manager=name.startswith("manager"),
                       timeout=4.0, workers=1, answer=None),
            *([f"reward.custom_reward_function.path={folder}/own.py"] if name == "manager of own" else []),
        ])

with open(f"{folder}/own.py", "w") as file:
    file.write('''
from finer_rewards.adapters._training_rows import question_in
from finer_rewards.adapters.verl import compute_score as score

def compute_score(extra_info, **call):
    asked = question_in(extra_info["prompt"])
    return {**score(extra_info=extra_info, **call), "told": [asked, extra_info["step"], extra_info["group"]]}
''')

out = {}
if level == "worker":
    from verl.experimental.reward_loop.reward_loop import RewardLoopWorker
    for name in ("manager", "manager async", "manager of own", "compute_score", "compute_score_async"):
        worker = RewardLoopWorker(config(name))
        records = worker.loop.run_until_complete(worker.compute_score_batch(data))
        out[name] = [record["reward_extra_info"] for record in records]
        assert [record["reward_score"] for record in records] == [record["score"] for record in out[name]]
        if name.startswith("manager"):
            assert [dict(one) for one in data.non_tensor_batch["extra_info"]] == before
    # Rows on which nothing can be learnt: said when the manager is made, or by the first samples.
    import pyarrow, pyarrow.parquet
    out["said"] = []
    there = rows[0]["db"]
    places = [({"db": "nowhere"}, root), ({"database": there}, root), ({"db": there}, f"{folder}/no/folder")]
    for extra, place in places:
        row = {"data_source": "spider", "prompt": [], "reward_model": {"ground_truth": "SELECT a FROM t"},
               "extra_info": extra}
        pyarrow.parquet.write_table(pyarrow.Table.from_pylist([row]), f"{folder}/rows.parquet")
        wrong = config("manager", place)
        wrong.data.train_files = f"{folder}/rows.parquet"
        try:
            RewardLoopWorker(wrong)
        except Exception as error:
            out["said"].append(str(error))
    for one in data.non_tensor_batch["extra_info"]:
        one["db"] = "nowhere"
    try:
        plain = config("compute_score")
        plain.reward.custom_reward_function.reward_kwargs.timeout = 5.0  # another scorer
        other = RewardLoopWorker(plain)
        other.loop.run_until_complete(other.compute_score_batch(data.repeat(2)))
    except Exception as error:
        out["said"].append(str(error))
    for one, row in zip(data.non_tensor_batch["extra_info"], rows):
        one["db"] = row["db"]
    with losing_workers() as killed:
        records = worker.loop.run_until_complete(worker.compute_score_batch(batch(anew)))
    out["lost"], out["killed"] = [record["reward_extra_info"] for record in records], len(killed)
else:
    import ray
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False,
             runtime_env={"env_vars": {"PYTHONPATH": os.environ.get("PYTHONPATH", "")}})
    from verl.experimental.reward_loop.reward_loop import RewardLoopManager
    loop = RewardLoopManager(config("manager async"))

    def scored(more=""):
        result = loop.compute_rm_score(batch(more))
        keys = result.meta_info["reward_extra_keys"]
        return {
            "keys": keys, "columns": {key: result.non_tensor_batch[key].tolist() for key in keys},
            "rewards": result.batch["rm_scores"].sum(1).tolist(),
        }

    out["calm"] = scored()
    with losing_workers() as killed:
        out["lost"] = scored(anew)
    out["killed"] = len(killed)
    out["after"] = scored()
    ray.shutdown()
print("RESULT " + json.dumps(out))
"""
SLOW = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT max(i) FROM n , t"
REAL = [
    ("SELECT a FROM t", GOLD, "shop"),
    ("<think> hm </think> SELECT b FROM t", GOLD, "shop"),
    ("no idea", GOLD, "shop"),
    ("SELECT a FROM t", "SELECT no_such FROM t", "shop"),
    ("SELECT a FROM t", GOLD, "no_such_database"),
    (SLOW, GOLD, "shop"),
]


def run_verl(root: str, folder: Path, level: str) -> Any:
    pytest.importorskip("ray")
    pytest.importorskip("verl.trainer")
    folder.mkdir()
    rows = [{"response": response, "gold": gold, "db": db} for response, gold, db in REAL]
    command = [
        sys.executable,
        "-c",
        DRIVER,
        root,
        str(folder),
        level,
        json.dumps(rows),
        str(Path(__file__).parent),
    ]
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, capture_output=True, text=True, timeout=400, env=environment)
    assert done.returncode == 0, done.stderr[-4000:]
    return json.loads(next(line for line in done.stdout.splitlines() if line.startswith("RESULT "))[7:])


def expected(root: str) -> list[list[float]]:
    with fr.Scorer(SPEC, fr.SQLite(root, workers=1, timeout=4.0)) as scorer:
        values = [score.value for score in scorer.score([fr.Sample(*row) for row in REAL])]
    assert values == [3.0, 1.0, 0.0, None, None, 0.0]
    rest = [[1, 1, 1, 0], [0, 0, 1, 0], [0, 0, 0, 0], [0, 0, 1, 1], [0, 0, 0, 1], [0, 0, 0, 0]]
    return [[0.0 if value is None else value, *more] for value, more in zip(values, rest, strict=True)]


def check_lost(rows: list[list[float]], root: str) -> None:
    """A sample whose worker was killed cannot be scored; all others are as ever."""
    for got, wanted in zip(rows, expected(root), strict=True):
        assert got == wanted or (got[0], got[-1]) == (0.0, 1.0)


@pytest.mark.slow
@pytest.mark.filterwarnings("default")
def test_the_reward_loop_worker_of_verl_gets_the_same_scores(root: str, tmp_path: Path) -> None:
    out = run_verl(root, tmp_path / "model", "worker")
    wanted = expected(root)
    for name in ("compute_score", "compute_score_async", "manager", "manager async"):
        assert [list(record) for record in out[name]] == [KEYS] * len(REAL)
        assert [list(record.values()) for record in out[name]] == wanted
    own = out["manager of own"]
    assert [[record[key] for key in KEYS] for record in own] == wanted
    assert [record["told"] for record in own] == [
        [f"Question {i // 2}?", 7, f"group {i // 2}"] for i in range(len(REAL))
    ]
    by_file, by_column, by_path, by_samples = out["said"]
    assert "nowhere" in by_file and "for none of the first 8 samples" in by_samples
    assert "'db'" in by_column and "no/folder" in by_path
    assert out["killed"] >= 1
    check_lost([[record[key] for key in KEYS] for record in out["lost"]], root)


@pytest.mark.slow
@pytest.mark.filterwarnings("default")
def test_the_reward_stage_of_verl_under_ray_gets_the_same_scores(root: str, tmp_path: Path) -> None:
    out = run_verl(root, tmp_path / "model", "ray")
    for name in ("calm", "lost", "after"):
        got = out[name]
        assert got["keys"] == KEYS
        rows = [list(values) for values in zip(*(got["columns"][key] for key in KEYS), strict=True)]
        assert got["rewards"] == [row[0] for row in rows]
        if name == "lost":
            check_lost(rows, root)
        else:
            assert rows == expected(root)
    assert out["killed"] >= 1
