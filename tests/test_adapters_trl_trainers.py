"""`TRLReward` inside TRL's own trainers: RLOO, separate functions, chat prompts, AsyncGRPO's spawned worker."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

EXAMPLES = Path(__file__).parent.parent / "examples"

DRIVER = """
import asyncio, json, multiprocessing.connection, os, sys, tempfile, types
sys.path[:0] = [sys.argv[1], sys.argv[4]]
import torch
import trl_tiny
from datasets import Dataset
from trl import GRPOConfig, GRPOTrainer, RLOOConfig, RLOOTrainer
import finer_rewards as fr
from finer_rewards.adapters.trl import TRLReward, reward_weights

SLOW = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT max(i) FROM n, employee"


def config(kind, folder, **more):
    common = dict(
        output_dir=folder, max_steps=2, per_device_train_batch_size=16, num_generations=4, max_completion_length=16,
        use_cpu=True, bf16=False, gradient_checkpointing=False, dataloader_pin_memory=False, save_strategy="no",
        report_to=[], disable_tqdm=True, logging_steps=1, seed=0,
    )
    return kind(**{**common, **more})


def parts(folder):
    trl_tiny.build_database(folder)
    torch.manual_seed(0)
    model, tokenizer = trl_tiny.build_model()
    trl_tiny.warm_up(model, tokenizer, 50)
    rows = [{"prompt": q.text, "gold": q.sql, "db": "company"} for q in list(trl_tiny.questions())[:4]]
    return model, tokenizer, rows, fr.SQLite(folder, timeout=2, workers=1)


def record(trainer):
    return {
        "history": [entry for entry in trainer.state.log_history if "reward" in entry],
        "rewards": {name: list(values) for name, values in trainer._logs["rewards"].items()},
        "advantages": list(trainer._logs["advantages"]),
        "status": list(trainer._logs["extra"]["status"]),
    }


def rloo(folder):
    model, tokenizer, rows, executor = parts(folder)
    with fr.Scorer(trl_tiny.REWARD, executor) as scorer:
        trainer = RLOOTrainer(
            model=model, reward_funcs=TRLReward(scorer), args=config(RLOOConfig, folder, beta=0.0),
            train_dataset=Dataset.from_list(rows), processing_class=tokenizer,
        )
        trainer.train()
    return record(trainer)


def components(folder):
    # One row is fine, one has a broken gold, one a gold that never ends, one no database: training goes on.
    model, tokenizer, rows, executor = parts(folder)
    rows[1]["gold"], rows[2]["gold"], rows[3]["db"] = "SELECT nothing FROM employee", SLOW, "no_such_database"
    with fr.Scorer(trl_tiny.REWARD, executor) as scorer:
        functions = TRLReward.components(scorer)
        trainer = GRPOTrainer(
            model=model, reward_funcs=functions, train_dataset=Dataset.from_list(rows), processing_class=tokenizer,
            args=config(GRPOConfig, folder, reward_weights=reward_weights(functions),
                        multi_objective_aggregation="normalize_then_sum"),
        )
        trainer.train()
    return record(trainer) | {"weights": reward_weights(functions)}


def mistakes(folder):
    # Each ends the run before a step is made.
    model, tokenizer, rows, executor = parts(folder)
    said = {}
    try:
        TRLReward(fr.Scorer(trl_tiny.REWARD, fr.SQLite(f"{folder}/nowhere")))
    except fr.errors.ConfigError as error:
        said["path"] = str(error)
    for what, change in {"database": {"db": "no_such_database"}, "column": {"database": "company", "db": None}}.items():
        wrong = [{name: one for name, one in {**row, **change}.items() if one is not None} for row in rows]
        with fr.Scorer(trl_tiny.REWARD, executor) as scorer:
            trainer = GRPOTrainer(
                model=model, reward_funcs=TRLReward(scorer), args=config(GRPOConfig, folder),
                train_dataset=Dataset.from_list(wrong), processing_class=tokenizer,
            )
            try:
                trainer.train()
            except fr.errors.ConfigError as error:
                said[what] = [str(error), trainer.state.global_step]
    return said


