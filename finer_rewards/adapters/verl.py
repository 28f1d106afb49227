"""verl: `compute_score`, the custom reward function of its reward loop. Loaded by name, no file needed.

    python -m verl.trainer.main_ppo ... \\
        reward.custom_reward_function.path=pkg://finer_rewards.adapters.verl \\
        reward.custom_reward_function.name=compute_score \\
        "+reward.custom_reward_function.reward_kwargs.spec='2 * execution_match() + executable()'" \\
        +reward.custom_reward_function.reward_kwargs.root=/data/spider/database

`overrides(...)` writes these out. verl up to 0.7.0 has the same keys without `reward.` in front, and
verl 0.9 ignores those in silence: `finer-rewards doctor --verl FILE` finds them in a script or configuration.

A row of the parquet holds the gold SQL in `reward_model.ground_truth` and the database in `extra_info.db`.

With `overrides(..., manager=True)` verl uses `FinerRewardManager`, a reward manager that tells the function more
than verl's own does: `prompt` (the messages), `step` and `group` (one id for all samples of a prompt) are then in
`extra_info`. `compute_score` takes the question from the prompt, and a reward finds step and group in
`evidence.sample.meta`.
"""

from __future__ import annotations

import asyncio
import inspect
import os
import warnings
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Any

from finer_rewards._chat import Chat, read_response
from finer_rewards._prompt_groups import conditions, within_group
from finer_rewards._util.extras import extra
from finer_rewards.adapters._episodes import importable_from
from finer_rewards.adapters._training_rows import (
    LEFT_OUT,
    Judged,
    check_items,
    for_float32,
    question_in,
    read_rows,
    refuse_lost,
    truth_of,
)
from finer_rewards.adapters._verl_tool import QUERIES, build_tool
from finer_rewards.adapters.scorers import LOST_AT_FIRST, RowScorer, scorer_for
from finer_rewards.errors import ConfigError, DataError
from finer_rewards.reward import Reward
from finer_rewards.types import Sample, Score

__all__ = ["build_manager", "build_tool", "check", "compute_score", "compute_score_async", "overrides"]

_HERE = "pkg://finer_rewards.adapters.verl"


