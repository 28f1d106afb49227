"""`@rule`, the registry of the algorithms that modes choose from; each is a function, here or in a user's module."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from finer_rewards._util.extras import package_folder
from finer_rewards.comparing.result import Comparison, Sides
from finer_rewards.errors import ConfigError, suggest

if TYPE_CHECKING:
    from finer_rewards.comparing.mode import Mode

Function = Callable[[Sides, "Mode"], Comparison]


class Equates(NamedTuple):
    """What large results tell a rule without their cells, by counts and fingerprints (see `partial_results.py`).

    Args:
        alike: whether results with equal rows in the same order always match.
        ordered: whether the order counts; if not, equal rows in any order match too.
        counted: whether results with different numbers of rows never match.
        different: whether a result never matches one that has fewer rows than it has different rows.
        width: whether results with different numbers of columns never match.
    """

    alike: bool = True
    ordered: bool = False
    counted: bool = True
    different: bool = True
    width: bool = True


@dataclass(frozen=True)
class Rule:
    """A registered rule.

    Attributes:
        name: name of the function, by which modes name it.
        function: compares two sides under a mode.
        reads: the fields of `Mode` that it reads; a mode with this rule cannot set other ones.
        module: the module that defines it; importing the module registers the rule.
        needs_pandas: whether it runs on pandas, which the extra `published` brings.
        equates: takes the mode and whether row order counts, and returns an `Equates`; `None` if results of this rule
            can only be compared with all their rows.
    """

    name: str
    function: Function
    reads: frozenset[str]
    module: str
    needs_pandas: bool
    equates: Callable[[Mode, bool], Equates] | None = None

    @property
    def runs_anywhere(self) -> bool:
        """Whether a worker process, which has this library and nothing else, can run the rule."""
        return self.module.startswith("finer_rewards.") and not self.needs_pandas

    def check_installed(self) -> None:
        """Raise if the rule needs pandas and it is not installed.

        Raises:
            MissingExtraError: pandas is not installed.
        """
        if self.needs_pandas:
            package_folder("published", f"The comparison rule {self.name!r}", "pandas")


_RULES: dict[str, Rule] = {}


def rule(
    *,
    reads: Iterable[str] = (),
    needs_pandas: bool = False,
    equates: Callable[[Mode, bool], Equates] | None = None,
) -> Callable[[Function], Function]:
    """Register a function `(sides, mode) -> Comparison` as a rule that a `Mode` can name.

    Args:
        reads: names of the fields of `Mode` that the function reads.
        needs_pandas: the function imports pandas.
        equates: takes the mode and whether row order counts, and returns an `Equates`, which lets large results be
            decided without their rows. Without it, all rows are always compared.

    Returns:
        A decorator that returns the function as it is.

    Raises:
        ConfigError: another module already defines a rule of that name.

    Example:
        >>> from finer_rewards.comparing import Mode, compare
        >>> @rule(reads={"absolute_tolerance"})
        ... def same_total(sides: Sides, mode: Mode) -> Comparison:
        ...     gold, predicted = (sum(row[0] for row in side.rows) for side in (sides.gold, sides.predicted))
        ...     match = abs(gold - predicted) <= mode.absolute_tolerance
        ...     return Comparison(match, float(match), f"the total is {predicted}, gold's is {gold}")
        >>> compare([(1,), (2,)], [(3,)], Mode("totals", rule="same_total")).match
        True
    """

    def decorate(function: Function) -> Function:
        name = function.__name__
        known = _RULES.get(name)
        if known is not None and known.module != function.__module__:
            raise ConfigError(
                f"`@rule` should get a new name, but {name!r} is defined in {known.module}. Rename the function."
            )
        _RULES[name] = Rule(name, function, frozenset(reads), function.__module__, needs_pandas, equates)
        return function

    return decorate


def find_rule(name: str) -> Rule:
    """Return a rule by its name.

    Raises:
        ConfigError: there is no rule of that name.
    """
    if isinstance(name, str) and name in _RULES:
        return _RULES[name]
    raise ConfigError(
        f"`Mode(rule=...)` should be one of {', '.join(_RULES)}, but got {name!r:.80}. "
        f"{suggest(str(name), _RULES)}A rule of your own has to be imported before it is named."
    )
