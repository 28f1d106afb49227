"""NeMo-Gym: a resources server that scores SQL. It needs the Python version of NeMo-Gym (3.13 for 0.7).

An `app.py` of two lines serves it:

    from finer_rewards.adapters.nemo_gym import FinerServer
    FinerServer.run_webserver()

Its configuration takes `spec`, `root`, `memory` and, under `options`, the other options of `RowScorer` and `SQLite`. A
row has `gold` and `db` in addition to `responses_create_params`.
"""

from __future__ import annotations

import asyncio
from functools import lru_cache
from types import SimpleNamespace
from typing import Any

from finer_rewards._util.extras import extra
from finer_rewards.adapters._episodes import importable_from
from finer_rewards.adapters._training_rows import question_in
from finer_rewards.adapters.scorers import RowScorer
from finer_rewards.components import reason_of

__all__ = ["build_server"]

_CLASSES = ("FinerServer", "FinerServerConfig", "FinerVerifyRequest", "FinerVerifyResponse")


def build_server() -> Any:
    """Return the classes `FinerServer`, `FinerServerConfig`, `FinerVerifyRequest` and `FinerVerifyResponse`.

    The answer to `/verify` has `reward`, and in `reward_components` `acc`, each component and `unscorable`. A sample
    that cannot be scored is masked (`mask_sample`), with the cause in `failure_kind` and `failure_reason`.

    Raises:
        MissingExtraError: NeMo-Gym is not installed.

    References:
        NeMo-Gym 0.7.0, `nemo_gym.base_resources_server`.
    """
    return SimpleNamespace(**_classes())


@lru_cache(maxsize=1)
def _classes() -> dict[str, Any]:
    with extra("nemo_gym", "build_server()", "nemo-gym"):
        from nemo_gym.base_resources_server import (
            BaseMultiRewardVerifyResponse,
            BaseResourcesServerConfig,
            BaseVerifyRequest,
            SimpleResourcesServer,
        )
        from pydantic import ConfigDict, Field

    class FinerServerConfig(BaseResourcesServerConfig):  # type: ignore[misc]
        """The reward, where the databases are, and further options of `RowScorer` and `SQLite`."""

        spec: str = "execution_match()"
        root: str = "."
        memory: str | None = None
        options: dict[str, Any] = Field(default_factory=dict)

    class FinerVerifyRequest(BaseVerifyRequest):  # type: ignore[misc]
        """A row and the response to it."""

        model_config = ConfigDict(extra="allow")

        gold: str | list[str] | None = None
        db: str | list[str]
        question: str = ""

    class FinerVerifyResponse(BaseMultiRewardVerifyResponse):  # type: ignore[misc]
        """The request with its reward."""

        model_config = ConfigDict(extra="allow")

    class FinerServer(SimpleResourcesServer):  # type: ignore[misc]
        """The server."""

        config: FinerServerConfig

        async def verify(self, body: FinerVerifyRequest) -> FinerVerifyResponse:
            """Score one response."""
            config, given = self.config, body.model_dump()
            scorer = RowScorer.of(
                {"spec": config.spec, "root": config.root, "memory": config.memory, **config.options}
            )
            judged = await asyncio.to_thread(
                scorer.judge,
                given,
                body.response.output_text,
                where="A row",
                caller="options",
                prompt=question_in(given["responses_create_params"].get("input")),
            )
            record = scorer.record(judged)
            lost = judged.score.value is None
            return FinerVerifyResponse(
                **given,
                reward=record.pop("score"),
                reward_components=record,
                mask_sample=lost,
                failure_kind=f"finer_rewards:{judged.status.name}" if lost else None,
                failure_reason=reason_of(judged.score) if lost else None,
            )

    # FastAPI reads the body's class from the annotations, and cannot resolve the name of a class inside a function.
    FinerServer.verify.__annotations__ = {"body": FinerVerifyRequest, "return": FinerVerifyResponse}
    return importable_from(__name__, FinerServer, FinerServerConfig, FinerVerifyRequest, FinerVerifyResponse)


def __getattr__(name: str) -> Any:
    if name in _CLASSES:
        return _classes()[name]
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
