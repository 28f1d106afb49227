"""A report as one HTML page that needs no network."""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from hashlib import sha256
from html import escape
from importlib.resources import files
from string import Template
from typing import TYPE_CHECKING

from finer_rewards._util.controls import escape_controls
from finer_rewards._util.extras import extra
from finer_rewards.reporting.run_comparison import compare_runs

if TYPE_CHECKING:
    from finer_rewards.reporting.log_figures import Run


def render_page(runs: Sequence[Run], labels: Sequence[str]) -> str:
    """Return the page of one run, or of a run and the one that it is compared with.

    Args:
        runs: the run, and perhaps another to compare it with.
        labels: the name of each on the page.

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
    scripts = {"plotly": _lines(get_plotlyjs()), "script": _read("page.js")}
    text = json.dumps(data, ensure_ascii=False, separators=(",", ":"), default=str)
    return Template(_read("page.html")).substitute(
        title=escape(" against ".join(labels)),
        style=_read("page.css"),
        # The data stands in a script element, and may hold anything that a model wrote, such as `</script>`.
        data=escape_controls(text).replace("<", "\\u003c"),
        policy=_policy(scripts.values()),
        **scripts,
    )


def _policy(scripts: Iterable[str]) -> str:
    """Return the page's content security policy: it may run these scripts and no others, and fetch nothing."""
    hashes = " ".join(
        f"'sha256-{b64encode(sha256(script.encode()).digest()).decode()}'" for script in scripts
    )
    return (
        f"default-src 'none'; script-src {hashes}; style-src 'unsafe-inline'; img-src data: blob:; "
        "base-uri 'none'; form-action 'none'"
    )


def _read(name: str) -> str:
    return _lines(files(__name__).joinpath(name).read_text(encoding="utf-8"))


def _lines(script: str) -> str:
    """Return a script with line ends as browsers read them; the hash in the policy is that of this text."""
    return escape_controls(script.replace("\r\n", "\n").replace("\r", "\n"))
