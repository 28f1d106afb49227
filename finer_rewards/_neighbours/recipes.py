"""The ways to make an instance, in the order in which they are tried."""

from __future__ import annotations

from dataclasses import dataclass

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Literal


@dataclass(frozen=True)
class Recipe:
    """How an instance is made.

    Args:
        start: `sample`, real rows and all they refer to; `new`, rows of our own.
        rows: how many of a table that refers to others, about; tables referred to have fewer.
        change: the share of columns and references that get other values.
        sought: the share of rows that get what some gold looks for.
        doubles: the share of rows repeated under another key.
        renames: whether codes and names that go together in the data are parted in new rows. Only that tells
            who recites the code of a name from who looks it up; but it also fails who rightly knows it, so
            such an instance serves only the golds that need it.
        avoids: whether columns have none of the values that the gold looks for.
        bare: whether tables that the gold does not look at, and does not need for what it looks at, are empty.
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


#: Tried in turn, those first that tell the most for what they cost.
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
#: Tried last, for what no other tells.
PARTED = Recipe("new", 40, change=1.0, sought=0.6, doubles=0.25, renames=True)
