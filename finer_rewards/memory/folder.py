"""`MemoryFolder`, which keeps the folder on disk, its copy in RAM and the embedder of one memory consistent.

It stands between `TraceMemory` and the files: `segments.py` reads and writes them, `state.py` holds the traces in RAM.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from finer_rewards._util.locks import ForkSafeLock
from finer_rewards.errors import DataError
from finer_rewards.memory.embedders import Embedder
from finer_rewards.memory.manifest import checked_centres
from finer_rewards.memory.segments import Damage, Entry, Record, SegmentStore, Tally
from finer_rewards.memory.state import MemoryState
from finer_rewards.memory.thought_embedder import ThoughtEmbedder
from finer_rewards.memory.trace import Trace

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from finer_rewards.memory.snapshot import TraceRow

    Vector = NDArray[np.float32]
    Stored = NDArray[np.float16]


class MemoryFolder:
    """The folder of one memory, with its traces in RAM.

    Use everything but `vectors` in a `with` block, which only one thread can enter at a time.

    Args:
        path: the folder.
        embedder: makes the vectors.
        options: the options of `TraceMemory.open`.
    """

    def __init__(self, path: Path, embedder: Embedder, options: Mapping[str, Any]) -> None:
        self.path = path
        self.thought_embedder = ThoughtEmbedder(
            embedder, masks=options["delexicalise"], centres=options["centre"], cache=options["cache"]
        )
        limits = {name: options[name] for name in ("exact_up_to", "backend")}
        self.state = MemoryState((str(path), embedder.fingerprint), limits)
        self._settled = not options["centre"]
        self._store = SegmentStore(path, durable=options["durable"])
        self._lock = ForkSafeLock()
        self._process = os.getpid()
        self.take_in()

    def __enter__(self) -> MemoryFolder:
        """Take the lock; after a fork, also let go of the parent's segment, so that this process writes its own."""
        self._lock.__enter__()
        if os.getpid() != self._process:
            self._process = os.getpid()
            self._store.close()
        return self

    def __exit__(self, *_: object) -> None:
        self._lock.__exit__()

    def vectors(
        self, thoughts: Sequence[str], questions: Sequence[str] = (), sqls: Sequence[str] = ()
    ) -> list[Vector | None]:
        """Return what `ThoughtEmbedder.vectors` does; raises if they are not as long as the stored vectors."""
        vectors = self.thought_embedder.vectors(thoughts, questions, sqls)
        for vector in vectors:
            if vector is not None:
                self.state.measure(len(vector))
        return vectors

    def embedded(self, traces: Sequence[Trace]) -> dict[str, Stored]:
        """Return trace key -> vector; traces whose vector is not finite are left out."""
        if traces:
            with self:
                self._settle(write=True)
        columns = ([getattr(trace, name) for trace in traces] for name in ("text", "question", "sql"))
        vectors = zip(traces, self.vectors(*columns), strict=True)
        return {trace.key: vector.astype("<f2") for trace, vector in vectors if vector is not None}

    def take_in(self) -> None:
        """Read the traces that any process has written since the last time.

        Raises:
            DataError: something among them is corrupt.
        """
        from finer_rewards.memory.snapshot import TraceRow, unpacked

        self._settle(write=False)
        new: list[TraceRow] = []
        tallies: list[Tally] = []
        for entry in self._store.read_new():
            if isinstance(entry, Tally):
                tallies.append(entry)
            else:
                new.append(TraceRow(entry.trace, unpacked(entry.vector)))
        corrupt = [damage for damage in self.damages() if not damage.torn]
        if corrupt:
            first = corrupt[0]
            self._refuse(
                f"{len(corrupt)} parts of it are corrupt, first {first.size} bytes at {first.start} of {first.file}"
                f"{': ' if first.reason else ''}{first.reason}"
            )
        lengths = {len(row.vector) for row in new} | (
            {self.state.dimension} if self.state.dimension else set()
        )
        if len(lengths) > 1:
            self._refuse(f"it holds vectors of the lengths {sorted(lengths)}")
        planted = sum(not row.is_unit for row in new)
        if planted:
            self._refuse(f"{planted} of its vectors are not of length 1")
        self.state.tallies.update({tally.id: tally for tally in tallies})
        self.state.keep(new)

    def append(self, rows: Sequence[TraceRow], tallies: Sequence[Tally] = ()) -> None:
        """Write traces and counts of refusals to the disk, and add them to RAM."""
        from finer_rewards.memory.snapshot import packed

        self._store.append([*(Record(row.trace, packed(row.vector)) for row in rows), *tallies])
        self.state.tallies.update({tally.id: tally for tally in tallies})
        self.state.keep(rows)

    def merge(self) -> int:
        """Merge the segments of processes that have ended into one; return how many were merged."""
        from finer_rewards.memory.snapshot import packed

        self._store.close()
        idle = self._store.idle()
        self.take_in()
        entries: list[Entry] = [Record(row.trace, packed(row.vector)) for row in self.state.ordered()]
        entries += [self.state.tallies[key] for key in sorted(self.state.tallies)]
        if len(idle) > 1 or any(damage.torn for damage in self.damages()):
            self._store.merge(entries, idle)
            return len(idle)
        return 0

    def files(self) -> list[Path]:
        """Return the segment files."""
        return [path for path in self._store.files() if path.exists()]

    def damages(self) -> list[Damage]:
        """Return the bytes read so far that hold no whole record."""
        return [damage for found in self._store.damages.values() for damage in found]

    def close(self) -> None:
        """Close this process's segment; writing again opens a new one."""
        self._store.close()

    def _settle(self, *, write: bool) -> None:
        """Use the centres that the folder holds; before the first trace is written, compute and write them."""
        if not self._settled and (write or (self.path / "centre.json").exists()):
            learnt = self.thought_embedder.learn_centres() if write else []
            found = self._store.describe_once("centre.json", {"centres": learnt})
            length = getattr(self.thought_embedder.embedder.inner, "dimension", None) or 0
            self.thought_embedder.use_centres(
                checked_centres(self.path / "centre.json", found, self.thought_embedder.parts, length)
            )
            self._settled = True

    def _refuse(self, what: str) -> NoReturn:
        raise DataError(
            f"The memory at `{self.path}` should be whole, but {what}. Nothing was changed. "
            f"Save what can be read: `TraceMemory.repair({str(self.path)!r}, to=NEW_FOLDER)`."
        )
