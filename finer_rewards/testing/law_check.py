"""`check_reward`: checks the laws of `laws` on one reward, with Hypothesis outside of a test."""

from __future__ import annotations

import contextlib
import math
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis.errors import Flaky

from finer_rewards.errors import ConfigError, suggest
from finer_rewards.reward import Reward
from finer_rewards.testing.laws import LAWS, Bench, LawError
from finer_rewards.testing.small_databases import witnesses
from finer_rewards.testing.strategies import as_schema
from finer_rewards.testing.subjects import CallError, Calls, RewardSubject, Subject, as_subject

if TYPE_CHECKING:
    from finer_rewards.memory_protocol import Memory
    from finer_rewards.operations.canonicalising import SchemaLike

TEMPLATE: Final = "<think>{thought}</think>\n{sql}"


def check_reward(
    reward: Reward | str | Callable[..., Any],
    *,
    lo: float,
    hi: float,
    laws: Iterable[str] | None = None,
    calls: Calls | None = None,
    columns: Mapping[str, str] | None = None,
    template: str = TEMPLATE,
    schema: SchemaLike = None,
    memory: Memory | None = None,
    examples: int = 100,
    timeout: float = 5.0,
) -> None:
    """Check the laws of a reward on examples drawn by Hypothesis, which are the same every time.

    | law | what must hold |
    |---|---|
    | `finite` | a value is a finite number, or None |
    | `range` | a value lies from `lo` to `hi` |
    | `repeatable` | the same evidence has the same score |
    | `blame` | None exactly when the data or the system is at fault (only for a `Reward`) |
    | `pickles`, `prints` | the copy gives the same scores (only for a `Reward`) |
    | `batch` | a batch has the scores of its members, in any order |
    | `right_above_wrong` | a right answer has more than another query, SQL that fails, or no SQL |
    | `near_misses` | a right answer has more than one with a single mistake |
    | `spelling` | aliases, case, layout, comments and quotes change nothing |
    | `same_meaning` | a query that means the same, conditions and rows in another order too, has the same value |
    | `nothing_unrun` | the gold's own text earns nothing when it does not run |

    The last five are claims, which not every reward makes: one that only looks at the text makes none of them.

    Args:
        reward: a `Reward`, the text of one, or a function as TRL, verl or OpenRLHF call it.
        lo: the smallest value.
        hi: the largest value; may be `math.inf`.
        laws: the names of the laws to check; when left out, all of them, but the claims only for a function and for
            a `Reward` that compares an execution with the gold's.
        calls: `trl`, `trl_chat` (completions are messages), `verl` or `openrlhf`; recognised by the names of
            the function's parameters when left out.
        columns: the names of further columns or keys that the function reads, and which of gold, db and question
            they hold.
        template: how a completion is written, with `{thought}` and `{sql}`.
        schema: tables to draw queries over; a small library when left out.
        memory: a trace memory, for a reward that searches one; when left out, one that knows every thought.
        examples: the number of examples of each law.
        timeout: the seconds that a query may take when a `Reward` is checked.

    Raises:
        LawError: a law does not hold; the message names it and shows the smallest example.
        ConfigError: an argument cannot be used.
        MissingExtraError: Hypothesis is not installed.

    Example:
        >>> from finer_rewards import rewards as r
        >>> check_reward(r.well_formed(policy="plain"), lo=0, hi=1, examples=5)
    """
    for found in broken_laws(**locals()):
        raise found


def broken_laws(
    reward: Reward | Subject | str | Callable[..., Any],
    *,
    lo: float = -math.inf,
    hi: float = math.inf,
    laws: Iterable[str] | None = None,
    calls: Calls | None = None,
    columns: Mapping[str, str] | None = None,
    template: str = TEMPLATE,
    schema: SchemaLike = None,
    memory: Memory | None = None,
    examples: int = 100,
    timeout: float = 5.0,
) -> Iterator[LawError]:
    """Yield an error for each law that does not hold; the arguments are those of `check_reward`."""
    _check("examples", examples, isinstance(examples, int) and examples > 0, "a positive whole number")
    _check("lo, hi", (lo, hi), lo <= hi, "an interval")
    _check("template", template, "{sql}" in template, "text with {sql} in it")
    wanted = None if laws is None else tuple(laws)
    for name in wanted or ():
        if name not in LAWS:
            raise ConfigError(f"There is no law {name!r}. {suggest(name, LAWS)}Known: {', '.join(LAWS)}.")
    subject = as_subject(reward, calls=calls, columns=columns, memory=memory, timeout=timeout)
    tables = as_schema("check_reward", schema)
    with contextlib.closing(subject), tempfile.TemporaryDirectory(prefix="finer-rewards-") as folder:
        paths = tuple(
            str(one.write(Path(folder, f"witness{number}.sqlite")))
            for number, one in enumerate(witnesses(tables))
        )
        bench = Bench(subject, lo, hi, template, tables, paths)
        for name in laws_of(subject) if wanted is None else wanted:
            if LAWS[name].applies(bench.reward):
                found = _run(name, bench, examples)
                if found is not None:
                    yield found


def _check(name: str, got: object, good: bool, what: str) -> None:
    if not good:
        raise ConfigError(f"`check_reward({name}=...)` should be {what}, but got {got!r:.80}.")


def laws_of(subject: Subject) -> list[str]:
    """Return the names of the laws that are checked for a subject when none are named.

    The claims are checked for a function, of which nothing is known, and for a reward that compares with the gold.
    """
    reward = subject.reward if isinstance(subject, RewardSubject) else None
    compares = reward is None or "execution" in reward.needs or {"predicted", "gold"} <= reward.needs
    return [name for name, law in LAWS.items() if law.applies(reward) and (compares or not law.claimed)]


def _run(name: str, bench: Bench, examples: int) -> LawError | None:
    law = LAWS[name]

    @settings(
        max_examples=examples,
        database=None,
        deadline=None,
        derandomize=True,
        phases=(Phase.generate, Phase.shrink),
        print_blob=False,
        suppress_health_check=list(HealthCheck),
    )
    @given(law.draw(bench))
    def test(example: Any) -> None:
        try:
            law.check(bench, example)
        except CallError as error:
            raise LawError(
                name, f"`{bench.subject.name}` could not be called: {error}\n  {example!r:.500}"
            ) from error

    try:
        test()
    except LawError as found:
        return found
    except Flaky:
        return LawError(
            "repeatable",
            f"`{bench.subject.name}` breaks the law 'repeatable': {LAWS['repeatable'].sentence}, but it kept the "
            f"law {name!r} at one time and broke it at another, for the same example.",
        )
    return None
