"""`RayExecutor`, which runs SQL on all nodes of a Ray cluster: an actor on each node holds an executor of its own.

A batch is distributed in parts (`ray_dispatch.py`). A node that is lost, or does not answer for `patience` seconds,
loses its parts to the others, so that nothing waits for ever.
"""

from __future__ import annotations

import math
import pickle
import threading
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from hashlib import sha256
from importlib import import_module
from pathlib import Path
from typing import Any, Literal

from finer_rewards._neighbours import neighbours_digest
from finer_rewards._util.extras import extra
from finer_rewards.comparing.partial_results import ResultPair
from finer_rewards.comparing.result import Settled
from finer_rewards.errors import ConfigError
from finer_rewards.executing.abilities import deadline_of, folders_of, path_of
from finer_rewards.executing.decoding import with_one_nan
from finer_rewards.executing.limits import one_of, positive
from finer_rewards.executing.protocol import Executor, Query
from finer_rewards.executing.siblings import Siblings
from finer_rewards.remote.ray_dispatch import HEARTBEAT_S, Dispatch
from finer_rewards.remote.ray_node import Node, difference
from finer_rewards.schema import Schema
from finer_rewards.types import Execution, Status

_NAMESPACE = "finer-rewards"
_SMALLEST_PART = 16
# Seconds between two looks for new nodes.
_NODE_RESCAN_S = 10.0


