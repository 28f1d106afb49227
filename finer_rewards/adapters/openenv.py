"""OpenEnv: an environment with `reset` and `step`, and the application that serves it. A `server.py` has two lines:

    from finer_rewards.adapters.openenv import build_app
    app = build_app("2 * execution_match() + executable()", root="/data/spider/database", dataset="rows/train.jsonl",
                    tool={"max_calls": 5}, sessions=64)

    uvicorn server:app

A rollout sends each text of the model, and receives the reply of the tool or, at the end, the reward:

    with GenericEnvClient(base_url="http://localhost:8000").sync() as env:
        seen = env.reset(seed=7)                       # row 7 of the dataset; for a group the same seed for all
        seen = env.step({"message": "<tool_call>...</tool_call>"}).observation["reply"]
        done = env.step({"message": "SELECT name FROM singer"}).reward
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from functools import lru_cache, partial
from itertools import count
from pathlib import PurePath
from types import SimpleNamespace
from typing import Any

from finer_rewards._util.extras import extra
from finer_rewards.adapters._episodes import TextEpisode, importable_from
from finer_rewards.adapters._training_rows import question_in, read_rows, truth_of
from finer_rewards.errors import ConfigError

__all__ = ["build_app", "build_environment"]

_ID = re.compile(r"[\w.\-/ ]{1,200}")
_CLASSES = ("FinerAction", "FinerEnvironment", "FinerObservation")


def build_environment() -> Any:
    """Return the classes `FinerEnvironment`, `FinerAction` and `FinerObservation`.

    `FinerEnvironment(rows, **options)` takes the rows that `reset(seed=...)` chooses from and the options of
    `finer_rewards.adapters.scorers.RowScorer` and of `SQLite`; in `tool` those of `finer_rewards.agents.SQLTool`
    (without it, the first message is the answer); and the `tag` of a call. `reset` also takes a row itself, as keyword
    arguments. If a sample cannot be scored, its reward is `None`: leave it out of its group. The observation that ends
    an episode has `scores`: `acc`, each component and `unscorable` (OpenEnv does not send `metadata` to clients).

    Raises:
        MissingExtraError: `openenv-core` is not installed.

    References:
        OpenEnv 0.3.0, `openenv.core.env_server.interfaces`.
    """
    return SimpleNamespace(**_classes())


def build_app(
    spec: str = "execution_match()",
    *,
    dataset: str | os.PathLike[str] | None = None,
    sessions: int = 64,
    **options: Any,
) -> Any:
    """Return the application that serves the environment, for uvicorn.

    Args:
        spec: the reward as it prints, or the name of a preset.
        dataset: the JSONL or Parquet file of the rows, with the columns `gold` and `db` (or as the options name them)
            and `prompt` or `question`.
        sessions: the most rollouts at the same time. Each is a WebSocket connection; OpenEnv's plain `/step` has no
            sessions.
        options: the options of the environment, see `build_environment`.

    Raises:
        ConfigError: the reward or an option cannot be used.
        MissingExtraError: `openenv-core` is not installed.
    """
    made = build_environment()
    with extra("openenv", "build_app()", "openenv-core"):
        from openenv.core.env_server.http_server import create_fastapi_app
    rows = () if dataset is None else tuple(read_rows(dataset))
    make = partial(made.FinerEnvironment, rows, spec=spec, **options)
    # Make the environment once now, so that a wrong option is reported now.
    make().close()
    return create_fastapi_app(make, made.FinerAction, made.FinerObservation, max_concurrent_envs=sessions)


@lru_cache(maxsize=1)
def _classes() -> dict[str, Any]:
    with extra("openenv", "build_environment()", "openenv-core"):
        from openenv.core.env_server.interfaces import Environment
        from openenv.core.env_server.types import Action, Observation, State
    from pydantic import Field

    class FinerAction(Action):  # type: ignore[misc]
        """A text that the model wrote."""

        message: str

    class FinerObservation(Observation):  # type: ignore[misc]
        """The prompt after `reset`, the reply of the tool after a step, or the scores after the last step."""

        prompt: Any = ""
        reply: str = ""
        scores: dict[str, float] = Field(default_factory=dict)

    class FinerEnvironment(Environment):  # type: ignore[misc]
        """One question; the episode lasts until the model answers it."""

        SUPPORTS_CONCURRENT_SESSIONS = True
        _next = count()

        def __init__(self, rows: Any = (), **options: Any) -> None:
            super().__init__()
            self._rows, self._options = rows, options
            if rows:
                TextEpisode(options, _row(rows[0]), where="A row of the dataset", caller="build_app")
            self._episode: TextEpisode | None = None
            self._question = ""
            self._state = State()

        def reset(self, seed: int | None = None, episode_id: str | None = None, **row: Any) -> Any:
            """Start an episode on the given row, or else on the dataset's row number `seed`, or on its next row."""
            if not row:
                if not self._rows:
                    raise ConfigError(
                        "`reset` should get a row, or the server a dataset, but got neither. Pass gold and db."
                    )
                row = self._rows[(next(self._next) if seed is None else seed) % len(self._rows)]
                row = dict(_row(row))
            else:
                row = dict(_row(row))
                _check_id(row.get(self._options.get("db", "db")))
            self._state = State(episode_id=episode_id)
            self._episode = TextEpisode(self._options, row, caller="build_app")
            prompt = row.get("prompt") or row.get("question") or ""
            self._question = question_in(prompt)
            return FinerObservation(prompt=prompt)

        def step(self, action: Any, timeout_s: float | None = None, **kwargs: Any) -> Any:
            """Run the queries that the message calls for, or score it; `timeout_s` is ignored, queries have limits."""
            if self._episode is None or self._episode.judged is not None:
                raise ConfigError("`step` should follow `reset`, but there is no episode. Call reset first.")
            self._state.step_count += 1
            reply = self._episode.step(action.message, self._question)
            if reply is not None:
                return FinerObservation(reply=reply, reward=0.0)
            scores = dict(self._episode.record)
            score, judged = scores.pop("score"), self._episode.judged
            known = judged is not None and judged.score.value is not None
            return FinerObservation(done=True, reward=score if known else None, scores=scores)

        @property
        def state(self) -> Any:
            """The episode's id and its number of steps."""
            return self._state

    return importable_from(__name__, FinerAction, FinerEnvironment, FinerObservation)


def __getattr__(name: str) -> Any:
    if name in _CLASSES:
        return _classes()[name]
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def _check_id(db: Any) -> None:
    """Check that a client, which may be anyone, names nothing but a database under the root.

    Raises:
        ConfigError: it names a path outside the root, an address, or statements.
    """
    for one in db if isinstance(db, (list, tuple)) else [db]:
        place = PurePath(str(one))
        if not isinstance(one, str) or place.is_absolute() or ".." in place.parts or not _ID.fullmatch(one):
            raise ConfigError(
                f"`reset(db=...)` should be the id of a database under the server's root, but got {one!r:.60}. "
                "Serve a dataset for others: build_app(dataset=...)."
            )


def _row(given: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return a row; as `prepare` writes it for other trainers, its gold may be in `label`."""
    return {**given, **truth_of(given["label"])} if "label" in given else given
