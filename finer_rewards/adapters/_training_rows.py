"""The steps that all adapters share: reading a training row as a sample, scoring a batch, making numbers for logs."""

from __future__ import annotations

import logging
import os
from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import fsum, isfinite
from pathlib import Path
from typing import Any, Final
from weakref import WeakKeyDictionary

from finer_rewards._chat import Chat
from finer_rewards._prompt_groups import Groups, read_groups
from finer_rewards._util.extras import extra
from finer_rewards._util.lossless_json import parse_json
from finer_rewards._util.sql_text import one_line
from finer_rewards._util.text_file import TextFile
from finer_rewards.components import component_metrics, component_values, frequent_reasons, reason_of
from finer_rewards.errors import ConfigError, DataError, suggest
from finer_rewards.reward import Reward
from finer_rewards.scoring import Scorer
from finer_rewards.types import Evidence, Sample, Score, Status, unscored

#: A number that means *not scored*, for trainers that take only numbers and whose advantages this library computes.
#: `for_float32` gives multiples of 2**-16, so no real score equals it, and it is too small to change a mean visibly.
LEFT_OUT = 2.0**-17

_LOGGER = logging.getLogger("finer_rewards")
# Scorer -> the statuses that a warning about samples without a value was already logged for.
# Scorer -> how many samples have come while no database was found for any of them; `None` once one was found.
_SAID: WeakKeyDictionary[Scorer, set[Status]] = WeakKeyDictionary()
_LOST: WeakKeyDictionary[Scorer, int | None] = WeakKeyDictionary()


#: The column with the statements that make the database, for rows that do not name one.
DB_TEXT: Final = "db_text"


@dataclass(frozen=True)
class Fields:
    """The names of the columns from which a row becomes a sample.

    Args:
        gold: column of the gold SQL: a text, a list of texts, or `None` in rows that only have an answer.
        db: column of the database: a path or id, or a list of them. A row without it may have CREATE and INSERT
            statements in a column `db_text`; the column `db` may hold these too.
        question: column of the question; `None` means that the caller knows the question from elsewhere.
        answer: column of the right rows, as lists or as JSON text (a dataset column cannot mix types, JSON
            can); `None` means that no row has any.
        dialect: sqlglot dialect of all statements; `None` means the executor's own.
    """

    gold: str = "gold"
    db: str = "db"
    question: str | None = None
    answer: str | None = None
    dialect: str | None = None

    @property
    def columns(self) -> frozenset[str]:
        """The names of all columns that are read."""
        return frozenset(filter(None, (self.gold, self.db, DB_TEXT, self.question, self.answer)))

    def check(self, present: Iterable[str], *, where: str, caller: str) -> None:
        """Raise a `ConfigError` if a column is missing; it lists the columns that are there.

        Args:
            present: the columns that are there.
            where: how the message refers to the row.
            caller: the function whose argument names the column.
        """
        columns = sorted(present)
        for parameter in ("gold", "db", "question", "answer"):
            column = getattr(self, parameter)
            instead = {"gold": self.answer, "db": DB_TEXT}.get(parameter)
            if column is None or column in columns or instead in columns:
                continue
            there = ", ".join(columns) or "no further columns"
            raise ConfigError(
                f"{where} should have a column {column!r}, but it has {there}. "
                f"{suggest(column, columns)}Name the right one: {caller}(..., {parameter}='...')."
            )

    def database(self, row: Mapping[str, Any]) -> Any:
        """Return the database that a row names, or the statements that make it; empty or `None` if it has neither."""
        return _plain(row.get(self.db)) or row.get(DB_TEXT)

    def sample(
        self,
        row: Mapping[str, Any],
        completion: str | Chat,
        question: str = "",
        meta: Mapping[str, Any] | None = None,
    ) -> Sample | Score:
        """Return the sample of a row and a completion; if the row cannot be used, a score without a value instead.

        Args:
            row: the row.
            completion: what the model wrote.
            question: the question, for rows that have no such column.
            meta: goes into `Sample.meta`.
        """
        gold = _plain(row.get(self.gold))
        db = self.database(row)
        if self.question is not None:
            question = str(row.get(self.question) or "")
        if not db:
            return unscored(Status.unavailable, f"The row names no database: its {self.db!r} is {db!r}.")
        try:
            answer = _rows(row.get(self.answer)) if self.answer is not None else None
            return Sample(completion, gold or (), db, question, self.dialect, answer, meta or {})
        except (TypeError, ValueError) as error:
            # Also ConfigError, which is a ValueError.
            return unscored(Status.no_gold, f"The row cannot be used: {error}")


@dataclass(frozen=True)
class Judged:
    """The outcome of scoring one completion.

    Args:
        score: the score.
        sql: the SQL in the completion; `None` when there is none.
        status: why there is no value; if there is one, how the predicted SQL ended.
        evidence: what was observed; `None` when the row could not be used.
    """

    score: Score
    sql: str | None
    status: Status
    evidence: Evidence | None = None


