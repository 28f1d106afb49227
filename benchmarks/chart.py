"""Small line charts as SVG, with nothing to install."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

WIDTH, HEIGHT, MARGIN = 360, 220, 46


def chart(series: Mapping[str, Sequence[tuple[int, float]]], unit: str) -> str:
    """Return one panel a series, side by side, both axes from zero: what is linear looks so."""
    panels = []
    for index, (name, points) in enumerate(series.items()):
        most_x, most_y = max(x for x, _ in points), max(y for _, y in points) or 1.0
        places = [
            (MARGIN + x / most_x * (WIDTH - 2 * MARGIN), HEIGHT - MARGIN - y / most_y * (HEIGHT - 2 * MARGIN))
            for x, y in points
        ]
        line = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
        dots = "".join(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3"/>' for x, y in places)
        panels.append(
            f'<g transform="translate({index * WIDTH},0)" font-family="sans-serif" font-size="12">'
            f'<path d="M{MARGIN} {MARGIN / 2}V{HEIGHT - MARGIN}H{WIDTH - MARGIN / 2}" fill="none" stroke="#888"/>'
            f'<polyline points="{line}" fill="none" stroke="#2563eb" stroke-width="2"/>'
            f'<g fill="#2563eb">{dots}</g>'
            f'<text x="{MARGIN}" y="14">{unit}, up to {most_y:.0f}</text>'
            f'<text x="{WIDTH / 2}" y="{HEIGHT - 14}" text-anchor="middle">{name}, up to {most_x:,}</text></g>'
        )
    width = WIDTH * len(panels)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {HEIGHT}" width="{width}">'
        f'<rect width="100%" height="100%" fill="white"/>{"".join(panels)}</svg>\n'
    )
