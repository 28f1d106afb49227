"""A reward is a value: a named, parameterised pure function from `Evidence` to `Score`.

`@reward` turns a plain function into a factory of `Reward` objects, which print, compare, hash, pickle
and compose:

    2 * execution_match() + 0.5 * atomic_f1()
    gate(condition=well_formed(), then=execution_match())
    clip(reward, lo=0, hi=1)

When the data is at fault (the gold fails) or the system (the database is missing), the score is `None`, whatever the
function would have returned. That is decided here, for every reward (`_blame.py`).
"""

from __future__ import annotations

import importlib
import inspect
import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cache, wraps
from types import MappingProxyType
from typing import Any, Concatenate, Final, ParamSpec, cast, final

from finer_rewards._blame import fault_of
from finer_rewards._util.validation import check_parameter, is_finite
from finer_rewards.comparing import Mode
from finer_rewards.errors import ConfigError, suggest
from finer_rewards.types import Evidence, Score

__all__ = ["NEEDS", "Reward", "clip", "constant", "gate", "maximum", "reward", "total"]

P = ParamSpec("P")
Function = Callable[..., float | Score]

#: What a reward may need the scorer to observe:
#: `predicted` and `gold`, the execution of that statement; `execution`, both;
#: `as:REWRITING`, both statements rewritten as a comparison mode with that rewriting does;
#: `calls`, the queries that the model ran before it answered, observed like answers;
#: `neighbours`, samples with a value of 1 on neighbours, too; `neighbours:asked`, only if the user asks for that;
#: `groups`, which samples are completions of the same prompt;
#: `schema`, `memory` and `judge`, the database's schema, similar traces and a judge's reply.
NEEDS: Final = (
    "execution",
    "predicted",
    "gold",
    "calls",
    "schema",
    "memory",
    "judge",
    "neighbours",
    "neighbours:asked",
    "groups",
)

_RUNS: Final = frozenset(("execution", "predicted", "gold"))

# The text of a reward nested more deeply could not be parsed by Python.
_DEEPEST: Final = 50


@dataclass(frozen=True)
class Definition:
    """What `@reward` was told about a function; the fields are explained there."""

    name: str
    function: Function
    signature: inspect.Signature
    needs: Callable[..., Iterable[str]]
    check: Callable[..., Mapping[str, Any] | None] | None
    combines: bool
    component: bool
    compares: Callable[..., Iterable[Mode] | None]


_DEFINITIONS: dict[str, Callable[..., Reward]] = {}


def known_rewards() -> Mapping[str, Callable[..., Reward]]:
    """Return the factories of all rewards defined so far, shipped and users' own, by name."""
    importlib.import_module("finer_rewards.rewards")
    return MappingProxyType(_DEFINITIONS)


def _always(needs: frozenset[str]) -> Callable[..., frozenset[str]]:
    return lambda **_: needs


def _reads_rows(**_: object) -> None:
    """The default of `compares`: `None`, the reward reads the rows of results itself."""


@cache
def _hints(function: Function) -> Mapping[str, Any]:
    # A function defined inside another may have annotations whose names cannot be resolved here; its arguments are then
    # not checked against them.
    try:
        return inspect.get_annotations(function, eval_str=True)
    except NameError:
        return {}