class RayExecutor:
    """An executor on every node of a Ray cluster, used like a single executor.

    If Ray is running, such as a trainer's, it is used; otherwise it is started. All processes that ask for the same
    executor share the actors. Results, and so signatures, are those of the executor itself.

    Args:
        executor: the executor of each node, such as `SQLite("/data/databases")`; each has workers and a cache of its
            own. The folder must be there, with the same content, on every node.
        check: what of the database files is compared between the nodes at the start: their `"content"`, their
            names and `"size"` (for very large folders), or `"nothing"`.
        patience: seconds after which a node that does not answer counts as lost.

    Raises:
        ConfigError: an argument cannot be used; at first use, when the nodes differ.
        MissingExtraError: ray is not installed.

    Example:
        >>> import finer_rewards as fr
        >>> scorer = fr.Scorer("execution_match()", RayExecutor(fr.SQLite("/data")))  # doctest: +SKIP
    """

    def __init__(
        self,
        executor: Executor,
        *,
        check: Literal["content", "size", "nothing"] = "content",
        patience: float = 60.0,
    ) -> None:
        if isinstance(executor, type) or not isinstance(executor, Executor):
            raise ConfigError(
                f"`RayExecutor(executor)` should be an executor, but got {executor!r:.80}. "
                "Pass one: RayExecutor(SQLite('/data/databases'))."
            )
        self.check = one_of("check", check, ("content", "size", "nothing"))
        self.patience = positive("patience", patience)
        # Through a pickle, because that is how each node receives it.
        self.executor: Executor = pickle.loads(pickle.dumps(executor))
        self.dialect = executor.dialect
        self._lock = threading.RLock()
        self._nodes: dict[str, Any] = {}
        self._made: set[str] = set()
        self._agreed: Mapping[str, str] | None = None
        self._looked = -math.inf
        self._asked: dict[tuple[tuple[str, str], int, str | None], None] = {}

    def execute(self, sql: str, db: str) -> Execution:
        """Run one query."""
        return self.execute_many([Query(sql, db)])[0]

    def execute_many(self, queries: Sequence[Query]) -> list[Execution]:
        """Run queries and return one execution each, in order; equal ones run once, on one node.

        Raises:
            ConfigError: the nodes differ, in their databases or in what runs them.
        """
        asked = sorted(dict.fromkeys(queries), key=lambda query: query.db)
        if not asked:
            return []
        runs = self._dealt("run", asked, lambda why: Execution(Status.unavailable, error=why))
        found = dict(zip(asked, map(_one_nan, runs), strict=True))
        return [found[query] for query in queries]

    def settle(self, pairs: Sequence[ResultPair]) -> list[Settled]:
        """Compare results that are too large to send, on the nodes; see `docs/design/whole-results.md`."""
        return self._dealt("settle", pairs, lambda why: Settled(None, reason=why)) if pairs else []

    def _dealt(self, what: str, asked: Sequence[Any], lost: Callable[[str], Any]) -> list[Any]:
        nodes = self._look()
        size = max(_SMALLEST_PART, math.ceil(len(asked) / (4 * max(1, len(nodes)))))
        parts = [range(len(asked))[start : start + size] for start in range(0, len(asked), size)]
        found = Dispatch(connected_ray(), nodes, what, asked, parts, lost, self.patience, self._drop).run()
        return [found[place] for place in range(len(asked))]

    def schema(self, db: str) -> Schema:
        """Return the schema of a database.

        Raises:
            ConfigError: there is no such database, or it cannot be read, or no node is left.
        """
        ray = connected_ray()
        for node, actor in self._look().items():
            try:
                found: Schema = ray.get(actor.schema.remote(db), timeout=self._bound)
            except ConfigError as error:
                # Ray raises a class that inherits from both ConfigError and RayTaskError; raise the plain one.
                raise ConfigError(str(getattr(error, "cause", error))) from None
            except ray.exceptions.RayError:
                self._drop(node)
                continue
            return found
        raise ConfigError(
            f"`db` should be a readable database, but no Ray node is left to read {db!r}. Start one."
        )

    def describe(self) -> Mapping[str, object]:
        """Return what decides the results: the description of the executor itself."""
        return self.executor.describe()

    def siblings(
        self, asked: Sequence[tuple[str, str]], *, most: int, folder: str | None = None
    ) -> list[Siblings]:
        """Return the siblings for each database and gold; every node builds or finds its own files of them.

        Raises:
            ConfigError: the nodes have different siblings, or no node is left.
        """
        nodes = self._look()
        with self._lock:
            for pair in asked:
                self._asked[pair, most, folder] = None
        found = self._siblings_on(nodes, asked, most, folder)
        if not found:
            raise ConfigError("Neighbours should be on every Ray node, but no node is left. Start one.")
        first = next(iter(found.values()))
        if any(other != first for other in found.values()):
            raise ConfigError(
                "Neighbours should be the same on every Ray node, but they differ. Install the same versions, and "
                "copy the folder of neighbours to each."
            )
        return first

    def siblings_digest(self, folder: str | None = None) -> str:
        """Return a text that identifies the neighbours in use, as seen from this process."""
        return neighbours_digest(self.executor, folder)

    def _siblings_on(
        self, nodes: Mapping[str, Any], asked: Sequence[tuple[str, str]], most: int, folder: str | None
    ) -> dict[str, list[Siblings]]:
        ray = connected_ray()
        references = {node: actor.siblings.remote(asked, most, folder) for node, actor in nodes.items()}
        found = {}
        for node, reference in references.items():
            try:
                found[node] = list(_patiently(ray, reference, nodes[node], self.patience))
            # Ray raises a class that inherits from ConfigError and from an error of its own.
            except ConfigError as error:
                raise ConfigError(str(getattr(error, "cause", error))) from None
            except ray.exceptions.RayError:
                self._drop(node)
        return found

    @property
    def deadline(self) -> str:
        """The executor's kind of deadline, `absolute` or `relative`."""
        return deadline_of(self.executor)

    @property
    def folders(self) -> tuple[str, ...]:
        """The folders with the databases, on every node."""
        return folders_of(self.executor)

    def find(self, db: str, called: str = "db") -> Path | None:
        """Return the path of a database, as the executor of this process finds it."""
        return path_of(self.executor, db, called)

    def close(self) -> None:
        """End the actors that this process started; they start again when the executor is used again."""
        with self._lock:
            nodes, self._nodes, self._looked = self._nodes, {}, -math.inf
            made, self._made = self._made, set()
        for node in made & set(nodes):
            self._end(nodes[node])
        self.executor.close()

    def __enter__(self) -> RayExecutor:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __reduce__(self) -> tuple[partial[RayExecutor], tuple[Executor]]:
        return partial(type(self), check=self.check, patience=self.patience), (self.executor,)

    def __repr__(self) -> str:
        return f"RayExecutor({self.executor!r}, check={self.check!r}, patience={self.patience!r})"

    @property
    def _bound(self) -> float:
        return self.patience + 2 * float(str(self.describe().get("timeout", 30.0)))

    def _look(self) -> dict[str, Any]:
        """Return node id -> actor, after looking for new nodes every `_NODE_RESCAN_S`, or at once if none is left."""
        with self._lock:
            ray = connected_ray()
            pause = _NODE_RESCAN_S if self._nodes else 1.0
            if time.monotonic() - self._looked < pause:
                return dict(self._nodes)
            alive = {node["NodeID"]: node for node in ray.nodes() if node["Alive"]}
            new = {node: self._actor(ray, node) for node in alive if node not in self._nodes}
            self._nodes = {node: actor for node, actor in self._nodes.items() if node in alive}
            self._nodes |= self._agreeing(ray, new, alive)
            self._catch_up({node: actor for node, actor in self._nodes.items() if node in new})
            self._looked = time.monotonic()
            return dict(self._nodes)

    def _actor(self, ray: Any, node: str) -> Any:
        """Return the actor of a node; the first process that asks makes it."""
        key = sha256(f"{self.executor!r}{_engine(self.describe())}".encode()).hexdigest()[:16]
        name = f"executor-{key}-{node}"
        try:
            return ray.get_actor(name, namespace=_NAMESPACE)
        except ValueError:
            self._made.add(node)
        strategy = import_module("ray.util.scheduling_strategies").NodeAffinitySchedulingStrategy(
            node, soft=False
        )
        options = ray.remote(concurrency_groups={"pulse": 2})(Node).options(
            name=name,
            namespace=_NAMESPACE,
            get_if_exists=True,
            num_cpus=0,
            max_concurrency=16,
            scheduling_strategy=strategy,
        )
        return options.remote(self.executor)

    def _agreeing(self, ray: Any, new: dict[str, Any], alive: Mapping[str, Any]) -> dict[str, Any]:
        """Return those new nodes that have the same databases and versions as the others."""
        asked = {node: actor.content.remote(self.check) for node, actor in new.items()}
        agreeing: dict[str, Any] = {}
        for node, reference in asked.items():
            where = f"{alive[node].get('NodeManagerHostname', '')} ({node[:12]})"
            try:
                # Digesting a large folder takes minutes, so the node is checked for being alive in the meantime.
                content, described = _patiently(ray, reference, new[node], self.patience)
            except ray.exceptions.RayError:
                continue
            ours = _engine(self.describe())
            if _engine(described) != ours:
                problem = f"{_engine(described)} where this process has {ours}"
            else:
                self._agreed = content if self._agreed is None else self._agreed
                problem = difference(self._agreed, content)
            if not problem:
                agreeing[node] = new[node]
                continue
            sentence = (
                f"`RayExecutor` should find the same on every node, but node {where} has {problem}. "
                "Copy the databases there, and install the same versions."
            )
            if not self._nodes and self._looked == -math.inf:
                raise ConfigError(sentence)
            warnings.warn(f"{sentence} It is not used.", RuntimeWarning, stacklevel=4)
        return agreeing

    def _catch_up(self, new: Mapping[str, Any]) -> None:
        """Have new nodes build the neighbours that were requested earlier."""
        kinds: dict[tuple[int, str | None], list[tuple[str, str]]] = {}
        for pair, most, folder in self._asked:
            kinds.setdefault((most, folder), []).append(pair)
        for (most, folder), pairs in kinds.items() if new else ():
            self._siblings_on(new, pairs, most, folder)

    def _drop(self, node: str) -> None:
        """Forget a node that was lost."""
        with self._lock:
            actor = self._nodes.pop(node, None)
        if actor is not None and node in self._made:
            self._end(actor)

    def _end(self, actor: Any) -> None:
        ray = import_module("ray")
        if ray.is_initialized():
            ray.kill(actor)


