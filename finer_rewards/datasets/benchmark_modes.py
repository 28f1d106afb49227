"""Which comparison mode goes with which data: that of the benchmark its layout is of."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from finer_rewards.datasets.writing import REPORT

#: By the layout of the data, with the guards of a reward; any other data goes with `answer`.
TRAINING_MODES: Final[Mapping[str, str]] = {"spider": "spider_train", "bird": "bird_train"}
#: By the layout of the data, as the benchmark's own evaluator compares.
EVALUATION_MODES: Final[Mapping[str, str]] = {"spider": "test_suite", "bird": "bird"}


def mode_of_rows(path: str | os.PathLike[str], *, training: bool = True) -> str:
    """Return the mode for rows that `finer-rewards prepare` wrote: by the report that lies beside them.

    Args:
        path: the file of rows, or its folder.
        training: for a reward, rather than for the benchmark's own number.

    Returns:
        The name of a mode; `answer` where there is no report, or the data is laid out as no benchmark.
    """
    folder = Path(path) if Path(path).is_dir() else Path(path).parent
    try:
        report = json.loads((folder / REPORT).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return "answer"
    if training:
        return str(report.get("mode", "answer"))
    return EVALUATION_MODES.get(report.get("kind", ""), "answer")