def chat(folder):
    model, tokenizer, rows, executor = parts(folder)
    tokenizer.chat_template = "{% for message in messages %}{{ message['content'] }} {% endfor %}"
    for row in rows:
        row["prompt"] = [{"role": "user", "content": row["prompt"]}]
    with fr.Scorer(trl_tiny.REWARD, executor) as scorer:
        trainer = GRPOTrainer(
            model=model, reward_funcs=TRLReward(scorer), args=config(GRPOConfig, folder),
            train_dataset=Dataset.from_list(rows), processing_class=tokenizer,
        )
        trainer.train()
    return record(trainer)


def clauses(folder):
    from finer_rewards.adapters.trl_clauses import ClauseCredit

    class Trainer(ClauseCredit, GRPOTrainer):
        def _generate_and_score_completions(self, inputs):
            output = super()._generate_and_score_completions(inputs)
            mask = output["completion_mask"].bool()
            seen.append([row[kept].tolist() for row, kept in zip(output["advantages"], mask)])
            return output

    seen = []
    model, tokenizer, rows, executor = parts(folder)
    with fr.Scorer("0 * execution_match()", executor) as scorer, fr.Scorer("clause_credit()", executor) as judge:
        trainer = Trainer(
            model=model, reward_funcs=TRLReward(scorer), clauses=TRLReward(judge), args=config(GRPOConfig, folder),
            train_dataset=Dataset.from_list(rows), processing_class=tokenizer,
        )
        trainer.train()
    return {"advantages": seen, "norms": [one["grad_norm"] for one in trainer.state.log_history if "grad_norm" in one]}


def score_group(functions, folder, sender):
    from accelerate import PartialState
    from trl.experimental.async_grpo.async_rollout_worker import RolloutGroup, _AsyncRolloutLoop

    PartialState(cpu=True)
    golds = ["SELECT name FROM employee"] * 4
    texts = ["SELECT name FROM employee", "SELECT age FROM employee", "nothing", "SELECT title FROM project"]
    group = RolloutGroup(
        prompts=[[{"role": "user", "content": "which name"}]] * 4,
        reward_kwargs={"gold": golds, "db": ["company"] * 4},
        completions=[[{"role": "assistant", "content": text}] for text in texts],
        completions_ids=[[1]] * 4,
        completions_sequences=[[types.SimpleNamespace(input_ids=[1], completion_mask=[1], old_log_probs=[0.0])]] * 4,
        tool_call_counts=[0] * 4, tool_failure_counts=[0] * 4, model_version=0, group_id=0, env_rewards=[],
        rollout_rewards=[],
    )
    worker = types.SimpleNamespace(
        reward_funcs=functions, reward_func_names=[function.__name__ for function in functions],
        _env_reward_types=[], _provides_rollout_reward=False,
    )
    samples = asyncio.run(_AsyncRolloutLoop._score_group(worker, group))
    sender.send([sample.metrics for sample in samples])
    functions[0].scorer.close()


def troubles(folder):
    # One usable row, one whose gold fails, one whose gold never ends, one without database, and what to answer.
    right = "SELECT name FROM employee"
    golds = [right, "SELECT nothing FROM employee", SLOW, right]
    return golds, ["company"] * 3 + ["no_such_database"], [right, right, right, right]


def lost(folder):
    from losing_workers import losing_workers

    model, tokenizer, rows, executor = parts(folder)
    with fr.Scorer(trl_tiny.REWARD, executor) as scorer, losing_workers(kills=4, pause=0.1) as killed:
        trainer = GRPOTrainer(
            model=model, reward_funcs=TRLReward(scorer), train_dataset=Dataset.from_list(rows),
            processing_class=tokenizer, args=config(GRPOConfig, folder, max_steps=6),
        )
        trainer.train()
    return record(trainer) | {"killed": len(killed)}


