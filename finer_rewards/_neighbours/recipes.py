"""The recipes for instances, in the order in which they are tried."""

from __future__ import annotations

from dataclasses import dataclass

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Literal


@dataclass(frozen=True)
class Recipe:
    """How an instance is made.

    Args:
        start: `sample`, real rows with all rows that they refer to; `new`, made-up rows.
        rows: about how many rows a referring table gets; tables that are only referred to get fewer.
        change: the share of columns and references that get other values.
        sought: the share of rows into which values that a gold looks for are written.
        doubles: the share of rows that are repeated under another key.
        renames: whether new rows separate codes from the names that go with them in the data. Only that exposes a query
            that recites the code instead of looking it up by name. But it also fails a query that rightly knows the
            code, so such an instance is used only for golds that need it.
        avoids: whether columns get none of the values that the gold looks for.
        bare: whether tables that the gold does not need are empty.
    """

    start: Literal["sample", "new"]
    rows: int
    change: float = 0.0
    sought: float = 0.0
    doubles: float = 0.0
    renames: bool = False
    bare: bool = False
    avoids: bool = False

    def __str__(self) -> str:
        parts = f"{self.start} {self.rows}, change {self.change:g}, sought {self.sought:g}, double {self.doubles:g}"
        return parts + ", renamed" * self.renames + ", bare" * self.bare + ", avoiding" * self.avoids


#: Tried in turn; first those that expose the most for their cost.
RECIPES = (
    Recipe("new", 24, change=1.0, sought=0.6, doubles=0.3),
    Recipe("new", 16, change=1.0, sought=0.4, doubles=0.25, bare=True),
    Recipe("sample", 24, change=0.6, sought=0.5, doubles=0.25),
    Recipe("new", 16, change=1.0, doubles=0.25, avoids=True),
    Recipe("new", 24, change=1.0, sought=0.6, doubles=0.3, bare=True),
    Recipe("sample", 60, change=0.5, sought=0.5, doubles=0.25),
    Recipe("new", 16, change=1.0, sought=0.1, doubles=0.25),
    Recipe("new", 60, change=1.0, sought=0.6, doubles=0.3),
    Recipe("sample", 12, change=0.3, sought=0.35, doubles=0.2),
    Recipe("sample", 150, change=0.4, sought=0.4, doubles=0.25),
    Recipe("new", 12, change=1.0, sought=0.3, doubles=0.2),
    Recipe("sample", 30, change=0.2, sought=0.2, doubles=0.1),
    Recipe("new", 100, change=1.0, sought=0.6, doubles=0.3),
)
#: Tried last, for near misses that no other recipe exposes.
PARTED = Recipe("new", 40, change=1.0, sought=0.6, doubles=0.25, renames=True)
