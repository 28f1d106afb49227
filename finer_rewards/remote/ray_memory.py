"""`RayMemory`, a trace memory in a named Ray actor, shared by the processes of several nodes."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

from finer_rewards.errors import ConfigError
from finer_rewards.memory.embedders import Embedder
from finer_rewards.memory.gate import AdmissionReport, Decision, scored_pairs
from finer_rewards.memory.searching import Asked, MemoryElsewhere, MemoryLostError, Scope
from finer_rewards.memory.trace_memory import TraceMemory
from finer_rewards.remote.ray_executor import connected_ray
from finer_rewards.types import Evidence, Recall, Score

_NAMESPACE = "finer-rewards"


class RayMemory(MemoryElsewhere):
    """A `TraceMemory` in a named Ray actor: one index and one embedder for all processes of a cluster.

    A search sees the traces that were there at the last `snapshot()` of any client; new traces wait until then, so that
    no client's score depends on when another client writes. If the actor is lost, the status is
    `Status.memory_unavailable`: the sample is not scored. The traces are on the disk of the actor's node, and can be
    opened there again.

    Args:
        name: the name of the actor; the first client makes it, the others find it.
        path: folder of the memory on the node of the actor; without it, the actor must be running already.
        embedder: as in `TraceMemory.open`.
        timeout: seconds an answer may take. The first answer may have to load the embedder.
        resources: the resources that the actor takes on its node, such as `{"num_gpus": 0.1}`.
        detached: true to let the actor outlive the process that made it.
        options: further arguments of `TraceMemory.open`.

    Raises:
        ConfigError: the memory cannot be opened, or there is no such actor and no path.
        MissingExtraError: ray is not installed.

    Example:
        >>> memory = RayMemory("traces", "/data/traces", "hashing")  # doctest: +SKIP
    """

    def __init__(
        self,
        name: str,
        path: str | Path | None = None,
        embedder: str | Embedder | None = None,
        *,
        timeout: float = 300.0,
        resources: Mapping[str, Any] | None = None,
        detached: bool = False,
        **options: Any,
    ) -> None:
        self.name = name
        self.timeout = timeout
        ray = connected_ray()
        try:
            self._actor = ray.get_actor(name, namespace=_NAMESPACE)
        except ValueError:
            if path is None:
                raise ConfigError(
                    f"`RayMemory(name)` should name an actor that runs, but there is no {name!r}. "
                    f"Make it: RayMemory({name!r}, path, embedder)."
                ) from None
            where = {"lifetime": "detached"} if detached else {}
            chosen = ray.remote(concurrency_groups={"write": 1})(_MemoryActor).options(
                name=name,
                namespace=_NAMESPACE,
                get_if_exists=True,
                max_concurrency=8,
                **{"num_cpus": 0, **(resources or {}), **where},
            )
            self._actor = chosen.remote(str(Path(path).absolute()), embedder, options)
        try:
            self._ask(self._actor.describe.remote())
        except ConfigError:
            if path is not None:
                # Frees the name for another try.
                ray.kill(self._actor)
            raise

    def remember(
        self, scored: Iterable[tuple[Evidence, Score]], *, model: str = "", step: int = 0, signature: str = ""
    ) -> AdmissionReport:
        """Store the traces that pass the gate; see `TraceMemory.remember`.

        If the actor is lost, samples are refused with that reason, and can be offered again.
        """
        pairs = scored_pairs(scored)
        write = self._actor.remember.options(concurrency_group="write")
        try:
            report: AdmissionReport = self._ask(write.remote(pairs, model, step, signature))
        except MemoryLostError as error:
            return AdmissionReport((Decision(refused=str(error)),) * len(pairs))
        return report

    def snapshot(self) -> str:
        """Let the searches of all clients see the traces stored until now; return the digest.

        Raises:
            ConfigError: the actor was lost, or a segment is corrupt.
        """
        return str(self._ask(self._actor.snapshot.options(concurrency_group="write").remote()))

    def describe(self) -> Mapping[str, object]:
        """Return what determines a score, for the signature; raises `ConfigError` when the actor was lost."""
        described: Mapping[str, object] = self._ask(self._actor.describe.remote())
        return described

    def stats(self) -> dict[str, Any]:
        """Return the counts of `TraceMemory.stats`; raises `ConfigError` when the actor was lost."""
        return dict(self._ask(self._actor.stats.remote()))

    def close(self) -> None:
        """Do nothing: other clients use the actor too, and it ends with the process that made it."""

    def __enter__(self) -> RayMemory:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __reduce__(self) -> tuple[Any, ...]:
        return partial(type(self), timeout=self.timeout), (self.name,)

    def __repr__(self) -> str:
        return f"RayMemory({self.name!r})"

    def _recalls(self, asked: Sequence[Asked], top_k: int, scope: Scope) -> list[Recall]:
        thoughts, dbs, questions, sqls = (
            (list(column) for column in zip(*asked, strict=True)) if asked else ([],) * 4
        )
        return list(self._ask(self._actor.search.remote(thoughts, dbs, top_k, scope, questions, sqls)))

    def _ask(self, reference: Any) -> Any:
        """Return the result of a call; an error of the memory itself is raised again here."""
        ray = import_module("ray")
        try:
            return ray.get(reference, timeout=self.timeout)
        except ray.exceptions.RayTaskError as error:
            cause = error.cause
            while isinstance(cause, ray.exceptions.RayTaskError):
                cause = cause.cause
            raise cause from None
        except ray.exceptions.RayError as error:
            cause = getattr(error, "cause", None)
            if isinstance(cause, ConfigError):
                raise cause from None
            raise MemoryLostError(
                f"`RayMemory({self.name!r})` should be an actor that runs, but it was lost: "
                f"{type(error).__name__}. Make it again with its path."
            ) from None


class _MemoryActor:
    """The actor: one memory to search, and another one, on the same folder, to write, which searches do not see."""

    def __init__(self, path: str, embedder: str | Embedder | None, options: Mapping[str, Any]) -> None:
        self._problem: ConfigError | None = None
        try:
            self._memory = TraceMemory.open(path, embedder, **options)
            self._writer = copy.copy(self._memory)
        except ConfigError as error:
            # Ray hides an exception raised in an actor's constructor, so keep it and raise it on first use.
            self._problem = error

    def _own(self) -> TraceMemory:
        if self._problem is not None:
            raise self._problem
        return self._memory

    def search(
        self,
        thoughts: list[str],
        dbs: list[Any],
        top_k: int,
        scope: Scope,
        questions: list[str],
        sqls: list[str],
    ) -> list[Recall]:
        return self._own().search(thoughts, dbs, top_k, scope, questions=questions, sqls=sqls)

    def remember(
        self, scored: list[tuple[Evidence, Score]], model: str, step: int, signature: str
    ) -> AdmissionReport:
        self._own()
        self._writer.snapshot()
        return self._writer.remember(scored, model=model, step=step, signature=signature)

    def snapshot(self) -> str:
        return self._own().snapshot()

    def describe(self) -> Mapping[str, object]:
        return self._own().describe()

    def stats(self) -> dict[str, Any]:
        return self._own().stats()
