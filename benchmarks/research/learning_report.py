"""What the learning benchmark writes: tables with paired intervals over seeds, and curves with bands."""

from __future__ import annotations

import math
import platform
from collections.abc import Mapping, Sequence
from datetime import date
from pathlib import Path
from statistics import mean, median, stdev
from typing import Any, Final

from benchmarks.research.learning_arms import BASE

__all__ = ["interval", "merged", "report", "speed_ups"]

Run = Mapping[str, Any]
#: Student's t, 95 %, two-sided, by degrees of freedom.
T95: Final = (
    math.inf, 12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228, 2.201, 2.179, 2.160, 2.145, 2.131,
)  # fmt: skip
COLOURS: Final = ("#555555", "#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#7f3c8d")
WIDTH, HEIGHT, LEFT, TOP = 460, 300, 44, 34


def interval(values: Sequence[float]) -> tuple[float, float]:
    """Return the mean, and half the width of its 95 % confidence interval (Student's t)."""
    if len(values) < 2:
        return mean(values), math.inf
    return mean(values), T95[min(len(values) - 1, len(T95) - 1)] * stdev(values) / math.sqrt(len(values))


def speed_ups(arm: Run, base: Run) -> list[float]:
    """Return for each seed how many times sooner the arm has what match has at the end; 0 where it never has."""
    found = []
    for seed in range(len(base["seeds"])):
        wanted, last = base["sampled"][-1][seed], len(base["sampled"]) - 1
        reached = (at for at, row in enumerate(arm["sampled"]) if at and row[seed] >= wanted)
        at = next(reached, None)
        found.append(0.0 if at is None else last / at)
    return found


def report(runs: Sequence[Run], file: Path, seeds: Sequence[int]) -> None:
    """Write the tables and the plot beside the file of runs."""
    confirmed = merged([one for one in runs if set(one["seeds"]) <= set(seeds)])
    screened = [one for one in runs if not set(one["seeds"]) <= set(seeds)]
    text = "\n".join([*_head(runs, file.stem), *_screening(screened), *_confirming(confirmed)]) + "\n"
    file.with_suffix(".md").write_text(text, encoding="utf-8")
    file.with_suffix(".svg").write_text(figure(confirmed), encoding="utf-8")
    print(text)


def merged(runs: Sequence[Run]) -> list[Run]:
    """Return one run an arm, rate, task and start: seeds that trained in blocks stand side by side."""
    found: dict[tuple[Any, ...], dict[str, Any]] = {}
    for one in runs:
        key = one["task"], one["start"], one["arm"], one["rate"]
        if key not in found:
            found[key] = dict(one)
            continue
        whole = found[key]
        for name in ("sampled", "greedy"):
            whole[name] = [[*a, *b] for a, b in zip(whole[name], one[name], strict=True)]
        whole["silent"] = (whole["silent"] * len(whole["seeds"]) + one["silent"] * len(one["seeds"])) / (
            len(whole["seeds"]) + len(one["seeds"])
        )
        whole["seeds"] = [*whole["seeds"], *one["seeds"]]
    # Where a run stopped between the arms of a block, only the seeds that all have can be paired.
    shared = {
        place: set.intersection(*(set(one["seeds"]) for one in found.values() if _place(one) == place))
        for place in {_place(one) for one in found.values()}
    }
    return [_only(one, shared[_place(one)]) for one in found.values()]


def _place(one: Run) -> tuple[str, str]:
    return one["task"], one["start"]


def _only(one: Run, seeds: set[int]) -> Run:
    kept = [at for at, seed in enumerate(one["seeds"]) if seed in seeds]
    return {
        **one,
        "seeds": [one["seeds"][at] for at in kept],
        "sampled": [[row[at] for at in kept] for row in one["sampled"]],
        "greedy": [[row[at] for at in kept] for row in one["greedy"]],
    }


def _head(runs: Sequence[Run], name: str) -> list[str]:
    minutes = sum(one["seconds"] for one in runs) / 60
    return [
        "# Which reward teaches, on sound questions",
        "",
        f"`python -m benchmarks.research.learning report`, {date.today()}, {platform.machine()}, two shared cores; one "
        f"process: {len(runs)} runs, {minutes:.0f} minutes of CPU without warm starts. Curves: `{name}.svg`.",
        "",
        "Sampled EX: likelihood of the right answer to held-out questions. Against: the difference to match alone at "
        "the rate that ended higher, same seeds, with a 95 % interval. Sooner: how many times sooner an arm has "
        "what match has at the end, median over seeds and the interval of it (second to last but one of ten: 98 %); 0 "
        "is never. Collapsed: seeds that end below their start. Silent: groups that give no credit. What an arm is: "
        "`benchmarks/research/learning_arms.py`. Dashed curves: the lower of an arm's two rates. Chosen afterwards: a "
        "rate that was tried after the confirming seeds had been seen, so it shows a direction and confirms nothing.",
        "",
    ]


def _screening(runs: Sequence[Run]) -> list[str]:
    lines: list[str] = []
    for task, start in dict.fromkeys((one["task"], one["start"]) for one in runs):
        here = [one for one in runs if (one["task"], one["start"]) == (task, start)]
        seeds = ", ".join(map(str, here[0]["seeds"]))
        lines += [f"## Screening: {task}, {start} start, seeds {seeds}", ""]
        lines += ["| arm | rate | mean over steps | end | greedy end | silent |", "|---|---|---|---|---|---|"]
        for one in sorted(here, key=lambda one: -mean(map(mean, one["sampled"]))):
            lines.append(
                f"| {one['arm']} | {one['rate']:g} | {mean(map(mean, one['sampled'])):.3f} | "
                f"{mean(one['sampled'][-1]):.3f} | {mean(one['greedy'][-1]):.3f} | {one['silent']:.2f} |"
            )
        lines.append("")
    return lines