def compute_score(
    data_source: str,
    solution_str: str,
    ground_truth: Any,
    extra_info: Mapping[str, Any] | None = None,
    *,
    spec: str = "execution_match()",
    root: str = ".",
    memory: str | None = None,
    db: str = "db",
    question: str = "question",
    answer: str | None = None,
    dialect: str | None = None,
    fallback: float = 0.0,
    lost_groups: bool = False,
    reward_router_address: object = None,
    reward_model_tokenizer: object = None,
    **limits: Any,
) -> dict[str, float]:
    """Return the score of one response, and its components, under the same keys for every sample.

    verl has no value for *cannot be scored*: such a sample gets `fallback`, and `unscorable` 1. If the gold is broken,
    that happens to the whole group, whose advantages are then 0. A single sample that the system lost changes the
    advantages of its group, unless this library computes those too: `overrides(left_out=True)`. If no database is
    found for any of the first 8 samples of a process, the run is stopped, as something is wrong with all of them.

    Args:
        data_source: column `data_source`; not used.
        solution_str: the decoded response; for a rollout with a tool, the text of all turns with the tool's replies.
        ground_truth: the gold SQL, or a list of texts that are each right; or a mapping (or its JSON) with `gold`
            and further keys of `extra_info`.
        extra_info: the row's further values; never changed here.
        spec: the reward as it prints, or the name of a preset.
        root: folder of the databases (`ID/ID.sqlite` or `ID.sqlite`).
        memory: folder of a `TraceMemory`, for rewards that search one.
        db: key of the database in `extra_info`.
        question: key of the question in `extra_info`; if it is missing, the prompt is used, if that is known.
        answer: key of the right rows in `extra_info`, for supervision without SQL.
        dialect: sqlglot dialect of all statements; `None` means the executor's own.
        fallback: the score of samples that cannot be scored.
        lost_groups: set for a reward with `in_lost_groups`, whose advantages have to be computed by
            `finer_rewards.adapters.verl_advantage`; here each completion is scored as if it were the whole group.
        reward_router_address: passed by verl when it serves a reward model; not used.
        reward_model_tokenizer: likewise.
        limits: further arguments of `SQLite`: `timeout`, `max_rows`, `workers`, `memory_limit`; and `log`, a file for
            score logs.

    Returns:
        `score`, `acc` (1 for an execution match), each component of the reward, `unscorable`.

    Raises:
        ConfigError: the configuration cannot be used, the reward depends on groups in a way that verl's advantages
            cannot follow, rows name no database under that key, or no database was
            found for the first 8 samples.

    Example:
        >>> compute_score("spider", "SELECT 1", "SELECT 1", {"db": "any"}, spec="well_formed(policy='plain')")
        {'score': 1.0, 'acc': 1.0, 'well_formed': 1.0, 'unscorable': 0.0}

    References:
        verl 0.9.1, `verl.experimental.reward_loop.reward_manager.naive`.
    """
    row = {**dict(extra_info or {}), **truth_of(ground_truth)}
    asked = RowScorer(spec, root, memory, "gold", db, question, answer, dialect, fallback, limits)
    judged = asked.judge(
        row,
        _chat(solution_str, row),
        where="`extra_info` of a row",
        caller="reward_kwargs",
        prompt=question_in(row.get("prompt")),
        meta={name: row[name] for name in ("step", "group") if row.get(name) is not None},
        alone=lost_groups,
    )
    refuse_lost(asked.scorer, [judged], least=LOST_AT_FIRST)
    record = asked.record(judged)
    if lost_groups:
        record["score"] = _below_right(asked.scorer.reward, judged)
    return record


def _below_right(reward: Reward, judged: Judged) -> float:
    """Return a score by which the estimator can tell right from wrong: 1 for a right completion, less for a wrong one.

    The score of a wrong completion is what it gets if the whole group is wrong. The estimator, which sees the group,
    sets it to 0 if some completion is right.
    """
    value = judged.score.value
    if value is None or judged.evidence is None:
        return LEFT_OUT
    others = reward(within_group(judged.evidence, frozenset(conditions(reward)))).value
    if others not in (0, 1) or not others <= value <= 1:
        raise ConfigError(
            f"With verl a reward of groups should be 1 for a right answer and, beside one, 0 for a wrong one, but "
            f"{reward!r:.200} gave {value!r} alone and {others!r} beside a right one. "
            "Write execution_match() + in_lost_groups(...) with what is from 0 to 1."
        )
    return 1.0 if others == 1 else min(for_float32(value), 1 - 2**-16)


def _chat(text: str, row: Mapping[str, Any]) -> Chat:
    """Return the response with its queries: those that the tool noted, or else those in the text of all turns."""
    read = read_response(text)
    return read._replace(calls=tuple(row[QUERIES])) if row.get(QUERIES) else read


async def compute_score_async(
    data_source: str,
    solution_str: str,
    ground_truth: Any,
    extra_info: Mapping[str, Any] | None = None,
    **options: Any,
) -> dict[str, float]:
    """Return what `compute_score` does, without blocking verl's event loop."""
    # Copied here and not in the thread, because verl goes on writing into the mapping that it passes.
    copied = dict(extra_info or {})
    return await asyncio.to_thread(compute_score, data_source, solution_str, ground_truth, copied, **options)


