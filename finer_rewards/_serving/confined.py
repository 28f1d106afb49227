"""An executor that opens nothing outside its own folder, for requests that come over a network."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import TracebackType

from finer_rewards._neighbours import find_siblings, neighbours_digest
from finer_rewards.comparing.partial_results import ResultPair, settled
from finer_rewards.comparing.result import Settled
from finer_rewards.engines.registry import is_address
from finer_rewards.errors import ConfigError
from finer_rewards.executing.abilities import Settles, deadline_of, folders_of, path_of
from finer_rewards.executing.databases import is_database_text
from finer_rewards.executing.protocol import Executor, Query
from finer_rewards.executing.siblings import Siblings, cache_folder, sibling_path
from finer_rewards.schema import Schema
from finer_rewards.types import Execution, Status


class PathMask:
    """Replaces folders of this machine by another name in messages that clients read."""

    def __init__(self, name: str, folders: Iterable[Path]) -> None:
        self._name = name
        places = {
            str(place) for folder in folders for place in (folder, folder.resolve()) if len(place.parts) > 1
        }
        self._places = sorted(places, key=len, reverse=True)

    def __call__(self, text: str) -> str:
        """Return the text with the folders replaced."""
        for place in self._places:
            text = text.replace(place, self._name)
        return text


class ConfinedExecutor:
    """Runs what the executor behind it runs, on databases that lie under its root.

    A database elsewhere is `Status.unavailable`. Links inside the root are followed, since only the owner of the
    folder can have made them. An executor of a database server has no folders: there, the role under which it
    connects decides what may be read, and an address of another server is refused.

    Args:
        executor: the executor that runs the SQL.
    """

    def __init__(self, executor: Executor) -> None:
        self.executor = executor
        self.dialect = executor.dialect
        self._roots = [Path(os.path.normpath(Path(root).absolute())) for root in folders_of(executor)]
        self.hide = PathMask("the server's folder", [*self._roots, cache_folder()])

    @property
    def deadline(self) -> str:
        """What the time limit of the executor behind it depends on."""
        return deadline_of(self.executor)

    def execute(self, sql: str, db: str) -> Execution:
        """Run one query."""
        return self.execute_many([Query(sql, db)])[0]

    def execute_many(self, queries: Sequence[Query]) -> list[Execution]:
        """Run the queries on databases under the root; the others are `unavailable`."""
        outside = {db: self._outside(db) for db in {query.db for query in queries}}
        inside = [query for query in queries if not outside[query.db]]
        runs = map(self._told, self.executor.execute_many(inside) if inside else ())
        return [
            Execution(Status.unavailable, error=outside[query.db]) if outside[query.db] else next(runs)
            for query in queries
        ]

    def settle(self, pairs: Sequence[ResultPair]) -> list[Settled]:
        """Compare results of which not all rows were kept; their databases were checked when they ran."""
        if not isinstance(self.executor, Settles):
            return [Settled(settled(pair), reason="the server's executor does not compare") for pair in pairs]
        return [one._replace(reason=self.hide(one.reason)) for one in self.executor.settle(pairs)]

    def schema(self, db: str) -> Schema:
        """Return the schema of a database under the root; raises `ConfigError` for others."""
        if problem := self._outside(db):
            raise ConfigError(problem)
        try:
            return self.executor.schema(db)
        except ConfigError as error:
            raise ConfigError(self.hide(str(error))) from None

    def describe(self) -> Mapping[str, object]:
        """Return the description of the executor behind it."""
        return self.executor.describe()

    def siblings(
        self, asked: Sequence[tuple[str, str]], *, most: int, folder: str | None = None
    ) -> list[Siblings]:
        """Return the siblings for each gold whose database lies under the root; none for the others."""
        outside = {db: self._outside(db) for db in {db for db, _ in asked}}
        inside = [pair for pair in asked if not outside[pair[0]]]
        found = iter(find_siblings(self.executor, inside, most=most, folder=folder))
        return [
            Siblings() if outside[db] else (one := next(found))._replace(error=self.hide(one.error))
            for db, _ in asked
        ]

    def siblings_digest(self, folder: str | None = None) -> str:
        """Return the digest of the neighbours in use."""
        return neighbours_digest(self.executor, folder)

    def close(self) -> None:
        """Close the executor behind it."""
        self.executor.close()

    def __enter__(self) -> ConfinedExecutor:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"ConfinedExecutor({self.executor!r})"

    def _told(self, execution: Execution) -> Execution:
        """Return the execution, its error without the paths of this machine."""
        error = self.hide(execution.error)
        return execution if error == execution.error else replace(execution, error=error)

    def _outside(self, db: str) -> str:
        """Return why a database may not be used, being outside the root or missing; "" if it may be used."""
        if is_address(db):
            return "`db` should be a database of this server, but it is a connection string. Pass a name."
        if not self._roots or sibling_path(db) is not None:
            return ""
        if is_database_text(db):
            return "`db` should be a database of this server, but it is statements. Make a file of them here."
        path = Path(db)
        if ".." in path.parts:
            # The system follows a link before it applies the `..` behind it, so the text does not show where a
            # path with both leads.
            return f"`db` should lie under the server's root, but got {db!r:.200}. Pass it without `..`."
        try:
            if not path.is_absolute():
                # Executors look last in the folder in which the server was started; what they find there is
                # refused below, since it does not lie under a root.
                path = path_of(self.executor, db) or self._roots[0] / db
            normal = Path(os.path.normpath(path.absolute()))
            if not any(normal.is_relative_to(root) for root in self._roots):
                return (
                    f"`db` should lie under the server's root, but got {db!r:.200}. "
                    "Pass an id, or a path under the root."
                )
            path_of(self.executor, str(path))
        except (OSError, ValueError):
            # The file is missing, or the text cannot be the name of a file. The message of the executor would list
            # the databases that are there, which a client need not know.
            return f"`db` should be a database of this server, but got {db!r:.200}. Check the id."
        return ""
