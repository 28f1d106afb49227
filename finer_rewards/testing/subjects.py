"""What the laws and attacks test: a `Reward`, or a function as TRL, verl or OpenRLHF call it, behind one method."""

from __future__ import annotations

import asyncio
import inspect
import json
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal, get_args

from finer_rewards.comparing import find_mode
from finer_rewards.engines.sqlite import SQLite
from finer_rewards.errors import ConfigError, FinerError, suggest
from finer_rewards.executing.protocol import Executor
from finer_rewards.memory_protocol import Memory
from finer_rewards.reward import Reward
from finer_rewards.scoring import Scorer
from finer_rewards.spec import parse_reward
from finer_rewards.types import Recall, Sample

Calls = Literal["trl", "trl_chat", "verl", "openrlhf"]
#: The parameter names by which a function may ask for the gold, the database or the question.
COLUMNS: Final[Mapping[str, tuple[str, ...]]] = {
    "gold": (
        *("gold", "gold_sql", "gold_query", "sql", "query", "answer", "ground_truth"),
        *("solution", "target", "label", "reference", "expected"),
    ),
    "db": ("db", "db_path", "db_id", "database", "db_file", "database_path"),
    "question": ("question", "instruction"),
}
_MARKS: Final[Mapping[str, tuple[str, ...]]] = {
    "verl": ("solution_str", "ground_truth"),
    "openrlhf": ("queries", "labels"),
    "trl": ("completions",),
}


class CallError(FinerError):
    """The function under test raised an error, or returned what its trainer cannot use."""


@dataclass(frozen=True)
class SubjectCase:
    """One completion to score."""

    completion: str
    gold: str
    dbs: tuple[str, ...]
    question: str = "Which rows are asked for?"


class Subject(ABC):
    """Something that scores cases.

    Attributes:
        name: its name in messages.
        abstains: whether it can return `None`.
        several: whether a sample may name several databases.
        overlooks_repeats: whether its mode says that repeated rows do not count.
        takes_ties: whether its mode says that any of the tied rows between which a gold's LIMIT chooses is right.
    """

    name: str
    abstains: bool
    several: bool
    overlooks_repeats: bool = False
    takes_ties: bool = False

    @abstractmethod
    def score(self, cases: Sequence[SubjectCase]) -> list[float | None]:
        """Return a value for each case, from a single call if the trainer makes a single call."""

    def close(self) -> None:  # noqa: B027 - most subjects hold nothing
        """End the processes that were started."""


class KnownThoughts:
    """A trace memory that knows certain thoughts perfectly: the best case for a policy that cheats with thoughts.

    Args:
        texts: the thoughts that it knows; `None` means every thought.
    """

    def __init__(self, texts: frozenset[str] | None = None) -> None:
        self.texts = texts

    def search(
        self,
        thoughts: Sequence[str],
        dbs: Sequence[str],
        *,
        top_k: int = 20,
        scope: str = "other",
        **_: object,
    ) -> list[Recall]:
        """Return a perfect recall for each thought that it knows."""
        return [
            Recall(verified=(1.0,), centroid=1.0)
            if self.texts is None or thought.strip() in self.texts
            else Recall(verified=(0.0,), centroid=0.0)
            for thought in thoughts
        ]

    def describe(self) -> Mapping[str, object]:
        """Return its name."""
        return {"memory": "all" if self.texts is None else sorted(self.texts)}


def lenient_judge(prompts: Sequence[str]) -> list[str]:
    """Return full marks for every answer, the most that a policy can talk a judge into."""
    return ["Score: 1"] * len(prompts)


