"""The records and lines that `doctor` and `preflight` print: one for each check, with advice if it failed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from finer_rewards.cli.terminal import one_line, paint

COLUMNS: Final = ("group", "name", "ok", "found", "advice")
#: Groups of checks on what need not be installed: nothing fails if it is missing.
OPTIONAL: Final = ("engine", "extra")

Finding = dict[str, Any]


def finding(group: str, name: str, ok: bool, found: str, advice: str = "") -> Finding:
    """Return the record of a check; the advice is kept only if the check failed."""
    return {"group": group, "name": name, "ok": ok, "found": found, "advice": "" if ok else advice}


def lines_of(record: Mapping[str, Any]) -> Iterator[str]:
    """Yield the line of a check, and its advice below it."""
    mark, colour = (
        ("ok", "green")
        if record["ok"]
        else ("--", "yellow")
        if record["group"] in OPTIONAL
        else ("FAILED", "red")
    )
    found, advice = one_line(record["found"]), record["advice"]
    yield f"{paint(mark.ljust(6), colour)}  {record['group']:18}  {record['name']:27}  {found}  {advice}".rstrip()
