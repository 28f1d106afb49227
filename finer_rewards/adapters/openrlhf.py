"""OpenRLHF: a `reward_func(queries, prompts, labels)` that never raises and returns plain floats.

OpenRLHF loads a file and uses its `reward_func`; `finer_rewards.adapters.openrlhf.write_shim` writes such a file:

    from finer_rewards.adapters.openrlhf import build
    reward_func = build("2 * execution_match() + executable()", root="/data/spider/database", best=3)

    python3 -m openrlhf.cli.train_ppo_ray --reward.remote_url /abs/path/reward.py --data.label_key label ...

The label of a row is a mapping, or its JSON, with `gold` and `db`.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from finer_rewards._chat import Chat
from finer_rewards._util.extras import extra
from finer_rewards.adapters._openrlhf_agent import one_turn, row_of, with_tool
from finer_rewards.adapters._reasons import tell_reasons
from finer_rewards.adapters._training_rows import (
    Fields,
    Judged,
    check_items,
    for_float32,
    judge,
    match_of,
    numbers,
    read_rows,
    refuse_groups,
)
from finer_rewards.adapters.scorers import is_url, scorer_for, tool_for
from finer_rewards.components import component_names
from finer_rewards.engines.registry import is_address
from finer_rewards.errors import ConfigError, suggest
from finer_rewards.parsing import without_endings
from finer_rewards.scoring import Scorer
from finer_rewards.types import Sample, Score, Status, unscored

__all__ = ["build", "build_agent", "openrlhf_reward", "response_of", "write_shim"]

_LOGGER = logging.getLogger(__name__)
#: The prompt's end is recognised in a query by at least so many characters: at the query's start, or anywhere in it.
_OVERLAP, _TAIL = 12, 40
#: Qwen's chat template for the reply after a call.
_CHATML = "\n<|im_start|>user\n<tool_response>\n{}\n</tool_response><|im_end|>\n<|im_start|>assistant\n"


def openrlhf_reward(
    scorer: Scorer,
    *,
    best: float = 1.0,
    fallback: float = 0.0,
    scores: Literal["value", "match"] = "value",
    gold: str = "gold",
    db: str = "db",
    question: str | None = None,
    answer: str | None = None,
    dialect: str | None = None,
    endings: Sequence[str] = (),
) -> RewardFunction:
    """Return a reward function for OpenRLHF.

    The function returns `rewards` (the value), `scores` (for dynamic filtering) and `extra_logs` (each component,
    `unscorable`, `reward_error`; the same keys every time).
    OpenRLHF drops or breaks a batch when a reward is missing, so a sample that cannot be scored gets `fallback`, and
    an error is logged and counted in `reward_error` instead of raised. Call its method `check(rows)` before training:
    it raises for rows that would end so.

    Args:
        scorer: the scorer.
        best: the largest value of the reward.
        fallback: the reward of samples that cannot be scored.
        scores: the meaning of `scores`, by whose mean over a group dynamic filtering decides whether to keep it:
            `"value"`, the value over `best`, cut to [0, 1], or `"match"`, 1 for an execution match and else 0. With
            partial credit only `"match"` filters groups without a right answer.
        gold: key of the gold SQL in the label.
        db: key of the database in the label.
        question: key of the question in the label; `None` takes the prompt.
        answer: key of the right rows in the label.
        dialect: sqlglot dialect of all statements; `None` means the executor's own.
        endings: tokens to cut off the end of a response, in addition to those of common models.

    Raises:
        ConfigError: `best` is not above 0, `scores` is none of these, or the reward depends on the group of a sample,
            which OpenRLHF does not tell.

    Example:
        >>> from finer_rewards import Scorer
        >>> reward_func = openrlhf_reward(Scorer("well_formed(policy='plain')"))
        >>> reply = reward_func(["Count. SELECT 1</s>"], ["Count. "], ['{"gold": "SELECT 1", "db": "any"}'])
        >>> reply["rewards"], reply["extra_logs"]
        (1.0, {'well_formed': 1.0, 'unscorable': 0.0, 'reward_error': 0.0})

    References:
        OpenRLHF 0.11.2, `openrlhf.utils.agent.SingleTurnAgentExecutor`.
    """
    if not best > 0:
        raise ConfigError(
            f"`openrlhf_reward(best=...)` should be above 0, but got {best!r}. Pass the largest value."
        )
    if scores not in ("value", "match"):
        raise ConfigError(f"`openrlhf_reward(scores=...)` should be value or match, but got {scores!r:.80}.")
    refuse_groups(scorer.reward, "OpenRLHF", "Use TRL or verl for it, or leave in_lost_groups out.")
    fields = Fields(gold, db, question, answer, dialect)
    return RewardFunction(scorer, fields, float(best), float(fallback), tuple(endings), scores)


def build(
    spec: str = "execution_match()",
    *,
    root: str = ".",
    memory: str | None = None,
    dataset: str | None = None,
    label: str = "label",
    **options: Any,
) -> RewardFunction:
    """Return `openrlhf_reward` for plain options: the text of a reward and a folder of SQLite databases.

    Args:
        spec: the reward as it prints, or the name of a preset.
        root: folder of the databases (`ID/ID.sqlite` or `ID.sqlite`).
        memory: folder of a `TraceMemory`, for rewards that search one.
        dataset: the JSONL or Parquet file that is trained on: its rows are checked before anything is scored.
        label: the column of it that `--data.label_key` names.
        options: the options of `openrlhf_reward`; `log`, a file for score logs; all others are arguments of `SQLite`,
            such as `timeout`.
    """
    known = ("best", "fallback", "scores", "gold", "db", "question", "answer", "dialect", "endings")
    own = {name: options.pop(name) for name in known if name in options}
    reward = openrlhf_reward(scorer_for(spec, root, options, memory), **own)
    if dataset is not None:
        reward.check(dataset, label=label)
    return reward


def build_agent(
    spec: str = "execution_match()",
    *,
    tool: Mapping[str, Any] | None = None,
    tag: str = "tool_call",
    feedback: str = _CHATML,
    **options: Any,
) -> Any:
    """Return the `AgentExecutor` class for `--train.agent_func_path`, which scores a response from its own tokens.

    Unlike `reward_func`, which gets prompt and response as one text, it knows where the response starts.

    Args:
        spec: the reward.
        tool: options of `finer_rewards.agents.SQLTool`: the model may then query the database in several turns before
            it answers. `None` means one turn.
        tag: the tag around a call in what the model writes: JSON, or SQL as it is.
        feedback: what follows a call in the model's chat template, `{}` being the reply of the tool.
        options: the options of `build`.

    Raises:
        MissingExtraError: OpenRLHF is not installed.
        ConfigError: an option cannot be used.
    """
    with extra("openrlhf", "build_agent()", "OpenRLHF"):
        import openrlhf.utils.agent  # noqa: F401
    reward = build(spec, **options)
    if tool is None:
        return one_turn(reward)
    tool_for(reward.scorer, "any", tool)
    return with_tool(reward, tool, tag, feedback)


def write_shim(path: str | os.PathLike[str], spec: str, *, agent: bool = False, **options: Any) -> Path:
    """Write the file that OpenRLHF loads, and return its absolute path.

    Args:
        path: the file to write, for `--reward.remote_url`, or with `agent` for `--train.agent_func_path`.
        spec: the reward.
        agent: write an `AgentExecutor` instead of a `reward_func`.
        options: those of `build`.

    Raises:
        ConfigError: the reward or an option cannot be used, or the path does not end in `.py`.
    """
    target = Path(path).resolve()
    if target.suffix != ".py":
        raise ConfigError(
            f"`write_shim(path)` should end in .py, but got {target.name!r}. OpenRLHF goes by the ending."
        )
    for name in ("root", "memory", "dataset"):
        place = str(options.get(name, "http://"))
        if not (is_url(place) or is_address(place)):
            # OpenRLHF loads the file in another working folder.
            options[name] = str(Path(place).resolve())
    build(spec, **options)
    arguments = "".join(f", {name}={value!r}" for name, value in options.items())
    name, function = ("AgentExecutor", "build_agent") if agent else ("reward_func", "build")
    target.write_text(
        f"from finer_rewards.adapters.openrlhf import {function}\n\n{name} = {function}({spec!r}{arguments})\n",
        encoding="utf-8",
    )
    return target


class RewardFunction:
    """The reward function that `openrlhf_reward` returns; a class at module level, so that it can be pickled."""

    def __init__(
        self,
        scorer: Scorer,
        fields: Fields,
        best: float,
        fallback: float,
        endings: tuple[str, ...],
        scores: Literal["value", "match"],
    ) -> None:
        self.scorer = scorer
        self.fields = fields
        self.best = best
        self.fallback = fallback
        self.endings = endings
        self.scores = scores

    def __call__(
        self, queries: Sequence[str | Chat], prompts: Sequence[str], labels: Sequence[Any]
    ) -> dict[str, Any]:
        error = 0.0
        try:
            if not len(queries) == len(prompts) == len(labels):
                raise ConfigError(
                    f"`reward_func(queries, prompts, labels)` should get lists of one length, but got "
                    f"{len(queries)}, {len(prompts)} and {len(labels)}."
                )
            items = [self._item(*three) for three in zip(queries, prompts, labels, strict=True)]
            judged = judge(self.scorer, items)
            tell_reasons(self.scorer, [one.score for one in judged])
            records = list(map(self._record, judged))
        # Whatever goes wrong must not leave this function: OpenRLHF would swallow it and lose the whole micro-batch.
        except Exception as problem:
            _LOGGER.exception(
                "The reward failed, so %d samples get %s: %s", len(queries), self.fallback, problem
            )
            error = 1.0
            lost = dict.fromkeys(component_names(self.scorer.reward), 0.0) | {"unscorable": 1.0}
            records = [(self.fallback, self._score(self.fallback, 0.0), lost)] * len(queries)
        return self._reply(records, error)

    def nothing(self) -> dict[str, Any]:
        """Return the reply for a turn that is not the last: zeros under the same keys."""
        names = (*component_names(self.scorer.reward), "unscorable", "reward_error")
        return {"rewards": 0.0, "scores": 0.0, "extra_logs": dict.fromkeys(names, 0.0)}

    def check(
        self, dataset: Iterable[Mapping[str, Any]] | str | os.PathLike[str], *, label: str = "label"
    ) -> int:
        """Read every label as training would, and open its databases; call it before training.

        Args:
            dataset: the rows, or the JSONL or Parquet file that holds them.
            label: the column that `--data.label_key` names.

        Returns:
            How many rows there are.

        Raises:
            ConfigError: a column is missing, or a label cannot be used; says which.
        """

        def read(row: Mapping[str, Any]) -> Sample | Score:
            if label not in row:
                there = ", ".join(sorted(row)) or "no columns"
                raise ConfigError(
                    f"The dataset should have a column {label!r}, but it has {there}. "
                    f"{suggest(label, row)}Name the right one: check(..., label='...') and --data.label_key."
                )
            found = row_of(row[label])
            if found is not None:
                self.fields.check(found, where="The label", caller="openrlhf_reward")
            return self._item("", "", row[label])

        return check_items(self.scorer, map(read, read_rows(dataset)), gold=f"{label}.{self.fields.gold}")

    def _item(self, query: str | Chat, prompt: str, label: Any) -> Sample | Score:
        row = row_of(label)
        if row is None:
            return unscored(
                Status.no_gold, f"The label should be a mapping or its JSON, but got {label!r:.80}."
            )
        if isinstance(query, str):
            query = response_of(query, prompt, self.endings)
        return self.fields.sample(row, query, prompt)

    def _record(self, judged: Judged) -> tuple[float, float, dict[str, float]]:
        value = self.fallback if judged.score.value is None else for_float32(judged.score.value)
        reward = self.scorer.reward
        return value, self._score(value, match_of(reward, judged)), numbers(reward, judged)

    def _score(self, value: float, match: float) -> float:
        return min(max(match if self.scores == "match" else value / self.best, 0.0), 1.0)

    def _reply(self, records: list[tuple[float, float, dict[str, float]]], error: float) -> dict[str, Any]:
        rewards = [value for value, _, _ in records]
        scores = [score for _, score, _ in records]
        logs = {name: [record[name] for *_, record in records] for name in (records[0][2] if records else {})}
        logs["reward_error"] = [error] * len(records)
        if len(records) == 1:
            # OpenRLHF passes one sample at a time, and only a plain float is safe there.
            return {
                "rewards": rewards[0],
                "scores": scores[0],
                "extra_logs": {k: v[0] for k, v in logs.items()},
            }
        return {"rewards": rewards, "scores": scores, "extra_logs": logs}


def response_of(query: str, prompt: str, endings: Sequence[str] = ()) -> str:
    """Return the response in a decoded query: the text after the prompt, without end-of-turn tokens.

    The prompt's beginning may have been cut off, and decoding may have changed it a little; then the response starts
    where the last characters of the prompt end.

    Example:
        >>> response_of("<|user|>Count.<|assistant|>SELECT 1<|im_end|>", "<|user|>Count.<|assistant|>")
        'SELECT 1'
    """
    return without_endings(query[_prompt_end(query, prompt) :], endings)


def _prompt_end(query: str, prompt: str) -> int:
    if query.startswith(prompt):
        return len(prompt)
    for start in range(1, len(prompt) - _OVERLAP + 1):
        if query.startswith(prompt[start:]):
            return len(prompt) - start
    tail = prompt[-_TAIL:]
    found = query.find(tail)
    return 0 if found < 0 else found + len(tail)