def read_rows(dataset: Iterable[Mapping[str, Any]] | str | os.PathLike[str]) -> Iterator[Mapping[str, Any]]:
    """Yield the rows of a dataset, which may be the path of a JSONL or Parquet file.

    Raises:
        DataError: there is no such file, a line is not JSON, or what is named .parquet cannot be read as that.
        MissingExtraError: it is a Parquet file, and pyarrow is not installed.
    """
    if not isinstance(dataset, (str, os.PathLike)):
        yield from dataset
        return
    path = Path(dataset)
    if not path.is_file():
        raise DataError(
            f"`dataset` should be a JSONL or Parquet file, but {path} is not there. Check the path."
        )
    if path.suffix == ".parquet":
        with extra("prepare", "Reading Parquet", "pyarrow"):
            import pyarrow.parquet
        try:
            for batch in pyarrow.parquet.ParquetFile(path).iter_batches():
                yield from batch.to_pylist()
        except (pyarrow.ArrowException, OSError) as error:
            raise DataError(
                f"`dataset` should be a Parquet file by its name, but {path} cannot be read as one: "
                f"{one_line(str(error)):.200}. Write it again, or name it by what it is (.jsonl)."
            ) from None
        return
    for number, line in enumerate(TextFile(path).lines(), 1):
        try:
            yield parse_json(line)
        except ValueError:
            raise DataError(
                f"`dataset` should be JSONL or .parquet, but line {number} of {path} is not JSON."
            ) from None


def check_items(scorer: Scorer, items: Iterable[Sample | Score], *, gold: str) -> int:
    """Check the samples of a whole dataset before training, open each database once, and return their number.

    It also builds the neighbours of their golds, so that no training step has to wait for that.

    Args:
        scorer: the scorer of the training run.
        items: the samples, and the scores of rows that cannot be used.
        gold: the name of the gold's column, for messages.

    Raises:
        ConfigError: a row cannot be used or has no gold; says which.
    """
    seen: set[str] = set()
    samples: dict[tuple[object, object], Sample] = {}
    number = -1
    for number, item in enumerate(items):
        if isinstance(item, Score):
            raise ConfigError(f"Row {number} of the dataset cannot be used. {item.reason} Leave it out.")
        if not item.golds and item.answer is None:
            raise ConfigError(f"Row {number} of the dataset has no gold in {gold!r}. Leave it out.")
        for db in dict.fromkeys(item.dbs):
            if scorer.executor is not None and db not in seen:
                seen.add(db)
                scorer.executor.schema(db)
        samples.setdefault((item.db, item.gold), item)
    scorer.build_neighbours(samples.values())
    return number + 1


def judge(
    scorer: Scorer, items: Sequence[Sample | Score], *, step: int | None = None, groups: Groups = None
) -> list[Judged]:
    """Score a batch at once; items that are scores already stay as they are.

    Args:
        scorer: the scorer; it writes its log if it has one.
        items: the samples, and the scores of rows that cannot be used.
        step: the training step, for the log.
        groups: which items are completions of one prompt, as `Scorer.grade` takes it.
    """
    labels = read_groups(groups, len(items))
    inside = [label for item, label in zip(items, labels, strict=True) if isinstance(item, Sample)]
    samples = [item for item in items if isinstance(item, Sample)]
    evidence = scorer.observe(samples) if samples else []
    judged = (
        Judged(score, one.answer.sql, _status(one, score), one)
        for one, score in zip(
            evidence,
            scorer.grade(evidence, step=step, groups=None if groups is None else inside),
            strict=True,
        )
    )
    found = [next(judged) if isinstance(item, Sample) else _unread(item) for item in items]
    _say_why(scorer, found)
    return found


def refuse_groups(reward: Reward, caller: str, instead: str) -> None:
    """Refuse a reward that depends on the group of a sample, for a trainer that passes one sample at a time.

    Args:
        reward: the reward.
        caller: the trainer's name, for the message.
        instead: what the message advises.

    Raises:
        ConfigError: the reward depends on groups.
    """
    if "groups" in reward.needs:
        raise ConfigError(
            f"{caller} asks for one completion at a time, so a reward that depends on the group of a sample cannot be "
            f"given: {reward!r:.200}. {instead}"
        )


def refuse_lost(scorer: Scorer, judged: Sequence[Judged], *, least: int = 1) -> None:
    """Stop a training run in which no database is found: all samples would be unscored, and nothing learnt.

    Args:
        scorer: the scorer.
        judged: the outcomes of new samples.
        least: raise only after so many samples, for trainers that pass one at a time.

    Raises:
        ConfigError: at least so many samples have come, and all of them were `unavailable`.
    """
    lost = _LOST.get(scorer, 0)
    if lost is None or not judged:
        return
    lost = lost + len(judged) if all(one.status is Status.unavailable for one in judged) else None
    _LOST[scorer] = lost
    if lost is not None and lost >= least:
        _LOST[scorer] = 0
        raise ConfigError(
            f"The databases of the dataset should be found, but for none of the first {lost} samples one was. "
            f"{judged[0].score.reason} Call check(dataset) before training: it says which."
        )


