"""What `--smoke` runs on: two small databases, questions, traces, and a model of most of a million parameters.

Everything is made on the spot, offline, in seconds; the way from the questions to the rows is the one that real
training takes, `finer-rewards prepare`.

`python examples/train/tiny.py ROWS FOLDER` makes such a model for rows of your own.
"""

from __future__ import annotations

import json
import os
import sqlite3
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from finer_rewards.cli import main as finer_rewards
from finer_rewards.datasets import PROMPTS

DATABASES = {
    "company": """
        CREATE TABLE employee (name TEXT, city TEXT, age INTEGER, salary INTEGER);
        CREATE TABLE project (title TEXT, city TEXT, budget INTEGER, weeks INTEGER);
        INSERT INTO employee VALUES ('Ada', 'Rome', 36, 52), ('Bo', 'Oslo', 24, 31), ('Cy', 'Rome', 51, 70),
            ('Di', 'Lima', 42, 44), ('Ed', 'Oslo', 33, 35), ('Flo', 'Lima', 58, 66), ('Gus', 'Rome', 29, 38);
        INSERT INTO project VALUES ('Atlas', 'Oslo', 55, 12), ('Borea', 'Rome', 20, 30), ('Ceres', 'Lima', 35, 45),
            ('Dione', 'Rome', 70, 25), ('Europa', 'Lima', 25, 60);
    """,
    "harbour": """
        CREATE TABLE ship (name TEXT, flag TEXT, length INTEGER, crew INTEGER);
        INSERT INTO ship VALUES ('Vega', 'NO', 20, 44), ('Orion', 'SE', 51, 60), ('Lyra', 'NO', 35, 28),
            ('Mira', 'DK', 62, 31), ('Deneb', 'SE', 27, 52);
    """,
}
COLUMNS = {
    ("company", "employee"): (("name", "city"), ("age", "salary")),
    ("company", "project"): (("title", "city"), ("budget", "weeks")),
    ("harbour", "ship"): (("name", "flag"), ("length", "crew")),
}
CHAT_TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n{{ message['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
#: Settings of every trainer that let it run on a CPU, in silence.
ON_CPU = {
    "use_cpu": True,
    "bf16": False,
    "gradient_checkpointing": False,
    "dataloader_pin_memory": False,
    "report_to": "none",
    "disable_tqdm": True,
    "logging_steps": 1,
}


class Question(NamedTuple):
    """A question, the reasoning a teacher would write, and the SQL that answers it."""

    db: str
    text: str
    thought: str
    sql: str


def questions() -> Iterator[Question]:
    """Yield every question of a small grammar: what is asked for, of which table, under which condition."""
    for (db, table), (texts, numbers) in COLUMNS.items():
        asked = [(f"How many rows has {table}", "their number", "COUNT(*)")]
        asked += [(f"Which {one} has {table}", f"the column {one}", one) for one in (*texts, *numbers)]
        asked += [
            (f"What is the highest {one} of {table}", f"the maximum of {one}", f"MAX({one})")
            for one in numbers
        ]
        asked += [
            (f"What is the average {one} of {table}", f"the mean of {one}", f"AVG({one})") for one in numbers
        ]
        conditions = [("", "no condition restricts its rows", "")]
        conditions += [
            (
                f" with {one} over {value}",
                f"only rows whose {one} is over {value} count",
                f" WHERE {one} > {value}",
            )
            for one in numbers
            for value in (25, 30, 45)
        ]
        for words, wanted, expression in asked:
            for suffix, restricted, where in conditions:
                thought = (
                    f"The question is about the table {table}, so nothing has to be joined. It asks for {wanted}, "
                    f"and {restricted}. Neither grouping nor ordering is needed."
                )
                yield Question(db, f"{words}{suffix}?", thought, f"SELECT {expression} FROM {table}{where}")


def build(folder: str | os.PathLike[str]) -> Path:
    """Fill a folder: `databases/`, `rows/train.jsonl`, `held_out/dev.jsonl`, `traces.jsonl`, `model/`; once."""
    place = Path(folder)
    if (place / "model").is_dir():
        return place
    for name, script in DATABASES.items():
        (place / "databases").mkdir(parents=True, exist_ok=True)
        connection = sqlite3.connect(place / "databases" / f"{name}.sqlite")
        connection.executescript(script)
        connection.close()
    parts: dict[str, list[dict[str, str]]] = {"train": [], "dev": []}
    traces = []
    for number, one in enumerate(questions()):
        record = {"question_id": str(number), "db_id": one.db, "question": one.text, "query": one.sql}
        parts["dev" if number % 5 == 2 else "train"].append(record)
        if number % 5 != 2 and number % 5 != 4:  # a third of what GRPO will train on was never shown
            completion = PROMPTS["finer"].completion(one.thought, one.sql)
            traces.append({"question_id": str(number), "completion": completion})
    for part, records in parts.items():
        (place / f"{part}.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))
    (place / "traces.jsonl").write_text("".join(json.dumps(trace) + "\n" for trace in traces))
    same = ["--db", str(place / "databases"), "--to", "trl", "--values", "0", "--workers", "1"]
    for part, out, options in (("train", "rows", []), ("dev", "held_out", ["--no-audit"])):
        status = finer_rewards(
            ["prepare", str(place / f"{part}.jsonl"), "--part", part, "-o", str(place / out), *same, *options]
        )
        if status:
            raise SystemExit(status)
    rows = [json.loads(line) for line in (place / "rows" / "train.jsonl").read_text().splitlines()]
    texts = [message["content"] for row in rows for message in row["prompt"]]
    build_model(texts + [trace["completion"] for trace in traces], place / "model")
    return place


def build_tokenizer(texts: list[str]) -> Any:
    """Return a byte-level BPE tokenizer trained on some texts, with a chat template as Qwen's.

    Lines are parted, but words are not, so that phrases become tokens: a prompt has a few dozen instead of hundreds.
    """
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    special = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
    backend = Tokenizer(models.BPE())
    lines = pre_tokenizers.Split("\n", "isolated")
    phrases = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    backend.pre_tokenizer = pre_tokenizers.Sequence([lines, phrases])
    backend.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    backend.train_from_iterator(
        texts, trainers.BpeTrainer(vocab_size=850, special_tokens=special, initial_alphabet=alphabet)
    )
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=backend, pad_token=special[0], eos_token=special[2], padding_side="left"
    )
    tokenizer.chat_template = CHAT_TEMPLATE
    return tokenizer


def build_model(texts: list[str], folder: Path) -> None:
    """Save a Llama with random weights, most of a million parameters, and its tokenizer.

    Not a Qwen2, for which `AutoTokenizer` would put Qwen's own rules in the place of ours.
    """
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    tokenizer = build_tokenizer(texts)
    torch.manual_seed(0)
    shape = {"hidden_size": 128, "intermediate_size": 384, "num_hidden_layers": 3}
    heads = {"num_attention_heads": 4, "num_key_value_heads": 2, "tie_word_embeddings": True}
    tokens = {"vocab_size": len(tokenizer), "pad_token_id": 0, "bos_token_id": None, "eos_token_id": 2}
    model = LlamaForCausalLM(LlamaConfig(**shape, **heads, **tokens, max_position_embeddings=1024))
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


if __name__ == "__main__":
    lines = Path(sys.argv[1]).read_text().splitlines()
    build_model(
        [message["content"] for line in lines for message in json.loads(line)["prompt"]], Path(sys.argv[2])
    )