def _one_nan(execution: Execution) -> Execution:
    """Return an execution with every NaN replaced by `math.nan`; see `with_one_nan`."""
    rows, order = execution.rows, execution.order
    if all(cell == cell for row in (*rows, *(order or ())) for cell in row):
        return execution
    return replace(execution, rows=with_one_nan(rows), order=None if order is None else with_one_nan(order))


def connected_ray() -> Any:
    """Return the package ray, connected: as it is in this process, or else to a cluster, or to a new local one.

    Raises:
        MissingExtraError: ray is not installed.
    """
    with extra("ray", "Running on several nodes", "ray"):
        ray = import_module("ray")
    import_module("ray.exceptions")
    if not ray.is_initialized():
        ray.init(namespace=_NAMESPACE, include_dashboard=False, log_to_driver=False, ignore_reinit_error=True)
    return ray


def _engine(described: Mapping[str, object]) -> dict[str, object]:
    """Return the part of an executor's description on which nodes have to agree: all of it."""
    return dict(described)


def _patiently(ray: Any, reference: Any, actor: Any, patience: float) -> Any:
    """Return the result of a reference, waiting for as long as the actor shows that it is alive."""
    asked = time.monotonic()
    pulse = None
    while not ray.wait([reference], timeout=min(HEARTBEAT_S, patience))[0]:
        if pulse is None or ray.wait([pulse], timeout=0)[0]:
            pulse, asked = actor.pulse.options(concurrency_group="pulse").remote(), time.monotonic()
        elif time.monotonic() - asked > patience:
            raise ray.exceptions.GetTimeoutError(f"no answer for {patience:g} s")
    return ray.get(reference, timeout=patience)
