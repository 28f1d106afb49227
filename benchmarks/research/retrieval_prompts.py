"""What sentence-transformers does with prompts and odd texts; run by `benchmarks.research.retrieval`.

    python -m benchmarks.research.retrieval_prompts FOLDER_OF_A_MODEL [FOLDER_OF_DATA]

With the folder of data also how well the memory tells kinds of query apart under each way to prompt.
"""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import memory_real
from finer_rewards.memory.sentence_embedder import SentenceEmbedder
from finer_rewards.memory.thought_embedder import ThoughtEmbedder

TEXT = "Sort the ferries by seats and keep the first."
BOTH = {"query": "query: ", "document": "passage: "}
MODEL = sys.argv[1]


def model(**options: Any) -> Any:
    return import_module("sentence_transformers").SentenceTransformer(MODEL, device="cpu", **options)


PLAIN = model()


def as_what(vector: Any, text: str = TEXT) -> str:
    """Return which text, embedded without any prompt, has this vector."""
    for name, prompt in (("no prompt", ""), ("`query: `", "query: "), ("`passage: `", "passage: ")):
        if np.allclose(vector, PLAIN.encode([prompt + text], prompt="")[0], atol=1e-5):
            return name
    return "another vector"


def default_prompt() -> str:
    configured = model(prompts=BOTH, default_prompt_name="query")
    ways = {
        "`encode`": configured.encode([TEXT])[0],
        '`prompt=""`': configured.encode([TEXT], prompt="")[0],
        "`prompt=None`": configured.encode([TEXT], prompt=None)[0],
    }
    return "; ".join(f"{name}: {as_what(vector)}" for name, vector in ways.items())


def document(prompts: dict[str, str]) -> Callable[[], str]:
    def run() -> str:
        configured = model(prompts=prompts, default_prompt_name="query")
        return as_what(configured.encode_document([TEXT])[0])

    return run


def query_without() -> str:
    configured = model(prompts={"search": "query: "}, default_prompt_name="search")
    return as_what(configured.encode_query([TEXT])[0])


def refused(make: Callable[[], Any]) -> str:
    try:
        make()
    except ValueError:
        return "ValueError"
    return "accepted"


def cut() -> str:
    long = "row " * 400
    first, second = PLAIN.encode([f"{long} sort them", f"{long} count them"])
    return "one vector" if np.allclose(first, second) else "two vectors"


def not_pooled() -> str:
    changed = model()
    changed.set_pooling_include_prompt(False)
    return as_what(changed.encode([TEXT], prompt="query: ")[0])


def lengths(**options: Any) -> str:
    texts = [TEXT, "x", "count the rows", "y" * 40]
    made = np.linalg.norm(model(**options).encode(texts), axis=1)
    return f"{made.min():.2f} to {made.max():.2f}" if np.ptp(made) > 0.005 else f"{made.mean():.2f}"


def precise() -> str:
    made = model(model_kwargs={"dtype": "bfloat16"}).encode([TEXT, "x", "count the rows", "y" * 40])
    off = np.abs(np.linalg.norm(made, axis=1) - 1).max()
    return f"{made.dtype}, lengths off by {'up to 0.004' if 1e-4 < off < 4e-3 else f'{off:.4f}'}"


def hard(asked: str, held: str, data: Path) -> str:
    """Return the *hard* of `benchmarks.memory_real`, confirming databases, as the memory compares."""
    traces = [
        trace
        for trace in memory_real.read(data)
        if trace["correct"] and not memory_real.chooses(trace["db_id"])
    ]
    left, right = (
        memory_real.vectors(
            ThoughtEmbedder(SentenceEmbedder(MODEL, prompt=prompt, device="cpu")), traces, asked=True
        )
        for prompt in (asked, held)
    )
    return memory_real.kinds(left @ right.T, traces)["hard"]


#: By the name of the row in `benchmarks.research.retrieval`.
PROBES: dict[str, Callable[[], str]] = {
    "default": default_prompt,
    "no prompts": lambda: as_what(PLAIN.encode_query([TEXT])[0]),
    "document": document(BOTH),
    "no document": document({"query": "query: "}),
    "passage": document({"query": "query: ", "passage": "passage: "}),
    "no query": query_without,
    "unknown default": lambda: refused(lambda: model(prompts={"q": "x"}, default_prompt_name="nope")),
    "unknown name": lambda: refused(lambda: PLAIN.encode([TEXT], prompt_name="nope")),
    "both": lambda: as_what(model(prompts=BOTH).encode([TEXT], prompt="passage: ", prompt_name="query")[0]),
    "not pooled": not_pooled,
    "none": lambda: f"{PLAIN.encode([]).dtype} {PLAIN.encode([]).shape}",
    "empty": lambda: f"length {np.linalg.norm(PLAIN.encode([''])):.2f}",
    "cut": cut,
    "bf16": precise,
    "truncated": lambda: lengths(truncate_dim=64),
}
INSTRUCTION = "Instruct: Retrieve reasoning behind queries of the same kind\nQuery: "
#: The prompts of the thoughts asked about and of those held.
PROMPTS = {
    "hard, none": ("", ""),
    "hard, query": ("query: ", "query: "),
    "hard, mixed": ("query: ", "passage: "),
    "hard, long": (INSTRUCTION, INSTRUCTION),
}


def main() -> None:
    """Print the answers of all rows."""
    logging.disable(logging.WARNING)
    answers = {name: probe() for name, probe in PROBES.items()}
    if len(sys.argv) > 2:
        answers |= {name: hard(*prompts, Path(sys.argv[2])) for name, prompts in PROMPTS.items()}
    print(json.dumps(answers))


if __name__ == "__main__":
    main()
