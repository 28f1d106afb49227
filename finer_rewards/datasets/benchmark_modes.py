"""Chooses the comparison mode for rows that `prepare` wrote, by the benchmark that they come from."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from finer_rewards.datasets.writing import REPORT

#: The mode for a reward, by the layout of the data; it has guards against exploits. Other layouts use `answer`.
TRAINING_MODES: Final[Mapping[str, str]] = {"spider": "spider_train", "bird": "bird_train"}
#: The mode of the benchmark's own evaluator, by the layout of the data.
EVALUATION_MODES: Final[Mapping[str, str]] = {"spider": "test_suite", "bird": "bird"}


def mode_of_rows(path: str | os.PathLike[str], *, training: bool = True) -> str:
    """Return the mode for rows that `finer-rewards prepare` wrote, as the report beside them says.

    Args:
        path: the file of rows, or its folder.
        training: for a reward, rather than for the benchmark's own number.

    Returns:
        The name of a mode; `answer` if there is no report, or if the data has the layout of no benchmark.
    """
    folder = Path(path) if Path(path).is_dir() else Path(path).parent
    try:
        report = json.loads((folder / REPORT).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return "answer"
    if training:
        return str(report.get("mode", "answer"))
    return EVALUATION_MODES.get(report.get("kind", ""), "answer")
