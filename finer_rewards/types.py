"""The types of the data flow, in order: Sample → Answer → Execution → Evidence → Score. Read this file first."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal

from finer_rewards._chat import Chat, read_chat
from finer_rewards._score import Score, Span, unscored
from finer_rewards._status import Blame, Status
from finer_rewards.errors import ConfigError

if TYPE_CHECKING:
    from finer_rewards._util.fingerprint import Fingerprint
    from finer_rewards.comparing.mode import Mode
    from finer_rewards.comparing.result import Settled
    from finer_rewards.schema import Schema

__all__ = [
    "Answer",
    "Blame",
    "Cell",
    "Choices",
    "Evidence",
    "Execution",
    "Neighbourhood",
    "Recall",
    "Row",
    "Sample",
    "Score",
    "Span",
    "Status",
    "Trial",
    "Volatility",
    "unscored",
]

Cell = int | float | str | bytes | None
Row = tuple[Cell, ...]
Volatility = Literal["", "clock", "random"]
_NOTHING: Mapping[str, Any] = MappingProxyType({})


@dataclass(frozen=True)
class Sample:
    """One completion to score, with the gold SQL or the right rows.

    Args:
        completion: what the model wrote: text, or the chat messages of a rollout in which it ran queries through a
            tool. Of a chat, its last text is kept here and the queries in `calls`.
        gold: the gold SQL; several if each of them is right (the best match counts); `()` when only
            `answer` supervises.
        db: a path, or an id under the executor's root; a tuple if a match must hold on every one of them.
        question: the question in words; used to group samples and to keep traces of the same question apart.
        dialect: sqlglot dialect in which rewards read both statements; nothing is translated, so the executor
            has to speak it. `None` means the executor's.
        answer: the right rows, for supervision without SQL.
        meta: anything else you want to keep with the sample.
        calls: the queries that the model ran before it answered, in order.
        turns: how many messages the model wrote; 0 means one for each call and one for the answer.

    Example:
        >>> Sample("SELECT 1", gold="SELECT 1", db="concert.sqlite").golds
        ('SELECT 1',)
        >>> call = {"name": "run_sql", "arguments": {"sql": "SELECT 2"}}
        >>> asked = {"role": "assistant", "content": "", "tool_calls": [call]}
        >>> chat = [asked, {"role": "tool", "content": "2"}, {"role": "assistant", "content": "SELECT 1"}]
        >>> sample = Sample(chat, gold="SELECT 1", db="concert.sqlite")
        >>> sample.completion, sample.calls, sample.turns
        ('SELECT 1', ('SELECT 2',), 2)
    """

    completion: str
    gold: str | tuple[str, ...]
    db: str | tuple[str, ...]
    question: str = ""
    dialect: str | None = None
    answer: tuple[Row, ...] | None = None
    meta: Mapping[str, Any] = field(default_factory=lambda: _NOTHING)
    calls: tuple[str, ...] = ()
    turns: int = 0

    # The constructor accepts more types than the fields have in the end.
    if TYPE_CHECKING:

        def __init__(
            self,
            completion: str | Chat | Sequence[Mapping[str, Any]],
            gold: str | Sequence[str],
            db: str | Sequence[str],
            question: str = "",
            dialect: str | None = None,
            answer: Iterable[Iterable[Cell]] | None = None,
            meta: Mapping[str, Any] = _NOTHING,
            calls: Sequence[str] = (),
            turns: int = 0,
        ) -> None: ...

    def __post_init__(self) -> None:
        if not isinstance(self.completion, str):
            self._read(self.completion)
        if self.calls.__class__ is not tuple or self.calls or self.turns < 1:
            self._check_calls()
        for name in ("question", "dialect"):
            value = getattr(self, name)
            if not isinstance(value, str) and (name == "question" or value is not None):
                raise ConfigError(
                    f"`Sample({name}=...)` should be text, but got {value!r:.80}. Leave it out where there is none."
                )
        for name in ("gold", "db"):
            value = getattr(self, name)
            if isinstance(value, list):
                value = tuple(value)
                object.__setattr__(self, name, value)
            if not isinstance(value, str) and not (
                isinstance(value, tuple) and all(isinstance(item, str) for item in value)
            ):
                raise ConfigError(
                    f"`Sample({name}=...)` should be text or a tuple of texts, but got {value!r:.80}. "
                    + ("Pass () where there is no gold SQL." if name == "gold" else "Pass a path or an id.")
                )
        if not self.dbs or not all(self.dbs):
            raise ConfigError(
                "`Sample(db=...)` should name a database, but it is empty. Pass a path or an id."
            )
        if self.answer is not None:
            object.__setattr__(self, "answer", _answer_rows(self.answer))
        if not isinstance(self.meta, Mapping):
            raise ConfigError(
                f"`Sample(meta=...)` should be a mapping, but got {self.meta!r:.80}. Pass a dict, or leave it out."
            )
        object.__setattr__(self, "meta", MappingProxyType(dict(self.meta)))

    def _read(self, completion: object) -> None:
        """Set the completion, calls and turns from a chat."""
        if isinstance(completion, Chat):
            chat = completion
        elif not isinstance(completion, (list, tuple)) or not completion:
            raise ConfigError(
                f"`Sample(completion=...)` should be text, or a list of chat messages, but got {completion!r:.80}. "
                "Turn what a trainer passes into text with `finer_rewards.parsing.completion_text(...)`."
            )
        else:
            chat = read_chat(completion)
        if self.calls or self.turns:
            raise ConfigError(
                "`Sample(chat, ...)` should take `calls` and `turns` from the chat, but got them too. Leave them out."
            )
        for name, value in chat._asdict().items():
            object.__setattr__(self, "completion" if name == "text" else name, value)

    def _check_calls(self) -> None:
        calls = tuple(self.calls) if isinstance(self.calls, (list, tuple)) else None
        if calls is None or not all(isinstance(sql, str) for sql in calls):
            raise ConfigError(
                f"`Sample(calls=...)` should be a tuple of SQL texts, but got {self.calls!r:.80}. Pass () for none."
            )
        object.__setattr__(self, "calls", calls)
        if self.turns < 1:
            object.__setattr__(self, "turns", len(calls) + 1)

    @property
    def golds(self) -> tuple[str, ...]:
        """The gold statements, always as a tuple."""
        return (self.gold,) if isinstance(self.gold, str) else self.gold

    @property
    def dbs(self) -> tuple[str, ...]:
        """The databases, always as a tuple."""
        return (self.db,) if isinstance(self.db, str) else self.db

    def __reduce__(self) -> tuple[type[Sample], tuple[Any, ...]]:
        # A mapping proxy does not pickle; a dict does.
        return type(self), (
            self.completion, self.gold, self.db, self.question, self.dialect, self.answer, dict(self.meta),
            self.calls, self.turns,
        )  # fmt: skip

    def __hash__(self) -> int:
        return hash(
            (self.completion, self.gold, self.db, self.question, self.dialect, self.answer, self.calls)
        )


@dataclass(frozen=True, slots=True)
class Answer:
    """The parsed completion.

    Args:
        thought: the reasoning, or `None` when there is none.
        sql: the SQL, or `None` when there is none.
        problem: why the completion breaks the format it was read with; empty when it does not.
    """

    thought: str | None
    sql: str | None
    problem: str = ""


@dataclass(frozen=True, slots=True)
class Choices:
    """The other results that are as right as the one that a gold query returned, as far as they are known.

    Args:
        why: why there is more than one right result, for a person.
        runs: if the LIMIT cuts through tied rows: for each run of tied rows, in order, all its rows and how many of
            them a right result has. This describes every right result.
        results: for any other cause, results known to be right; there may be more. If both are empty, no other right
            result is known.
    """

    why: str
    runs: tuple[tuple[tuple[Row, ...], int], ...] = ()
    results: tuple[tuple[Row, ...], ...] = ()


@dataclass(frozen=True, slots=True)
class Execution:
    """The outcome of running one query on one database.

    Args:
        status: how it ended; `Status.ok` when it returned rows.
        columns: names of the result columns.
        rows: the rows fetched, in the order returned.
        seconds: the time it took.
        error: the engine's own message, empty when there is none.
        truncated: true when `rows` holds only the first rows: the row limit cut the result, or no more were needed.
        tables: base tables the engine read, lower case; `None` when that is not known.
        volatile: `"clock"` when the query reads the clock, `"random"` when it is otherwise not
            reproducible, empty when neither.
        order: for a gold query with a top-level ORDER BY, the sort key of each row; else `None`.
        ambiguous: for a gold query, true when several results are right, as when its LIMIT cuts through a tie.
        steps: opcodes the engine ran, in whole thousands; the same every time, unlike `seconds`. `None` when
            the engine does not count them.
        cpu_seconds: CPU seconds that it took in the worker.
        choices: for an ambiguous gold query, the other right results, as far as they are known.
        fingerprint: if `rows` does not hold all rows, a fingerprint of them all, to compare results by.
    """

    status: Status
    columns: tuple[str, ...] = ()
    rows: tuple[Row, ...] = ()
    seconds: float = 0.0
    error: str = ""
    truncated: bool = False
    tables: frozenset[str] | None = None
    volatile: Volatility = ""
    order: tuple[Row, ...] | None = None
    ambiguous: bool = False
    steps: int | None = None
    cpu_seconds: float = 0.0
    choices: Choices | None = None
    fingerprint: Fingerprint | None = None

    @property
    def ok(self) -> bool:
        """True when the query returned a result."""
        return self.status is Status.ok


@dataclass(frozen=True, slots=True)
class Trial:
    """The prediction and the golds, run on one database.

    Args:
        db: the database, as the sample names it.
        predicted: the execution of the predicted SQL; `None` when it was not run.
        golds: the execution of each gold, in the order of `Sample.golds`; answer rows come last.
        settled: (mode, index of the gold) -> the outcome of comparing results that were too large to be sent here.
    """

    db: str
    predicted: Execution | None
    golds: tuple[Execution, ...] = ()
    settled: Mapping[tuple[Mode, int], Settled] = field(default_factory=dict, hash=False, compare=False)


@dataclass(frozen=True, slots=True)
class Neighbourhood:
    """What was observed on the neighbours of a sample's database.

    Args:
        readings: for each rewriting, and `"none"` for the statements as written: for each gold, one trial on each
            neighbour made for it, with that gold alone. A prediction that did not match on the database itself was not
            run there.
        asked: whether the user asked for neighbours, so that they count for published modes too.
        status: `Status.ok`, or `Status.neighbours_lost`.
        error: what went wrong; empty if nothing.
    """

    readings: Mapping[str, tuple[tuple[Trial, ...], ...]] = field(default_factory=dict)
    asked: bool = False
    status: Status = Status.ok
    error: str = ""


@dataclass(frozen=True, slots=True)
class Recall:
    """The result of searching the trace memory for one thought.

    Args:
        status: `Status.ok`, or `Status.memory_unavailable`.
        verified: similarities of the nearest verified traces, best first.
        failed: similarities of the nearest failed traces, best first.
        centroid: similarity to the mean of these verified traces; `None` when there are none.
        error: what went wrong; empty if nothing.
        traces: keys of the verified traces, in the order of `verified`.
        zero_centroid: the `centroid` that an unrelated text would get, for a scale whose zero means unrelated.
        zero_nearest: the same for the similarity of the nearest verified trace.
        copied: share, in [0, 1], of the thought's five-word sequences that also occur in the verified traces of other
            databases among these; high for a thought that copies.
    """

    status: Status = Status.ok
    verified: tuple[float, ...] = ()
    failed: tuple[float, ...] = ()
    centroid: float | None = None
    error: str = ""
    traces: tuple[str, ...] = ()
    zero_centroid: float = 0.0
    zero_nearest: float = 0.0
    copied: float = 0.0


@dataclass(frozen=True)
class Evidence:
    """Everything observed about one sample: the only input of a reward.

    Args:
        sample: the sample itself.
        answer: the parsed completion.
        predicted: the execution of the predicted SQL on the first database; `None` when it was not run.
        gold: the execution of the first gold there; `None` when it was not run or there is none.
        recall: the result of searching the trace memory; `None` when it was not searched.
        schema: schema of the first database; `None` when it was not read.
        schema_error: why the schema could not be read; empty when it could, or was not needed.
        schema_status: the status for that; it says whose fault it is.
        judgements: prompt -> the judge's reply; empty when no part of the reward asks a judge.
        judge_error: why the judge could not be asked; empty when it could.
        readings: rewriting of a comparison mode -> the trials of the statements rewritten so.
        trials: the executions on all databases, of all golds; made from `predicted` and `gold` when left out.
        dialect: sqlglot dialect of the statements: the sample's, else the executor's, else SQLite's.
        neighbours: what was observed on neighbours of the database; `None` when they cannot change the score.
        met_in_group: those conditions of the reward's `in_lost_groups` that some completion of the group meets; `None`
            when the group is not known.
        calls: the queries that the model ran before it answered, in order, each observed as if it were the answer;
            `call.predicted.status` says how it ended. Empty when no part of the reward needs them.
    """

    sample: Sample
    answer: Answer
    predicted: Execution | None = None
    gold: Execution | None = None
    recall: Recall | None = None
    schema: Schema | None = None
    schema_error: str = ""
    readings: Mapping[str, tuple[Trial, ...]] = field(default_factory=dict)
    trials: tuple[Trial, ...] = ()
    dialect: str = ""
    neighbours: Neighbourhood | None = None
    met_in_group: frozenset[object] | None = None
    calls: tuple[Evidence, ...] = ()
    schema_status: Status = Status.unavailable
    judgements: Mapping[str, str] = field(default_factory=dict, hash=False)
    judge_error: str = ""
    #: Scores of parts of the reward that the scorer needed already while it observed.
    known: Mapping[object, Score] = field(
        default_factory=dict, init=False, repr=False, compare=False, hash=False
    )

    #: Scores that one reward computed of this evidence and another may ask for; filled while it is scored.
    kept: dict[object, Score] = field(default_factory=dict, init=False, repr=False, compare=False, hash=False)

    def __post_init__(self) -> None:
        if not self.dialect:
            object.__setattr__(self, "dialect", self.sample.dialect or "sqlite")
        if not self.trials and (self.predicted is not None or self.gold is not None):
            golds = () if self.gold is None else (self.gold,)
            object.__setattr__(self, "trials", (Trial(self.sample.dbs[0], self.predicted, golds),))
        elif self.trials and self.predicted is None and self.gold is None:
            first = self.trials[0]
            object.__setattr__(self, "predicted", first.predicted)
            object.__setattr__(self, "gold", first.golds[0] if first.golds else None)

    def learn(self, known: Mapping[Any, Score]) -> None:
        """Keep scores of parts of the reward, so that these parts are not evaluated again."""
        object.__setattr__(self, "known", known)

    def look_beside(self, neighbours: Neighbourhood) -> None:
        """Take in what was observed on neighbours, while whoever observes has shown this to nobody."""
        object.__setattr__(self, "neighbours", neighbours)

    def __hash__(self) -> int:
        return hash((self.sample, self.answer, self.trials))


def _answer_rows(given: Iterable[Iterable[Cell]]) -> tuple[Row, ...]:
    try:
        if isinstance(given, (str, bytes)) or any(isinstance(row, (str, bytes, Mapping)) for row in given):
            raise TypeError
        rows = tuple(tuple(row) for row in given)
        hash(rows)
    except TypeError:
        raise ConfigError(
            f"`Sample(answer=...)` should be rows of plain values, but got {given!r:.80}. "
            "Write one row as [(1, 'x')]."
        ) from None
    for cell in chain.from_iterable(rows):
        if not isinstance(cell, (int, float, str, bytes, type(None))):
            raise ConfigError(
                f"`Sample(answer=...)` should have numbers, text, bytes or None, but got {cell!r:.80}. Pass it as a "
                "query shows it: readers of JSON lines (datasets, pyarrow) make dates of text unless told the type."
            )
    if len(set(map(len, rows))) > 1:
        raise ConfigError(
            f"`Sample(answer=...)` should have rows of one width, but got {given!r:.80}. Pass every row whole."
        )
    return rows
