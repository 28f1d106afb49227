"""`Node`, the actor that runs an executor on a node of a Ray cluster, and the comparison of the nodes' files."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from hashlib import blake2b
from pathlib import Path
from typing import TypeVar

from finer_rewards._neighbours import find_siblings
from finer_rewards.comparing.partial_results import ResultPair, settled
from finer_rewards.comparing.result import Settled
from finer_rewards.engines.registry import suffixes
from finer_rewards.executing.abilities import Settles, folders_of
from finer_rewards.executing.protocol import Executor, Query
from finer_rewards.executing.siblings import Siblings
from finer_rewards.executing.stopping import STOP, Stop, StoppedError
from finer_rewards.schema import Schema
from finer_rewards.types import Execution

_Found = TypeVar("_Found", Execution, Settled)
# A node remembers the last so many calls, so that a stop can also come before its call.
_MOST_CALLS = 1000


class Node:
    """An executor on a node, as an actor."""

    def __init__(self, executor: Executor) -> None:
        self.executor = executor
        self._lock = threading.Lock()
        self._digesting = threading.Lock()
        self._calls: dict[str, Stop] = {}
        self._files: dict[str, dict[str, str]] = {}

    def run(self, call: str, queries: Sequence[Query]) -> list[Execution]:
        """Run queries for a call, which may be stopped; then the result is empty, as nobody reads it."""
        return self._for(call, lambda: self.executor.execute_many(queries))

    def settle(self, call: str, pairs: Sequence[ResultPair]) -> list[Settled]:
        """Compare results that were too large to send, for a call."""
        executor = self.executor
        if not isinstance(executor, Settles):
            return [Settled(settled(pair), reason="the nodes' executor does not compare") for pair in pairs]
        return self._for(call, lambda: executor.settle(pairs))

    def _for(self, call: str, work: Callable[[], list[_Found]]) -> list[_Found]:
        before = STOP.set(self._stop_of(call))
        try:
            return work()
        except StoppedError:
            return []
        finally:
            STOP.reset(before)

    def stop(self, call: str) -> None:
        """Stop the queries of a call, also those that have not arrived yet."""
        self._stop_of(call).set()

    def _stop_of(self, call: str) -> Stop:
        with self._lock:
            found = self._calls[call] = self._calls.pop(call) if call in self._calls else Stop()
            if len(self._calls) > _MOST_CALLS:
                del self._calls[next(iter(self._calls))]
            return found

    def schema(self, db: str) -> Schema:
        """Return the schema of a database."""
        return self.executor.schema(db)

    def siblings(self, asked: Sequence[tuple[str, str]], most: int, folder: str | None) -> list[Siblings]:
        """Return the siblings for each database and gold; their files are on this node then."""
        return find_siblings(self.executor, asked, most=most, folder=folder)

    def content(self, check: str) -> tuple[dict[str, str], dict[str, object]]:
        """Return the name of each database file -> its digest, and the executor's description."""
        root = next(iter(folders_of(self.executor)), None)
        # The lock makes one process do the work for all that ask.
        with self._digesting:
            if check not in self._files:
                whole = check == "content"
                self._files[check] = files(Path(root), whole=whole) if root and check != "nothing" else {}
        return self._files[check], dict(self.executor.describe())

    def pulse(self) -> bool:
        """Answer, which shows that the node is alive."""
        return True


def files(root: Path, *, whole: bool) -> dict[str, str]:
    """Return a digest of each database file below a folder, of its content or of its size."""
    found = {}
    known = suffixes()
    for path in sorted(root.rglob("*")):
        if path.suffix.lower() in known and path.is_file():
            content = blake2b(str(path.stat().st_size).encode(), digest_size=16)
            if whole:
                with path.open("rb") as file:
                    while block := file.read(1 << 20):
                        content.update(block)
            found[path.relative_to(root).as_posix()] = content.hexdigest()
    return found


def difference(agreed: Mapping[str, str], content: Mapping[str, str]) -> str:
    """Return the first difference between the files of two nodes."""
    for name in sorted({*agreed, *content}):
        if name not in content:
            return f"no {name!r}"
        if name not in agreed:
            return f"{name!r}, which the first node has not"
        if agreed[name] != content[name]:
            return f"another {name!r}"
    return ""