def _number(where: str, value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not is_finite(value):
        hint = (
            " Rewards are not multiplied by each other; see gate(...)." if isinstance(value, Reward) else ""
        )
        raise ConfigError(f"`{where}` should be a finite number, but got {value!r:.80}.{hint}")
    return value if isinstance(value, int) else float(value)


def _prints(value: object) -> bool:
    """Whether the value prints as text that `parse_reward` reads back."""
    if isinstance(value, tuple):
        return all(map(_prints, value))
    if isinstance(value, float):
        return math.isfinite(value)
    return value is None or isinstance(value, (bool, int, str, bytes, Reward, Mode))


@final
class Reward:
    """A named, parameterised pure function `Evidence -> Score`. Made by `@reward` factories only.

    Attributes:
        name: the name of the factory.
        params: every parameter, defaults included.
        needs: what has to be observed for it and its parts, names out of `NEEDS`.
        is_component: whether its value is logged under a name of its own.
    """

    __slots__ = (
        "_arguments", "_definition", "_depth", "_factory", "_hash", "_own_needs", "_text", "is_component", "name",
        "needs", "params",
    )  # fmt: skip

    def __init__(
        self, factory: Callable[..., Reward], definition: Definition, params: Mapping[str, Any]
    ) -> None:
        self._factory = factory
        self._definition = definition
        self.name: str = definition.name
        self._arguments = dict(params)
        self.params: Mapping[str, Any] = MappingProxyType(self._arguments)
        needs = tuple(definition.needs(**params))
        for need in needs:
            if need not in NEEDS and not need.startswith("as:"):
                raise ConfigError(
                    f"`reward(needs=...)` should hold names out of {', '.join(NEEDS)}, but got {need!r}. "
                    f"{suggest(need, NEEDS)}"
                )
        self._own_needs = () if definition.combines else needs
        self.is_component: bool = definition.component
        self.needs: frozenset[str] = frozenset(needs).union(*(part.needs for part in self.parts()))
        self._depth: int = 1 + max((part._depth for part in self.parts()), default=0)
        if self._depth > _DEEPEST:
            raise ConfigError(
                f"A reward should be nested at most {_DEEPEST} deep, but got more. Add up sooner."
            )
        self._text = self._print()
        self._hash = hash((self.name, tuple(sorted(self.params.items(), key=lambda item: item[0]))))

    def __call__(self, evidence: Evidence) -> Score:
        """Return the score of one piece of evidence."""
        if evidence.known and (known := evidence.known.get(self)) is not None:
            return known
        fault = fault_of(self._own_needs, evidence)
        score = fault or _as_score(self, self._definition.function(evidence, **self._arguments))
        # A component is named by its whole text; that of a combination would repeat the tree below it.
        return score.named(self._text if self.is_component else self.name)

    def parts(self) -> Iterator[Reward]:
        """Yield the rewards that this one was directly given."""
        for value in self.params.values():
            if isinstance(value, Reward):
                yield value
        if self.name == "total":
            yield from (part for _, part in self.params["terms"])
        elif self.name == "maximum":
            yield from self.params["rewards"]

    def leaves(self) -> tuple[Reward, ...]:
        """Return the distinct rewards at the bottom of the tree, constants left out, in order."""
        if not self._definition.combines:
            return () if self.name == "constant" else (self,)
        return tuple(dict.fromkeys(leaf for part in self.parts() for leaf in part.leaves()))

    def components(self) -> tuple[Reward, ...]:
        """Return the distinct rewards whose values are logged one by one, constants left out, in order."""
        if self.is_component:
            return () if self.name == "constant" else (self,)
        return tuple(dict.fromkeys(one for part in self.parts() for one in part.components()))

    def compared_under(self) -> tuple[Mode, ...] | None:
        """Return the modes under which its parts compare results; `None` if some part reads the rows itself."""
        modes: dict[Mode, None] = {}
        for leaf in self.leaves():
            if not any(need in _RUNS or need.startswith("as:") for need in leaf.needs):
                continue
            found = leaf._definition.compares(**leaf.params)
            if found is None:
                return None
            modes.update(dict.fromkeys(found))
        return tuple(modes)

    def __repr__(self) -> str:
        return self._text

    def _print(self) -> str:
        if self.name == "total":
            return _print_total(self.params["terms"])
        parameters = self._definition.signature.parameters
        shown = []
        for name, value in self.params.items():
            parameter = parameters[name]
            if parameter.default is not inspect.Parameter.empty and parameter.default == value:
                continue
            text = _print_value(value)
            # A text is shown with the parameter's name: `'bird'` alone would not say what it chooses.
            bare = parameter.kind is not inspect.Parameter.KEYWORD_ONLY and not isinstance(value, str)
            shown.append(text if bare else f"{name}={text}")
        return f"{self.name}({', '.join(shown)})"

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Reward):
            return NotImplemented
        return self.name == other.name and dict(self.params) == dict(other.params)

    def __hash__(self) -> int:
        return self._hash

    def __reduce__(self) -> tuple[Callable[..., Reward], tuple[Any, ...]]:
        return _restore, (self._factory.__module__, self._factory.__qualname__, dict(self.params))

    def __add__(self, other: Reward | float) -> Reward:
        return _sum((*_terms(self), *_terms(other)))

    def __radd__(self, other: Reward | float) -> Reward:
        return _sum((*_terms(other), *_terms(self)))

    def __sub__(self, other: Reward | float) -> Reward:
        return self + -1 * other

    def __rsub__(self, other: Reward | float) -> Reward:
        return other + -1 * self

    def __neg__(self) -> Reward:
        return -1 * self

    def __mul__(self, weight: float) -> Reward:
        factor = _number("weight", weight)
        return _sum(tuple((_number("weight", factor * inner), part) for inner, part in _terms(self)))

    __rmul__ = __mul__