def score_troubles(functions, folder, sender):
    from losing_workers import losing_workers

    golds, dbs, answers = troubles(folder)
    async def score():
        # As `_score_group` calls a plain function: with columns only, in a thread.
        call = dict(prompts=["?"] * 4, completions=[[{"role": "assistant", "content": one}] for one in answers],
                    completion_ids=[[1]] * 4, gold=golds, db=dbs)
        return [await asyncio.gather(*(asyncio.to_thread(one, **call) for one in functions)) for _ in range(3)]

    calm = asyncio.run(score())
    with losing_workers(kills=2, pause=0.3) as killed:
        trouble = asyncio.run(score())
    sender.send([calm, trouble, len(killed)])
    functions[0].scorer.close()


def async_trouble(folder):
    trl_tiny.build_database(folder)
    scorer = fr.Scorer("2 * execution_match() + 0.5 * executable()", fr.SQLite(folder, workers=1, timeout=1))
    functions = TRLReward.components(scorer, weighted=True)
    context = multiprocessing.get_context("spawn")
    receiver, sender = context.Pipe(duplex=False)
    child = context.Process(target=score_troubles, args=(functions, folder, sender), daemon=True)
    child.start()
    assert receiver in multiprocessing.connection.wait([receiver, child.sentinel], 200)
    calm, trouble, killed = receiver.recv()
    child.join(20)
    return {"calm": calm, "trouble": trouble, "killed": killed, "exit": child.exitcode}


def ranks_in_trouble(folder):
    # Only rank 0 has the rows that fail and the workers that die; rank 1 waits for it and goes on.
    from accelerate import PartialState
    from accelerate.utils import gather_object
    from losing_workers import losing_workers

    state = PartialState(cpu=True)
    trl_tiny.build_database(folder)
    golds, dbs, answers = troubles(folder)
    if not state.is_main_process:
        golds, dbs = [answers[0]] * 4, ["company"] * 4
    values = []
    with fr.Scorer("execution_match()", fr.SQLite(folder, workers=1, timeout=1)) as scorer:
        reward = TRLReward(scorer)
        with losing_workers(kills=2 if state.is_main_process else 0, pause=0.3) as killed:
            for step in range(3):
                got = reward(prompts=["?"] * 4, completions=answers, gold=golds, db=dbs,
                             trainer_state=types.SimpleNamespace(global_step=step))
                values.append(gather_object(got))  # as TRL does after each batch
    return {"values": values, "killed": len(killed)} if state.is_main_process else {}


def async_grpo(folder):
    trl_tiny.build_database(folder)
    functions = TRLReward.components(
        fr.Scorer("2 * execution_match() + 0.5 * executable()", fr.SQLite(folder, workers=1)), weighted=True
    )
    context = multiprocessing.get_context("spawn")
    receiver, sender = context.Pipe(duplex=False)
    child = context.Process(target=score_group, args=(functions, folder, sender), daemon=True)
    child.start()
    child_is_done = multiprocessing.connection.wait([receiver, child.sentinel], 200)
    assert receiver in child_is_done
    metrics = receiver.recv()
    child.join(20)
    return {"metrics": metrics, "exit": child.exitcode}


def batches():
    thoughts = [
        "The names of all who work here are asked for, so read the column name of the table and keep every row.",
        "How old the people are is the question, which the column age of the table of employees holds for each.",
        "Money is meant: the salary stands in its own column, and no condition limits which rows are wanted.",
        "Cities are asked for, one a person, so the column city without any further condition answers it.",
    ]
    columns = ["name", "age", "salary", "city"]
    for step in range(3):
        for place, (thought, column) in enumerate(zip(thoughts, columns)):
            gold = f"SELECT {column} FROM employee"
            words = thoughts[(place + step) % 4] if step else thought
            yield step, f"Which {column}?", f"<think>{words}</think>{gold}", gold


