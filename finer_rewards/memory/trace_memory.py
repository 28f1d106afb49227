"""`TraceMemory`, the entrance to this package: searched while a batch is observed, written to only after scoring."""

from __future__ import annotations

import json
import secrets
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal

from finer_rewards._util.extras import package_folder
from finer_rewards.errors import DataError, FinerError
from finer_rewards.memory.embedders import Embedder
from finer_rewards.memory.folder import MemoryFolder
from finer_rewards.memory.gate import AdmissionReport, Gate, scored_pairs, trace_of
from finer_rewards.memory.manifest import EMBEDDING_OPTIONS, agreed_embedder
from finer_rewards.memory.searching import Scope, check_search, recall_thoughts
from finer_rewards.memory.segments import Tally, replace_file
from finer_rewards.memory.trace import Trace, database_id, read_traces
from finer_rewards.memory.verifying import Verification, repair_folder, verify_folder
from finer_rewards.types import Evidence, Recall, Score

if TYPE_CHECKING:
    from finer_rewards.memory.snapshot import TraceRow


class TraceMemory:
    """Reasoning traces judged by execution, in a folder that many processes may share. Made by `TraceMemory.open`.

    A search sees the traces that were there at the last `snapshot()`, and those that this process has remembered since.
    It never changes anything, so a score does not depend on the sample's place in a batch.

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
        self._folder = MemoryFolder(path, embedder, options)

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
            embedder: a name (see `embedder_from`) or an object with `embed` and `fingerprint`. By default that of the
                paper for a new memory, and `hashing` for a memory made with it. Any other has to be passed again: a
                folder must not decide where reasoning is sent or which model is loaded.
            delexicalise: mask table, column and literal names, and compare the planned operations, so that
                reasoning is similar across databases. By default true for a new memory, and as it was made for an old
                one.
            centre: subtract what all reasoning has in common. The default is as for `delexicalise`.
            gate: the rules for what may enter.
            create: false to refuse a folder that holds no memory.
            exact_up_to: with more traces of one outcome than this, FAISS searches approximately (IVF); `None`: never.
            backend: `"faiss"`, `"numpy"` (always exact), or `"auto"`: FAISS if it is installed.
            durable: wait for the disk at each `remember`, so that traces survive even a power cut.
            cache: folder of your own to keep embeddings in, by content, for the next run and other ranks on this
                machine; the hashing embedder is faster without.

        Raises:
            ConfigError: the memory was made with another embedder, or the folder cannot be made.
            DataError: a segment is corrupt; see `repair`.
            MissingExtraError: numpy, or a package the embedder needs, is not installed.
        """
        package_folder("memory", "TraceMemory", "numpy")
        folder = Path(path)
        chosen, flags = agreed_embedder(folder, embedder, delexicalise, centre, create=create)
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
            thoughts: the thoughts; an empty one finds nothing.
            dbs: the database that each is about.
            top_k: most verified and most failed traces for a thought.
            scope: traces of other databases, of the same one, or of any.
            questions: the question that each thought answers, in words; if given, what it asks for is compared too.
            sqls: the SQL that each thought led to; a thought that shares no name with its SQL or question and plans no
                operation is similar to nothing.

        Returns:
            One `Recall` for each thought; its status is `memory_unavailable` when the embedder failed.

        Raises:
            ConfigError: an argument cannot be used, or the embedder now makes vectors of another length.
        """
        check_search(thoughts, dbs, top_k, scope, questions, sqls)
        with self._folder:
            snapshot = self._folder.state.snapshot()
        return recall_thoughts(
            thoughts,
            [database_id(db) for db in dbs],
            top_k,
            scope,
            questions=questions,
            sqls=sqls,
            snapshot=snapshot,
            embed=self._folder.vectors,
            join=self._folder.thought_embedder.joined if self._folder.thought_embedder.masks else None,
            fingerprint=self.embedder.fingerprint,
        )

    def snapshot(self) -> str:
        """Take in what other processes remembered since the last snapshot; return the digest.

        Raises:
            DataError: a segment is corrupt; see `repair`.
        """
        with self._folder:
            self._folder.take_in()
            return self.digest

    @property
    def digest(self) -> str:
        """Digest of all that a search sees; equal for equal traces, whichever process wrote them and when."""
        with self._folder:
            options = [str(self._options[name]) for name in EMBEDDING_OPTIONS]
            return self._folder.state.digest([self.embedder.fingerprint, *options])

    def __len__(self) -> int:
        """Return the number of verified traces."""
        with self._folder:
            return sum(row.trace.verified for row in self._folder.state.rows.values())

    def __contains__(self, key: object) -> bool:
        return key in self._folder.state.rows

    def __getitem__(self, key: str) -> Trace:
        return self._folder.state.rows[key].trace

    def traces(self) -> list[Trace]:
        """Return all traces, sorted by database and key."""
        with self._folder:
            return [row.trace for row in self._folder.state.ordered()]

    def describe(self) -> dict[str, Any]:
        """Return what determines a score, for the signature: embedder, flags and digest."""
        options = {name: self._options[name] for name in EMBEDDING_OPTIONS}
        return {"embedder": self.embedder.fingerprint, **options, "digest": self.digest, "traces": len(self)}

    def stats(self) -> dict[str, Any]:
        """Return counts: traces by outcome and database, refusals by reason, segments, bytes, cut records."""
        with self._folder:
            files = self._folder.files()
            return {
                "embedder": self.embedder.fingerprint,
                **{name: self._options[name] for name in EMBEDDING_OPTIONS},
                **self._folder.state.counts(),
                "segments": len(files),
                "bytes": sum(path.stat().st_size for path in files),
                "torn": sum(damage.torn for damage in self._folder.damages()),
                "index": self._folder.state.snapshot().verified.index.kind,
                "digest": self.digest,
            }

    # -- writing

    def remember(
        self, scored: Iterable[tuple[Evidence, Score]], *, model: str = "", step: int = 0, signature: str = ""
    ) -> AdmissionReport:
        """Store the traces that pass the gate; call it after scoring, once a step.

        The order of the samples does not matter. When this returns, the admitted traces are on the disk. A trace whose
        embedding failed is refused with that reason, which `stats` counts, and a warning says what happened; nothing of
        it is stored, so it can be offered again.

        Args:
            scored: pairs of evidence and its score.
            model: the model that wrote the completions.
            step: the training step.
            signature: digest of the scoring signature.

        Returns:
            One decision for each sample, in the order given.

        Raises:
            ConfigError: an item is not such a pair, or the folder cannot be written.
        """
        from finer_rewards.memory.snapshot import TraceRow

        pairs = scored_pairs(scored)
        decisions = [self.gate.judge(evidence, score) for evidence, score in pairs]
        candidates: dict[int, Trace] = {}
        for place, ((evidence, _), decision) in enumerate(zip(pairs, decisions, strict=True)):
            if not decision.refused:
                candidates[place] = trace_of(evidence, decision.verified, model, step, signature)
                decisions[place] = replace(decision, key=candidates[place].key)
        failed = "the embedder returned numbers that are not finite"
        try:
            vectors = self._folder.embedded(list(candidates.values()))
        except FinerError:
            raise
        # An embedder may raise anything. The user is warned, and training goes on.
        except Exception as error:  # noqa: BLE001
            vectors, failed = {}, f"the embedder failed ({type(error).__name__})"
            warnings.warn(
                f"{self.embedder.fingerprint} failed, so {len(candidates)} traces were not stored and can be "
                f"offered again: {error!r:.300}",
                RuntimeWarning,
                stacklevel=2,
            )
        with self._folder:
            admitted: list[TraceRow] = []
            # Sorted by key: which of several near duplicates is admitted must not depend on the order of the samples.
            for place, trace in sorted(candidates.items(), key=lambda item: (item[1].key, item[1].sql)):
                row = TraceRow(trace, vectors[trace.key]) if trace.key in vectors else None
                reason = failed if row is None else self._folder.state.refuses(row, admitted, self.gate)
                if row is not None and not reason:
                    admitted.append(row)
                decisions[place] = replace(decisions[place], refused=reason)
            report = AdmissionReport(tuple(decisions))
            tally = Tally(secrets.token_hex(8), report.refused)
            self._folder.append(admitted, [tally] if tally.refused else [])
        return report

    def import_(self, path: str | Path, *, progress: Callable[[int], None] | None = None) -> int:
        """Add the traces of a JSONL file written by `export`; those already there are left out.

        The gate is not applied, since they passed one when they were first remembered.

        Args:
            path: the file.
            progress: called with the number of lines done after each batch.

        Returns:
            How many were added.

        Raises:
            DataError: a line is not a trace, or its embedding failed; traces of earlier batches have been added.
        """
        from finer_rewards.memory.snapshot import TraceRow

        added = 0
        for line, traces in read_traces(Path(path)):
            new = [trace for trace in traces if trace.key not in self._folder.state.rows]
            vectors = self._folder.embedded(new)
            if any(trace.key not in vectors for trace in new):
                raise DataError(
                    f"{self.embedder.fingerprint} returned numbers that are not finite. Check the embedder."
                )
            with self._folder:
                self._folder.append([TraceRow(trace, vectors[trace.key]) for trace in new])
            added += len(new)
            if progress is not None:
                progress(line)
        return added

    def export(self, path: str | Path) -> int:
        """Write all traces to a JSONL file, sorted by database and key; return how many."""
        traces = self.traces()
        lines = (json.dumps(trace.as_record(), sort_keys=True) for trace in traces)
        replace_file(Path(path), "".join(f"{line}\n" for line in lines).encode())
        return len(traces)

    def compact(self) -> int:
        """Merge the segments of processes that have ended into one; return how many were merged."""
        with self._folder:
            return self._folder.merge()

    def verify(self) -> Verification:
        """Read every byte of every segment again and check it."""
        return verify_folder(self.path)

    @staticmethod
    def repair(path: str | Path, to: str | Path) -> Verification:
        """Copy all that can be read of a memory to a new folder; see `repair_folder`."""
        return repair_folder(path, to)

    def close(self) -> None:
        """Close this process's segment. The memory can be used again afterwards."""
        with self._folder:
            self._folder.close()

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


def _reopen(path: str, embedder: Embedder, gate: Gate, options: Mapping[str, Any]) -> TraceMemory:
    return TraceMemory.open(path, embedder, gate=gate, create=False, **options)