def reward(
    *,
    needs: Iterable[str] | Callable[..., Iterable[str]] = (),
    check: Callable[..., Mapping[str, Any] | None] | None = None,
    combines: bool = False,
    component: bool | None = None,
    compares: Callable[..., Iterable[Mode] | None] = _reads_rows,
) -> Callable[[Callable[Concatenate[Evidence, P], float | Score]], Callable[P, Reward]]:
    """Turn a function `(evidence, *, parameters) -> float | Score` into a factory of rewards.

    Args:
        needs: what the function reads of the evidence, names out of `NEEDS`; the scorer observes only that.
            May be a function of the parameters.
        check: called with the parameters when a reward is built; raises `ConfigError` to refuse them. May return
            parameters to replace, for example by their canonical form.
        combines: true when the function calls other rewards that it was given, and handles their `None`.
        component: whether its value is logged under a name of its own. By default, if it does not combine others. Pass
            true for a function that applies other rewards to something else than this answer, since their values are
            not logged.
        compares: for a function that uses rows only to compare results: takes the parameters and returns the modes
            under which it compares. Large results may then come as a few rows, with the verdicts in `Trial.settled`.

    Returns:
        A decorator. The factory takes the function's parameters and returns a `Reward`.

    Raises:
        ConfigError: another module already defines a reward of that name.

    Example:
        >>> @reward()
        ... def concise(evidence: Evidence, *, budget: int = 400) -> float:
        ...     "1.0 up to `budget` characters of thought, then falling to 0 at twice that."
        ...     return max(0.0, min(1.0, 2 - len(evidence.answer.thought or "") / budget))
        >>> 2 * concise(budget=200)
        2 * concise(budget=200)
    """
    needs_of = needs if callable(needs) else _always(frozenset(needs))

    def decorate(function: Callable[Concatenate[Evidence, P], float | Score]) -> Callable[P, Reward]:
        signature = inspect.signature(function)
        own = list(signature.parameters.values())[1:]
        signature = signature.replace(parameters=own, return_annotation=Reward)
        definition = Definition(
            function.__name__,
            function,
            signature,
            needs_of,
            check,
            combines,
            not combines if component is None else component,
            compares,
        )

        @wraps(function)
        def factory(*args: P.args, **kwargs: P.kwargs) -> Reward:
            try:
                bound = signature.bind(*args, **kwargs)
            except TypeError as error:
                names = [name for name in kwargs if name not in signature.parameters]
                hint = suggest(names[0], signature.parameters) if names else ""
                raise ConfigError(
                    f"`{definition.name}(...)` takes {signature}, but {error}. {hint}".strip()
                ) from None
            bound.apply_defaults()
            hints = _hints(function)
            params = {
                name: check_parameter(f"{definition.name}({name}=...)", hints.get(name, Any), value)
                for name, value in bound.arguments.items()
            }
            for name, value in params.items():
                if not _prints(value):
                    raise ConfigError(
                        f"`{definition.name}({name}=...)` should be a number, text, a reward, a Mode, None or a "
                        f"tuple of them, which can be written in a config, but got {value!r:.120}. "
                        "Pass a name and look it up."
                    )
            if check is not None:
                params.update(check(**params) or {})
            return Reward(factory, definition, params)

        factory.__signature__ = signature  # type: ignore[attr-defined]
        present = _DEFINITIONS.get(definition.name)
        if present is not None and present.__module__ != factory.__module__:
            raise ConfigError(
                f"`@reward` should get a new name, but {definition.name!r} is defined in {present.__module__}. "
                "Rename the function."
            )
        _DEFINITIONS[definition.name] = factory
        return factory

    return decorate


def _check_constant(value: float) -> None:
    _number("constant(value)", value)


@reward(check=_check_constant)
def constant(evidence: Evidence, value: float = 1.0) -> Score:
    """The given `value`, the same for every sample.

    Example:
        >>> constant(0.5)
        constant(0.5)
    """
    return Score(float(value))


def _check_total(terms: tuple[tuple[float, Reward], ...]) -> None:
    if not terms or any(part.name == "total" for _, part in terms) or (len(terms) == 1 and terms[0][0] == 1):
        raise ConfigError(
            f"`total(terms=...)` should be a flat sum, but got {terms!r:.120}. Write it with + and *: 2 * a() + b()."
        )


@reward(combines=True, check=_check_total)
def total(evidence: Evidence, terms: tuple[tuple[float, Reward], ...]) -> Score:
    """The weighted sum of rewards; written `2 * a() + b()`. `None` as soon as one term is `None`.

    Example:
        >>> 2 * constant(0.5) + constant(0.1)
        2 * constant(0.5) + constant(0.1)
    """
    parts = tuple((weight, part(evidence)) for weight, part in terms)
    for _, score in parts:
        if score.value is None:
            return Score(None, score.reason, score.status, parts=parts)
    return Score(math.fsum(weight * float(score) for weight, score in parts), parts=parts)


