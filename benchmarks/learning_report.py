"""The table and the plot of the learning benchmark, from its file of runs."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from datetime import date
from statistics import mean, stdev
from typing import Any

from benchmarks.learning_arms import BASE

__all__ = ["figure", "interval", "tables"]

Run = dict[str, Any]
#: The rise of EX whose steps are told.
GAIN = 0.05
#: Two-sided 95 % quantiles of Student's t by degrees of freedom.
T95 = (math.inf, 12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228)
COLOURS = (
    "#000000",
    "#d55e00",
    "#0072b2",
    "#009e73",
    "#cc79a7",
    "#e69f00",
    "#56b4e9",
    "#999999",
    "#7f3c8d",
    "#a5aa99",
)


def interval(values: Sequence[float]) -> tuple[float, float]:
    """Return the mean, and half the width of its 95 % confidence interval (Student's t)."""
    if len(values) < 2:
        return mean(values), math.inf
    quantile = T95[min(len(values) - 1, len(T95) - 1)]
    return mean(values), quantile * stdev(values) / math.sqrt(len(values))


def tables(runs: Sequence[Run]) -> str:
    """Return the results as Markdown, a table a start."""
    minutes = sum(run["seconds"] for run in runs) / 60
    lines = [
        "# Which reward teaches",
        "",
        f"Printed by `python -m benchmarks.learning report` on {date.today()}, from `learning.jsonl`: {len(runs)} runs",
        f"that took {minutes:.0f} minutes of CPU without the warm starts. The plot is `learning.svg`.",
        "EX: greedy answers to held-out questions. Against: the difference to execution match alone from the same",
        "starts, with a 95 % interval over seeds. Sampled: at temperature 1. Silent: groups in which all rewards are",
        f"equal. To +{GAIN}: steps until EX is that far above its start, and how many seeds got there. Scale: what",
        "differences are divided by; see `benchmarks/learning_arms.py`.",
    ]
    for regime in _names(runs, "regime"):
        chosen = [run for run in runs if run["regime"] == regime]
        lines += ["", f"## Start: {regime}", ""]
        lines += _table(chosen)
        lines += [
            "",
            "Clauses of the gold queries that are missing at the end, in per cent (at the start in brackets):",
            "",
        ]
        lines += _clauses(chosen)
    lines += ["", "## Rewards", ""]
    rewards = {run["arm"]: run["reward"] for run in runs}
    lines += [f"* {arm}: `{reward}`" for arm, reward in rewards.items()]
    return "\n".join(lines) + "\n"


def _table(runs: Sequence[Run]) -> list[str]:
    every = runs[0]["every"]
    steps = [every * place for place in range(len(runs[0]["curve"]))]
    head = ["reward", "scale", "seeds", *(f"EX at {step}" for step in steps), "against", "sampled at end"]
    head += ["F1 at end", "silent", f"to +{GAIN}"]
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    base = {run["seed"]: run for run in runs if run["arm"] == BASE}
    for arm in _names(runs, "arm"):
        own = [run for run in runs if run["arm"] == arm]
        paired = [run["curve"][-1] - base[run["seed"]]["curve"][-1] for run in own if run["seed"] in base]
        against = "" if arm == BASE or not paired else _signed(*interval(paired))
        reached = [found for run in own if (found := _steps(run, GAIN)) is not None]
        cells = [
            arm,
            own[0].get("scale", "group"),
            str(len(own)),
            *(f"{mean(values):.3f}" for values in zip(*(run["curve"] for run in own), strict=True)),
            against,
            f"{mean(run['sampled'][-1] for run in own):.3f}",
            f"{mean(run['f1'][-1] for run in own):.3f}",
            f"{100 * mean(run['silent'] for run in own):.0f} %",
            f"{mean(reached):.0f} ({len(reached)})" if reached else "never",
        ]
        lines.append("| " + " | ".join(cells) + " |")
    return lines


def _clauses(runs: Sequence[Run]) -> list[str]:
    clauses = list(runs[0]["clauses"][0])
    lines = ["| reward | " + " | ".join(name.replace("_", " ").upper() for name in clauses) + " |"]
    lines.append("|---|" + "---|" * len(clauses))
    for arm in _names(runs, "arm"):
        own = [run for run in runs if run["arm"] == arm]
        cells = [f"{_missing(own, 1, name)} ({_missing(own, 0, name)})" for name in clauses]
        lines.append(f"| {arm} | " + " | ".join(cells) + " |")
    return lines


def _missing(runs: Sequence[Run], when: int, clause: str) -> str:
    gold = sum(run["clauses"][when][clause][0] for run in runs)
    missing = sum(run["clauses"][when][clause][1] for run in runs)
    return f"{100 * missing / gold:.0f}" if gold else "-"


def _steps(run: Run, gain: float) -> int | None:
    start = run["curve"][0]
    reached = (index for index, value in enumerate(run["curve"]) if value >= start + gain)
    index = next(reached, None)
    return None if index is None else index * run["every"]


def _signed(value: float, half: float) -> str:
    return f"{value:+.3f}" + ("" if math.isinf(half) else f" ± {half:.3f}")


def _names(runs: Sequence[Run], key: str) -> list[str]:
    return list(dict.fromkeys(run[key] for run in runs))


def figure(runs: Sequence[Run]) -> str:
    """Return the mean curves of EX as SVG, a panel a start."""
    regimes, arms = _names(runs, "regime"), _names(runs, "arm")
    width, height, left, top = 380, 260, 46, 34
    every: int = runs[0]["every"]
    steps = every * (max(len(run["curve"]) for run in runs) - 1)
    seen = (value for regime in regimes for arm in arms for value in _means(runs, regime, arm))
    highest = 1.1 * max(0.01, *seen)
    parts = []
    for place, regime in enumerate(regimes):
        origin = left + place * (width + 30)

        def x(step: float, origin: int = origin) -> float:
            return origin + step / steps * (width - left)

        def y(value: float) -> float:
            return top + height * (1 - value / highest)

        parts.append(f'<text x="{origin}" y="20" font-weight="bold">start: {regime}</text>')
        parts += _axes(x, y, steps, highest)
        for number, arm in enumerate(arms):
            means = _means(runs, regime, arm)
            if means:
                points = " ".join(
                    f"{x(index * every):.1f},{y(value):.1f}" for index, value in enumerate(means)
                )
                colour = COLOURS[number % len(COLOURS)]
                style = f'stroke="{colour}" stroke-width="2"' + _dashes(number)
                parts.append(f'<polyline points="{points}" fill="none" {style}/>')
    bottom = top + height + 46
    for number, arm in enumerate(arms):
        across, down = left + number % 3 * 260, bottom + number // 3 * 18
        style = f'stroke="{COLOURS[number % len(COLOURS)]}" stroke-width="3"' + _dashes(number)
        parts.append(f'<path d="M{across} {down - 7}h18" {style}/>')
        parts.append(f'<text x="{across + 24}" y="{down - 3}">{arm}</text>')
    total = (left + len(regimes) * (width + 30), bottom + (len(arms) + 2) // 3 * 18)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {max(total[0], 830)} {total[1]}" '
        'font-family="sans-serif" font-size="12"><rect width="100%" height="100%" fill="white"/>'
        + "".join(parts)
        + "</svg>\n"
    )


def _dashes(number: int) -> str:
    return ' stroke-dasharray="5 3"' if number >= len(COLOURS) else ""


def _axes(x: Callable[[float], float], y: Callable[[float], float], steps: int, highest: float) -> list[str]:
    lines = [f'<path d="M{x(0)} {y(highest)}V{y(0)}H{x(steps)}" fill="none" stroke="#888"/>']
    for number in range(5):
        step, value = steps * number / 4, highest * number / 4
        lines.append(f'<text x="{x(step)}" y="{y(0) + 16}" text-anchor="middle">{step:.0f}</text>')
        lines.append(f'<text x="{x(0) - 6}" y="{y(value) + 4}" text-anchor="end">{value:.2f}</text>')
    lines.append(
        f'<text x="{x(steps / 2)}" y="{y(0) + 32}" text-anchor="middle">GRPO steps; EX on held-out questions</text>'
    )
    return lines


def _means(runs: Sequence[Run], regime: str, arm: str) -> list[float]:
    curves = [run["curve"] for run in runs if (run["regime"], run["arm"]) == (regime, arm)]
    return [float(mean(values)) for values in zip(*curves, strict=False)]
