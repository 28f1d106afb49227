"""Evaluate a model as FINER-SQL does: 30 candidates a question at temperature 1, value-aware voting, EX by difficulty.

    finer-rewards prepare spider/ --part dev --no-audit --to trl -o dev/
    python examples/train/evaluate_3b.py --model grpo --data dev/dev.jsonl --databases spider/database --vllm

Every question counts, so the rows are prepared without the audit. Writes `candidates.jsonl` (which
`finer-rewards evaluate candidates.jsonl spider/` reads too) and `results.json` into --output, and prints the table.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from statistics import fmean
from typing import Any

import tiny

import finer_rewards as fr
from finer_rewards.datasets import LEVELS, Question, mode_of_rows
from finer_rewards.evaluating import Outcome, evaluate, recall, summarise

Record = dict[str, Any]


def generate(rows: list[Record], options: argparse.Namespace) -> Iterator[list[str]]:
    """Yield the candidates of each question, with transformers."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(options.model, padding_side="left")
    device = "cuda" if torch.cuda.is_available() else "cpu"
    kind = torch.bfloat16 if device == "cuda" else torch.float32
    model = AutoModelForCausalLM.from_pretrained(options.model, dtype=kind).to(device).eval()
    torch.manual_seed(options.seed)
    for start in range(0, len(rows), options.batch):
        batch = rows[start : start + options.batch]
        texts = [
            tokenizer.apply_chat_template(row["prompt"], tokenize=False, add_generation_prompt=True)
            for row in batch
        ]
        inputs = tokenizer(texts, return_tensors="pt", padding=True, add_special_tokens=False).to(device)
        with torch.no_grad():
            outputs = model.generate(
                **inputs,
                do_sample=True,
                temperature=options.temperature,
                top_k=0,
                num_return_sequences=options.n,
                max_new_tokens=options.max_new_tokens,
                pad_token_id=tokenizer.pad_token_id,
            )
        found = tokenizer.batch_decode(outputs[:, inputs["input_ids"].shape[1] :], skip_special_tokens=True)
        yield from (found[index * options.n : (index + 1) * options.n] for index in range(len(batch)))
        print(f"\r{start + len(batch)}/{len(rows)} questions", end="", file=sys.stderr)


def generate_with_vllm(rows: list[Record], options: argparse.Namespace) -> Iterator[list[str]]:
    """Yield the candidates of each question, with vLLM."""
    from vllm import LLM, SamplingParams

    engine = LLM(options.model, seed=options.seed)
    sampling = SamplingParams(n=options.n, temperature=options.temperature, max_tokens=options.max_new_tokens)
    for answer in engine.chat([row["prompt"] for row in rows], sampling):
        yield [candidate.text for candidate in answer.outputs]


def measures(outcomes: list[Outcome], n: int) -> Record:
    """Return EX of the vote, of a single candidate on average, and the best a vote could reach."""
    voted = summarise(outcomes).accuracy
    single = [summarise(outcomes, index).accuracy for index in range(n)]
    known = [value for value in single if value is not None]
    return {
        "questions": len(outcomes),
        "vote": voted,
        "single": fmean(known) if known else None,
        f"recall@{n}": recall(outcomes, n),
    }


def print_table(results: Record) -> None:
    print(" ".join(f"{name:>12}" for name in ("", *results["all"])))
    for level, row in results.items():
        cells = [f"{value:12.3f}" if isinstance(value, float) else f"{value!s:>12}" for value in row.values()]
        print(" ".join([f"{level:>12}", *cells]))


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--model", default="grpo", help="any causal language model")
    parser.add_argument(
        "--data", default="dev/dev.jsonl", help="rows written by `finer-rewards prepare --to trl`"
    )
    parser.add_argument("--databases", default="databases", help="folder of the databases")
    parser.add_argument("--output", default="evaluation", help="folder for candidates and results")
    parser.add_argument("--n", type=int, default=30, help="candidates a question (30)")
    parser.add_argument("--temperature", type=float, default=1.0)
    parser.add_argument("--max-new-tokens", type=int, default=2048)
    parser.add_argument("--batch", type=int, default=4, help="questions at once, without vLLM (4)")
    parser.add_argument("--vllm", action="store_true", help="generate with vLLM")
    parser.add_argument(
        "--mode", default="", help="how results are compared; by the layout of the data when left out"
    )
    parser.add_argument("--strategy", default="vav", help="how candidates are voted on (vav)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--smoke", action="store_true", help="a tiny model and its own data, on a CPU")
    if "--smoke" in sys.argv:
        folder = tiny.build("smoke")
        model = next(
            folder / name for name in ("grpo", "sft", "model") if (folder / name / "config.json").is_file()
        )
        paths = {"data": folder / "held_out" / "dev.jsonl", "output": folder / "evaluation"}
        parser.set_defaults(
            model=model, databases=folder / "databases", max_new_tokens=40, batch=19, n=8, **paths
        )
    options = parser.parse_args()
    rows = [json.loads(line) for line in Path(options.data).read_text(encoding="utf-8").splitlines()]
    output = Path(options.output)
    output.mkdir(parents=True, exist_ok=True)

    candidates = []
    with (output / "candidates.jsonl").open("w", encoding="utf-8") as file:
        answers = generate_with_vllm(rows, options) if options.vllm else generate(rows, options)
        for row, texts in zip(rows, answers, strict=True):
            candidates.append(texts)
            record = {"question_id": row["question_id"], "db_id": row["db_id"], "candidates": texts}
            file.write(json.dumps(record, ensure_ascii=False) + "\n")

    questions = []
    for place, row in enumerate(rows):
        golds = tuple(row["gold_sql"]) if isinstance(row["gold_sql"], list) else (row["gold_sql"],)
        questions.append(
            Question(place, row["question_id"], row["db_id"], golds, row["question"], row["level"])
        )
    mode = options.mode or mode_of_rows(options.data, training=False)
    print(f"results are compared by {mode}")
    with fr.SQLite(options.databases) as executor:
        outcomes = list(evaluate(questions, candidates, executor, mode=mode, strategy=options.strategy))
    levels = [level for level in LEVELS if any(one.question.level == level for one in outcomes)]
    groups = {level: [one for one in outcomes if one.question.level == level] for level in levels}
    results = {name: measures(some, options.n) for name, some in {**groups, "all": outcomes}.items()}
    (output / "results.json").write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")
    print_table(results)


if __name__ == "__main__":
    main()
