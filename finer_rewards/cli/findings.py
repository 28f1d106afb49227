"""What `doctor` and `preflight` find: a check a line, and what mends it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from finer_rewards.cli.terminal import one_line, paint

COLUMNS: Final = ("group", "name", "ok", "found", "advice")
#: Groups whose absence is no failure.
OPTIONAL: Final = ("engine", "extra")

Finding = dict[str, Any]


def finding(group: str, name: str, ok: bool, found: str, advice: str = "") -> Finding:
    """Return what was found; the advice stands where it is not as it should be."""
    return {"group": group, "name": name, "ok": ok, "found": found, "advice": "" if ok else advice}


def lines_of(record: Mapping[str, Any]) -> Iterator[str]:
    """Yield the line of a finding."""
    mark, colour = (
        ("ok", "green")
        if record["ok"]
        else ("--", "yellow")
        if record["group"] in OPTIONAL
        else ("FAILED", "red")
    )
    found, advice = one_line(record["found"]), record["advice"]
    yield f"{paint(mark.ljust(6), colour)}  {record['group']:18}  {record['name']:27}  {found}  {advice}".rstrip()
