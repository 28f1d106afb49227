"""Executions kept from batch to batch, so that a gold runs once: in memory, and on disk when there is a folder for it.

`PooledExecutor` asks here before it gives a query to a worker. An entry counts only for the same content of the
database.
"""

from __future__ import annotations

import contextlib
import json
import marshal
import math
from collections import OrderedDict
from collections.abc import Mapping
from hashlib import blake2b
from pathlib import Path
from typing import TYPE_CHECKING, Any

from finer_rewards._util import lossless_json
from finer_rewards._util.atomic_files import replacing
from finer_rewards._util.lru import LRU
from finer_rewards.executing.execution_records import execution_from, execution_record
from finer_rewards.types import Execution, Row, Status

if TYPE_CHECKING:
    from finer_rewards.executing.pooled import DatabaseState

# Raised when what a file holds changes its meaning: files of another format are then not found.
_FORMAT = 5
_MOST_DIGESTS = 4096
_Key = tuple[str, str]  # (where the database is, statement)
# What these say is the query's own doing, so that a second run would say the same.
_LASTING = frozenset(
    (Status.ok, Status.failed, Status.not_a_query, Status.several_statements, Status.refused)
)


class ResultCache:
    """A bounded cache of executions.

    Some outcomes may be different next time and are not kept: a timeout by the clock, a lost worker, a result past a
    limit on memory, and a query that reads the clock or a random number. A timeout by CPU time is kept: the query
    would use up the same allowance again.

    Args:
        folder: where to keep results on disk, as JSON; `None` keeps them in memory only.
        settings: everything besides database and statement that decides a result; part of each file's name.
        max_bytes: about how much to keep in memory.
    """

    def __init__(
        self, folder: Path | None, settings: Mapping[str, object], max_bytes: int = 256 << 20
    ) -> None:
        self.folder = folder
        self._settings = json.dumps([_FORMAT, dict(settings)], sort_keys=True)
        self._max_bytes = max_bytes
        # Each execution with the identity of the database content it was made on.
        self._kept = LRU[tuple[Any, Execution]](max_bytes)
        self._digests: OrderedDict[Any, str] = OrderedDict()

    def get(self, database: DatabaseState, sql: str, allowance: float = math.inf) -> Execution | None:
        """Return what the statement did on this content of the database; `None` when that is not known.

        Args:
            database: the database.
            sql: the statement.
            allowance: CPU seconds that it may take now. A kept timeout says nothing about a larger allowance.
        """
        key, identity = (database.place, sql), database.identity
        known = self._kept.get(key)
        if known is not None and known[0] == identity:
            late = known[1].status is Status.timeout and known[1].cpu_seconds < allowance
            return None if late else known[1]
        if self.folder is None:
            return None
        try:
            path = self._path(database, sql)
            if path.stat().st_size > self._max_bytes:
                return None
            execution = _decode(path.read_bytes())
        except (OSError, ValueError):
            # Not there, or damaged: the query runs again.
            return None
        self._keep(key, identity, execution, size_of(execution.rows))
        return execution

    def put(
        self, database: DatabaseState, sql: str, execution: Execution, size: int, allowance: float = math.inf
    ) -> None:
        """Keep what the statement did, if it would do the same again.

        Args:
            database: the database.
            sql: the statement.
            execution: what it did.
            size: about how many bytes its rows take.
            allowance: CPU seconds that it was allowed. A query that used them up would do so again.
        """
        used_up = execution.status is Status.timeout and execution.cpu_seconds >= allowance
        if not (used_up or execution.status in _LASTING) or execution.volatile:
            return
        self._keep((database.place, sql), database.identity, execution, size)
        if self.folder is None:
            return
        # A full disk costs time, not results.
        with contextlib.suppress(OSError):
            path = self._path(database, sql)
            path.parent.mkdir(parents=True, exist_ok=True)
            with replacing(path) as draft:
                draft.write_bytes(lossless_json.dumps(execution_record(execution)))

    def clear(self) -> None:
        """Forget what is kept in memory."""
        self._kept.clear()

    @property
    def full(self) -> bool:
        """Whether the memory is used up, so that old entries have been dropped."""
        return self._kept.full

    def _keep(self, key: _Key, identity: Any, execution: Execution, size: int) -> None:
        # The key leaves the content out, so that a new content replaces the old entry: nobody asks for that again.
        # About 800 bytes go to the objects around the rows.
        self._kept.put(key, (identity, execution), size + 800 + 2 * len(key[1]))

    def _path(self, database: DatabaseState, sql: str) -> Path:
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
    except ValueError:
        # Cells that `marshal` does not know, such as the decimals and dates of some engines.
        cells = sum(len(str(cell)) for row in rows for cell in row)
    return cells + len(rows) * (60 + 40 * len(rows[0]))


def _decode(data: bytes) -> Execution:
    """Return the execution that a file holds.

    Raises:
        ValueError: it is damaged, or holds what this cache would never have written.
    """
    execution = execution_from(lossless_json.loads(data))
    if execution.status not in _LASTING or execution.volatile:
        raise ValueError("it is of no lasting status")
    if not {len(execution.columns)}.issuperset(map(len, execution.rows)):
        raise ValueError("its rows are not as wide as its columns")
    return execution
