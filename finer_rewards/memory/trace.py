"""`Trace`, the record of one piece of reasoning that a memory keeps, and reading traces from JSON."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, fields
from functools import cached_property
from hashlib import sha256
from itertools import islice
from pathlib import Path, PurePath
from typing import Any, Final

from finer_rewards.errors import DataError

_WORDS = re.compile(r"\w+")


@dataclass(frozen=True)
class Trace:
    """The reasoning behind one answer, with the verdict of execution.

    Args:
        text: the thought.
        db: id of the database it is about.
        question: the question in words.
        sql: the SQL that it led to.
        verified: true if execution showed the SQL to be right, false if it showed it to be wrong.
        model: the model that wrote it.
        step: the training step at which it was written.
        time: when it was stored, in seconds since 1970.
        signature: digest of the signature of the score that judged it.
        question_id: id of the question; if left out, its words identify it.

    Example:
        >>> a, b = Trace("Count the singers.", "concert"), Trace("count THE singers", "concert", time=9.0)
        >>> a.key == b.key
        True
    """

    text: str
    db: str
    question: str = ""
    sql: str = ""
    verified: bool = True
    model: str = ""
    step: int = 0
    time: float = 0.0
    signature: str = ""
    question_id: str = ""

    @property
    def asked(self) -> str:
        """What identifies its question: the id, or else the words."""
        return self.question_id or self.question

    @cached_property
    def key(self) -> str:
        """The digest that identifies the trace, made of outcome, database, question and the thought's words."""
        words = " ".join(_WORDS.findall(self.text.casefold()))
        parts = ("verified" if self.verified else "failed", self.db, self.asked, words)
        return sha256("\0".join(parts).encode("utf-8", "surrogatepass")).hexdigest()[:32]

    def as_record(self) -> dict[str, Any]:
        """Return the fields as a JSON-ready mapping."""
        return asdict(self)

    @classmethod
    def from_line(cls, line: str, where: str) -> Trace:
        """Build a trace from a line of JSON.

        Raises:
            DataError: it is not JSON, or not a trace.
        """
        try:
            record = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise DataError(f"`{where}` should be JSON, but it is not ({error}). Correct the line.") from None
        if not isinstance(record, dict):
            raise DataError(
                f"`{where}` should be a JSON object, but got {line.strip()!r:.80}. Correct the line."
            )
        return cls.from_record(record, where)

    @classmethod
    def from_record(cls, record: Mapping[str, Any], where: str = "record") -> Trace:
        """Build a trace from a mapping; names that are not fields are left out.

        Raises:
            DataError: `text` or `db` is missing, or a value has the wrong type.
        """
        kept = {name: record[name] for name in _TYPES if record.get(name) is not None}
        for name in ("text", "db"):
            if name not in kept:
                raise DataError(f"`{where}` should have a {name!r}, but got {sorted(record)!r:.120}. Add it.")
        for name, value in kept.items():
            wrong = not isinstance(value, _TYPES[name]) or (isinstance(value, bool) and name != "verified")
            if wrong or (isinstance(value, (int, float)) and not abs(value) <= _LARGEST):
                raise DataError(f"`{where}` has a {name!r} of the wrong type: {value!r:.80}. Correct it.")
        return cls(**kept)


# The largest step, and the largest time in seconds.
_LARGEST: Final = 1e15
_TYPES: Mapping[str, tuple[type, ...]] = {
    field.name: {"str": (str,), "bool": (bool,), "int": (int,), "float": (int, float)}[str(field.type)]
    for field in fields(Trace)
}


def read_traces(path: Path, batch: int = 512) -> Iterator[tuple[int, list[Trace]]]:
    """Yield the distinct traces of a JSONL file in batches, each with the number of the last line read.

    Raises:
        DataError: a line is not a trace.
    """
    with path.open(encoding="utf-8", errors="backslashreplace") as lines:
        numbered = ((number, line) for number, line in enumerate(lines, 1) if line.strip())
        while some := list(islice(numbered, batch)):
            read = [Trace.from_line(line, f"{path}, line {number}") for number, line in some]
            yield some[-1][0], list({trace.key: trace for trace in read}.values())


def database_id(db: str | tuple[str, ...]) -> str:
    """Return the id of a database; of several, that of the first.

    A path becomes its file name without the suffix, so that machines with different roots agree.

    Example:
        >>> database_id("spider/pets_1/pets_1.sqlite"), database_id("pets_1")
        ('pets_1', 'pets_1')
    """
    name = db if isinstance(db, str) else db[0]
    path = PurePath(name)
    is_path = len(path.parts) > 1 or path.suffix.lower() in (".sqlite", ".sqlite3", ".db", ".duckdb")
    return path.stem if is_path else name