def learning(folder):
    # The same completions, split over the ranks; all ranks share one database and one memory.
    from accelerate import PartialState
    from finer_rewards.memory import Gate, TraceMemory

    state = PartialState(cpu=True)
    shared = sys.argv[3]
    if state.is_main_process:
        trl_tiny.build_database(shared)
        TraceMemory.open(f"{shared}/traces", "hashing", durable=False).close()
    state.wait_for_everyone()
    gate = Gate(min_words=10, min_mentions=1, min_density=0.0)
    memory = TraceMemory.open(f"{shared}/traces", create=False, gate=gate)
    spec = "execution_match() + memory(scope='any', calibrated=False)"
    values = []
    with fr.Scorer(spec, fr.SQLite(shared, workers=1), memory=memory) as scorer:
        reward = TRLReward(scorer, remember=True)
        for step in range(3):
            rows = [row for number, row in enumerate(row for row in batches() if row[0] == step)
                    if number % state.num_processes == state.process_index]
            values.append(reward(
                prompts=[row[1] for row in rows], completions=[row[2] for row in rows], gold=[row[3] for row in rows],
                db=["company"] * len(rows), trainer_state=types.SimpleNamespace(global_step=step),
            ))
            state.wait_for_everyone()  # TRL gathers the rewards here
        reward.flush()
    state.wait_for_everyone()
    memory.snapshot()
    with open(f"{shared}/rank{state.process_index}.json", "w") as file:
        json.dump({"values": values, "traces": len(memory)}, file)
    return {}


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        result = globals()[sys.argv[2]](folder)
    with open(f"{sys.argv[3]}/result{os.environ.get('RANK', 0)}.json", "w") as file:
        json.dump(result, file)
