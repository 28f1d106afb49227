"""The figures of the pages are those of the results, and their constants those of the code. And a page can be read."""

from __future__ import annotations

import inspect
import re
from pathlib import Path

import pytest
from doc_pages import ROOT, every_page, prose

from finer_rewards._neighbours.building import INSTANCES
from finer_rewards._serving import service
from finer_rewards.adapters import _reasons, scorers
from finer_rewards.engines.postgres import executor as postgres
from finer_rewards.engines.postgres import worker as postgres_worker
from finer_rewards.engines.sqlite import executor as sqlite
from finer_rewards.engines.sqlite import text_database
from finer_rewards.executing import decoding, pool, process
from finer_rewards.executing.cache import ResultCache
from finer_rewards.executing.limits import Limits
from finer_rewards.memory import index
from finer_rewards.memory.gate import Gate
from finer_rewards.operations import _scopes
from finer_rewards.operations.guard import LIMITS, SUPPORTED_MAJORS

DOCS = ROOT / "docs"
RESULTS = ROOT / "benchmarks" / "results"
#: How a list, a table, a heading, an included page and code begin.
NOT_A_PARAGRAPH = ("- ", "* ", "1. ", "|", "#", "::: ", "`" * 3, "    ", "<!--")
LIMIT = Limits()
GOLDS = inspect.signature(ResultCache).parameters["max_bytes"].default

WRITTEN = {
    "design/engine.md": (
        f"at most {1000 * pool.LONGEST_REST:g} ms",
        f"looks at it every {1000 * pool.LISTEN_SECONDS:g} ms",
        f"Results of golds ({GOLDS >> 20} MiB",
        f"The factor of {LIMIT.deadline_factor:g}",
        f"gives a worker up after {pool.BUSY:g} times",
        f"less than {'a tenth' if process.LEAST_SHARE == 0.1 else process.LEAST_SHARE} of its time",
    ),
    "design/engines.md": (
        f"SIGALRM {process.MARGIN:g}",
        f"says nothing for {postgres_worker.MARGIN:g} s more",
        f"for {postgres._PATIENCE:g} s is `unavailable`",
        f"not tried again for {postgres_worker.PAUSE:g} s",
    ),
    "design/memory.md": (
        f"Up to {index.FLAT_UP_TO:,} traces",
        f"`top_k + {index._SPARE}`",
        f"more than {index._OWN_AT_MOST} of these",
        f"fewer than {'four' if Gate().per_question == 4 else Gate().per_question} traces",
        f"at least {'eight' if Gate().min_words == 8 else Gate().min_words} words",
    ),
    "design/operations.md": (
        f"{LIMITS['characters']:,} characters",
        f"{LIMITS['nesting']} levels",
        f"{LIMITS['terms']:,} AND/OR",
        f"{LIMITS['operators']} arithmetic operators",
        f"{LIMITS['list items']:,} items of lists",
        f"{LIMITS['tokens']:,} tokens",
        f"{LIMITS['joins']} joins",
        f"{LIMITS['FULL or RIGHT joins']} FULL or RIGHT joins",
        f"{LIMITS['joins without ON']} joins without ON",
        f"{LIMITS['sources of one FROM clause']} sources of one FROM clause",
        f"{LIMITS['subqueries']} subqueries as written",
        f"stands for more than {_scopes._MOST_COLUMNS:,} columns",
    ),
    "design/serving.md": (
        f"An answer past {service._ANSWER_BYTES >> 20} MiB",
        f"more than {service._RESULT_BYTES >> 20} MiB in the server",
    ),
    "design/whole-results.md": (f"above {decoding.SHIP >> 10} KiB",),
    "executors.md": (
        f"`max_rows` ({LIMIT.max_rows:,})",
        f"`max_bytes` ({int(LIMIT.max_bytes) >> 20} MiB)",
        f"`max_batch_bytes` ({int(LIMIT.max_batch_bytes) >> 30} GiB)",
        f"`timeout`, {LIMIT.timeout:g} seconds",
        f"`deadline_floor` ({LIMIT.deadline_floor:g})",
        f"`deadline_factor` ({LIMIT.deadline_factor:g})",
        f"takes more than {sqlite._BUILDING:g} s",
        f"{sqlite.LONGEST_TEXT >> 20} MiB of characters",
        f"the file {text_database.LARGEST >> 20} MiB",
    ),
    "reports.md": (f"every {_reasons.EVERY} samples",),
    "reward-hacking.md": (f"`neighbours={INSTANCES}`",),
    "trainers.md": (f"the first {scorers.LOST_AT_FIRST} samples",),
    "scores.md": (f"({SUPPORTED_MAJORS[0]} to {SUPPORTED_MAJORS[-1]})",),
}


@pytest.mark.parametrize("page", WRITTEN)
def test_a_constant_is_what_the_page_says(page: str) -> None:
    text = " ".join((DOCS / page).read_text(encoding="utf-8").split())
    assert not [phrase for phrase in WRITTEN[page] if phrase not in text]


def results(section: str) -> str:
    """What the results hold that a section names, by file or by the script that printed them."""
    text = re.sub(r"\]\([^)]*\)", "", section)
    named = re.findall(r"\b([\w-]+)\.(?:md|jsonl|tsv)|`(\w+)\.py`|benchmarks(?:\.research)?\.(\w+)", text)
    files = {file for groups in named for file in RESULTS.glob(f"{''.join(groups)}*.md")}
    return "\n".join(file.read_text(encoding="utf-8") for file in files)


@every_page
def test_figures(page: Path) -> None:
    """A section that names results has its figures from them, perhaps rounded or as a percentage."""
    missing = []
    for section in re.split(r"^(?=#)", prose(page), flags=re.M):
        measured = results(section).replace(",", "")
        if not measured:
            continue
        numbers = [float(number) for number in re.findall(r"(?<![\w.])\d+(?:\.\d+)?", measured)]
        # Not figures: code, links, versions (`Python 3.10 to 3.14`).
        text = re.sub(r"`[^`]*`|\]\([^)]*\)|\b[A-Z]\w+ \d[\d.]*(?: to \d[\d.]*)?", "", section)
        for figure in re.findall(r"(?<![\w.:,])(?:\d+\.\d{2,}|\d{1,3}(?:,\d{3})+)(?![\w.,:]*\d)", text):
            value = float(figure.replace(",", ""))
            near = 0.5001 * 10 ** -len(figure.partition(".")[2])
            if not any(
                abs(number - value) <= near or abs(100 * number - value) <= near for number in numbers
            ):
                missing.append(figure)
    assert not missing, f"not in the results that are named beside them: {missing}"


@every_page
def test_no_line_is_too_long(page: Path) -> None:
    """120 characters of text, a table's rows apart; 88 of code, which a screen of 1,280 pixels shows."""
    long = [
        line[:60]
        for line in prose(page).splitlines()
        if len(line) > 120 and not line.lstrip().startswith(("|", "!["))
    ]
    assert not long, long


@every_page
def test_a_page_opens_with_what_it_is_for(page: Path) -> None:
    lines = [line for line in page.read_text(encoding="utf-8").splitlines() if line.strip()]
    assert lines[0].startswith("# ") and not lines[1].startswith(NOT_A_PARAGRAPH), (
        "a heading, then a paragraph"
    )