def check(dataset: Iterable[Mapping[str, Any]] | str | os.PathLike[str], **options: Any) -> int:
    """Read every row of a dataset as training would, and open its databases; call it before training.

    Args:
        dataset: the rows, or the Parquet or JSONL file that holds them.
        options: the options of `compute_score`.

    Returns:
        How many rows there are.

    Raises:
        ConfigError: a column is missing, or a row cannot be used; says which.
    """
    asked = RowScorer.of({name: value for name, value in options.items() if name != "lost_groups"})

    def read(row: Mapping[str, Any]) -> Sample | Score:
        for name in ("data_source", "prompt", "reward_model"):
            if name not in row:
                there = ", ".join(sorted(row)) or "no columns"
                raise ConfigError(f"The dataset should have a column {name!r} for verl, but it has {there}.")
        model = row["reward_model"]
        if not isinstance(model, Mapping) or "ground_truth" not in model:
            raise ConfigError(
                f"`reward_model` of a row should be a mapping with `ground_truth`, but got {model!r:.80}."
            )
        given = {**dict(row.get("extra_info") or {}), **truth_of(model["ground_truth"])}
        found = asked.check(given, where="`extra_info` of a row", caller="reward_kwargs")
        return found.sample(given, "", question_in(row["prompt"]))

    return check_items(asked.scorer, map(read, read_rows(dataset)), gold="reward_model.ground_truth")


def build_manager() -> Any:
    """Return `FinerRewardManager`, a subclass of verl's `RewardManagerBase`; verl loads it by that name.

    It calls the configured function (`compute_score`, `compute_score_async` or your own) as verl's manager `naive`
    does, but passes a copy of `extra_info` to which `prompt`, `step` and `group` are added, if verl knows them.

    Raises:
        MissingExtraError: verl is not installed, or older than 0.7.1.

    References:
        verl 0.9.1, `verl.experimental.reward_loop.reward_manager.base`.
    """
    return _manager()


@lru_cache(maxsize=1)
def _manager() -> Any:
    with extra("verl", "build_manager()", "verl"):
        from verl.experimental.reward_loop.reward_manager.base import RewardManagerBase

    class FinerRewardManager(RewardManagerBase):  # type: ignore[misc]
        """Scores one sample with all that verl knows about it."""

        def __init__(self, config: Any, tokenizer: Any, compute_score: Any, **reward_model: Any) -> None:
            super().__init__(config, tokenizer, compute_score)
            # verl always passes these arguments, but they are of use only when it serves a reward model.
            served = reward_model.get("reward_router_address") is not None
            self._reward_model = reward_model if served else {}
            _check_files(config)

        async def run_single(self, data: Any) -> dict[str, Any]:
            """Return `reward_score` and `reward_extra_info`; if there are several sequences, the last one counts."""
            item = data[-1:][0]
            row = item.non_tensor_batch
            responses, mask = item.batch["responses"], item.batch["attention_mask"]
            written = responses[: int(mask[-len(responses) :].sum())]
            call = {
                "data_source": row["data_source"],
                "solution_str": await asyncio.to_thread(
                    self.tokenizer.decode, written, skip_special_tokens=True
                ),
                "ground_truth": row["reward_model"]["ground_truth"],
                "extra_info": _extra(row),
                **self._reward_model,
            }
            if inspect.iscoroutinefunction(self.compute_score):
                result = await self.compute_score(**call)
            else:
                result = await asyncio.to_thread(self.compute_score, **call)
            extra = dict(result) if isinstance(result, Mapping) else {"acc": result}
            return {"reward_score": extra.get("score", result), "reward_extra_info": extra}

    return importable_from(__name__, FinerRewardManager)["FinerRewardManager"]


def _check_files(config: Any) -> None:
    """Check the rows that verl will train on, if the reward is this one and the files are on this machine."""
    asked = config.reward.get("custom_reward_function") or {}
    if asked.get("path") != _HERE:
        return
    files = config.data.train_files
    for file in [files] if isinstance(files, str) else files:
        # Not `pathlib`: the file may be `hdfs://...`, which is no path.
        if os.path.isfile(file):  # noqa: PTH113
            check(file, **(asked.get("reward_kwargs") or {}))


