"""Results of queries, kept across batches: in memory, and on disk when there is a folder for them."""

from __future__ import annotations

import contextlib
import json
import marshal
import math
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import asdict, replace
from hashlib import blake2b
from pathlib import Path
from typing import TYPE_CHECKING, Any

from finer_rewards import exact
from finer_rewards.recent import Recent
from finer_rewards.replacing import replacing
from finer_rewards.types import Choices, Execution, Row, Status

if TYPE_CHECKING:
    from finer_rewards.executing.pooled import Database

__all__ = ["ResultCache", "size_of"]

_FORMAT = 4
_MOST_DIGESTS = 4096
_Key = tuple[str, str]  # (where the database is, statement)
_LASTING = frozenset(
    (Status.ok, Status.failed, Status.not_a_query, Status.several_statements, Status.refused)
)


class ResultCache:
    """A bounded cache of executions.

    A timeout by the clock, a lost worker, a result past a limit on memory and anything that reads the clock or a random
    number may be different next time, and are not kept.

    Args:
        folder: where to keep results on disk, as JSON; `None` keeps them in memory only.
        settings: everything besides database and statement that decides a result.
        max_bytes: how much to keep in memory, about.
    """

    def __init__(
        self, folder: Path | None, settings: Mapping[str, object], max_bytes: int = 256 << 20
    ) -> None:
        self.folder = folder
        self._settings = json.dumps([_FORMAT, dict(settings)], sort_keys=True)
        self._kept = Recent[tuple[Any, Execution]](max_bytes)  # each with the content that it was found in
        self._digests: OrderedDict[Any, str] = OrderedDict()

    def get(self, database: Database, sql: str, allowance: float = math.inf) -> Execution | None:
        """Return what the statement did on this content of the database, when that is known.

        Args:
            database: the database.
            sql: the statement.
            allowance: seconds of a processor that it may take: it did not end in fewer than it once used up.
        """
        key, identity = (database.place, sql), database.identity
        known = self._kept.get(key)
        if known is not None and known[0] == identity:
            late = known[1].status is Status.timeout and known[1].cpu_seconds < allowance
            return None if late else known[1]
        if self.folder is None:
            return None
        try:
            execution = _decode(self._path(database, sql).read_bytes())
        except (OSError, ValueError, KeyError, TypeError):
            return None  # not there, or damaged: the query runs again
        self._keep(key, identity, execution, size_of(execution.rows))
        return execution

    def put(
        self, database: Database, sql: str, execution: Execution, size: int, allowance: float = math.inf
    ) -> None:
        """Keep what the statement did, if it would do the same again.

        Args:
            database: the database.
            sql: the statement.
            execution: what it did.
            size: about how many bytes its rows take.
            allowance: seconds of a processor that it might take. One that used them up would do so again.
        """
        used_up = execution.status is Status.timeout and execution.cpu_seconds >= allowance
        if not (used_up or execution.status in _LASTING) or execution.volatile:
            return
        self._keep((database.place, sql), database.identity, execution, size)
        if self.folder is None:
            return
        with contextlib.suppress(OSError):  # a full disk costs time, not results
            path = self._path(database, sql)
            path.parent.mkdir(parents=True, exist_ok=True)
            with replacing(path) as draft:
                draft.write_bytes(_encode(execution))

    def clear(self) -> None:
        """Forget what is kept in memory."""
        self._kept.clear()

    @property
    def full(self) -> bool:
        """Whether it has begun to forget."""
        return self._kept.full

    def _keep(self, key: _Key, identity: Any, execution: Execution, size: int) -> None:
        # In the place of what was found in an earlier content: nobody would ask for that again.
        self._kept.put(key, (identity, execution), size + 800 + 2 * len(key[1]))

    def _path(self, database: Database, sql: str) -> Path:
        assert self.folder is not None
        digest = self._digests.get(database.identity) or database.digest()
        self._digests[database.identity] = digest
        if len(self._digests) > _MOST_DIGESTS:
            self._digests.popitem(last=False)
        text = json.dumps([self._settings, digest, sql])
        name = blake2b(text.encode("ascii"), digest_size=20).hexdigest()
        return self.folder / name[:2] / f"{name}.json"


def size_of(rows: tuple[Row, ...]) -> int:
    """Return about how many bytes rows take in memory."""
    if not rows:
        return 0
    try:
        cells = len(marshal.dumps(rows))
    except ValueError:  # cells of another engine
        cells = sum(len(str(cell)) for row in rows for cell in row)
    return cells + len(rows) * (60 + 40 * len(rows[0]))


def _encode(execution: Execution) -> bytes:
    return exact.dumps(
        {
            "status": execution.status.name,
            "columns": execution.columns,
            "rows": execution.rows,
            "seconds": execution.seconds,
            "error": execution.error,
            "truncated": execution.truncated,
            "tables": None if execution.tables is None else sorted(execution.tables),
            "order": execution.order,
            "ambiguous": execution.ambiguous,
            "steps": execution.steps,
            "cpu_seconds": execution.cpu_seconds,
            "choices": None if execution.choices is None else asdict(execution.choices),
        }
    )


def _decode(data: bytes) -> Execution:
    found = exact.loads(data)
    execution = Execution(
        Status[found["status"]],
        tuple(found["columns"]),
        _rows(found["rows"]),
        found["seconds"],
        found["error"],
        found["truncated"],
        None if found["tables"] is None else frozenset(found["tables"]),
    )
    order = None if found["order"] is None else _rows(found["order"])
    names = ("ambiguous", "steps", "cpu_seconds")
    more = {name: found[name] for name in names}
    return replace(execution, order=order, choices=Choices.read(found["choices"]), **more)


def _rows(found: list[list[Any]]) -> tuple[Row, ...]:
    rows = tuple(map(tuple, found))
    hash(rows)  # raises `TypeError` where a cell is none
    return rows
