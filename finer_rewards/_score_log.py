"""Score logs: a JSON line for each sample, appended by any number of processes, in files of limited size."""

from __future__ import annotations

import fcntl
import json
import math
import os
import time
import warnings
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from finer_rewards._util.lossless_json import tagged
from finer_rewards.components import component_metrics, component_values, reason_of
from finer_rewards.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from finer_rewards._signature import Signature
    from finer_rewards.reward import Reward
    from finer_rewards.types import Evidence, Score

#: The number of rows of a result that are logged.
_SHOWN = 5
#: In results of at most so many rows, the rows that differ are found and logged first.
_SMALL = 200


class ScoreLog:
    """A file that gets a JSON line for each sample scored.

    It holds no open file, so it can be pickled, and any number of threads, forks and ranks may write to one path. A
    line is written whole or not at all. When the file has reached `max_bytes` it becomes `PATH.1`, `PATH.1` becomes
    `PATH.2`, and so on; only `backups` of these are kept.

    Args:
        path: the file to write; its folder must exist.
        max_bytes: the size at which a file is closed and the next begun.
        backups: how many closed files are kept, so that a log takes at most (backups + 1) × max_bytes.
        completions: whether to keep the text of completions; without it `rescore` cannot parse them again, and the
            report shows only the SQL.

    Raises:
        ConfigError: the folder is missing or cannot be written, or a limit is not positive.

    Example:
        >>> import tempfile, finer_rewards as fr
        >>> path = Path(tempfile.mkdtemp()) / "scores.jsonl"
        >>> with fr.Scorer("well_formed(policy='plain')", log=ScoreLog(path)) as scorer:
        ...     _ = scorer.score([fr.Sample("SELECT 1", gold="SELECT 1", db="any")], step=3)
        >>> json.loads(path.read_text().splitlines()[-1])["step"]
        3
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        max_bytes: int = 256 << 20,
        backups: int = 40,
        completions: bool = True,
    ) -> None:
        self.path = Path(path).absolute()
        self.max_bytes = max_bytes
        self.backups = backups
        self.completions = completions
        for name, least in (("max_bytes", 1), ("backups", 0)):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or value < least:
                raise ConfigError(
                    f"`ScoreLog({name}=...)` should be a whole number from {least}, but got {value!r}. "
                    "Leave it out for the default."
                )
        if not self.path.parent.is_dir() or self.path.is_dir() or not os.access(self.path.parent, os.W_OK):
            raise ConfigError(
                f"A score log should be a file in a folder that can be written, but got {str(path)!r}. "
                "Make the folder first, or pass another path."
            )
        self._announced: set[tuple[int, str]] = set()

    def write(
        self,
        reward: Reward,
        evidence: Iterable[Evidence],
        scores: Iterable[Score],
        *,
        signature: Signature,
        step: int | None = None,
    ) -> None:
        """Append a line for each sample; if the disk is full, it warns and scoring goes on."""
        shared = {"time": time.time(), "signature": signature.digest}
        schemas: dict[str, Evidence] = {}
        records = []
        for one, score in zip(evidence, scores, strict=True):
            records.append(log_record(reward, one, score, completions=self.completions) | shared)
            if one.schema is not None:
                schemas.setdefault(one.sample.dbs[0], one)
        if step is not None:
            for record in records:
                record["step"] = step
        if not records:
            return
        lines = b"".join(_line(record) for record in records)
        try:
            with self._locked():
                self._append(lines, signature, schemas)
        except OSError as error:
            warnings.warn(
                f"{len(records)} lines could not be written to {self.path}: {error.strerror or error}. "
                "Scores are not affected.",
                RuntimeWarning,
                stacklevel=2,
            )

    def _append(self, lines: bytes, signature: Signature, schemas: Mapping[str, Evidence]) -> None:
        if self.path.exists() and self.path.stat().st_size >= self.max_bytes:
            self._rotate()
        handle = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)
        try:
            state = os.fstat(handle)
            start = state.st_size
            if start and os.pread(handle, 1, start - 1) != b"\n":
                # A process was killed while it wrote the last line; the new lines must not continue that one.
                lines = b"\n" + lines
            # The scorer and each schema are written once in a file, before the first score that they belong to.
            said = set() if not start else {told for file, told in self._announced if file == state.st_ino}
            new = {db: one for db, one in schemas.items() if f"db:{db}" not in said}
            if new or signature.digest not in said:
                told = {db: _schema_record(one) for db, one in new.items()}
                head = {"signature": signature.digest, "scorer": dict(signature.content)}
                lines = _line(head | ({"schemas": told} if told else {})) + lines
            try:
                view = memoryview(lines)
                while view:
                    view = view[os.write(handle, view) :]
            except OSError:
                # The disk is full: a line that was written in part is removed.
                os.ftruncate(handle, start)
                raise
            if not start:
                self._announced = {one for one in self._announced if one[0] != state.st_ino}
            self._announced.add((state.st_ino, signature.digest))
            self._announced.update((state.st_ino, f"db:{db}") for db in new)
        finally:
            os.close(handle)

    def _rotate(self) -> None:
        def kept(number: int) -> Path:
            return self.path.with_name(f"{self.path.name}.{number}")

        kept(self.backups).unlink(missing_ok=True)
        for number in range(self.backups - 1, 0, -1):
            if kept(number).exists():
                kept(number).replace(kept(number + 1))
        if self.backups:
            self.path.replace(kept(1))
        else:
            self.path.unlink()

    @contextmanager
    def _locked(self) -> Iterator[None]:
        handle = os.open(self.path.with_name(f".{self.path.name}.lock"), os.O_RDWR | os.O_CREAT, 0o644)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX)
            yield
        finally:
            # Closing the file would not free the lock if a process was forked meanwhile, which has it open too.
            fcntl.flock(handle, fcntl.LOCK_UN)
            os.close(handle)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_announced": set()}

    def __repr__(self) -> str:
        return f"ScoreLog({str(self.path)!r})"


def log_files(paths: Sequence[str]) -> list[Path]:
    """Return the files of logs, oldest first: the closed files (`PATH.2`, `PATH.1`), then `PATH` itself.

    A folder stands for all logs in it.

    Raises:
        ConfigError: a path is missing, or a folder holds no log.
    """
    found: list[Path] = []
    for text in paths:
        path = Path(text)
        logs = sorted(path.glob("*.jsonl")) if path.is_dir() else [path]
        if path.is_dir() and not logs:
            raise ConfigError(
                f"`LOG` should be a score log or a folder of them, but {text} holds no *.jsonl."
            )
        for log in logs:
            closed = [
                one for one in log.parent.glob(f"{log.name}.*") if one.suffix[1:].isdigit() and one.is_file()
            ]
            closed.sort(key=lambda one: -int(one.suffix[1:]))
            if not log.is_file() and not closed:
                raise ConfigError(
                    f"`LOG` should be a score log, but {text} is not there. "
                    "Write one with Scorer(..., log='scores.jsonl') or `finer-rewards score --log FILE`."
                )
            found += [*closed, *([log] if log.is_file() else [])]
    return list(dict.fromkeys(found))


def log_record(
    reward: Reward, evidence: Evidence, score: Score, *, completions: bool = True
) -> dict[str, Any]:
    """Return the record of a score in a log: enough to show it, to explain it, and to score the sample again.

    Example:
        >>> from finer_rewards.rewards import well_formed
        >>> from finer_rewards.types import Answer, Evidence, Sample, Score
        >>> evidence = Evidence(Sample("SELECT 1", "SELECT 2", "concert"), Answer(None, "SELECT 1"))
        >>> record = log_record(well_formed(), evidence, Score(0.0, "no tags", name="well_formed()"))
        >>> record["value"], record["predicted"], record["components"]
        (0.0, 'SELECT 1', {'well_formed': 0.0})
    """
    sample = evidence.sample
    runs = [trial.predicted for trial in evidence.trials if trial.predicted is not None]
    status = score.status
    if score.value is not None:
        status = next((run.status for run in runs if not run.ok), status)
    record: dict[str, Any] = {
        "step": sample.meta.get("step"),
        "id": sample.meta.get("id", sample.meta.get("question_id")),
        "question": sample.question,
        "db": sample.db,
        "gold": sample.gold,
        "predicted": evidence.answer.sql,
        "value": score.value,
        "status": status.name,
        "reason": reason_of(score),
        "components": component_values(reward, score),
        "metrics": component_metrics(reward, score),
        "seconds": round(sum(run.seconds for run in runs), 6),
        "explanation": score.explain(),
    }
    values = record["components"]
    match = next((values[name] for name in values if name.startswith("execution_match")), score.value)
    if score.value is not None and match != 1:
        record["rows"] = _some_rows(evidence)
    if completions:
        record["completion"] = sample.completion
    if sample.turns > 1:
        record |= {"calls": list(sample.calls), "turns": sample.turns}
    if sample.dialect is not None:
        record["dialect"] = sample.dialect
    if sample.answer is not None:
        # Tagged, so that bytes and NaN are exact when the sample is scored again.
        record["answer"] = tagged(sample.answer)
    return record


def _schema_record(evidence: Evidence) -> dict[str, Any]:
    """Return the schema of a database and the dialect, with which a reader of the log can parse the statements."""
    assert evidence.schema is not None
    return {"dialect": evidence.dialect, **asdict(evidence.schema)}


def _some_rows(evidence: Evidence) -> dict[str, list[list[str]]]:
    """Return some rows of both results; if the results are small, rows that the other result lacks."""
    predicted, gold = evidence.predicted, evidence.gold
    if predicted is None or gold is None or not (predicted.ok and gold.ok):
        return {}
    sides = {"predicted": (predicted.rows, gold.rows), "gold": (gold.rows, predicted.rows)}
    found = {}
    for side, (rows, others) in sides.items():
        small = max(len(rows), len(others)) <= _SMALL
        shown = list((Counter(rows) - Counter(others)).elements()) if small else []
        found[side] = [[f"{cell!s:.60}" for cell in row[:20]] for row in (shown or rows)[:_SHOWN]]
    return found


_ENCODER = json.JSONEncoder(
    ensure_ascii=False, separators=(",", ":"), allow_nan=False, default=lambda value: _plain(value)
)


def _line(record: Mapping[str, Any]) -> bytes:
    try:
        text = _ENCODER.encode(record)
    except ValueError:
        # The record holds NaN or infinity, which JSON lacks.
        text = _ENCODER.encode(_finite(record))
    return text.encode("utf-8", "replace") + b"\n"


def _plain(value: object) -> object:
    return (
        dict(value) if isinstance(value, Mapping) else value.hex() if isinstance(value, bytes) else str(value)
    )


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(name): _finite(item) for name, item in value.items()}
    return [_finite(item) for item in value] if isinstance(value, (list, tuple)) else value