class RewardSubject(Subject):
    """A `Reward`, scored by a `Scorer` of its own."""

    abstains = True
    several = True

    def __init__(
        self,
        reward: Reward,
        *,
        memory: Memory | None = None,
        executor: Executor | None = None,
        timeout: float = 5.0,
    ) -> None:
        self.reward = reward
        self.name = repr(reward)
        modes = [find_mode(leaf.params["mode"]) for leaf in reward.leaves() if leaf.name == "execution_match"]
        # A mode without guards that ignores repeats or takes ties is reported: it is one of the published ones. A
        # mode with guards does so on purpose, and the attacks that this lets through are skipped.
        self.overlooks_repeats = any(mode.require_base_table and mode.repeats != "count" for mode in modes)
        self.takes_ties = any(mode.require_base_table and mode.ties == "choices" for mode in modes)
        searched = (memory or KnownThoughts()) if "memory" in reward.needs else None
        # Without neighbours, which a user may add to any reward: the reward itself is tested, on the databases that
        # the case names.
        runs = executor or SQLite("/", timeout=timeout, workers=2)
        judged = lenient_judge if "judge" in reward.needs else None
        self.scorer = Scorer(reward, runs, memory=searched, judge=judged, neighbours=0)

    def score(self, cases: Sequence[SubjectCase]) -> list[float | None]:
        """Return a value for each case."""
        samples = [Sample(case.completion, case.gold, case.dbs, case.question) for case in cases]
        # Each case is the only completion of its prompt.
        return [score.value for score in self.scorer.score(samples, groups=1)]

    def close(self) -> None:
        """Stop the workers."""
        self.scorer.close()