"""


def run(folder: Path, what: str, *, ranks: int = 1) -> Any:
    pytest.importorskip("torch")
    pytest.importorskip("trl.trainer")
    script = folder / "driver.py"
    script.write_text(DRIVER)
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
    launcher = [sys.executable]
    if ranks > 1:
        launcher += ["-m", "torch.distributed.run", "--nproc_per_node", str(ranks), "--master_port", "29657"]
    command = [*launcher, str(script), str(EXAMPLES), what, str(folder), str(Path(__file__).parent)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=400, env=environment)
    assert done.returncode == 0, done.stderr[-4000:]
    # Each rank has a file of its own: two that print write into one line now and then.
    results = [json.loads((folder / f"result{rank}.json").read_text()) for rank in range(ranks)]
    return max(results, key=len)  # all ranks but the first have nothing to tell


@pytest.mark.slow
@pytest.mark.filterwarnings("default")
@pytest.mark.parametrize("what", ["rloo", "chat"])
def test_other_trainers_and_chat_log_the_same(tmp_path: Path, what: str) -> None:
    out = run(tmp_path, what)
    assert len(out["history"]) == 2
    for entry in out["history"]:
        assert entry["finer/unscorable"] == 0
        parts = (
            2 * entry["finer/execution_match"]
            + 0.2 * entry["finer/executable"]
            + 0.1 * entry["finer/well_formed"]
        )
        assert parts == pytest.approx(entry["rewards/finer/mean"], abs=1e-5)
    assert any(value > 0 for value in out["rewards"]["finer"])
    assert len(out["status"]) == 16


@pytest.mark.slow
@pytest.mark.filterwarnings("default")
def test_separate_functions_leave_out_what_cannot_be_scored(tmp_path: Path) -> None:
    out = run(tmp_path, "components")
    assert out["weights"] == [2.0, 0.2, 0.1]
    assert list(out["rewards"]) == ["execution_match", "executable", "well_formed"]
    assert len(out["history"]) == 2
    for entry in out["history"]:
        assert entry["finer/unscorable"] == 0.75
        assert math.isfinite(entry["loss"])
    assert sorted(set(out["status"]) & {"gold_failed", "gold_timeout", "unavailable"}) == [
        "gold_failed", "gold_timeout", "unavailable"
    ]  # fmt: skip
    unusable = [status in ("gold_failed", "gold_timeout", "unavailable") for status in out["status"]]
    assert sum(unusable) == 12
    for values in out["rewards"].values():
        assert [math.isnan(value) for value in values] == unusable
    assert all(advantage == 0 for advantage, bad in zip(out["advantages"], unusable, strict=True) if bad)


@pytest.mark.slow
@pytest.mark.filterwarnings("default")
def test_clauses_have_credit_of_their_own_in_a_trainer(tmp_path: Path) -> None:
    out = run(tmp_path, "clauses")
    rows = [row for step in out["advantages"] for row in step]
    # The reward itself is 0, so all credit is of clauses; one answer's tokens differ, and the model learns of it.
    assert any(len({round(value, 4) for value in row}) > 1 for row in rows)
    assert any(norm > 0 for norm in out["norms"])


@pytest.mark.slow
@pytest.mark.filterwarnings("default")
def test_the_spawned_worker_of_async_grpo_scores_a_group(tmp_path: Path) -> None:
    out = run(tmp_path, "async_grpo")
    assert out["exit"] == 0
    assert [entry["reward"] for entry in out["metrics"]] == [2.5, 0.5, 0.0, 0.5]
    assert [entry["rewards/execution_match"] for entry in out["metrics"]] == [2.0, 0.0, 0.0, 0.0]


@pytest.mark.slow
@pytest.mark.filterwarnings("default")
def test_two_ranks_share_a_memory_and_score_as_one_process(tmp_path: Path) -> None:
    def scored(ranks: int) -> tuple[list[list[float]], int]:
        folder = tmp_path / str(ranks)
        folder.mkdir()
        run(folder, "learning", ranks=ranks)
        parts = [json.loads((folder / f"rank{rank}.json").read_text()) for rank in range(ranks)]
        values = [
            [
                value
                for together in zip(*(part["values"][step] for part in parts), strict=True)
                for value in together
            ]
            for step in range(3)
        ]
        assert len({part["traces"] for part in parts}) == 1
        return values, parts[0]["traces"]

    alone, traces = scored(1)
    together, same = scored(2)
    assert alone[0] == [1.0] * 4
    assert all(value > 1.01 for value in alone[1])
    assert [pytest.approx(step, abs=1e-6) for step in alone] == together
    assert traces == same > 0


@pytest.mark.slow
@pytest.mark.filterwarnings("default")
def test_training_goes_on_while_workers_die(tmp_path: Path) -> None:
    out = run(tmp_path, "lost")
    assert out["killed"] >= 1
    assert len(out["history"]) == 6
    assert all(math.isfinite(entry["loss"]) for entry in out["history"])


def usable(values: list[Any], right: float) -> None:
    """The sample with a sound gold has its value, or none if its worker died; the others have none."""
    assert values[0] in (right, None)
    assert values[1:] == [None] * 3


@pytest.mark.slow
@pytest.mark.filterwarnings("default")
def test_the_spawned_worker_of_async_grpo_survives_what_fails(tmp_path: Path) -> None:
    out = run(tmp_path, "async_trouble")
    assert out["exit"] == 0
    assert out["killed"] >= 1
    for matches, runs in out["calm"]:
        assert matches == [2.0, None, None, None]
        assert runs == [0.5, None, None, None]
    for matches, runs in out["trouble"]:
        usable(matches, 2.0)
        usable(runs, 0.5)


@pytest.mark.slow
@pytest.mark.filterwarnings("default")
def test_two_ranks_survive_what_fails_on_one(tmp_path: Path) -> None:
    out = run(tmp_path, "ranks_in_trouble", ranks=2)
    assert out["killed"] >= 1
    assert len(out["values"]) == 3
    for values in out["values"]:
        usable(values[:4], 1.0)
        assert values[4:] == [1.0] * 4


@pytest.mark.slow
@pytest.mark.filterwarnings("default")
def test_a_mistake_ends_the_run_before_its_first_step(tmp_path: Path) -> None:
    said = run(tmp_path, "mistakes")
    assert "for none of the first" in said["database"][0] and "no_such_database" in said["database"][0]
    assert "should have a column 'db', but it has" in said["column"][0]
    assert said["database"][1] == said["column"][1] == 0
    assert "nowhere" in said["path"] and "folder" in said["path"]
