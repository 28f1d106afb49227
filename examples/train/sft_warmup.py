"""Warm up a base model on traces of a stronger one, before GRPO: only traces that are verified right are imitated.

    finer-rewards prepare spider/ --to trl -o rows/
    accelerate launch --config_file examples/train/configs/one_gpu.yaml examples/train/sft_warmup.py \\
        --data rows/train.jsonl --databases spider/database --traces traces.jsonl --output_dir sft

`traces.jsonl` has `question_id` and `completion` in each line, several a question if you like: what a teacher
wrote for the prompts of `rows/`. Every option of TRL's `SFTConfig` is an option here; `--help` lists them.
"""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import tiny
from datasets import Dataset
from trl import SFTConfig, SFTTrainer, TrlParser

import finer_rewards as fr
from finer_rewards import rewards as r
from finer_rewards.datasets import mode_of_rows
from finer_rewards.errors import DataError

DEFAULTS = {
    "output_dir": "sft",
    "learning_rate": 1e-5,
    "num_train_epochs": 2,
    "per_device_train_batch_size": 2,
    "gradient_accumulation_steps": 16,
    "max_length": 4096,
    "lr_scheduler_type": "cosine",
    "warmup_steps": 0.03,
    "bf16": True,
    "gradient_checkpointing": True,
    "logging_steps": 10,
    "save_strategy": "epoch",
    "model_init_kwargs": {"dtype": "bfloat16"},
}
SMOKE = {
    **tiny.ON_CPU,
    "output_dir": "smoke/sft",
    "learning_rate": 3e-3,
    "num_train_epochs": 25,
    "per_device_train_batch_size": 16,
    "gradient_accumulation_steps": 1,
    "logging_steps": 20,
    "save_strategy": "no",
    "model_init_kwargs": None,
}


@dataclass
class Script:
    """What is trained on what."""

    model: str = field(default="Qwen/Qwen2.5-Coder-3B", metadata={"help": "any causal language model"})
    data: str = field(
        default="rows/train.jsonl", metadata={"help": "rows written by `finer-rewards prepare --to trl`"}
    )
    databases: str = field(default="databases", metadata={"help": "folder of the databases"})
    traces: str = field(default="traces.jsonl", metadata={"help": "completions of a teacher, by question_id"})
    policy: str = field(default="finer", metadata={"help": "the form a trace must have; see `well_formed`"})
    mode: str = field(
        default="", metadata={"help": "how results are compared; by the layout of the data when left out"}
    )
    memory: str = field(default="", metadata={"help": "also remember the verified traces in this folder"})
    smoke: bool = field(default=False, metadata={"help": "a tiny model and its own data, on a CPU"})


def verified(script: Script) -> tuple[list[dict[str, Any]], int]:
    """Return prompt and completion of every trace that is well formed and right, and how many traces there were."""
    rows = {row["question_id"]: row for row in read_lines(script.data)}
    traces = read_lines(script.traces)
    unknown = [trace["question_id"] for trace in traces if str(trace["question_id"]) not in rows]
    if len(unknown) == len(traces):
        raise DataError(
            f"`{script.traces}` should have traces for the questions of {script.data}, but knows none of their ids "
            f"(such as {unknown[:1]}). Generate traces for the prompts of that file."
        )
    known = [
        (rows[str(one["question_id"])], one["completion"])
        for one in traces
        if str(one["question_id"]) in rows
    ]
    samples = [fr.Sample(text, row["gold_sql"], row["db_id"], row["question"]) for row, text in known]
    mode = script.mode or mode_of_rows(script.data)
    print(f"results are compared by {mode}")
    reward = r.gate(condition=r.well_formed(policy=script.policy), then=r.execution_match(mode=mode))
    memory = fr.TraceMemory.open(script.memory) if script.memory else None
    with fr.Scorer(reward, fr.SQLite(script.databases), memory=memory) as scorer:
        evidence = scorer.observe(samples)
        scores = [reward(one) for one in evidence]
    if memory is not None:
        print(f"remembered: {memory.remember(list(zip(evidence, scores, strict=True)))}")
    kept = [
        {"prompt": row["prompt"], "completion": [{"role": "assistant", "content": text}]}
        for (row, text), score in zip(known, scores, strict=True)
        if score.value == 1
    ]
    return kept, len(traces)


def read_lines(path: str) -> list[dict[str, Any]]:
    if not Path(path).is_file():
        raise DataError(f"`{path}` should be a JSONL file, but there is none of that name. Check the path.")
    return [json.loads(line) for line in Path(path).read_text(encoding="utf-8").splitlines()]


def main() -> None:
    parser = TrlParser((Script, SFTConfig))
    parser.set_defaults(**DEFAULTS)
    if "--smoke" in sys.argv:
        folder = tiny.build("smoke")
        paths = {
            "model": "model",
            "data": "rows/train.jsonl",
            "databases": "databases",
            "traces": "traces.jsonl",
        }
        parser.set_defaults(**SMOKE, **{name: str(folder / path) for name, path in paths.items()})
    script, arguments = parser.parse_args_and_config()
    rows, total = verified(script)
    print(f"{len(rows)} of {total} traces are well formed and right")
    if not rows:
        raise DataError(
            "No trace can be imitated. See what is wrong with them: finer-rewards score --explain."
        )
    trainer = SFTTrainer(model=script.model, args=arguments, train_dataset=Dataset.from_list(rows))
    trainer.train(resume_from_checkpoint=arguments.resume_from_checkpoint)
    trainer.save_model()


if __name__ == "__main__":
    main()