def _confirming(runs: Sequence[Run]) -> list[str]:
    lines: list[str] = []
    for task, start in dict.fromkeys((one["task"], one["start"]) for one in runs):
        here = [one for one in runs if (one["task"], one["start"]) == (task, start)]
        matches = [one for one in here if one["arm"] == BASE]
        if not matches:
            continue
        base = max(matches, key=lambda one: mean(one["sampled"][-1]))
        steps = (len(base["sampled"]) - 1) * base["every"]
        support = ", ".join(f"{name} {share:.2f}" for name, share in base["support"]["support"].items())
        lines += [
            f"## {task}, {start} start: {len(base['seeds'])} seeds, {steps} steps",
            "",
            f"At the start {100 * base['support']['right']:.1f} % of samples are right by execution on the database "
            f"and its neighbours, of which {100 * base['support']['of them with F1 = 1']:.0f} % are the gold's query. "
            f"Right where needed, by slot: {support}.",
            "",
            "| arm | rate | sampled EX | against, end | against, mean over steps | greedy, against | sooner "
            "| collapsed | silent |",
            "|---|---|---|---|---|---|---|---|---|",
        ]
        lines += [_row(one, base) for one in here] + [""]
    return lines


def _row(one: Run, base: Run) -> str:
    def against(values: Sequence[float], others: Sequence[float]) -> str:
        centre, half = interval([a - b for a, b in zip(values, others, strict=True)])
        return f"{centre:+.3f} ± {half:.3f}"

    def over(run: Run) -> list[float]:
        return [mean(curve) for curve in zip(*run["sampled"], strict=True)]

    cells = ["", "", "", ""]
    if one is not base:
        sooner = sorted(speed_ups(one, base))
        low, high = (sooner[1], sooner[-2]) if len(sooner) > 2 else (sooner[0], sooner[-1])
        cells = [
            against(one["sampled"][-1], base["sampled"][-1]),
            against(over(one), over(base)),
            against(one["greedy"][-1], base["greedy"][-1]),
            f"{median(sooner):.1f} ({low:.1f} to {high:.1f})",
        ]
    lost = sum(end < first for first, end in zip(one["sampled"][0], one["sampled"][-1], strict=True))
    later = " (chosen afterwards)" if one.get("afterwards") else ""
    return (
        f"| {one['arm']}{later} | {one['rate']:g} | {mean(one['sampled'][-1]):.3f} | {' | '.join(cells)} | {lost} | "
        f"{one['silent']:.2f} |"
    )


def figure(runs: Sequence[Run]) -> str:
    """Return the curves of sampled EX, a panel for each task and start, with 95 % bands over seeds."""
    places = list(dict.fromkeys((one["task"], one["start"]) for one in runs))
    arms = list(dict.fromkeys(one["arm"] for one in runs))
    panels = []
    for number, place in enumerate(places):
        here = [one for one in runs if (one["task"], one["start"]) == place]
        top = max(max(map(max, one["sampled"])) for one in here) or 1.0
        body = [
            f'<text x="{LEFT}" y="20">{place[0]}, {place[1]} start: sampled EX, up to {top:.2f}</text>',
            f'<path d="M{LEFT} {TOP}V{HEIGHT - 30}H{WIDTH - 12}" fill="none" stroke="#888"/>',
            f'<text x="{WIDTH - 12}" y="{HEIGHT - 10}" text-anchor="end">step '
            f"{(len(here[0]['sampled']) - 1) * here[0]['every']}</text>",
        ]
        fastest = {one["arm"]: max(two["rate"] for two in here if two["arm"] == one["arm"]) for one in here}
        body += [
            _curve(
                one, COLOURS[arms.index(one["arm"]) % len(COLOURS)], top, one["rate"] < fastest[one["arm"]]
            )
            for one in here
        ]
        panels.append(
            f'<g transform="translate({number % 2 * WIDTH},{number // 2 * HEIGHT})">{"".join(body)}</g>'
        )
    bottom = (len(places) + 1) // 2 * HEIGHT
    legend = "".join(
        f'<rect x="{LEFT}" y="{bottom + 18 * n}" width="14" height="10" fill="{COLOURS[n % len(COLOURS)]}"/>'
        f'<text x="{LEFT + 20}" y="{bottom + 10 + 18 * n}">{arm}</text>'
        for n, arm in enumerate(arms)
    )
    height = bottom + 18 * len(arms) + 10
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {2 * WIDTH} {height}" width="{2 * WIDTH}" '
        f'font-family="sans-serif" font-size="12"><rect width="100%" height="100%" fill="white"/>'
        f"{''.join(panels)}{legend}</svg>\n"
    )


def _curve(one: Run, colour: str, top: float, is_slower: bool) -> str:
    last = len(one["sampled"]) - 1

    def place(at: int, value: float) -> str:
        x = LEFT + at / max(1, last) * (WIDTH - 12 - LEFT)
        return f"{x:.1f},{HEIGHT - 30 - min(max(value, 0.0), top) / top * (HEIGHT - 30 - TOP):.1f}"

    middle, upper, lower = [], [], []
    for at, row in enumerate(one["sampled"]):
        centre, half = interval(row)
        half = half if math.isfinite(half) else 0.0
        middle.append(place(at, centre))
        upper.append(place(at, centre + half))
        lower.append(place(at, centre - half))
    dashes = ' stroke-dasharray="5 4"' if is_slower else ""
    return (
        f'<polygon points="{" ".join([*upper, *reversed(lower)])}" fill="{colour}" opacity="0.15"/>'
        f'<polyline points="{" ".join(middle)}" fill="none" stroke="{colour}" stroke-width="2"{dashes}/>'
    )
