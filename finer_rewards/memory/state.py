"""`MemoryState`, the traces of a memory in RAM by key, with counts of refusals and the snapshot that searches use."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from hashlib import sha256
from typing import TYPE_CHECKING, Any

from finer_rewards.errors import ConfigError
from finer_rewards.memory.gate import Gate
from finer_rewards.memory.segments import Tally

if TYPE_CHECKING:
    from finer_rewards.memory.snapshot import Snapshot, TraceRow


class MemoryState:
    """The traces of a memory, each once, independent of the order in which they came. `MemoryFolder` holds the lock.

    Args:
        owner: the folder and the embedder's name, for messages.
        limits: the options of the indexes; see `Index`.
    """

    def __init__(self, owner: tuple[str, str], limits: Mapping[str, Any]) -> None:
        self.rows: dict[str, TraceRow] = {}
        self.tallies: dict[str, Tally] = {}
        self.dimension = 0
        self._owner = owner
        self._limits = dict(limits)
        self._questions: Counter[tuple[bool, str, str]] = Counter()
        self._built: Snapshot | None = None

    def keep(self, rows: Iterable[TraceRow]) -> None:
        """Add traces; one that is already there stays unless the new record is older."""
        for row in rows:
            self.measure(len(row.vector))
            present = self.rows.get(row.trace.key)
            # Two processes may have written the same trace with different times or steps: the earlier one counts.
            if present is None:
                self._questions[row.trace.verified, row.trace.db, row.trace.asked] += 1
            if present is None or row.age < present.age:
                self.rows[row.trace.key] = row
                self._built = None

    def measure(self, length: int) -> None:
        """Check that a vector is as long as the first one was.

        Raises:
            ConfigError: it is not.
        """
        if length and not self.dimension:
            self.dimension = length
        elif self.dimension != length or not length:
            path, fingerprint = self._owner
            raise ConfigError(
                f"The memory at `{path}` should get vectors of length {self.dimension or '1 or more'}, as it holds, "
                f"but {fingerprint!r} makes {length}. Open it with the embedder it was made with."
            )

    def ordered(self) -> list[TraceRow]:
        """Return all traces, sorted by database and key."""
        return sorted(self.rows.values(), key=lambda row: row.place)

    def snapshot(self) -> Snapshot:
        """Return a snapshot of the traces as they are now; it never changes."""
        from finer_rewards.memory.snapshot import Snapshot

        if self._built is None:
            self._built = Snapshot(list(self.rows.values()), self.dimension, self._limits)
        return self._built

    def digest(self, parts: Sequence[str]) -> str:
        """Return a digest of the traces and of `parts`, which say how they are compared."""
        text = "\0".join([*parts, *sorted(self.rows)])
        return sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:16]

    def refuses(self, row: TraceRow, batch: Sequence[TraceRow], gate: Gate) -> str:
        """Return why a trace may not be added to those here and those admitted in its batch; empty when it may."""
        trace = row.trace
        if trace.key in self.rows or any(other.trace.key == trace.key for other in batch):
            return "already stored"
        alike = (trace.verified, trace.db, trace.asked)
        asked = self._questions[alike] + sum(
            (other.trace.verified, other.trace.db, other.trace.asked) == alike for other in batch
        )
        if asked >= gate.per_question:
            return "enough traces of this question"
        stored = [other.text for other in self.snapshot().of(trace).on(trace.db)]
        same = (trace.verified, trace.db)
        stored += [other.trace.text for other in batch if (other.trace.verified, other.trace.db) == same]
        return "near duplicate" if gate.is_near(trace.text, stored) else ""

    def counts(self) -> dict[str, Any]:
        """Return the numbers of traces by outcome and by database, and of refusals by reason."""
        verified = Counter(row.trace.db for row in self.rows.values() if row.trace.verified)
        failed = Counter(row.trace.db for row in self.rows.values() if not row.trace.verified)
        refused: Counter[str] = Counter()
        for tally in self.tallies.values():
            refused.update(tally.refused)
        return {
            "dimension": self.dimension or None,
            "verified": sum(verified.values()),
            "failed": sum(failed.values()),
            "databases": {db: (verified[db], failed[db]) for db in sorted({*verified, *failed})},
            "refused": dict(sorted(refused.items(), key=lambda item: (-item[1], item[0]))),
        }
