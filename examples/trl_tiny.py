"""GRPO with TRL in a minute on a CPU: a tiny model, a real database, every component of the reward logged.

    pip install 'finer-rewards[trl]'
    python examples/trl_tiny.py --steps 20
    torchrun --nproc_per_node 2 examples/trl_tiny.py --steps 20

The model is a two-layer Qwen2 over a few dozen words, built on the spot. It imitates the right completions
of a third of the questions for some steps, so that what it samples often runs and is sometimes right. GRPO
goes on from there, on all questions, with nothing but the reward. With a real model keep `train` and
bring your own model, rows and databases.
"""

from __future__ import annotations

import argparse
import os
import sqlite3
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import torch
from datasets import Dataset
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast, PrinterCallback, Qwen2Config, Qwen2ForCausalLM
from trl import GRPOConfig, GRPOTrainer

import finer_rewards as fr
from finer_rewards.adapters.trl import TRLReward

REWARD = "2 * execution_match() + 0.2 * executable() + 0.1 * well_formed(min_thought=8)"

SCHEMA = """
    CREATE TABLE employee (name TEXT, city TEXT, age INTEGER, salary INTEGER);
    CREATE TABLE project (title TEXT, city TEXT, budget INTEGER, length INTEGER);
"""
EMPLOYEES = [
    ("Ada", "Rome", 36, 52), ("Bo", "Oslo", 24, 31), ("Cy", "Rome", 51, 70), ("Di", "Lima", 42, 44),
    ("Ed", "Oslo", 33, 31), ("Flo", "Lima", 58, 66), ("Gus", "Rome", 29, 38), ("Hal", "Oslo", 47, 59),
]  # fmt: skip
PROJECTS = [
    ("Atlas", "Oslo", 55, 12), ("Borea", "Rome", 20, 30), ("Ceres", "Lima", 35, 45),
    ("Dione", "Rome", 70, 25), ("Europa", "Lima", 25, 60),
]  # fmt: skip
COLUMNS = {"employee": ["name", "city", "age", "salary"], "project": ["title", "city", "budget", "length"]}


class Question(NamedTuple):
    """A question, the reasoning a teacher would write, and the SQL that answers it."""

    text: str
    thought: str
    sql: str


def build_database(folder: str) -> None:
    """Write `company.sqlite`, a real database file, into the folder."""
    connection = sqlite3.connect(Path(folder) / "company.sqlite")
    connection.executescript(SCHEMA)
    connection.executemany("INSERT INTO employee VALUES (?, ?, ?, ?)", EMPLOYEES)
    connection.executemany("INSERT INTO project VALUES (?, ?, ?, ?)", PROJECTS)
    connection.commit()
    connection.close()


def questions() -> Iterator[Question]:
    """Yield every question of a small grammar: what is asked for, of which table, under which condition."""
    for table, columns in COLUMNS.items():
        asked = [("how many", "count", "COUNT ( * )")]
        asked += [(f"which {column}", f"read {column}", column) for column in columns]
        asked += [
            (f"highest {column}", f"maximum of {column}", f"MAX ( {column} )") for column in columns[2:]
        ]
        asked += [(f"average {column}", f"mean of {column}", f"AVG ( {column} )") for column in columns[2:]]
        conditions = [("", "", "")]
        for column in columns[2:]:
            for value in (25, 30, 45):
                conditions.append(
                    (f" with {column} over {value}", f" where {column}", f" WHERE {column} > {value}")
                )
        for words, thought, expression in asked:
            for suffix, further, where in conditions:
                yield Question(
                    f"{words} of {table}{suffix} :",
                    f"<think> {thought} of {table}{further} </think>",
                    f"SELECT {expression} FROM {table}{where}",
                )