def __getattr__(name: str) -> Any:
    # The classes are made on demand, because importing their bases from verl takes seconds.
    if name == "FinerRewardManager":
        return _manager()
    if name == "FinerTool":
        return build_tool()
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def _extra(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return a copy of a sample's `extra_info` with what verl keeps in other places."""
    extra = {**dict(row.get("extra_info") or {}), **dict(row.get("tool_extra_fields") or {})}
    extra["num_turns"] = row.get("__num_turns__")
    extra["rollout_reward_scores"] = row.get("reward_scores") or {}
    for name, key in (("prompt", "raw_prompt"), ("step", "global_steps"), ("group", "uid")):
        value = row.get(key)
        if value is not None:
            extra[name] = value.item() if hasattr(value, "item") and not hasattr(value, "__len__") else value
    return extra


def overrides(
    spec: str,
    root: str,
    *,
    asynchronous: bool = False,
    legacy: bool = False,
    manager: bool = False,
    lost_groups: bool = False,
    left_out: bool = False,
    **options: Any,
) -> list[str]:
    """Return the Hydra overrides that make verl use this reward; quoted for Hydra, not for a shell.

    Args:
        spec: the reward as it prints, or the name of a preset.
        root: folder of the databases, as verl's workers see it; a warning says if it is not on this machine.
        asynchronous: use `compute_score_async`.
        legacy: for verl up to 0.7.0, which has no `manager`.
        manager: use `FinerRewardManager`.
        lost_groups: for a reward with `in_lost_groups`: advantages are computed by
            `finer_rewards.adapters.verl_advantage`, which verl loads if the environment has
            VERL_USE_EXTERNAL_MODULES=finer_rewards.adapters.verl_advantage.
        left_out: leave samples that cannot be scored out of their group, as TRL does: advantages are computed by the
            estimator `finer_groups`, loaded in the same way. With `lost_groups` they are left out in any case.
        options: further options of `compute_score`.

    Raises:
        ConfigError: the reward or an option cannot be used.

    Example:
        >>> for line in overrides("execution_match(mode='bird')", ".", timeout=10):
        ...     print(line)
        reward.custom_reward_function.path=pkg://finer_rewards.adapters.verl
        reward.custom_reward_function.name=compute_score
        +reward.custom_reward_function.reward_kwargs.spec='execution_match(mode=\\'bird\\')'
        +reward.custom_reward_function.reward_kwargs.root='.'
        +reward.custom_reward_function.reward_kwargs.timeout=10
    """
    if legacy and manager:
        raise ConfigError("`overrides(manager=True)` should be for verl 0.7.1 or later, but got legacy=True.")
    own = inspect.signature(compute_score).parameters
    memory = options.get("memory")
    limits = {name: value for name, value in options.items() if name not in own}
    try:
        scorer_for(spec, root, limits, memory)
    except DataError as error:
        # The overrides may be written on one machine and used on another.
        scorer_for(spec, ".", limits, memory)
        warnings.warn(f"{error} verl's workers will look for it where they run.", stacklevel=2)
    key = ("" if legacy else "reward.") + "custom_reward_function"
    lines = [
        f"{key}.path={_HERE}",
        f"{key}.name={'compute_score_async' if asynchronous else 'compute_score'}",
    ]
    for name, value in {"spec": spec, "root": root, **options}.items():
        lines.append(f"+{key}.reward_kwargs.{name}={_hydra(value)}")
    if lost_groups:
        lines += [f"+{key}.reward_kwargs.lost_groups=True", "algorithm.adv_estimator=finer_lost_groups"]
    elif left_out:
        lines += [f"+{key}.reward_kwargs.fallback={LEFT_OUT}", "algorithm.adv_estimator=finer_groups"]
    if manager:
        name = "reward.reward_manager"
        lines += [
            f"{name}.source=importlib",
            f"{name}.name=FinerRewardManager",
            f"{name}.module.path={_HERE}",
        ]
    return lines


def _hydra(value: object) -> str:
    if isinstance(value, str):
        return "'" + value.replace("'", "\\'") + "'"
    return "null" if value is None else str(value)
