"""The laws of a reward: each is a strategy that draws examples, and a check that raises `LawError`."""

from __future__ import annotations

import math
import pickle
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final, NoReturn

from hypothesis import strategies as st

from finer_rewards.errors import ConfigError, FinerError
from finer_rewards.reward import Reward
from finer_rewards.schema import Schema
from finer_rewards.spec import parse_reward
from finer_rewards.testing.changes import SPELLING, differ
from finer_rewards.testing.observations import THOUGHT, broken, completions, evidence
from finer_rewards.testing.small_databases import witnesses
from finer_rewards.testing.strategies import equivalent_pairs, near_misses, queries, rows_of
from finer_rewards.testing.subjects import RewardSubject, Subject, SubjectCase
from finer_rewards.types import Evidence

#: How far a value may lie beyond its range, because sums of floats are rounded.
_ROUNDING: Final = 1e-9


class LawError(FinerError, AssertionError):
    """A reward breaks a law; the message names it and shows the smallest example found.

    Attributes:
        law: the name of the law.
    """

    def __init__(self, law: str, message: str) -> None:
        super().__init__(message)
        self.law = law

    def __reduce__(self) -> tuple[type[LawError], tuple[str, str]]:
        return type(self), (self.law, str(self))


@dataclass(frozen=True)
class Bench:
    """What a law is checked with: the reward or function, its range, and the databases.

    Args:
        subject: the reward or function.
        lo: the smallest value.
        hi: the largest value.
        template: how a completion is written, with `{thought}` and `{sql}`.
        schema: the tables.
        paths: one database file for each witness of the schema.
    """

    subject: Subject
    lo: float
    hi: float
    template: str
    schema: Schema
    paths: tuple[str, ...]

    @property
    def reward(self) -> Reward | None:
        """The `Reward`, if the subject is one; else `None`."""
        return self.subject.reward if isinstance(self.subject, RewardSubject) else None

    def case(self, sql: str, gold: str, number: int) -> SubjectCase:
        """Return the case of a completion with this SQL, on the database of that number."""
        return SubjectCase(self.written(sql), gold, (self.paths[number],))

    def written(self, sql: str) -> str:
        """Return a completion with this SQL."""
        return self.template.replace("{thought}", THOUGHT).replace("{sql}", sql)


@dataclass(frozen=True)
class Law:
    """One law.

    Args:
        sentence: what must hold.
        draw: the strategy of its examples.
        check: raises `LawError` for an example that breaks the law.
        applies: whether the law is about this `Reward`, or about functions (`None`), at all.
        claimed: whether the law binds only a reward that compares with the gold.
    """

    sentence: str
    draw: Callable[[Bench], st.SearchStrategy[Any]]
    check: Callable[[Bench, Any], None]
    applies: Callable[[Reward | None], bool] = lambda reward: True
    claimed: bool = False


def _break(law: str, bench: Bench, found: str, example: Mapping[str, object]) -> NoReturn:
    lines = [f"`{bench.subject.name}` breaks the law {law!r}: {LAWS[law].sentence}, but {found}."]
    lines += [f"  {name}: {value}" for name, value in example.items()]
    raise LawError(law, "\n".join(lines))


# Laws about a single score. Their examples are made-up evidence for a `Reward`, and completions for a function.


def _scored(bench: Bench) -> st.SearchStrategy[Evidence | SubjectCase]:
    if bench.reward is not None:
        return evidence(schema=bench.schema)
    sql = queries(schema=bench.schema)
    texts = completions(sql=sql) | sql.map(bench.written)
    return st.builds(SubjectCase, texts, sql, st.sampled_from(bench.paths).map(lambda path: (path,)))


def _values(bench: Bench, items: Sequence[Evidence | SubjectCase]) -> list[float | None]:
    if bench.reward is not None:
        return [bench.reward(item).value for item in items if isinstance(item, Evidence)]
    return bench.subject.score([item for item in items if isinstance(item, SubjectCase)])


