"""Reads several candidates for each question: from one JSONL file with lists, or from several prediction files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from finer_rewards._statement_files import read_statements
from finer_rewards._statement_records import FileStatement
from finer_rewards._util.lossless_json import parse_json
from finer_rewards.errors import DataError

#: The fields in which a record may keep its candidates; the first that is there counts.
LISTS = ("candidates", "completions", "predictions", "predicted", "samples")


@dataclass(frozen=True)
class Candidates:
    """The candidates for one question.

    Args:
        texts: completions or SQL, best first.
        db: the database id, if the file names it.
        question_id: its id, or its place as text.
        names: the systems that the candidates come from, if the file names them.
    """

    texts: tuple[str, ...]
    db: str | None
    question_id: str
    names: tuple[str, ...] = ()

    def entries(self) -> list[FileStatement]:
        """Return a prediction for each candidate."""
        return [FileStatement(text, self.db, self.question_id) for text in self.texts]


def read_candidate_groups(path: str | Path) -> list[Candidates] | None:
    """Return the groups of a JSONL (or JSON) file whose records hold lists of candidates, else `None`.

    A list holds texts or records with `sql`; an object is read as candidates by name.

    Raises:
        DataError: some records hold a list and others do not, or a list is empty.
    """
    file = Path(path)
    if not file.is_file() or file.suffix not in (".json", ".jsonl", ".ndjson"):
        return None
    text = file.read_text(encoding="utf-8-sig")
    try:
        if file.suffix == ".json":
            records = parse_json(text)
        else:
            records = [parse_json(line) for line in text.split("\n") if line.strip()]
    except ValueError:
        # The file is then read as predictions, and that reader's message names the faulty line.
        return None
    if not isinstance(records, list) or not records or not all(isinstance(one, dict) for one in records):
        return None
    keys = [next((key for key in LISTS if isinstance(one.get(key), (list, dict))), None) for one in records]
    if not any(keys):
        return None
    groups = []
    for number, (record, key) in enumerate(zip(records, keys, strict=True), 1):
        if key is None or not record[key]:
            raise DataError(
                f"`{path}`, record {number}, should have candidates in `{LISTS[0]}`, but has none. "
                "Write a list of completions or of SQL texts."
            )
        groups.append(_group(record, record[key], number - 1, f"`{path}`, record {number},"))
    return groups


def read_candidates(paths: Sequence[str | Path]) -> list[Candidates]:
    """Return the candidates in one file of lists, or across prediction files of equal length.

    Raises:
        DataError: the files do not go together.
    """
    if len(paths) == 1:
        groups = read_candidate_groups(paths[0])
        if groups is not None:
            return groups
    files = [read_statements(path) for path in paths]
    sizes = {len(entries) for entries in files}
    if len(sizes) > 1:
        counts = ", ".join(f"{path}: {len(entries)}" for path, entries in zip(paths, files, strict=True))
        raise DataError(
            f"The files should hold as many predictions, but they do not ({counts}). "
            "Write one prediction a question in each, in the same order."
        )
    names = tuple(Path(path).stem for path in paths)
    return [_across(index, row, names) for index, row in enumerate(zip(*files, strict=True))]


def _across(index: int, row: tuple[FileStatement, ...], names: tuple[str, ...]) -> Candidates:
    databases = {entry.db for entry in row if entry.db}
    ids = {entry.question_id for entry in row if entry.question_id}
    if len(databases) > 1 or len(ids) > 1:
        what = databases if len(databases) > 1 else ids
        raise DataError(
            f"The files should be in the same order, but prediction {index + 1} is for {', '.join(sorted(what))}. "
            "Sort them alike."
        )
    return Candidates(
        tuple(entry.sql for entry in row), next(iter(databases), None), next(iter(ids), str(index)), names
    )


def _group(record: Mapping[str, Any], found: Any, index: int, where: str) -> Candidates:
    names = tuple(map(str, found)) if isinstance(found, dict) else ()
    items = list(found.values()) if isinstance(found, dict) else found
    texts = []
    for item in items:
        text = item.get("sql", item.get("completion")) if isinstance(item, dict) else item
        if text is not None and not isinstance(text, str):
            raise DataError(f"{where} should hold texts, but got {text!r:.60}. Write the SQL as text.")
        texts.append(text or "")
    db = record.get("db_id", record.get("db"))
    question_id = record.get("question_id", index)
    return Candidates(tuple(texts), None if db is None else str(db), str(question_id), names)