@reward(combines=True)
def gate(evidence: Evidence, *, condition: Reward, then: Reward, otherwise: Reward | None = None) -> Score:
    """`then` where `condition` is above 0, else `otherwise` (0 when it is left out).

    The condition is judged first: a malformed completion is scored whatever the database did.

    Example:
        >>> gate(condition=constant(), then=constant(2))
        gate(condition=constant(), then=constant(2))
    """
    judged = condition(evidence)
    if judged.value is None:
        return Score(None, judged.reason, judged.status, parts=((0, judged),))
    branch = then if judged.value > 0 else otherwise
    if branch is None:
        return Score(0.0, judged.reason, judged.status, parts=((0, judged),))
    score = judged if repr(branch) == repr(condition) else branch(evidence)
    return Score(score.value, score.reason, score.status, parts=((0, judged), (1, score)))


def _check_maximum(rewards: tuple[Reward, ...]) -> None:
    if not rewards or not all(isinstance(part, Reward) for part in rewards):
        raise ConfigError(f"`maximum(rewards=...)` should be a tuple of rewards, but got {rewards!r:.120}.")


@reward(combines=True, check=_check_maximum)
def maximum(evidence: Evidence, rewards: tuple[Reward, ...]) -> Score:
    """The largest of several rewards. `None` as soon as one of them is `None`.

    Example:
        >>> maximum((constant(0.5), constant(0.1)))
        maximum((constant(0.5), constant(0.1)))
    """
    parts = tuple((0, part(evidence)) for part in rewards)
    for _, score in parts:
        if score.value is None:
            return Score(None, score.reason, score.status, parts=parts)
    best = max((score for _, score in parts), key=lambda score: score.value or 0.0)
    return Score(best.value, best.reason, best.status, parts=parts)


def _check_clip(reward: Reward, lo: float, hi: float) -> None:
    if not lo <= hi:
        raise ConfigError(f"`clip(lo=, hi=)` should be an interval, but got lo={lo!r}, hi={hi!r}. Swap them.")


@reward(combines=True, check=_check_clip)
def clip(evidence: Evidence, reward: Reward, *, lo: float = 0.0, hi: float = 1.0) -> Score:
    """`reward`, cut to the interval from `lo` to `hi`. `None` stays `None`.

    Example:
        >>> clip(3 * constant(), hi=2)
        clip(3 * constant(), hi=2)
    """
    score = reward(evidence)
    value = None if score.value is None else min(max(score.value, float(lo)), float(hi))
    return Score(value, score.reason, score.status, parts=((1, score),))


def _as_score(reward: Reward, result: float | Score) -> Score:
    if isinstance(result, Score):
        score = result
        if score.status.scorable is (score.value is None):
            if score.value is None:
                raise ConfigError(
                    f"`{reward.name}` should return a number unless the data or the system is at fault, but it "
                    f"returned None with status {score.status.name!r}. Return a number, or a status such as "
                    "Status.gold_failed."
                )
            score = replace(score, value=None)
    elif isinstance(result, (int, float)):
        score = Score(float(result))
    else:
        raise ConfigError(f"`{reward.name}` should return a number or a Score, but got {result!r:.80}.")
    if score.value is not None and not math.isfinite(score.value):
        raise ConfigError(f"`{reward.name}` should return a finite number, but got {score.value!r}.")
    return score


def _restore(module: str, qualname: str, params: dict[str, Any]) -> Reward:
    found: Any = importlib.import_module(module)
    for name in qualname.split("."):
        found = getattr(found, name)
    return cast("Reward", found(**params))


def _terms(value: Reward | float) -> tuple[tuple[float, Reward], ...]:
    if not isinstance(value, Reward):
        number = _number("+", value)
        # 0 is left out, because Python's `sum(rewards)` begins with 0.
        return ((1, constant(number)),) if number else ()
    if value.name == "total":
        return cast("tuple[tuple[float, Reward], ...]", value.params["terms"])
    return ((1, value),)


def _sum(terms: tuple[tuple[float, Reward], ...]) -> Reward:
    if len(terms) == 1 and terms[0][0] == 1:
        return terms[0][1]
    return total(terms)


def _print_total(terms: tuple[tuple[float, Reward], ...]) -> str:
    text = ""
    for index, (weight, part) in enumerate(terms):
        sign = ("-" if index == 0 else " - ") if weight < 0 else ("" if index == 0 else " + ")
        size = abs(weight)
        text += sign + (repr(part) if size == 1 else f"{_print_number(size)} * {part!r}")
    return text


def _print_number(value: float) -> str:
    return str(int(value)) if value == int(value) and abs(value) < 1e15 else repr(value)


def _print_value(value: object) -> str:
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return _print_number(value)
    if isinstance(value, tuple):
        inner = ", ".join(_print_value(item) for item in value)
        return f"({inner},)" if len(value) == 1 else f"({inner})"
    return repr(value)
