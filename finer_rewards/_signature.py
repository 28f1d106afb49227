"""`Signature`, everything that determines a score as one line and one digest, after the example of sacrebleu."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from hashlib import sha256
from importlib.metadata import version
from typing import TYPE_CHECKING, Any, Final, Protocol, runtime_checkable

from finer_rewards._version import VERSION
from finer_rewards.reward import Reward

if TYPE_CHECKING:
    from finer_rewards.executing.protocol import Executor
    from finer_rewards.memory_protocol import Memory

#: Raised when, and only when, a golden score changes. See *Scores* in the changelog.
SCORES: Final = 3


@runtime_checkable
class _Describes(Protocol):
    """An object, such as a judge, that lists its parameters for the signature."""

    def describe(self) -> Mapping[str, object]:
        """Return every parameter that decides its results, by name."""


@dataclass(frozen=True)
class Signature:
    """Everything that determines a score.

    Attributes:
        content: every parameter with its default, the engine and its version, the limits, the parser, the
            memory's digest, `SCORES`; JSON values only.

    Example:
        >>> from finer_rewards import Scorer
        >>> str(Scorer("well_formed()").signature).split("|")[0]
        'scores:3'
    """

    content: Mapping[str, Any]

    @classmethod
    def of(
        cls,
        reward: Reward,
        executor: Executor | None,
        memory: Memory | None,
        parse: Callable[..., object],
        neighbours: Mapping[str, object] | None = None,
        judge: object = None,
    ) -> Signature:
        """Return the signature of a scorer with these parts."""
        content: dict[str, Any] = {"scores": SCORES, "reward": _full(reward)}
        content["executor"] = None if executor is None else _plain(executor.describe())
        content["memory"] = None if memory is None else _plain(memory.describe())
        if neighbours is not None:
            content["neighbours"] = _plain(neighbours)
        if judge is not None:
            content["judge"] = _plain(judge.describe()) if isinstance(judge, _Describes) else _callable(judge)
        content["parse"] = _callable(parse)
        content["sqlglot"] = version("sqlglot")
        content["version"] = VERSION
        return cls(content)

    @property
    def digest(self) -> str:
        """The first 16 hexadecimal digits of the SHA-256 of the canonical JSON, package version left out.

        The version is no part of it: a release that changes no score keeps the digest.
        """
        content = {name: value for name, value in self.content.items() if name != "version"}
        text = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
        return sha256(text.encode()).hexdigest()[:16]

    def __hash__(self) -> int:
        return hash(self.digest)

    def __str__(self) -> str:
        executor = self.content["executor"]
        parts = [f"scores:{self.content['scores']}", f"reward:{self.content['reward']['text']}"]
        if executor:
            parts.append("|".join(f"{name}:{value}" for name, value in executor.items()))
        if "neighbours" in self.content:
            parts.append("neighbours:{most}:{digest}".format_map(self.content["neighbours"]))
        if self.content["memory"]:
            parts.append(f"memory:{self.content['memory'].get('digest', '')}")
        parts += [
            f"sqlglot:{self.content['sqlglot']}",
            f"version:{self.content['version']}",
            f"sha256:{self.digest}",
        ]
        return "|".join(parts)


def _full(reward: Reward) -> dict[str, Any]:
    """Return the reward with every parameter written out."""
    return {"text": repr(reward), "name": reward.name, "params": _plain(reward.params)}


def _callable(function: object) -> str:
    """Return a function's name, the same in every process: no address of an object in memory."""
    if isinstance(function, partial):
        shown = [repr(_plain(value)) for value in function.args]
        shown += [f"{name}={_plain(value)!r}" for name, value in sorted(function.keywords.items())]
        return f"{_callable(function.func)}({', '.join(shown)})"
    named: Any = function if hasattr(function, "__qualname__") else type(function)
    return f"{named.__module__}.{named.__qualname__}"


def _plain(value: object) -> Any:
    if isinstance(value, Reward):
        return _full(value)
    if isinstance(value, Mapping):
        return {str(name): _plain(item) for name, item in value.items()}
    if isinstance(value, (tuple, list)):
        return [_plain(item) for item in value]
    if isinstance(value, float) and value.is_integer():
        # As weights and limits, 2 and 2.0 mean the same.
        return int(value)
    if isinstance(value, (str, int, float, bool, type(None))):
        return value
    return repr(value)