def build_model() -> tuple[Any, Any]:
    """Return a Qwen2 of some 0.2 M parameters, and a tokenizer whose tokens are the words of the grammar."""
    words = sorted({word for question in questions() for word in " ".join(question).split()})
    vocabulary = {word: index for index, word in enumerate(["<pad>", "<eos>", *words])}
    backend = Tokenizer(models.WordLevel(vocabulary, unk_token="<pad>"))
    backend.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=backend, pad_token="<pad>", eos_token="<eos>")
    shape = {"hidden_size": 96, "intermediate_size": 192, "num_hidden_layers": 2}
    heads = {"num_attention_heads": 4, "num_key_value_heads": 2}
    tokens = {"vocab_size": len(vocabulary), "pad_token_id": 0, "bos_token_id": None, "eos_token_id": 1}
    return Qwen2ForCausalLM(Qwen2Config(**shape, **heads, **tokens, max_position_embeddings=128)), tokenizer


def warm_up(model: Any, tokenizer: Any, steps: int) -> None:
    """Imitate the right completion of every third question for some steps."""
    known = list(questions())[::3]
    texts = [f"{question.text} {question.thought} {question.sql} <eos>" for question in known]
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    batch = tokenizer(texts, return_tensors="pt", padding=True)
    wanted = batch["input_ids"].masked_fill(batch["attention_mask"] == 0, -100)
    for _ in range(steps):
        model(
            input_ids=batch["input_ids"], attention_mask=batch["attention_mask"], labels=wanted
        ).loss.backward()
        optimizer.step()
        optimizer.zero_grad()


def train(folder: str, *, steps: int, warm_up_steps: int = 50, seed: int = 0) -> Any:
    """Run GRPO in `folder` and return the trainer."""
    build_database(folder)
    torch.manual_seed(seed)
    model, tokenizer = build_model()
    warm_up(model, tokenizer, warm_up_steps)

    rows = [{"prompt": question.text, "gold": question.sql, "db": "company"} for question in questions()]
    scorer = fr.Scorer(REWARD, fr.SQLite(folder, timeout=5))
    reward = TRLReward(scorer)
    reward.check(rows)

    arguments = GRPOConfig(
        output_dir=folder,
        max_steps=steps,
        per_device_train_batch_size=64,
        num_generations=8,
        max_completion_length=24,
        learning_rate=3e-4,
        lr_scheduler_type="constant",
        logging_steps=1,
        seed=seed,
        use_cpu=True,
        bf16=False,
        gradient_checkpointing=False,
        ddp_backend="gloo" if "WORLD_SIZE" in os.environ else None,
        dataloader_pin_memory=False,
        save_strategy="no",
        report_to=[],
        disable_tqdm=True,
    )
    trainer = GRPOTrainer(
        model=model,
        reward_funcs=reward,
        args=arguments,
        train_dataset=Dataset.from_list(rows),
        processing_class=tokenizer,
    )
    trainer.remove_callback(PrinterCallback)
    try:
        trainer.train()
    finally:
        scorer.close()
    return trainer


def print_history(history: list[dict[str, float]]) -> None:
    """Print the reward and its components in at most twenty lines, each the mean of some steps."""
    # Reasons are those of a step, so no two entries need have the same.
    shared = set.intersection(*map(set, history))
    names = ["reward", *sorted(name for name in shared if name.startswith("finer/"))]
    print("steps    " + " ".join(f"{name.removeprefix('finer/'):>16}" for name in names))
    block = max(1, len(history) // 20)
    for start in range(0, len(history), block):
        entries = history[start : start + block]
        means = [sum(entry[name] for entry in entries) / len(entries) for name in names]
        print(f"{start + 1:3}-{start + len(entries):<4} " + " ".join(f"{mean:16.3f}" for mean in means))


def main() -> None:
    parser = argparse.ArgumentParser(description="GRPO on a tiny model over a real SQLite database.")
    parser.add_argument("--steps", type=int, default=20, help="GRPO steps (default 20)")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        trainer = train(folder, steps=options.steps, seed=options.seed)
        if trainer.is_world_process_zero():
            print_history([entry for entry in trainer.state.log_history if "reward" in entry])


if __name__ == "__main__":
    main()
