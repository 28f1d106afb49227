"""`Remote`, the executor that has `finer-rewards serve` on another machine run its SQL."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from finer_rewards._util.sql_text import normalise
from finer_rewards.comparing.partial_results import ResultPair
from finer_rewards.comparing.result import Settled
from finer_rewards.errors import ConfigError
from finer_rewards.executing.execution_records import execution_from
from finer_rewards.executing.protocol import Query
from finer_rewards.executing.siblings import Siblings
from finer_rewards.remote.client import ServerBacked, ServerLostError, first_batch
from finer_rewards.remote.wire import pair_record, schema_from, settled_from
from finer_rewards.schema import Schema
from finer_rewards.types import Execution, Status

# The most queries in one request.
_BATCH = 512
# Longer statements are cut: every executor refuses statements much shorter than this.
_LONGEST = 1_000_000
# The most statements that comparing two results may run.
_RUNS = 5
# Seconds a request may take in addition to the time limits of its queries.
_GRACE = 60.0


class Remote(ServerBacked):
    """Runs SQL on the executor of a server started with `finer-rewards serve`.

    It returns the executions, schemas and signature of that executor, and so gives the same scores. If the server
    cannot be reached, is lost, or stays busy, the status is `Status.unavailable`: the system's fault, so the samples
    are not scored. The server is not contacted before it is needed.

    Args:
        url: the address of the server, such as `"http://node-1:8000"`.
        token: the server's token, if it has one.
        timeout: seconds without a sign of life after which the server counts as lost (it gives one every
            few seconds, however long a query takes; the time limit of a query is the server's own).
        patience: seconds to keep trying when it cannot be reached or is busy.

    Raises:
        ConfigError: an argument cannot be used; later, when the server refuses the token.

    Example:
        >>> Remote("http://127.0.0.1:1", patience=0.1).execute("SELECT 1", "concert").status.name
        'unavailable'
    """

    def __init__(
        self, url: str, *, token: str | None = None, timeout: float = 30.0, patience: float = 30.0
    ) -> None:
        super().__init__(url, token=token, timeout=timeout, patience=patience)
        self._described: Mapping[str, Any] | None = None

    @property
    def dialect(self) -> str:
        """The sqlglot dialect of the server's executor; SQLite's as long as the server cannot be reached."""
        try:
            return str(self._known()["dialect"])
        except ServerLostError:
            # It does not matter then: nothing can run, and no sample that needs a run or a schema is scored.
            return "sqlite"

    @property
    def deadline(self) -> str:
        """The kind of deadline of the server's executor, `absolute` or `relative`."""
        try:
            return str(self._known()["executor"].get("deadline", "absolute"))
        except ServerLostError:
            return "absolute"

    def execute(self, sql: str, db: str) -> Execution:
        """Run one query."""
        return self.execute_many([Query(sql, db)])[0]

    def execute_many(self, queries: Sequence[Query]) -> list[Execution]:
        """Run queries and return one execution each, in order.

        Pairs of database and SQL that are equal up to white space are sent and run once, and share one object.
        """
        keys = [one._replace(sql=normalise(one.sql)[:_LONGEST], keep=False) for one in queries]
        kept = dict.fromkeys(keys, False)
        for key, query in zip(keys, queries, strict=True):
            kept[key] = kept[key] or query.keep
        found: dict[Query, Execution] = {}
        waiting = list(kept)
        try:
            limit = float(self._known()["executor"].get("timeout", 30.0)) if waiting else 0.0
            while waiting:
                batch = first_batch(waiting, [len(query.sql) for query in waiting[:_BATCH]])
                # A server always sends rows, as many as its limits allow, and no fingerprints; so `glance` is not sent.
                payload = {"queries": [query._replace(keep=kept[query])[:4] for query in batch]}
                answer = self._client.post("/execute", payload, within=_GRACE + 2 * len(batch) * (limit + 2))
                # A server cuts a long answer after some execution; the rest is requested again.
                executions = [execution_from(one) for one in answer["executions"]]
                if not executions or len(executions) > len(batch):
                    raise ServerLostError(f"{self.url} answered {len(executions)} of {len(batch)} queries")
                found.update(zip(batch, executions, strict=False))
                del waiting[: len(executions)]
        except (KeyError, TypeError, ValueError) as error:
            if isinstance(error, ConfigError):
                raise
            lost = Execution(Status.unavailable, error=f"{self.url} answered nonsense: {error!r:.200}")
        except ServerLostError as error:
            lost = Execution(Status.unavailable, error=str(error))
        return [found.get(key) or lost for key in keys]

    def settle(self, pairs: Sequence[ResultPair]) -> list[Settled]:
        """Compare results longer than the row limit, on the server; see `docs/design/whole-results.md`."""
        found: list[Settled] = []
        try:
            limit = float(self._known()["executor"].get("timeout", 30.0)) if pairs else 0.0
            while len(found) < len(pairs):
                waiting = pairs[len(found) : len(found) + _BATCH]
                batch = first_batch(
                    waiting, [len(pair.gold_ran) + len(pair.predicted_ran) for pair in waiting]
                )
                payload = {"pairs": list(map(pair_record, batch))}
                answer = self._client.post(
                    "/settle", payload, within=_GRACE + _RUNS * len(batch) * (limit + 2)
                )
                answered = list(map(settled_from, answer["settled"]))
                if len(answered) != len(batch):
                    raise ServerLostError(f"{self.url} answered {len(answered)} of {len(batch)} pairs")
                found += answered
        except (KeyError, TypeError, ServerLostError) as error:
            lost = Settled(None, reason=f"{self.url} did not compare the results: {error}")
            return [*found, *[lost] * (len(pairs) - len(found))]
        return found

    def schema(self, db: str) -> Schema:
        """Return the schema of a database.

        Raises:
            ConfigError: there is none to read, or no server to ask.
        """
        try:
            return schema_from(self._client.post("/schema", {"db": db})["schema"])
        except ServerLostError as error:
            raise self._lost(error) from None

    def describe(self) -> Mapping[str, object]:
        """Return what decides the results, from the server's executor; if the server is lost, its last answer.

        Raises:
            ConfigError: the server has never answered.
        """
        known = self._described
        try:
            # Ask again each time, because other neighbours may have been built in the meantime.
            known = self._described = self._ask()
        except ServerLostError as error:
            if known is None:
                raise self._lost(error) from None
        described: Mapping[str, object] = known["executor"]
        return described

    def siblings(
        self, asked: Sequence[tuple[str, str]], *, most: int, folder: str | None = None
    ) -> list[Siblings]:
        """Return the siblings for each database and gold, as the server has them; the server decides about `folder`."""
        found: list[Siblings] = []
        try:
            while len(found) < len(asked):
                waiting = list(asked[len(found) :])
                batch = first_batch(waiting, [len(gold) for _, gold in waiting[:_BATCH]])
                answer = self._client.post("/neighbours", {"golds": list(map(list, batch)), "most": most})
                answered = [Siblings(tuple(dbs), error) for dbs, error in answer["siblings"]]
                if len(answered) != len(batch):
                    raise ServerLostError(f"{self.url} answered {len(answered)} of {len(batch)} golds")
                found += answered
        except (KeyError, TypeError, ServerLostError) as error:
            lost = Siblings(error=f"{self.url} did not say what neighbours there are: {error}")
            return [*found, *[lost] * (len(asked) - len(found))]
        return found

    def siblings_digest(self, folder: str | None = None) -> str:
        """Return a text that identifies the neighbours that the server uses."""
        self.describe()
        return str(self._known().get("neighbours", ""))

    def close(self) -> None:
        """Close the connections; they are opened again when the executor is used again."""
        super().close()
        self._described = None

    def _known(self) -> Mapping[str, Any]:
        known = self._described
        if known is None:
            known = self._described = self._ask()
        return known

    def _ask(self) -> Mapping[str, Any]:
        found = self._client.get("/describe")
        if not isinstance(found, Mapping) or "executor" not in found:
            raise ServerLostError(f"{self.url} answered nonsense: {found!r:.200}")
        if found["executor"] is None:
            raise ConfigError(
                f"`Remote(url)` should be a server that runs SQL, but the reward of {self.url} runs none. "
                "Start it with --db FOLDER."
            )
        return found
