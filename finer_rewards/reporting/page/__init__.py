"""A report as one HTML page that needs no network."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from html import escape
from importlib.resources import files
from string import Template
from typing import TYPE_CHECKING

from finer_rewards.extras import extra
from finer_rewards.reporting.comparing import compare_runs

if TYPE_CHECKING:
    from finer_rewards.reporting.reading import Run

__all__ = ["render_page"]


def render_page(runs: Sequence[Run], labels: Sequence[str]) -> str:
    """Return the page of one run, or of a run and the one that it is compared with.

    Args:
        runs: the run, and perhaps another.
        labels: how each is called on the page.

    Raises:
        MissingExtraError: plotly is not installed; its script is part of the page.
    """
    with extra("report", "An HTML report", "plotly"):
        from plotly.offline import get_plotlyjs
    data = {
        "runs": [
            {**asdict(run), "questions": [], "label": label} for run, label in zip(runs, labels, strict=True)
        ],
        "compared": compare_runs(runs[0], runs[1]) if len(runs) > 1 else None,
    }
    text = json.dumps(data, ensure_ascii=False, separators=(",", ":"), default=str)
    return Template(_read("page.html")).substitute(
        title=escape(" against ".join(labels)),
        style=_read("page.css"),
        script=_read("page.js"),
        # Inside a script element, and a model may have written anything.
        data=text.replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029"),
        plotly=get_plotlyjs(),
    )


def _read(name: str) -> str:
    return files(__name__).joinpath(name).read_text(encoding="utf-8")
