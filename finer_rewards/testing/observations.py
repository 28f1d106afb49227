"""Hypothesis strategies for completions, and for evidence without running anything."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from hypothesis import strategies as st

from finer_rewards.errors import ConfigError
from finer_rewards.parsing import parse_completion
from finer_rewards.schema import Schema
from finer_rewards.testing.small_databases import POOLS
from finer_rewards.testing.strategies import as_schema, queries
from finer_rewards.types import Cell, Evidence, Execution, Recall, Row, Sample, Status, Trial

if TYPE_CHECKING:
    from hypothesis.strategies import DrawFn, SearchStrategy

    from finer_rewards.operations.canonicalising import SchemaLike

#: A thought that is long and varied enough for every shipped policy.
THOUGHT: Final = (
    "The question names one kind of thing, so I look for its table first, keep only the rows it speaks of, "
    "and return exactly the columns that were asked for, in no other order than the one wanted."
)
_FORMS: Final = (
    "<think>{thought}</think>\n{sql}",
    "<think>{thought}</think>\n```sql\n{sql}\n```",
    "<think>{thought}</think><answer>{sql}</answer>",
    "<think>{thought}</think><solution>{sql}</solution>",
    "{sql}",
)
_MALFORMED: Final = (
    "<think>{thought} {sql}",
    "{thought}</think> {sql}",
    "<think></think>{sql}",
    "<think>{thought}</think>",
    "<think>{thought}</think><think>{thought}</think>{sql}",
    "{sql} <think>{thought}</think>",
    "<answer>{sql}</answer><answer>{sql}</answer>",
    "I cannot answer this.",
    "",
)
_WRONG: Final = (
    Status.no_sql,
    Status.not_a_query,
    Status.several_statements,
    Status.refused,
    Status.failed,
    Status.timeout,
    Status.too_large,
)


def completions(*, sql: SearchStrategy[str] | None = None) -> SearchStrategy[str]:
    """Draw completions: a thought and SQL in the usual forms, malformed ones, and other text.

    Args:
        sql: the strategy that statements are drawn from; `queries()` when left out.
    """
    if sql is not None and not isinstance(sql, st.SearchStrategy):
        raise ConfigError(
            f"`completions(sql=...)` should be a strategy of texts, but got {sql!r:.80}. Try st.just('SELECT 1')."
        )
    return _completions(queries() if sql is None else sql)


@st.composite
def _completions(draw: DrawFn, sql: SearchStrategy[str]) -> str:
    form = draw(st.sampled_from((*_FORMS, *_MALFORMED, "text")))
    if form == "text":
        return draw(st.text(max_size=40))
    thought = draw(st.just(THOUGHT) | st.text("abc <>/", max_size=30))
    return form.format(thought=thought, sql=draw(sql))


def evidence(*, schema: SchemaLike = None, healthy: bool = False) -> SearchStrategy[Evidence]:
    """Draw evidence without running anything: the results of the queries are made up.

    Args:
        schema: a `Schema`, `{table: {column: type}}` or DDL text; a small library when left out.
        healthy: whether the data and the system are always in order, so that every reward has a value.
    """
    if not isinstance(healthy, bool):
        raise ConfigError(f"`evidence(healthy=...)` should be True or False, but got {healthy!r:.80}.")
    return _evidence(as_schema("evidence", schema), healthy)


@st.composite
def _evidence(draw: DrawFn, schema: Schema, healthy: bool) -> Evidence:
    sql = queries(schema=schema)
    gold_sql = draw(sql)
    completion = draw(_completions(st.just(gold_sql) | sql))
    gold = draw(_results(1))
    answer = parse_completion(completion)
    predicted = Execution(Status.no_sql)
    if answer.sql is not None:
        failed = st.sampled_from(_WRONG[1:]).map(lambda status: Execution(status, error="it did not run"))
        predicted = draw(st.just(replace(gold, order=None)) | _results(0) | failed)
    recall = Recall(
        verified=tuple(sorted(draw(st.lists(st.floats(0, 1), min_size=1, max_size=3)), reverse=True)),
        failed=tuple(sorted(draw(st.lists(st.floats(0, 1), max_size=2)), reverse=True)),
        centroid=draw(st.floats(0, 1)),
    )
    one = Evidence(
        Sample(completion, gold_sql, "toy", "How many?", answer=gold.rows),
        answer,
        predicted,
        gold,
        recall,
        schema,
        judgements=_AnyPrompt(),
    )
    return one if healthy else draw(st.just(one) | broken(one))


class _AnyPrompt(dict[str, str]):
    """The judgements of a judge that replies the same to every prompt."""

    def get(self, _prompt: str, _default: object = None) -> str:
        """Return its reply."""
        return "Score: 0.5"


def broken(one: Evidence) -> SearchStrategy[Evidence]:
    """Draw the same evidence with a fault of the data or the system."""
    gold, predicted = one.gold or Execution(Status.ok), one.predicted
    failed = [Execution(status, error="the gold did not run") for status in _WRONG[2:]]
    lost = Execution(Status.unavailable, error="the worker was lost")
    golds = [(predicted, other) for other in (*failed, lost)]
    runs = st.sampled_from([*golds, (lost, gold), (lost, lost)]).map(
        lambda pair: replace(
            one, predicted=pair[0], gold=pair[1], trials=(Trial("toy", pair[0], (pair[1],)),)
        )
    )
    others = (
        replace(one, recall=Recall(Status.memory_unavailable, error="no index")),
        replace(one, schema=None, schema_error="the file is not a database"),
        replace(one, judgements={}, judge_error="the judge cannot be reached"),
    )
    return runs | st.sampled_from(others)


@st.composite
def _results(draw: DrawFn, least: int) -> Execution:
    width = draw(st.integers(1, 3))
    cell: SearchStrategy[Cell] = st.sampled_from((*POOLS["INTEGER"], *POOLS["TEXT"], 0.5, None))
    rows: list[Row] = draw(st.lists(st.tuples(*[cell] * width), min_size=least, max_size=4))
    if least and not any(value is not None for row in rows for value in row):
        rows = [(1,) * width]
    return Execution(
        Status.ok,
        tuple(f"c{number}" for number in range(width)),
        tuple(rows),
        seconds=draw(st.sampled_from((0.0, 0.001, 0.5))),
        tables=frozenset(("member",)),
    )
