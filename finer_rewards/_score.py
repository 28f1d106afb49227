"""`Score`: a value, or none, and why; what it is made of, and how it is shown."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from html import escape
from typing import NamedTuple

from finer_rewards._status import Status
from finer_rewards.errors import UnscorableError


class Span(NamedTuple):
    """A part of a completion, and what it is worth by itself.

    Attributes:
        clause: which clause of the SQL it is: `select`, `from`, `where`, `group_by`, `having`, `order_by`, `limit`.
        start: its first character in the completion.
        end: the character after its last; equal to `start` for a clause that is not there.
        credit: from 0 to 1.
    """

    clause: str
    start: int
    end: int
    credit: float


@dataclass(frozen=True)
class Score:
    """A value, or none, and why.

    Args:
        value: the number; `None` when the data or the system is at fault.
        reason: one line that says why.
        status: how the observation behind it ended.
        name: the reward that gave it, as it prints.
        parts: the scores it is made of, each with its weight; weight 0 is shown but does not count.
        metrics: further numbers to log (precision, recall, counts).
        spans: parts of the completion with a worth of their own; of `clause_credit` alone.

    Example:
        >>> print(Score(1.0, "2 rows = 2 gold rows", name="execution_match()").explain())
         1.000  execution_match()  (2 rows = 2 gold rows)
    """

    value: float | None
    reason: str = ""
    status: Status = Status.ok
    name: str = ""
    parts: tuple[tuple[float, Score], ...] = ()
    metrics: Mapping[str, float] = field(default_factory=dict)
    spans: tuple[Span, ...] = ()

    def __float__(self) -> float:
        if self.value is None:
            raise UnscorableError(
                f"`{self.name}` has no value: {self.status.sentence} {self.reason}".rstrip()
            )
        return self.value

    def __hash__(self) -> int:
        return hash((self.value, self.reason, self.status, self.name, self.parts))

    def named(self, name: str) -> Score:
        """Return the same score, given by the reward of that name."""
        found = object.__new__(type(self))
        found.__dict__.update(self.__dict__, name=name)  # every reward does this for every sample
        return found

    def explain(self, indent: int = 0) -> str:
        """Return the tree of scores as text, one line a score."""
        value = "  none" if self.value is None else f"{self.value:6.3f}"
        reason = f"  ({self.reason})" if self.reason else ""
        lines = [f"{'  ' * indent}{value}  {self.name}{reason}"]
        for weight, part in self.parts:
            text = part.explain(indent + 1)
            if weight not in (0, 1):
                head, _, rest = text.partition(part.name)
                text = f"{head}{weight:g} * {part.name}{rest}"
            lines.append(text)
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        """Return the tree for a notebook, colours by value."""
        colour = "#a05a00" if self.value is None else "#1c7c4a" if self.value > 0 else "#b3372c"
        head, _, rest = escape(self.explain()).partition("\n")
        return f'<pre style="line-height:1.4"><b style="color:{colour}">{head}</b>\n{rest}</pre>'


def unscored(status: Status, reason: str = "") -> Score:
    """Return the score of what cannot be judged: `None`, with its status."""
    return Score(None, reason or status.sentence, status)