def _shown(item: Evidence | SubjectCase) -> dict[str, object]:
    if isinstance(item, SubjectCase):
        return {"completion": repr(item.completion), "gold": item.gold}
    shown: dict[str, object] = {"completion": repr(item.sample.completion), "gold": item.sample.gold}
    for name in ("predicted", "gold"):
        run = getattr(item, name)
        if run is not None:
            shown[f"{name} result"] = f"{run.status.name} {list(run.rows) if run.ok else run.error}"
    if item.recall is not None:
        shown["recall"] = f"{item.recall.status.name} {item.recall.verified}"
    return shown


def _finite(bench: Bench, item: Evidence | SubjectCase) -> None:
    (value,) = _values(bench, [item])
    if value is not None and not math.isfinite(value):
        _break("finite", bench, f"it gave {value}", _shown(item))


def _range(bench: Bench, item: Evidence | SubjectCase) -> None:
    (value,) = _values(bench, [item])
    if value is not None and not bench.lo - _ROUNDING <= value <= bench.hi + _ROUNDING:
        _break(
            "range",
            bench,
            f"it gave {value} where lo={bench.lo:g} and hi={bench.hi:g}",
            _shown(item),
        )


def _repeatable(bench: Bench, item: Evidence | SubjectCase) -> None:
    first, second = _values(bench, [item])[0], _values(bench, [item])[0]
    if not _same(first, second):
        _break("repeatable", bench, f"it gave {first}, then {second}", _shown(item))


def _same(first: float | None, second: float | None) -> bool:
    return first == second or (
        first is not None and second is not None and first != first and second != second
    )


def _faults(bench: Bench) -> st.SearchStrategy[tuple[Evidence, Evidence]]:
    whole = evidence(schema=bench.schema, healthy=True)
    return whole.flatmap(lambda one: broken(one).map(lambda other: (one, other)))


def _blame(bench: Bench, items: tuple[Evidence, Evidence]) -> None:
    whole, faulty = map(_the_reward(bench), items)
    if whole.value is None:
        _break("blame", bench, "it gave None where nothing was wrong with either", _shown(items[0]))
    # The reward may not need what is at fault, as for a malformed completion: then the value must be the same.
    if faulty.value is not None and faulty.value != whole.value:
        found = (
            f"it gave {faulty.value} where something was wrong with them, and {whole.value} where nothing was"
        )
        _break("blame", bench, found, _shown(items[1]))


@lru_cache(maxsize=256)
def _by_pickle(reward: Reward) -> Reward:
    copy: Reward = pickle.loads(pickle.dumps(reward))
    return copy


@lru_cache(maxsize=256)
def _by_text(reward: Reward) -> Reward:
    return parse_reward(repr(reward))


def _pickles(bench: Bench, item: Evidence) -> None:
    reward = _the_reward(bench)
    try:
        copy = _by_pickle(reward)
    except (pickle.PicklingError, AttributeError, TypeError, ImportError) as error:
        _break("pickles", bench, f"pickle says: {error}", {})
    if copy != reward or copy(item) != reward(item):
        _break("pickles", bench, "the copy differs", _shown(item))


def _prints(bench: Bench, item: Evidence) -> None:
    reward = _the_reward(bench)
    try:
        copy = _by_text(reward)
    except ConfigError as error:
        _break("prints", bench, f"reading it back fails: {error}", {})
    if copy != reward or copy(item) != reward(item):
        _break("prints", bench, f"it reads back as {copy!r}", _shown(item))


def _the_reward(bench: Bench) -> Reward:
    assert bench.reward is not None
    return bench.reward


# Laws that compare scores. Their examples are completions whose SQL runs on real databases.


@dataclass(frozen=True)
class _ToldApart:
    """A gold and another answer, on the numbered database on which a wrong answer has another result."""

    gold: str
    predicted: str
    change: str
    number: int
    ordered: bool = False


