"""Reading saved rollouts, from score logs or from users' own JSONL files, as samples again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from finer_rewards._score_log import log_files
from finer_rewards._statement_records import sample_of
from finer_rewards._util.disk_sequence import DiskSequence
from finer_rewards._util.lossless_json import parse_json, untagged
from finer_rewards._util.text_file import read_lines
from finer_rewards.errors import ConfigError, DataError
from finer_rewards.types import Sample


@dataclass(frozen=True)
class Rollout:
    """One saved sample.

    Args:
        sample: the sample.
        value: its score when it was saved; `None` when it could not be scored.
        scored: whether a score was saved.
        step: the training step, if that was saved.
        reason: the reason of the score, if that was saved.
    """

    sample: Sample
    value: float | None
    scored: bool
    step: int | None = None
    reason: str = ""

    def sample_on(self, db: str | None) -> Sample:
        """Return the sample, with another database if one is given."""
        return self.sample if db is None else replace(self.sample, db=db)


@dataclass(frozen=True)
class Rollouts:
    """The content of logs: the samples, the signatures under which they were scored, and how many lines are damaged."""

    rollouts: Sequence[Rollout]
    signatures: list[Mapping[str, Any]]
    unreadable: int = 0


def read_rollouts(paths: Sequence[str]) -> Rollouts:
    """Return the samples of score logs, or of JSONL files with completions: your own, or rows that `prepare` wrote.

    In a log written without completions, the SQL stands for them; the form of the completions is lost then.

    Raises:
        DataError: a line is no record that can be scored; says which, and what is needed.
        ConfigError: a file is not there, or there is nothing in it.
    """
    rollouts = DiskSequence[Rollout]()
    signatures: dict[str, Mapping[str, Any]] = {}
    unreadable = 0
    for path in log_files(paths):
        for number, line in enumerate(read_lines(path), 1):
            if not line.strip():
                continue
            where = f"Line {number} of {path}"
            try:
                record = parse_json(line, object_hook=untagged)
            except ValueError:
                # The process that wrote it was killed.
                unreadable += 1
                continue
            if isinstance(record, dict) and isinstance(record.get("scorer"), dict):
                signatures[str(record.get("signature"))] = record["scorer"]
                continue
            try:
                rollouts.append(_rollout(record, where))
            except DataError:
                if not isinstance(record, dict) or "status" not in record:
                    raise
                # With a status it is a line of a score log, and was damaged later.
                unreadable += 1
    if not rollouts:
        torn = f", and {unreadable} lines that are damaged" if unreadable else ""
        raise ConfigError(f"`LOG` should hold samples, but {', '.join(paths)} holds none{torn}.")
    return Rollouts(rollouts, list(signatures.values()), unreadable)


def _rollout(record: Any, where: str) -> Rollout:
    if not isinstance(record, dict):
        raise DataError(f"{where} should be an object, but got {record!r:.60}. Write one sample a line.")
    sample = sample_of(record, where)
    value, step, reason = (record.get(key) for key in ("value", "step", "reason"))
    for key, found, kinds in (
        ("value", value, (int, float)),
        ("step", step, (int,)),
        ("reason", reason, (str,)),
    ):
        if found is not None and (isinstance(found, bool) or not isinstance(found, kinds)):
            raise DataError(
                f"{where} should have a `{key}` of another type, but got {found!r:.60}. Correct it."
            )
    try:
        return Rollout(sample, None if value is None else float(value), "value" in record, step, reason or "")
    except OverflowError as error:
        raise DataError(f"{where} cannot be used. {error}") from None
