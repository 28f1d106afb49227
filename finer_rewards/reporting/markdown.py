"""A report as Markdown, for a terminal, a pull request or a model card."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from finer_rewards._util.controls import escape_controls
from finer_rewards.reporting.run_comparison import compare_runs

if TYPE_CHECKING:
    from finer_rewards.reporting.log_figures import Run

ROWS = 10
POINTS = 12


def render_markdown(runs: Sequence[Run], labels: Sequence[str]) -> str:
    """Return the figures of each run, and how the first of two differs from the second."""
    lines = [line for run, label in zip(runs, labels, strict=True) for line in _run(run, label)]
    if len(runs) > 1:
        compared = compare_runs(runs[0], runs[1])
        here, there = map(_text, labels)
        lines += [f"## {here} against {there}", ""]
        lines += [f"- not scored alike: {_text(change)}" for change in compared["signature"]]
        lines += [
            f"- {compared['shared']} questions in both, {compared['only_here']} only in {here}, "
            f"{compared['only_there']} only in {there}",
            "",
        ]
        rows = (
            (
                f"{row['change']:+.3f}",
                _shown(row["before"]),
                _shown(row["after"]),
                _text(row["db"]),
                _text(row["question"]),
            )
            for row in compared["questions"][:ROWS]
        )
        lines += _table(("change", there, here, "db", "question"), rows)
    return "\n".join(lines).rstrip() + "\n"


def _run(run: Run, label: str) -> Iterator[str]:
    totals = run.totals
    yield f"# {_text(label)}"
    yield ""
    yield f"- {totals['samples']:,} samples, {totals['scored']:,} scored, mean {_shown(totals['mean'])}, " + (
        f"match {_share(totals['matches'])}" if totals["match"] else f"at the top {_share(totals['matches'])}"
    )
    groups = sum(run.groups["groups"])
    if groups:
        equal = sum(a * b for a, b in zip(run.groups["zero_variance"], run.groups["groups"], strict=True))
        yield f"- {groups:,} groups, {_share(equal / groups)} of them with all rewards equal"
    if totals["unreadable"]:
        yield f"- {totals['unreadable']:,} lines could not be read and are left out"
    if totals["components_left_out"]:
        yield f"- {totals['components_left_out']:,} rarer components are left out"
    yield from (
        f"- signature sha256:{_text(one['digest'])}, {one['samples']:,} samples" for one in run.signatures
    )
    yield ""
    names = list(run.curves)
    places = run.curves["reward"]["x"]
    chosen = [
        places[at * (len(places) - 1) // max(1, min(POINTS, len(places)) - 1)]
        for at in range(min(POINTS, len(places)))
    ]
    values = {name: dict(zip(run.curves[name]["x"], run.curves[name]["mean"], strict=True)) for name in names}
    yield from _table(
        (run.axis, "reward", *map(_text, names[1:])),
        ((x, *(_shown(values[name].get(x)) for name in names)) for x in dict.fromkeys(chosen)),
    )
    yield from _table(
        ("status", "share at the start", "share at the end"),
        (
            (name, _share(shares[0]), _share(shares[-1]))
            for name, shares in run.statuses.items()
            if name != "x"
        ),
    )
    note = f"{run.causes['samples']:,} of {run.causes['of']:,} samples that did not match"
    yield from _table(
        (f"why wrong ({note})", "main cause", "in"),
        ((row["cause"], row["main"], row["in"]) for row in run.causes["counts"]),
    )
    note = f"{run.operations['samples']:,} of {run.operations['of']:,} samples that ran and did not match"
    for side in ("missing", "extra"):
        rows = ((_text(row["operation"]), row["samples"]) for row in run.operations[side][:ROWS])
        yield from _table((f"{side} operation ({note})", "samples"), rows)
    yield from _table(
        ("hardest databases", "samples", "mean", "match", "not scored"),
        (
            (
                _text(row["db"]),
                row["samples"],
                _shown(row["mean"]),
                _share(row["matches"]),
                _share(row["unscored"]),
            )
            for row in run.databases[:ROWS]
        ),
    )
    yield from _table(
        ("slowest statements", "db", "seconds", "times"),
        (
            (_text(row["predicted"]), _text(row["db"]), _shown(row["seconds"]), row["times"])
            for row in run.slowest[:ROWS]
        ),
    )
    yield from _table(
        ("ran out of time", "db", "timeouts"),
        ((_text(row["question"]), _text(row["db"]), row["timeouts"]) for row in run.timeouts[:ROWS]),
    )


def _table(head: Sequence[str], rows: Iterable[Sequence[Any]]) -> Iterator[str]:
    body = [f"| {' | '.join(map(str, row))} |" for row in rows]
    if body:
        yield f"| {' | '.join(head)} |"
        yield f"|{' --- |' * len(head)}"
        yield from body
        yield ""


def _text(value: Any) -> str:
    """Return a text from a log as safe Markdown: in a code span, nothing becomes a tag, a link or an emphasis."""
    text = " ".join(escape_controls(str(value)).split())
    text = (text if len(text) <= 160 else text[:159] + "…").replace("|", "\\|")
    if _PLAIN.fullmatch(text):
        return text
    fence = "`" * (1 + max(map(len, re.findall("`+", text)), default=0))
    room = " " if "`" in text else ""
    return f"{fence}{room}{text}{room}{fence}"


_PLAIN = re.compile(r"[\w ./-]*")


def _shown(value: float | None) -> str:
    return "none" if value is None else f"{value:.3f}"


def _share(value: float | None) -> str:
    return "none" if value is None else f"{value:.1%}"