def _near(bench: Bench) -> st.SearchStrategy[_ToldApart]:
    return near_misses(schema=bench.schema).map(lambda pair: _of(bench, pair))


def _alike(spelling: bool) -> Callable[[Bench], st.SearchStrategy[_ToldApart]]:
    def draw(bench: Bench) -> st.SearchStrategy[_ToldApart]:
        pairs = equivalent_pairs(schema=bench.schema)
        return pairs.filter(lambda pair: (pair.change in SPELLING) is spelling).map(
            lambda pair: _of(bench, pair)
        )

    return draw


def _of(bench: Bench, pair: Any) -> _ToldApart:
    return _ToldApart(
        pair.gold, pair.predicted, pair.change, witnesses(bench.schema).index(pair.database), pair.ordered
    )


def _golds(bench: Bench) -> st.SearchStrategy[_ToldApart]:
    """Draw a gold whose result is neither empty nor all NULL; it is also the predicted answer."""
    return near_misses(schema=bench.schema).map(
        lambda pair: _ToldApart(pair.gold, pair.gold, "", _of(bench, pair).number)
    )


_OUTSIDE: Final = (
    ("a constant", "SELECT 'constant', 1, 2, 3, 4"),
    ("an empty result", "SELECT 1 WHERE 0"),
    ("text that is no SQL", "I cannot answer this."),
    ("nothing", ""),
    ("SQL that fails", "SELECT nothing FROM nowhere"),
)


def _wrong(bench: Bench) -> st.SearchStrategy[_ToldApart]:
    """Draw a gold and a wrong answer that has little to do with it."""

    def other(trial: _ToldApart) -> st.SearchStrategy[_ToldApart]:
        # Only queries with another number of different rows: such a result is wrong under every comparison mode.
        gold = rows_of(trial.gold, bench.schema, trial.number)
        unlike = queries(schema=bench.schema).filter(
            lambda sql: len(set(rows_of(sql, bench.schema, trial.number))) != len(set(gold))
        )
        texts = st.sampled_from(_OUTSIDE) | unlike.map(lambda sql: ("another query", sql))
        return texts.map(lambda drawn: _ToldApart(trial.gold, drawn[1], drawn[0], trial.number))

    return _golds(bench).flatmap(other)


def _right_above_wrong(bench: Bench, trial: _ToldApart) -> None:
    _outranked("right_above_wrong", bench, trial)


def _near_misses(bench: Bench, trial: _ToldApart) -> None:
    if bench.subject.overlooks_repeats:
        sides = (rows_of(sql, bench.schema, trial.number) for sql in (trial.gold, trial.predicted))
        gold, predicted = (list(dict.fromkeys(rows)) for rows in sides)
        if not differ(gold, predicted, ordered=trial.ordered):
            # The results differ only in repeated rows, which do not count for this reward: it is no mistake.
            return
    _outranked("near_misses", bench, trial)


def _outranked(law: str, bench: Bench, trial: _ToldApart) -> None:
    right, wrong = _two(bench, trial)
    if right is not None and wrong is not None and not wrong < right:
        _break(
            law,
            bench,
            f"it gave {wrong:g} for the wrong answer and {right:g} for the right one",
            _told(trial),
        )


def _spelling(bench: Bench, trial: _ToldApart) -> None:
    _unchanged("spelling", bench, trial)


def _same_meaning(bench: Bench, trial: _ToldApart) -> None:
    _unchanged("same_meaning", bench, trial)


def _unchanged(law: str, bench: Bench, trial: _ToldApart) -> None:
    right, other = _two(bench, trial)
    if right is not None and right != other:
        _break(
            law,
            bench,
            f"it gave {other} for the rewriting and {right:g} for the gold",
            _told(trial),
        )


def _two(bench: Bench, trial: _ToldApart) -> list[float | None]:
    return bench.subject.score(
        [bench.case(sql, trial.gold, trial.number) for sql in (trial.gold, trial.predicted)]
    )