class Function(Subject):
    """A function in a trainer's signature.

    Args:
        function: the function that the trainer would call.
        calls: the trainer whose signature it has; recognised by the names of the parameters when left out.
        columns: further columns (TRL), keys of `extra_info` (verl) or of the label (OpenRLHF): their names, and
            which of `gold`, `db` and `question` they hold.
        several: whether to pass a list if a case has several databases; else only the first is passed.
    """

    def __init__(
        self,
        function: Callable[..., Any],
        *,
        calls: Calls | None = None,
        columns: Mapping[str, str] | None = None,
        several: bool = False,
    ) -> None:
        if not callable(function):
            raise ConfigError(
                f"What is tested should be a Reward, its text, or a function, but got {function!r:.80}."
            )
        if calls is not None and calls not in get_args(Calls):
            raise ConfigError(
                f"`calls` should be one of {', '.join(get_args(Calls))}, but got {calls!r}. "
                f"{suggest(str(calls), get_args(Calls))}".rstrip()
            )
        self.function = function
        self.name = str(getattr(function, "__name__", None) or type(function).__name__)
        self.parameters = inspect.signature(function).parameters
        self.calls = calls or _recognised(self.name, self.parameters)
        self.columns = {name: kind for kind, names in COLUMNS.items() for name in names} | dict(columns or {})
        self.abstains = self.calls in ("trl", "trl_chat")
        self.several = several
        for name, kind in self.columns.items():
            if kind not in COLUMNS:
                raise ConfigError(
                    f"`columns` should say gold, db or question for each name, but got {name!r}: {kind!r}."
                )
        self._check_parameters()

    def score(self, cases: Sequence[SubjectCase]) -> list[float | None]:
        """Return a value for each case, as the trainer would get it."""
        try:
            if self.calls == "verl":
                found: Any = [self._verl(case) for case in cases]
            elif self.calls == "openrlhf":
                found = self._openrlhf(cases)
            else:
                found = self._trl(cases)
        except Exception as error:
            raise CallError(f"{self.name} raised {type(error).__name__}: {error}") from error
        values = found.tolist() if hasattr(found, "tolist") else found
        if isinstance(values, (int, float)) and len(cases) == 1:
            values = [values]
        if not isinstance(values, (list, tuple)) or len(values) != len(cases):
            raise CallError(f"{self.name} returned {found!r:.80} for {len(cases)} completions.")
        return [self._number(value) for value in values]

    def _number(self, value: Any) -> float | None:
        if isinstance(value, Mapping):
            value = value.get("score")
        if value is None:
            if self.abstains:
                return None
            raise CallError(f"{self.name} returned None, for which {self.calls} has no place.")
        try:
            return float(value)
        except (TypeError, ValueError):
            raise CallError(f"{self.name} returned {value!r:.80}, which is no number.") from None

    def _row(self, case: SubjectCase) -> dict[str, Any]:
        held = {
            "gold": case.gold,
            "db": list(case.dbs) if self.several and len(case.dbs) > 1 else case.dbs[0],
            "question": case.question,
        }
        return {name: held[kind] for name, kind in self.columns.items()}

    def _trl(self, cases: Sequence[SubjectCase]) -> Any:
        chat = self.calls == "trl_chat"
        given: dict[str, list[Any]] = {
            "prompts": [
                [{"role": "user", "content": case.question}] if chat else case.question for case in cases
            ],
            "completions": [
                [{"role": "assistant", "content": case.completion}] if chat else case.completion
                for case in cases
            ],
        }
        for row in map(self._row, cases):
            for name, value in row.items():
                given.setdefault(name, []).append(value)
        return self._call(**given)

    def _verl(self, case: SubjectCase) -> Any:
        row = self._row(case)
        extra = {name: value for name, value in row.items() if self.columns[name] != "gold"}
        return self._call(
            data_source="text-to-sql", solution_str=case.completion, ground_truth=case.gold, extra_info=extra
        )

    def _openrlhf(self, cases: Sequence[SubjectCase]) -> Any:
        prompts = [f"{case.question}\n" for case in cases]
        queries = [prompt + case.completion for prompt, case in zip(prompts, cases, strict=True)]
        labels = [json.dumps(self._row(case)) for case in cases]
        reply = self.function(queries, prompts, labels)
        return reply.get("rewards") if isinstance(reply, Mapping) else reply

    def _call(self, **given: Any) -> Any:
        if not any(one.kind is inspect.Parameter.VAR_KEYWORD for one in self.parameters.values()):
            given = {name: value for name, value in given.items() if name in self.parameters}
        reply = self.function(**given)
        return asyncio.run(reply) if inspect.iscoroutine(reply) else reply

    def _check_parameters(self) -> None:
        if self.calls == "openrlhf":
            return
        passed = {"prompts", "completions", "data_source", "solution_str", "ground_truth", "extra_info"}
        for name, one in self.parameters.items():
            required = one.default is inspect.Parameter.empty and one.kind in (
                inspect.Parameter.POSITIONAL_OR_KEYWORD,
                inspect.Parameter.KEYWORD_ONLY,
            )
            if required and name not in passed and name not in self.columns:
                raise ConfigError(
                    f"`{self.name}` asks for {name!r}, which is not known to hold the gold SQL, the database or the "
                    f"question. Say which: columns={{{name!r}: 'gold'}}."
                )


def as_subject(
    reward: Reward | Subject | str | Callable[..., Any],
    *,
    calls: Calls | None = None,
    columns: Mapping[str, str] | None = None,
    several: bool = False,
    memory: Memory | None = None,
    timeout: float = 5.0,
) -> Subject:
    """Return the subject for a reward, the text of a reward, or a function.

    Raises:
        ConfigError: it is none of these, or its signature is unknown.
    """
    if isinstance(reward, Subject):
        return reward
    if isinstance(reward, str):
        reward = parse_reward(reward)
    if isinstance(reward, Reward):
        return RewardSubject(reward, memory=memory, timeout=timeout)
    return Function(reward, calls=calls, columns=columns, several=several)


def _recognised(name: str, parameters: Mapping[str, Any]) -> Calls:
    for calls, marks in _MARKS.items():
        if all(mark in parameters for mark in marks):
            return calls  # type: ignore[return-value]
    raise ConfigError(
        f"`{name}({', '.join(parameters)})` has no signature of TRL (completions, ...), verl (solution_str, "
        "ground_truth, ...) or OpenRLHF (queries, prompts, labels). Say how it is called: "
        f"calls={' | '.join(map(repr, get_args(Calls)))}."
    )
