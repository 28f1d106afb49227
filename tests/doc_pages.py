"""The pages of the documentation, and what is in them; used by the tests of what they say."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGES = sorted(
    [
        *(ROOT / "docs").rglob("*.md"),
        ROOT / "README.md",
        ROOT / "CONTRIBUTING.md",
        ROOT / "benchmarks" / "README.md",
        ROOT / "findings" / "README.md",
    ]
)
FENCE = re.compile(r"^```[ {.]*(?P<language>\w*)[^\n]*\n(?P<code>.*?)^```", re.M | re.S)
SPAN = re.compile(r"(?<!`)(`+)(?!`)((?:(?!\n\n).)+?)(?<!`)\1(?!`)", re.S)


def name_of(page: Path) -> str:
    return str(page.relative_to(ROOT))


every_page = pytest.mark.parametrize("page", PAGES, ids=name_of)


def fences(page: Path) -> Iterator[tuple[str, str]]:
    """The language and the code of every fenced block."""
    for found in FENCE.finditer(page.read_text(encoding="utf-8")):
        yield found["language"], found["code"]


def prose(page: Path) -> str:
    """The text of a page without its fenced blocks."""
    return FENCE.sub("", page.read_text(encoding="utf-8"))


def spans(page: Path) -> list[str]:
    """Everything between backquotes, outside fenced blocks."""
    return [" ".join(span.split()) for _, span in SPAN.findall(prose(page))]