def _told(trial: _ToldApart) -> dict[str, object]:
    return {"gold": trial.gold, "predicted": trial.predicted, "change": trial.change}


def _unrun(bench: Bench) -> st.SearchStrategy[_ToldApart]:
    def spoilt(trial: _ToldApart) -> st.SearchStrategy[_ToldApart]:
        texts = (
            ("a column that is not there", trial.gold.replace("SELECT ", "SELECT no_such_column, ", 1)),
            ("two statements", f"{trial.gold}; {trial.gold}"),
            ("a statement that explains", f"EXPLAIN {trial.gold}"),
            ("a statement that writes", f"CREATE TABLE copy AS {trial.gold}"),
            ("text behind the SQL", f"{trial.gold} I am sure."),
        )
        return st.sampled_from(texts).map(
            lambda drawn: _ToldApart(trial.gold, drawn[1], drawn[0], trial.number)
        )

    return _golds(bench).flatmap(spoilt)


def _nothing_unrun(bench: Bench, trial: _ToldApart) -> None:
    failing = "SELECT nothing FROM nowhere"
    least, other = bench.subject.score(
        [bench.case(sql, trial.gold, trial.number) for sql in (failing, trial.predicted)]
    )
    if least is not None and other is not None and other > least:
        _break(
            "nothing_unrun",
            bench,
            f"it gave {other:g} for what did not run and {least:g} for {failing!r}",
            _told(trial),
        )


def _batches(bench: Bench) -> st.SearchStrategy[tuple[list[SubjectCase], list[int]]]:
    case = (_near(bench) | _unrun(bench)).map(
        lambda trial: bench.case(trial.predicted, trial.gold, trial.number)
    )
    cases = st.lists(case, min_size=2, max_size=4)
    return cases.flatmap(lambda some: st.tuples(st.just(some), st.permutations(range(len(some)))))


def _batch(bench: Bench, drawn: tuple[list[SubjectCase], list[int]]) -> None:
    cases, places = drawn
    singles = [bench.subject.score([case])[0] for case in cases]
    together = bench.subject.score([cases[place] for place in places])
    for value, place in zip(together, places, strict=True):
        if not _same(value, singles[place]):
            _break(
                "batch",
                bench,
                f"it gave {singles[place]} alone and {value} in a batch",
                {**_shown(cases[place]), "order of the batch": places},
            )


def _is_reward(reward: Reward | None) -> bool:
    return reward is not None


def _any_evidence(bench: Bench) -> st.SearchStrategy[Evidence]:
    return evidence(schema=bench.schema)


#: The laws by name, in the order in which they are checked.
LAWS: Final[Mapping[str, Law]] = {
    "finite": Law("a value is a finite number, or None", _scored, _finite),
    "range": Law("a value lies from lo to hi", _scored, _range),
    "repeatable": Law("the same evidence has the same score", _scored, _repeatable),
    "blame": Law(
        "a value is None exactly when the data or the system is at fault", _faults, _blame, _is_reward
    ),
    "pickles": Law("a copy by pickle gives the same scores", _any_evidence, _pickles, _is_reward),
    "prints": Law("what it prints reads back as the same reward", _any_evidence, _prints, _is_reward),
    "batch": Law("a batch has the scores of its members, in any order", _batches, _batch),
    "right_above_wrong": Law(
        "the right answer has more than a wrong one", _wrong, _right_above_wrong, claimed=True
    ),
    "near_misses": Law(
        "an answer with one mistake has less than the right one", _near, _near_misses, claimed=True
    ),
    "spelling": Law(
        "aliases, case, layout, comments and quotes change nothing", _alike(True), _spelling, claimed=True
    ),
    "same_meaning": Law(
        "a query that means the same has the same value", _alike(False), _same_meaning, claimed=True
    ),
    "nothing_unrun": Law(
        "what did not run has no more than other SQL that fails", _unrun, _nothing_unrun, claimed=True
    ),
}
