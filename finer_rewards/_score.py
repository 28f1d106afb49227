"""`Score`, the end of the data flow: a value or none, the reason, and the scores of its parts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from html import escape
from typing import NamedTuple

from finer_rewards._status import Status
from finer_rewards.errors import UnscorableError


class Span(NamedTuple):
    """A clause of the SQL in a completion, with a credit of its own.

    Attributes:
        clause: `select`, `from`, `where`, `group_by`, `having`, `order_by` or `limit`.
        start: the place of its first character in the completion.
        end: the place after its last character; equal to `start` for a clause that is missing.
        credit: from 0 to 1.
    """

    clause: str
    start: int
    end: int
    credit: float


@dataclass(frozen=True)
class Score:
    """What a reward gives a sample: a value or none, and the reason.

    Args:
        value: the number; `None` when the data or the system is at fault.
        reason: one line that says why.
        status: how the observation behind it ended.
        name: the reward that gave it, as it prints.
        parts: the scores that it is made of, each with its weight; a part with weight 0 is only shown.
        metrics: further numbers to log (precision, recall, counts).
        spans: credits of single clauses; only `clause_credit` gives them.

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
        """Return the same score under the name of the reward that gave it."""
        # Not `dataclasses.replace`, which is slow: every reward does this for every sample.
        found = object.__new__(type(self))
        found.__dict__.update(self.__dict__, name=name)
        return found

    def explain(self, indent: int = 0) -> str:
        """Return the tree of scores as text, one line for each score."""
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
        """Return the tree of scores for a notebook, the first line coloured by the value."""
        colour = "#a05a00" if self.value is None else "#1c7c4a" if self.value > 0 else "#b3372c"
        head, _, rest = escape(self.explain()).partition("\n")
        return f'<pre style="line-height:1.4"><b style="color:{colour}">{head}</b>\n{rest}</pre>'


def unscored(status: Status, reason: str = "") -> Score:
    """Return a score without a value, for a sample that cannot be judged."""
    return Score(None, reason or status.sentence, status)
