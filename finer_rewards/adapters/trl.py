"""TRL: a `Scorer` as a reward function of `GRPOTrainer`, `RLOOTrainer` and `AsyncGRPOTrainer`.

    reward = TRLReward(Scorer("2 * execution_match() + executable()", SQLite("databases/")))
    GRPOTrainer(model, reward_funcs=reward, train_dataset=rows_with_gold_and_db, args=...)

or, with one function for each term of the sum, which TRL then weighs, logs and may normalise one by one:

    rewards = TRLReward.components(scorer)
    GRPOTrainer(model, reward_funcs=rewards, args=GRPOConfig(reward_weights=reward_weights(rewards), ...))
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any

from finer_rewards._chat import read_chat
from finer_rewards.adapters._training_rows import (
    Fields,
    Judged,
    check_items,
    for_float32,
    judge,
    measurements,
    question_in,
    read_rows,
)
from finer_rewards.adapters._trl_batches import Batches
from finer_rewards.adapters.scorers import tool_for
from finer_rewards.advantages import silent_groups
from finer_rewards.agents import SQLTool
from finer_rewards.components import distinct_names, reason_of, terms
from finer_rewards.errors import ConfigError, suggest
from finer_rewards.reward import Reward
from finer_rewards.scoring import Scorer
from finer_rewards.types import Sample, Score

__all__ = ["SQLEnvironment", "TRLReward", "reward_weights", "sql_environment"]


class TRLReward:
    """A reward function for TRL; a sample that cannot be scored gets `None`, which TRL leaves out of the group.

    A call logs, if TRL passes its hooks: the mean of each component as `finer/<component>`; the shares
    `finer/unscorable`, `finer/timeouts` and `finer/unparsed`; the columns `sql`, `status` and `reason` of the
    completions table; and `finer/silent_groups`, the share of groups whose values are all equal, whatever
    `scale_rewards` is (a group that is split over ranks counts once on each).

    Args:
        scorer: the scorer; its reward may be composed.
        gold: dataset column of the gold SQL: a text, or a list of texts that are each right.
        db: dataset column of the database: a path, an id under the executor's root, or a list of them.
        question: dataset column of the question; `None` takes the last message of the prompt.
        answer: dataset column of the right rows (lists, or JSON text), for supervision without SQL.
        dialect: sqlglot dialect of all statements; `None` means the executor's own.
        name: name in TRL's logs (`rewards/<name>/mean`); TRL merges functions of the same name.
        component: return the value of this single term of the reward's sum; see `components`.
        prefix: first part of the names of logged metrics.
        args: the `GRPOConfig` of the trainer. A reward with `in_lost_groups` needs it: it says how large groups are and
            whether they are whole on each rank. If given, settings without effect cause a warning.
        remember: let the scorer's memory learn. The traces of a batch are stored when the next batch comes, and are
            seen from then on by all ranks, which wait for each other at that point. So a score depends neither
            on its place in a batch nor on the number of ranks. Call `flush()` after training.

    Raises:
        ConfigError: an argument cannot be used; the reward depends on groups, and `args` are missing or split them
            over ranks. When called: the dataset lacks a column, or no database was found
            for the whole first batch.

    Example:
        >>> from finer_rewards import Scorer
        >>> reward = TRLReward(Scorer("well_formed(policy='plain')"))
        >>> reward(prompts=["Count."], completions=["SELECT 1"], gold=["SELECT 1"], db=["any"])
        [1.0]

    References:
        TRL 1.16, `GRPOTrainer._calculate_rewards`.
    """

    def __init__(
        self,
        scorer: Scorer,
        *,
        gold: str = "gold",
        db: str = "db",
        question: str | None = None,
        answer: str | None = None,
        dialect: str | None = None,
        name: str | None = None,
        component: str | None = None,
        prefix: str = "finer",
        args: Any = None,
        remember: bool = False,
    ) -> None:
        if not isinstance(scorer, Scorer):
            raise ConfigError(
                f"`TRLReward(scorer)` should be a Scorer, but got {scorer!r:.80}. "
                "Wrap the reward: TRLReward(Scorer(reward, SQLite('databases/')))."
            )
        self.scorer = scorer
        self.fields = Fields(gold, db, question, answer, dialect)
        self.prefix = prefix
        self.weight = 1.0
        self._term = None if component is None else _position(scorer, component)
        self._factor = 1.0
        self._sizes = _group_sizes(scorer, args)
        self._batches = Batches(scorer, readers=1, remember=remember)
        self.__name__ = name or component or (scorer.reward.name if _is_leaf(scorer.reward) else "finer")

    @classmethod
    def components(cls, scorer: Scorer, *, weighted: bool = False, **options: Any) -> list[TRLReward]:
        """Return one reward function for each term of the reward's sum; each batch is still scored only once.

        A completion that one term cannot score is `None` in all of them, so that TRL never adds up some of the terms
        only.

        Args:
            scorer: the scorer.
            weighted: multiply each term by its weight here, for trainers without `reward_weights`
                (`AsyncGRPOTrainer`); otherwise pass `reward_weights(functions)` to TRL.
            options: as for `TRLReward`; the names are those of the terms.

        Raises:
            ConfigError: as for `TRLReward`.
        """
        if "name" in options or "component" in options:
            raise ConfigError(
                "`TRLReward.components(...)` names its functions after their terms. Leave `name` out."
            )
        weights = [weight for weight, _ in terms(scorer.reward)]
        functions = [cls(scorer, component=name, **options) for name in _term_names(scorer)]
        shared = Batches(scorer, readers=len(functions), remember=bool(options.get("remember")))
        for function, weight in zip(functions, weights, strict=True):
            function._batches = shared
            function.weight, function._factor = (1.0, weight) if weighted else (float(weight), 1.0)
        return functions

    def __call__(
        self,
        prompts: Sequence[Any] | None = None,
        completions: Sequence[Any] = (),
        completion_ids: Sequence[Sequence[int]] | None = None,
        *,
        trainer_state: Any = None,
        environments: Any = None,
        log_extra: Callable[[str, list[Any]], None] | None = None,
        log_metric: Callable[[str, float], None] | None = None,
        **columns: Sequence[Any],
    ) -> list[float | None]:
        """Return one value for each completion, in order; `None` for one that cannot be scored."""
        items = self._items(prompts, completions, columns)
        groups = self._groups(prompts, len(items))
        step = getattr(trainer_state, "global_step", None)
        judged, fresh = self._batches.judge(self.__name__, items, step, groups)
        if fresh and log_extra is not None:
            log_extra("sql", [one.sql for one in judged])
            log_extra("status", [one.status.name for one in judged])
            log_extra("reason", [reason_of(one.score) for one in judged])
        if fresh and log_metric is not None:
            # TRL averages over all calls on all ranks; with one call for each completion the mean is exact.
            for metric, value in measurements(self.scorer.reward, judged):
                log_metric(f"{self.prefix}/{metric}", value)
            for start, end in groups:
                share = silent_groups([one.score for one in judged[start:end]], end - start)
                log_metric(f"{self.prefix}/silent_groups", share)
        return [self._value(one.score) for one in judged]

    def judge(
        self, prompts: Sequence[Any] | None, completions: Sequence[Any], **columns: Sequence[Any]
    ) -> list[Judged]:
        """Return the outcome of each completion of a batch; nothing is logged or remembered."""
        items = self._items(prompts, completions, columns)
        labels = [
            number
            for number, (start, end) in enumerate(self._groups(prompts, len(items)))
            for _ in range(start, end)
        ]
        return judge(self.scorer, items, groups=labels)

    def check(self, dataset: Iterable[Mapping[str, Any]] | str | os.PathLike[str]) -> None:
        """Read every row as training would, and open its databases; call it before training.

        Args:
            dataset: the rows, or the JSONL or Parquet file that holds them.

        Raises:
            ConfigError: a column is missing, or a row cannot be used; says which.
        """
        check_items(self.scorer, map(self._read, read_rows(dataset)), gold=self.fields.gold)

    def _read(self, row: Mapping[str, Any]) -> Sample | Score:
        if not isinstance(row, Mapping):
            raise ConfigError(
                f"`check(dataset)` should get rows, but got {row!r:.80}. Pass one split, such as dataset['train']."
            )
        self.fields.check(row.keys(), where="The dataset", caller="TRLReward")
        return self.fields.sample(row, "", question_in(row.get("prompt")))

    def flush(self) -> None:
        """Store the traces of the last batch. Only for `remember=True`."""
        self._batches.flush()

    def __repr__(self) -> str:
        return f"TRLReward({self.__name__!r})"

    def _items(
        self, prompts: Sequence[Any] | None, completions: Sequence[Any], columns: Mapping[str, Sequence[Any]]
    ) -> list[Sample | Score]:
        self.fields.check(columns, where="The dataset given to the trainer", caller="TRLReward")
        # TRL passes other things as well, more with each release; only the columns that are read matter.
        columns = {name: values for name, values in columns.items() if name in self.fields.columns}
        if prompts is None:
            prompts = [""] * len(completions)
        for name, values in (("prompts", prompts), *columns.items()):
            got = len(values) if hasattr(values, "__len__") else f"{values!r:.60}"
            if got != len(completions):
                raise ConfigError(
                    f"`{name}` should hold one value a completion, but got {got} for "
                    f"{len(completions)} completions. Repeat it for every completion of a prompt."
                )
        questions = [question_in(prompt) for prompt in prompts]
        return [
            self.fields.sample(
                {name: values[index] for name, values in columns.items()},
                read_chat(completion),
                questions[index],
            )
            for index, completion in enumerate(completions)
        ]

    def _groups(self, prompts: Sequence[Any] | None, count: int) -> list[tuple[int, int]]:
        """Return where each group of the batch starts and ends; if sizes are not known, equal prompts form a group."""
        # The sizes of training and of evaluation.
        for size in self._sizes:
            found = [(start, start + size) for start in range(0, count, size)]
            if count % size == 0 and all(
                prompts is None or all(prompt == prompts[start] for prompt in prompts[start:end])
                for start, end in found
            ):
                return found
        if "groups" not in self.scorer.reward.needs:
            starts = [
                at for at in range(count) if not at or prompts is None or prompts[at] != prompts[at - 1]
            ]
            return list(zip(starts, [*starts[1:], count], strict=True)) if count else []
        raise ConfigError(
            f"Groups should be whole on each rank, but this rank got {count} completions that are not whole groups of "
            f"{' or '.join(map(str, self._sizes))} (num_generations). Pass the trainer's own args: TRLReward(args=...)."
        )

    def _value(self, score: Score) -> float | None:
        if score.value is None or self._term is None:
            return None if score.value is None else for_float32(score.value)
        part = score.parts[self._term][1] if self.scorer.reward.name == "total" else score
        return None if part.value is None else for_float32(self._factor * part.value)


class SQLEnvironment:
    """The environment of one episode of an agent; TRL makes its public methods tools. See `sql_environment`."""

    def __init__(self, scorer: Scorer, db: str = "db", options: Mapping[str, Any] | None = None) -> None:
        self._scorer, self._db, self._options = scorer, db, dict(options or {})
        self._tool: SQLTool | None = None

    def reset(self, **row: Any) -> None:
        """Start an episode on the database of the row."""
        self._tool = tool_for(self._scorer, row.get(self._db), self._options)

    def run_sql(self, sql: str) -> str:
        """Run one read-only SQL query on the database and see its first rows, or why it failed.

        Args:
            sql: One SELECT statement.

        Returns:
            The rows as text, or an error.
        """
        return "Error: there is no episode yet." if self._tool is None else self._tool.run_sql(sql)


def sql_environment(scorer: Scorer, *, db: str = "db", **options: Any) -> Callable[[], SQLEnvironment]:
    """Return a value for `GRPOTrainer(environment_factory=...)`: a tool `run_sql` on the database of each row.

    `TRLReward` then scores the whole rollout, and finds the queries in the messages.

    Args:
        scorer: the scorer of the rollouts; the tool runs on its executor.
        db: dataset column of the database.
        options: the options of `finer_rewards.agents.SQLTool`: `max_calls`, `max_rows`, `max_bytes`.

    Raises:
        ConfigError: the scorer has no executor, or an option cannot be used.

    References:
        TRL 1.16, `GRPOTrainer(environment_factory=...)`; transformers 5.2 or later.
    """
    tool_for(scorer, "any", options)
    return partial(SQLEnvironment, scorer, db, options)


def reward_weights(functions: Iterable[Any]) -> list[float]:
    """Return the value of `GRPOConfig(reward_weights=...)` for a list of reward functions; other functions weigh 1.

    Example:
        >>> from finer_rewards import Scorer
        >>> scorer = Scorer("2 * well_formed() + 0.5 * well_formed(policy='plain')")
        >>> reward_weights(TRLReward.components(scorer))
        [2.0, 0.5]
    """
    return [function.weight if isinstance(function, TRLReward) else 1.0 for function in functions]


def _group_sizes(scorer: Scorer, args: Any) -> tuple[int, ...]:
    """Return how many completions a prompt has in training and in evaluation; empty when that is not known."""
    if args is None:
        if "groups" in scorer.reward.needs:
            raise ConfigError(
                f"The reward {scorer.reward!r:.200} depends on groups, so `TRLReward(args=...)` should be the "
                "trainer's GRPOConfig, but got none. Pass the same one."
            )
        return ()
    size, rows, steps = args.num_generations, args.per_device_train_batch_size, args.steps_per_generation
    prompts = args.generation_batch_size // size
    if "groups" in scorer.reward.needs and rows * steps % size:
        raise ConfigError(
            f"The groups of {scorer.reward!r:.200} should be whole on each rank, but per_device_train_batch_size "
            f"{rows} x steps_per_generation {steps} = {rows * steps} completions are not a multiple of num_generations "
            f"{size}. Make them one: raise steps_per_generation (gradient_accumulation_steps)."
        )
    if args.scale_rewards == "batch" and prompts == 1:
        warnings.warn(
            f"scale_rewards='batch' does nothing here: generation_batch_size {args.generation_batch_size} / "
            f"num_generations {size} = 1 prompt a step, so the batch is the group. Pass scale_rewards='none', or have "
            "several prompts a step with a larger gradient_accumulation_steps.",
            RuntimeWarning,
            stacklevel=4,
        )
    return tuple(dict.fromkeys((size, getattr(args, "num_generations_eval", None) or size)))


def _is_leaf(reward: Reward) -> bool:
    return reward.leaves() == (reward,)


def _term_names(scorer: Scorer) -> tuple[str, ...]:
    return distinct_names([part for _, part in terms(scorer.reward)])


def _position(scorer: Scorer, component: str) -> int:
    names = _term_names(scorer)
    if component not in names:
        raise ConfigError(
            f"`TRLReward(component=...)` should be a term of the reward, one of {', '.join(names)}, "
            f"but got {component!r}. {suggest(component, names)}".rstrip()
        )
    return names.index(component)
