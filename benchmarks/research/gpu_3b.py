"""GRPO on a model of 3B shape, one GPU: whether it fits, seconds a step, memory, and what share of it rewards take.

    python -m benchmarks.research.gpu_3b FOLDER [--steps 5] [any option of examples/train/trl_grpo_3b.py]
    python -m benchmarks.research.gpu_3b FOLDER --tiny              # the same way with a tiny model, on a CPU

The model has random weights and the shape of Qwen2.5-3B (as a Llama, without the biases of three projections: for a
Qwen, transformers would put Qwen's own tokenizer in the place of the one made here). `examples/train/trl_grpo_3b.py`
trains it with its defaults, 32 completions a step, on the questions of `--smoke`. Random weights write noise, which
costs a reward nothing; so the seconds of a step's rewards are measured beside it, on completions as a trained model
writes them: a thought and SQL that runs, each different. Prints Markdown. Says nothing about what a model learns.

It has not run on a GPU yet; the tests run `--tiny`.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import runpy
import sys
import time
from datetime import date
from pathlib import Path
from statistics import median
from typing import Any

import finer_rewards as fr
from finer_rewards.datasets import PROMPTS

ROOT = Path(__file__).parents[2]
TRAIN = ROOT / "examples" / "train"
#: Qwen2.5-3B, and what stands for it on a CPU.
SHAPE = {
    "hidden_size": 2048, "intermediate_size": 11008, "num_hidden_layers": 36, "num_attention_heads": 16,
    "num_key_value_heads": 2, "vocab_size": 151_936, "tie_word_embeddings": True, "max_position_embeddings": 32_768,
}  # fmt: skip
TINY = {
    "hidden_size": 64, "intermediate_size": 192, "num_hidden_layers": 2, "num_attention_heads": 4,
    "num_key_value_heads": 2, "vocab_size": 1000, "tie_word_embeddings": True, "max_position_embeddings": 1024,
}  # fmt: skip
ON_CPU = (
    "--use_cpu", "true", "--bf16", "false", "--gradient_checkpointing", "false", "--model_init_kwargs",
    '{"dtype": "float32"}', "--max_completion_length", "24", "--num_generations", "8", "--gradient_accumulation_steps",
    "8",
)  # fmt: skip


def build(folder: Path, shape: dict[str, Any]) -> int:
    """Fill the folder as `--smoke` does, with a model of this shape, and return its parameters."""
    import tiny
    import torch
    from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM

    tiny.build(folder)
    tokenizer = AutoTokenizer.from_pretrained(folder / "model")
    torch.manual_seed(0)
    ends = {
        "bos_token_id": None,
        "pad_token_id": tokenizer.pad_token_id,
        "eos_token_id": tokenizer.eos_token_id,
    }
    device = "cuda" if torch.cuda.is_available() else "cpu"
    with torch.device(device):
        model = LlamaForCausalLM(LlamaConfig(**shape, **ends)).to(
            torch.bfloat16 if device == "cuda" else None
        )
    model.save_pretrained(folder / "shaped")
    tokenizer.save_pretrained(folder / "shaped")
    return sum(one.numel() for one in model.parameters())


def step(folder: Path, options: list[str]) -> list[dict[str, Any]]:
    """Run the training script in this process, so that its memory can be asked for, and return what it logged."""
    place = folder / "grpo"
    sys.argv = [
        str(TRAIN / "trl_grpo_3b.py"), "--model", str(folder / "shaped"), "--data",
        str(folder / "rows" / "train.jsonl"), "--databases", str(folder / "databases"), "--output_dir", str(place),
        "--report_to", "none", "--save_strategy", "no", *options,
    ]  # fmt: skip
    runpy.run_path(sys.argv[0], run_name="__main__")
    state = json.loads((place / "trainer_state.json").read_text(encoding="utf-8"))
    return list(state["log_history"])


def rewards_seconds(folder: Path, completions: int, steps: int = 10) -> float:
    """Return the median seconds that the rewards of a step take, of completions as a trained model writes them."""
    rows = [json.loads(line) for line in (folder / "rows" / "train.jsonl").read_text().splitlines()]
    seconds = []
    with fr.Scorer(fr.presets.finer(memory=False), fr.SQLite(folder / "databases", timeout=10.0)) as scorer:
        for number in range(steps):
            row = rows[number % len(rows)]
            samples = []
            for place in range(completions):
                # Different SQL each, so that nothing is answered from a cache.
                other = f" LIMIT {1000 * number + place + 10}" if place % 2 else f" -- {number} {place}"
                thought = f"Thought {place}: which table knows it? One is enough. " * 4
                text = PROMPTS["finer"].completion(thought, row["gold_sql"] + other)
                samples.append(fr.Sample(text, row["gold_sql"], row["db_id"], row["question"]))
            started = time.perf_counter()
            scorer.score(samples)
            seconds.append(time.perf_counter() - started)
    return median(seconds)


def main() -> None:
    parser = argparse.ArgumentParser(
        description="GRPO on a model of 3B shape: seconds, memory, share of rewards."
    )
    parser.add_argument("folder", type=Path, help="where data and model are made")
    parser.add_argument("--steps", type=int, default=5)
    parser.add_argument("--tiny", action="store_true", help="a tiny shape on a CPU: the way, not the figures")
    options, more = parser.parse_known_args()
    sys.path.insert(0, str(TRAIN))
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    import torch

    if not options.tiny and not torch.cuda.is_available():
        parser.error("there is no GPU here; --tiny runs the same way on a CPU")
    parameters = build(options.folder, TINY if options.tiny else SHAPE)
    completions = 8 if options.tiny else 32
    extra = [*(ON_CPU if options.tiny else ()), "--max_steps", str(options.steps), *more]
    history = step(options.folder, extra)
    # The first step compiles and allocates.
    later = [one["step_time"] for one in history if "step_time" in one][1:]
    rewards = rewards_seconds(options.folder, completions)
    if options.tiny:
        device, memory = "a CPU", resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    else:
        device, memory = torch.cuda.get_device_name(), torch.cuda.max_memory_allocated() / 1e9
    print(f"# GRPO on {parameters / 1e9:.3f} billion parameters\n")
    print(
        f"Printed by `python -m benchmarks.research.gpu_3b` on {date.today()}, on {device}; random weights.\n"
    )
    print(f"* options: `{' '.join(extra)}`")
    print(
        f"* a step of {completions} completions: {median(later):.2f} s (median of {len(later)}, the first left out)"
    )
    print(
        f"* its rewards, on completions as a trained model writes them: {rewards:.3f} s, {rewards / median(later):.2%}"
    )
    print(f"* memory at its highest: {memory:.1f} GB")


if __name__ == "__main__":
    main()
