"""GRPO with TRL as FINER-SQL trains its 3B model: Qwen2.5-Coder-3B, the settings of the paper as defaults.

    finer-rewards prepare spider/ --to trl -o rows/ --tokenizer Qwen/Qwen2.5-Coder-3B-Instruct --max-prompt 1500
    accelerate launch --config_file examples/train/configs/one_gpu.yaml examples/train/trl_grpo_3b.py \\
        --data rows/train.jsonl --databases spider/database --use_vllm true --vllm_mode colocate

`--use_vllm false` generates with transformers; `--vllm_mode server` asks a server that `trl vllm-serve --model ...`
runs on other GPUs. `--lora_rank 64` trains adapters; `--resume_from_checkpoint last` goes on. Every option of
TRL's `GRPOConfig` is an option here; `--help` lists them, `--config settings.yaml` reads them from a file.
"""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import tiny
from datasets import load_dataset
from transformers import TrainerCallback
from transformers.trainer_utils import get_last_checkpoint
from trl import GRPOConfig, GRPOTrainer, TrlParser

import finer_rewards as fr
from finer_rewards.adapters.trl import TRLReward
from finer_rewards.datasets import mode_of_rows

#: The paper's run on Spider: one 48 GB GPU. One prompt a step, its 32 completions one after the other.
PAPER = {
    "output_dir": "grpo",
    "max_steps": 4000,
    "learning_rate": 8e-6,
    "num_generations": 32,
    "per_device_train_batch_size": 1,
    "gradient_accumulation_steps": 32,
    "max_completion_length": 2048,
    "temperature": 1.0,
    "beta": 0.04,
    "max_grad_norm": 1.0,
    "bf16": True,
    "gradient_checkpointing": True,
    "save_steps": 200,
    "save_total_limit": 3,
    "logging_steps": 1,
    # Ours: weights in bf16 too, so that model, reference and optimiser fit; see docs/training.md for the sizes.
    "model_init_kwargs": {"dtype": "bfloat16"},
}
SMOKE = {
    **tiny.ON_CPU,
    "output_dir": "smoke/grpo",
    "max_steps": 4,
    "learning_rate": 1e-4,
    "num_generations": 8,
    "per_device_train_batch_size": 32,
    "gradient_accumulation_steps": 1,
    "max_completion_length": 40,
    "save_steps": 2,
    "model_init_kwargs": None,
}


@dataclass
class Script:
    """What is trained on what, and for what."""

    model: str = field(
        default="Qwen/Qwen2.5-Coder-3B-Instruct", metadata={"help": "any causal language model"}
    )
    data: str = field(
        default="rows/train.jsonl", metadata={"help": "rows written by `finer-rewards prepare --to trl`"}
    )
    databases: str = field(default="databases", metadata={"help": "folder of the databases"})
    reward: str = field(
        default="", metadata={"help": "a reward or preset; finer(), without memory unless --memory"}
    )
    mode: str = field(
        default="", metadata={"help": "how finer() compares results; by the layout of the data when left out"}
    )
    memory: str = field(
        default="", metadata={"help": "folder of verified traces: read by memory(), and added to"}
    )
    embedder: str = field(default="", metadata={"help": "of a new memory; the paper's when left out"})
    timeout: float = field(default=10.0, metadata={"help": "seconds a query may take"})
    lora_rank: int = field(
        default=0, metadata={"help": "train adapters of this rank on all linear layers; 0: all weights"}
    )
    smoke: bool = field(default=False, metadata={"help": "a tiny model and its own data, on a CPU"})


class Flush(TrainerCallback):  # type: ignore[misc]
    """Stores what the last step verified; what the steps before verified, the reward stores on its own."""

    def __init__(self, reward: TRLReward) -> None:
        self._reward = reward

    def on_train_end(self, *_: Any, **__: Any) -> None:
        """Store it."""
        self._reward.flush()


def build_reward(script: Script, arguments: GRPOConfig, columns: list[str]) -> TRLReward:
    """Return the reward function; what it scores is logged for `finer-rewards report`."""
    memory = fr.TraceMemory.open(script.memory, script.embedder or None) if script.memory else None
    spec = script.reward or "finer"
    mode = script.mode or mode_of_rows(script.data)
    finer = fr.preset("finer", mode=mode, memory=memory is not None)
    reward = finer if spec == "finer" else fr.parse_reward(spec)
    log = Path(arguments.output_dir) / f"scores-{os.environ.get('RANK', '0')}.jsonl"
    log.parent.mkdir(parents=True, exist_ok=True)
    scorer = fr.Scorer(reward, fr.SQLite(script.databases, timeout=script.timeout), memory=memory, log=log)
    answer = "answer" if "answer" in columns else None  # questions with answers instead of SQL
    return TRLReward(
        scorer,
        gold="gold_sql",
        db="db_id",
        question="question",
        answer=answer,
        args=arguments,
        remember=memory is not None,
    )


def adapters(rank: int) -> Any:
    """Return the LoRA settings, or `None` to train all weights."""
    if not rank:
        return None
    from peft import LoraConfig

    return LoraConfig(r=rank, lora_alpha=2 * rank, target_modules="all-linear", task_type="CAUSAL_LM")


def main() -> None:
    parser = TrlParser((Script, GRPOConfig))
    parser.set_defaults(**PAPER)
    if "--smoke" in sys.argv:
        folder = tiny.build("smoke")
        warm = folder / "sft" if (folder / "sft" / "config.json").is_file() else folder / "model"
        paths = {"model": warm, "data": folder / "rows" / "train.jsonl", "databases": folder / "databases"}
        parser.set_defaults(**SMOKE, **{name: str(path) for name, path in paths.items()})
    script, arguments = parser.parse_args_and_config()
    resume = arguments.resume_from_checkpoint
    if resume == "last":
        resume = get_last_checkpoint(arguments.output_dir)

    rows = load_dataset("json", data_files=script.data, split="train")
    reward = build_reward(script, arguments, rows.column_names)
    reward.check(rows)  # every row and database, before the first step
    trainer = GRPOTrainer(
        model=script.model,
        reward_funcs=reward,
        args=arguments,
        train_dataset=rows,
        peft_config=adapters(script.lora_rank),
        callbacks=[Flush(reward)] if script.memory else None,
    )
    print(f"reward: {reward.scorer.reward!r}\n{reward.scorer.signature}")
    trainer.train(resume_from_checkpoint=resume)
    trainer.save_model()
    trainer.save_state()  # trainer_state.json: every figure that was logged
    reward.scorer.close()


if __name__ == "__main__":
    main()
