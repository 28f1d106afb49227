"""The trace memory: verified and failed reasoning, searched while scoring, written only afterwards."""

from __future__ import annotations

import json
import os
import secrets
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, NoReturn

from finer_rewards.errors import DataError, FinerError
from finer_rewards.extras import package_folder
from finer_rewards.locks import ForkSafeLock
from finer_rewards.memory.embedders import Embedder
from finer_rewards.memory.gate import Gate, Report, scored_pairs, trace_of
from finer_rewards.memory.holdings import Holdings
from finer_rewards.memory.manifest import SPACE, agree, checked_centres
from finer_rewards.memory.searching import Scope, check_search, recall_thoughts
from finer_rewards.memory.space import Space
from finer_rewards.memory.store import Damage, Entry, Record, Store, Tally, replace_file
from finer_rewards.memory.trace import Trace, database_id, read_traces
from finer_rewards.memory.verifying import Verification, repair_folder, verify_folder
from finer_rewards.types import Evidence, Recall, Score

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from finer_rewards.memory.shelves import Row

    Vector = NDArray[np.float32]
    Stored = NDArray[np.float16]

__all__ = ["TraceMemory"]


class TraceMemory:
    """Reasoning traces judged by execution, in a folder that many processes may share.

    Searching sees what was there at the last `snapshot()` and what this process remembered since; it never
    changes anything, so a score does not depend on its place in a batch. Make one with `TraceMemory.open`.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder, TraceMemory.open(folder, "hashing") as memory:
        ...     memory.search(["Count the singers."], ["concert"])[0].centroid is None, len(memory)
        (True, 0)
    """

    def __init__(self, path: Path, embedder: Embedder, gate: Gate, options: Mapping[str, Any]) -> None:
        self.path = path
        self.embedder = embedder
        self.gate = gate
        self._options = dict(options)
        self._lock = ForkSafeLock()
        self._space = Space(
            embedder, masks=options["delexicalise"], centres=options["centre"], cache=options["cache"]
        )
        self._settled = not options["centre"]
        self._store = Store(path, durable=options["durable"])
        self._process = os.getpid()
        limits = {name: options[name] for name in ("exact_up_to", "backend")}
        self._held = Holdings((str(path), embedder.fingerprint), limits)
        self._take_in()

    @classmethod
    def open(
        cls,
        path: str | Path,
        embedder: str | Embedder | None = None,
        *,
        delexicalise: bool | None = None,
        centre: bool | None = None,
        gate: Gate | None = None,
        create: bool = True,
        exact_up_to: int | None = 200_000,
        backend: Literal["auto", "faiss", "numpy"] = "auto",
        durable: bool = True,
        cache: str | Path | None = None,
    ) -> TraceMemory:
        """Open the memory in a folder; make one when there is none.

        Args:
            path: the folder.
            embedder: a name (see `embedder_from`) or an object with `embed` and `fingerprint`; left out, that of
                the paper, or `hashing` where the memory was made with it. Any other has to be named: a folder
                does not say where reasoning is sent or what is loaded.
            delexicalise: mask table, column and literal names, and compare the planned operations, so that
                reasoning is alike across databases. True for a new memory, as it was made for an old one.
            centre: subtract what all reasoning has in common. As `delexicalise`.
            gate: what may enter.
            create: false to refuse a folder that holds no memory.
            exact_up_to: past so many traces of one outcome FAISS searches approximately (IVF); `None`: never.
            backend: `"faiss"`, `"numpy"` (always exact), or `"auto"`: FAISS where it is installed.
            durable: wait for the disk at each `remember`, so that traces survive even a power cut.
            cache: folder of your own to keep embeddings in, by content, for the next run and other ranks of this
                machine; the hashing embedder is faster without.

        Raises:
            ConfigError: the memory was made with another embedder, or the folder cannot be made.
            DataError: a segment is corrupt; see `repair`.
            MissingExtraError: numpy, or a package the embedder needs, is not installed.
        """
        package_folder("memory", "TraceMemory", "numpy")
        folder = Path(path)
        chosen, flags = agree(folder, embedder, delexicalise, centre, create=create)
        options = {
            **flags,
            "exact_up_to": exact_up_to,
            "backend": backend,
            "durable": durable,
            "cache": cache,
        }
        return cls(folder, chosen, gate or Gate(), options)

    # -- reading

    def search(
        self,
        thoughts: Sequence[str],
        dbs: Sequence[str | tuple[str, ...]],
        top_k: int = 20,
        scope: Scope = "other",
        *,
        questions: Sequence[str] = (),
        sqls: Sequence[str] = (),
    ) -> list[Recall]:
        """Find the traces most similar to each thought.

        Args:
            thoughts: reasoning; an empty one finds nothing.
            dbs: the database each is about.
            top_k: most verified and most failed traces a thought.
            scope: traces of other databases, of the same one, or of any.
            questions: the question that each thought answers, in words: what it asks for is compared too.
            sqls: the SQL under each thought: one that shares a name with it is about something.

        Returns:
            One `Recall` a thought; its status is `memory_unavailable` where the embedder failed.

        Raises:
            ConfigError: an argument cannot be used, or the embedder now makes vectors of another length.
        """
        check_search(thoughts, dbs, top_k, scope, questions, sqls)
        with self._lock:
            self._own()
            shelves = self._held.shelves()
        return recall_thoughts(
            thoughts,
            [database_id(db) for db in dbs],
            top_k,
            scope,
            questions=questions,
            sqls=sqls,
            shelves=shelves,
            embed=self._vectors,
            join=self._space.joined if self._space.masks else None,
            fingerprint=self.embedder.fingerprint,
        )

    def snapshot(self) -> str:
        """Take in what other processes remembered since the last snapshot; return the digest.

        Raises:
            DataError: a segment is corrupt; see `repair`.
        """
        with self._lock:
            self._own()
            self._take_in()
            return self.digest

    @property
    def digest(self) -> str:
        """Digest of all that a search sees: the same for the same traces, whoever wrote them and when."""
        with self._lock:
            self._own()
            space = [str(self._options[name]) for name in SPACE]
            return self._held.digest([self.embedder.fingerprint, *space])

    def __len__(self) -> int:
        """Return the number of verified traces."""
        with self._lock:
            self._own()
            return sum(row.trace.verified for row in self._held.rows.values())

    def __contains__(self, key: object) -> bool:
        return key in self._held.rows

    def __getitem__(self, key: str) -> Trace:
        return self._held.rows[key].trace

    def traces(self) -> list[Trace]:
        """Return all traces, in order of database and key."""
        with self._lock:
            self._own()
            return [row.trace for row in self._held.ordered()]

    def describe(self) -> dict[str, Any]:
        """Return what of this memory determines a score, for a scoring signature."""
        space = {name: self._options[name] for name in SPACE}
        return {"embedder": self.embedder.fingerprint, **space, "digest": self.digest, "traces": len(self)}

    def stats(self) -> dict[str, Any]:
        """Return counts: traces by outcome and database, refusals by reason, segments, bytes, cut records."""
        with self._lock:
            self._own()
            damages = self._damages()
            files = self._store.files()
            return {
                "embedder": self.embedder.fingerprint,
                **{name: self._options[name] for name in SPACE},
                **self._held.counts(),
                "segments": len(files),
                "bytes": sum(path.stat().st_size for path in files if path.exists()),
                "torn": sum(damage.torn for damage in damages),
                "index": self._held.shelves().verified.index.kind,
                "digest": self.digest,
            }

    # -- writing

    def remember(
        self, scored: Iterable[tuple[Evidence, Score]], *, model: str = "", step: int = 0, signature: str = ""
    ) -> Report:
        """Store what passes the gate; call it after scoring, once a step.

        The order of the samples does not matter. When this returns, what was admitted is on the disk. A trace whose
        embedding failed is refused with that as the reason, which `stats` counts, and a warning says what happened;
        nothing of it is stored, so it can be offered again.

        Args:
            scored: pairs of what was observed and the score it got.
            model: what wrote the completions.
            step: the training step.
            signature: digest of the scoring signature.

        Returns:
            A decision a sample, in the order given.

        Raises:
            ConfigError: an item is not such a pair, or the folder cannot be written.
        """
        from finer_rewards.memory.shelves import Row

        pairs = scored_pairs(scored)
        decisions = [self.gate.judge(evidence, score) for evidence, score in pairs]
        candidates: dict[int, Trace] = {}
        for place, ((evidence, _), decision) in enumerate(zip(pairs, decisions, strict=True)):
            if not decision.refused:
                candidates[place] = trace_of(evidence, decision.verified, model, step, signature)
                decisions[place] = replace(decision, key=candidates[place].key)
        failed = "the embedder returned numbers that are not finite"
        try:
            vectors = self._embedded(list(candidates.values()))
        except FinerError:
            raise
        except Exception as error:  # noqa: BLE001  Whatever an embedder raises is told, and is no reason to stop.
            vectors, failed = {}, f"the embedder failed ({type(error).__name__})"
            warnings.warn(
                f"{self.embedder.fingerprint} failed, so {len(candidates)} traces were not stored and can be "
                f"offered again: {error!r:.300}",
                RuntimeWarning,
                stacklevel=2,
            )
        with self._lock:
            self._own()
            admitted: list[Row] = []
            # In order of key, so that the order of the samples decides nothing.
            for place, trace in sorted(candidates.items(), key=lambda item: (item[1].key, item[1].sql)):
                row = Row(trace, vectors[trace.key]) if trace.key in vectors else None
                reason = failed if row is None else self._held.refuses(row, admitted, self.gate)
                if row is not None and not reason:
                    admitted.append(row)
                decisions[place] = replace(decisions[place], refused=reason)
            report = Report(tuple(decisions))
            tally = Tally(secrets.token_hex(8), report.refused)
            self._store_rows(admitted, [tally] if tally.refused else [])
        return report

    def import_(self, path: str | Path, *, progress: Callable[[int], None] | None = None) -> int:
        """Add the traces of a JSONL file written by `export`; those already there are left out.

        They passed the gate when they were first remembered, so it is not asked again.

        Args:
            path: the file.
            progress: called with the number of lines done, now and then.

        Returns:
            How many were added.

        Raises:
            DataError: a line is not a trace, or the embedder failed at it; those of earlier batches are in.
        """
        from finer_rewards.memory.shelves import Row

        added = 0
        for line, traces in read_traces(Path(path)):
            new = [trace for trace in traces if trace.key not in self._held.rows]
            vectors = self._embedded(new)
            if any(trace.key not in vectors for trace in new):
                raise DataError(
                    f"{self.embedder.fingerprint} returned numbers that are not finite. Check the embedder."
                )
            with self._lock:
                self._own()
                self._store_rows([Row(trace, vectors[trace.key]) for trace in new], [])
            added += len(new)
            if progress is not None:
                progress(line)
        return added

    def export(self, path: str | Path) -> int:
        """Write all traces to a JSONL file, in order of database and key; return how many."""
        traces = self.traces()
        lines = (json.dumps(trace.as_record(), sort_keys=True) for trace in traces)
        replace_file(Path(path), "".join(f"{line}\n" for line in lines).encode())
        return len(traces)

    def compact(self) -> int:
        """Merge the segments of writers that are gone into one; return how many were merged."""
        from finer_rewards.memory.shelves import packed

        with self._lock:
            self._own()
            self._store.close()
            idle = self._store.idle()
            self._take_in()
            entries: list[Entry] = [Record(row.trace, packed(row.vector)) for row in self._held.ordered()]
            entries += [self._held.tallies[key] for key in sorted(self._held.tallies)]
            if len(idle) > 1 or any(damage.torn for damage in self._damages()):
                self._store.merge(entries, idle)
                return len(idle)
            return 0

    def verify(self) -> Verification:
        """Read every byte of every segment again and check it."""
        return verify_folder(self.path)

    @staticmethod
    def repair(path: str | Path, to: str | Path) -> Verification:
        """Copy all that can be read of a memory to a new folder; see `repair_folder`."""
        return repair_folder(path, to)

    def close(self) -> None:
        """Close this process's segment. The memory can be used again afterwards."""
        with self._lock:
            self._own()
            self._store.close()

    def __enter__(self) -> TraceMemory:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"TraceMemory({str(self.path)!r}, {self.embedder.fingerprint!r}, digest={self.digest!r})"

    def __reduce__(self) -> tuple[Any, ...]:
        return _reopen, (str(self.path), self.embedder, self.gate, self._options)

    # -- inside

    def _own(self) -> None:
        """After a fork, go on with a segment of this process's own; what is in RAM stays as it was."""
        if os.getpid() != self._process:
            self._process = os.getpid()
            self._store.close()

    def _settle(self, *, write: bool) -> None:
        """Use the centre this memory was made with; before the first trace is written, write it down."""
        if not self._settled and (write or (self.path / "centre.json").exists()):
            learnt = self._space.learn() if write else []
            found = self._store.describe_once("centre.json", {"centres": learnt})
            length = getattr(self.embedder, "dimension", None) or 0
            self._space.use(checked_centres(self.path / "centre.json", found, self._space.parts, length))
            self._settled = True

    def _take_in(self) -> None:
        from finer_rewards.memory.shelves import Row, unpacked

        self._settle(write=False)
        new: list[Row] = []
        tallies: list[Tally] = []
        for entry in self._store.read_new():
            if isinstance(entry, Tally):
                tallies.append(entry)
            else:
                new.append(Row(entry.trace, unpacked(entry.vector)))
        corrupt = [damage for damage in self._damages() if not damage.torn]
        if corrupt:
            first = corrupt[0]
            self._refuse(
                f"{len(corrupt)} parts of it are corrupt, first {first.size} bytes at {first.start} of {first.file}"
                f"{': ' if first.reason else ''}{first.reason}"
            )
        lengths = {len(row.vector) for row in new} | (
            {self._held.dimension} if self._held.dimension else set()
        )
        if len(lengths) > 1:
            self._refuse(f"it holds vectors of the lengths {sorted(lengths)}")
        planted = sum(not row.is_unit for row in new)
        if planted:
            self._refuse(f"{planted} of its vectors are not of length 1")
        self._held.tallies.update({tally.id: tally for tally in tallies})
        self._held.keep(new)

    def _refuse(self, what: str) -> NoReturn:
        raise DataError(
            f"The memory at `{self.path}` should be whole, but {what}. Nothing was changed. "
            f"Save what can be read: `TraceMemory.repair({str(self.path)!r}, to=NEW_FOLDER)`."
        )

    def _damages(self) -> list[Damage]:
        return [damage for found in self._store.damages.values() for damage in found]

    def _vectors(
        self, thoughts: Sequence[str], questions: Sequence[str] = (), sqls: Sequence[str] = ()
    ) -> list[Vector | None]:
        vectors = self._space.vectors(thoughts, questions, sqls)
        for vector in vectors:
            if vector is not None:
                self._held.measure(len(vector))
        return vectors

    def _embedded(self, traces: Sequence[Trace]) -> dict[str, Stored]:
        """Return the vectors by key, but for traces of which the embedder made numbers that are not finite."""
        if traces:
            with self._lock:
                self._settle(write=True)
        columns = ([getattr(trace, name) for trace in traces] for name in ("text", "question", "sql"))
        vectors = zip(traces, self._vectors(*columns), strict=True)
        return {trace.key: vector.astype("<f2") for trace, vector in vectors if vector is not None}

    def _store_rows(self, rows: Sequence[Row], tallies: Sequence[Tally]) -> None:
        from finer_rewards.memory.shelves import packed

        self._store.append([*(Record(row.trace, packed(row.vector)) for row in rows), *tallies])
        self._held.tallies.update({tally.id: tally for tally in tallies})
        self._held.keep(rows)


def _reopen(path: str, embedder: Embedder, gate: Gate, options: Mapping[str, Any]) -> TraceMemory:
    return TraceMemory.open(path, embedder, gate=gate, create=False, **options)