def _say_why(scorer: Scorer, judged: Iterable[Judged]) -> None:
    """Log a warning for each cause of samples without a value, once for each scorer."""
    said = _SAID.setdefault(scorer, set())
    for one in judged:
        if one.score.value is None and one.status not in said:
            said.add(one.status)
            _LOGGER.warning("A sample cannot be scored (said once for this cause): %s", reason_of(one.score))


def measurements(reward: Reward, judged: Iterable[Judged]) -> Iterator[tuple[str, float]]:
    """Yield (name, value) pairs worth plotting: components, their metrics, and shares of failures and reasons."""
    judged = list(judged)
    for kind, shares in frequent_reasons([one.score for one in judged]).items():
        yield from ((f"why/{kind}", share) for share in shares)
    for one in judged:
        for name, value in component_values(reward, one.score).items():
            if value is not None:
                yield name, value
        for name, value in component_metrics(reward, one.score).items():
            # The share of matches on the one database that fail on neighbours, under one name for all components.
            yield ("lucky" if name.endswith("/lucky") else name), value
        yield "unscorable", float(one.score.value is None)
        yield "timeouts", float(one.status is Status.timeout)
        yield "unparsed", float(one.status is Status.no_sql)


def numbers(reward: Reward, judged: Judged) -> dict[str, float]:
    """Return the values of the components and `unscorable`, under the same keys for every sample.

    For trainers that take only numbers: a component without a value is 0.
    """
    values = component_values(reward, judged.score)
    record = {name: float(value or 0) for name, value in values.items()}
    record["unscorable"] = float(judged.score.value is None)
    return record


def for_float32(value: float) -> float:
    """Return the value rounded to a multiple of 2**-16, so that a trainer averages equal rewards without error.

    Trainers subtract the mean of a group in float32. There the mean of eight times 2.1 is not 2.1, and the difference,
    divided by a deviation as small, is an advantage of -0.19 for the whole group in verl (more in OpenRLHF, which adds
    1e-9 to the deviation where verl adds 1e-6): a gradient out of nothing. Sums of up to 64 multiples of 2**-16 below 4
    are exact.

    Example:
        >>> for_float32(2.1), for_float32(1.5), for_float32(0.0)
        (2.100006103515625, 1.5, 0.0)
    """
    return round(value * 65536) / 65536 if isfinite(value) else value


def fill_groups(
    values: Sequence[float | None], groups: Sequence[Hashable], fallback: float = 0.0
) -> list[float]:
    """Return the values with each `None` replaced by the mean of its group, for trainers that would read it as 0.

    Args:
        values: one for each completion.
        groups: the label of each completion's group.
        fallback: the value for groups in which nothing has a value.

    Example:
        >>> fill_groups([3.0, 1.0, None, None], ["a", "a", "a", "b"])
        [3.0, 1.0, 2.0, 0.0]
    """
    found: dict[Hashable, list[float]] = {}
    for value, group in zip(values, groups, strict=True):
        if value is not None:
            found.setdefault(group, []).append(value)
    means = {group: fsum(some) / len(some) for group, some in found.items()}
    return [
        means.get(group, fallback) if value is None else value
        for value, group in zip(values, groups, strict=True)
    ]


def match_of(reward: Reward, judged: Judged) -> float:
    """Return the value of the first `execution_match` in the reward; without one, the value of the reward itself."""
    values = component_values(reward, judged.score)
    value = next((values[name] for name in values if name.startswith("execution_match")), judged.score.value)
    return float(value or 0)


def _unread(score: Score) -> Judged:
    return Judged(score, None, score.status)


def _status(evidence: Evidence, score: Score) -> Status:
    if score.value is None:
        return score.status
    if evidence.answer.sql is None:
        return Status.no_sql
    runs = (trial.predicted for trial in evidence.trials)
    return next((run.status for run in runs if run is not None and not run.ok), Status.ok)


def _rows(value: Any) -> Any:
    return parse_json(value) if isinstance(value, str) else _plain(value)


def _plain(value: Any) -> Any:
    """Return a value as plain Python: NumPy arrays from Parquet, also nested ones, become lists."""
    value = value.tolist() if hasattr(value, "tolist") else value
    return [_plain(item) for item in value] if isinstance(value, list) else value


def question_in(prompt: object) -> str:
    """Return the text that stands for the question of a prompt: the prompt itself, or its last user message."""
    prompt = _plain(prompt)
    if isinstance(prompt, (list, tuple)):
        asked = [
            message for message in prompt if isinstance(message, Mapping) and message.get("role") == "user"
        ]
        prompt = asked[-1].get("content") if asked else None
        if isinstance(prompt, (list, tuple)):
            prompt = "".join(str(block.get("text") or "") for block in prompt if isinstance(block, Mapping))
    return prompt if isinstance(prompt, str) else ""


def truth_of(ground_truth: Any) -> Mapping[str, Any]:
    """Return a ground truth as a mapping: it is one already, or its JSON, or else plain text, the gold SQL."""
    if isinstance(ground_truth, str) and ground_truth.lstrip().startswith("{"):
        try:
            ground_truth = parse_json(ground_truth)
        except ValueError:
            return {"gold": ground_truth}
    return ground_truth if isinstance(ground_truth, Mapping) else {"gold": ground_truth}
