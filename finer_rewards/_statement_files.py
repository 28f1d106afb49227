"""Reads files of predictions and golds in the formats that are in use, and pairs each prediction with its gold.

* `json`: a list of records or of texts, or BIRD's `{"0": "SQL\\t----- bird -----\\tdb_id"}`.
* `jsonl`: a record or a text in each line.
* `lines`: a statement in each line, as in Spider: `SQL<TAB>db_id`, or without an id; a blank line is empty SQL.
* `csv`: a record in each row, under a row of names (`.csv`, `.tsv`).
* `sql`: statements separated by `;`, of any number of lines, with comments.

A file is JSON if its name says so or its text begins with `{` or `[`; it is `jsonl` if the name says so,
or if its second line begins with `{` like the first. It is `lines` if each line ends in `<TAB>db_id`, or
if at least nine of ten are whole queries; blank lines between queries that all end in `;` make it `sql`.

Files are read as `TextFile` reads them. Many entries are kept in a file instead of memory; `jsonl`, `lines` and `csv`
are read line by line, so that they may be larger than memory.
"""

from __future__ import annotations

import csv
import json
import re
import sys
from array import array
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, Final, overload

from finer_rewards._statement_records import SQL_KEYS, FileStatement, Side, file_statement, first_key
from finer_rewards._util.disk_sequence import DiskSequence
from finer_rewards._util.lossless_json import parse_json
from finer_rewards._util.sql_text import bare, split_statements
from finer_rewards._util.text_file import TextFile
from finer_rewards.errors import ConfigError, DataError, suggest

FORMATS: Final = ("csv", "json", "jsonl", "lines", "sql")

_QUOTED = ("'=", "'+", "'-", "'@")

_SPIDER_LINE = re.compile(r"(?P<sql>.*)\t[ ]*(?P<db>[\w.-]+)\s*", re.DOTALL)
_QUERY = re.compile(r"\s*(?:select|with|values)\b", re.IGNORECASE)
_OUTLINE = re.compile(r"[()]|\b(?:select|values)\b", re.IGNORECASE)
_UNFINISHED = re.compile(
    r"(?:,|\b(?:union|all|intersect|except|from|where|and|or|on|by|join|as|in))\s*\Z", re.IGNORECASE
)


def read_statements(
    path: str | Path, *, side: Side = "predicted", file_format: str | None = None
) -> list[FileStatement]:
    """Return the statements of a file, in its order.

    Args:
        path: the file; `-` is standard input.
        side: whether to read the fields of a record with the prediction or those with the gold.
        file_format: one of `FORMATS`; `None` means that it is recognised by the name and content.

    Returns:
        The entries; blank lines at the end of a file of lines are not counted.

    Raises:
        ConfigError: there is no such format.
        DataError: the file is missing, a folder, empty, not UTF-8, or not valid JSON, or a record has no SQL.

    Example:
        >>> from tempfile import TemporaryDirectory
        >>> with TemporaryDirectory() as folder:
        ...     path = Path(folder, "gold.sql")
        ...     _ = path.write_text("SELECT 1\\tconcert\\nSELECT 2\\tpets\\n")
        ...     [(entry.sql, entry.db) for entry in read_statements(path)]
        [('SELECT 1', 'concert'), ('SELECT 2', 'pets')]
    """
    entries, blank = _read(path, side, file_format)
    return entries[: len(entries) - blank]


class FileStatements(DiskSequence[FileStatement]):
    """The entries of a file, kept on disk if they are many. In memory are their databases and hashes of their ids."""

    def __init__(self, entries: Iterable[FileStatement] = ()) -> None:
        self.dbs: list[str | None] = []
        self.ids = array("q")
        self.all_ids = True
        super().__init__(entries)

    def append(self, item: FileStatement) -> None:
        """Add an entry."""
        super().append(item)
        self.dbs.append(item.db and sys.intern(item.db))
        self.ids.append(hash(item.question_id))
        self.all_ids = self.all_ids and item.question_id is not None

    def cut(self, count: int) -> FileStatements:
        """Return the first entries, as many as `count`."""
        return self if count == len(self) else FileStatements(self[:count])


class Pairs(Sequence[tuple[FileStatement, FileStatement]]):
    """Predictions with their golds, in the order of the golds.

    Args:
        predicted: the predictions.
        gold: the golds.
        places: for each gold, the index of its prediction.
    """

    def __init__(self, predicted: FileStatements, gold: FileStatements, places: Sequence[int]) -> None:
        self.predicted, self.gold, self._places = predicted, gold, places

    def dbs(self) -> Iterator[tuple[str | None, str | None]]:
        """Yield the databases that each prediction and its gold name."""
        return (
            (self.predicted.dbs[place], db) for place, db in zip(self._places, self.gold.dbs, strict=True)
        )

    def __len__(self) -> int:
        return len(self.gold)

    @overload
    def __getitem__(self, index: int) -> tuple[FileStatement, FileStatement]: ...

    @overload
    def __getitem__(self, index: slice) -> list[tuple[FileStatement, FileStatement]]: ...

    def __getitem__(
        self, index: int | slice
    ) -> tuple[FileStatement, FileStatement] | list[tuple[FileStatement, FileStatement]]:
        if isinstance(index, slice):
            return [self[place] for place in range(*index.indices(len(self)))]
        return self.predicted[self._places[index]], self.gold[index]


def read_pairs(
    predicted: str | Path | FileStatements,
    gold: str | Path | FileStatements,
    *,
    predicted_format: str | None = None,
    gold_format: str | None = None,
) -> Pairs:
    """Return each prediction with its gold.

    They are paired by question id if every record of both files has one, otherwise by position.

    Args:
        predicted: the file of predictions, or statements already read; `-` is standard input.
        gold: the same for the gold statements.
        predicted_format: one of `FORMATS`; `None` means that it is recognised.
        gold_format: the same for the gold file.

    Returns:
        Pairs in the order of the gold file.

    Raises:
        ConfigError: there is no such format.
        DataError: a file cannot be read, or the two do not belong together.
    """
    if str(predicted) == str(gold) == "-":
        raise ConfigError(
            "Only one of the predicted and the gold file can be `-`, but both are. Name a file."
        )
    theirs, blank = _read(gold, "gold", gold_format)
    theirs = theirs.cut(len(theirs) - blank)
    ours, blank = _read(predicted, "predicted", predicted_format)
    # Blank lines at the end of the predictions count as empty predictions, but only as many as golds need one.
    ours = ours.cut(max(min(len(theirs), len(ours)), len(ours) - blank))
    names = (_name(predicted), _name(gold))
    if len(ours) != len(theirs):
        raise DataError(
            f"PRED and GOLD should hold as many statements, but {names[0]} has {len(ours)} and "
            f"{names[1]} has {len(theirs)}. {_missing(ours, theirs)}"
            f"If a file was read wrongly, name its format ({', '.join(FORMATS)})."
        )
    if not (ours.all_ids and theirs.all_ids) or ours.ids == theirs.ids:
        return Pairs(ours, theirs, range(len(theirs)))
    places = {entry.question_id: place for place, entry in enumerate(ours)}
    found = array("q", (places.get(entry.question_id, -1) for entry in theirs))
    if len(places) < len(ours) or len(set(theirs.ids)) < len(theirs) or -1 in found:
        raise DataError(
            f"{names[0]} and {names[1]} should hold the same question ids, once each, but they differ. "
            f"{_missing(ours, theirs)}Mend the ids, or leave them out to pair by position."
        )
    return Pairs(ours, theirs, found)


def _read(
    path: str | Path | FileStatements, side: Side, file_format: str | None
) -> tuple[FileStatements, int]:
    """Return the entries, and how many blank lines there are at the end."""
    if isinstance(path, FileStatements):
        return path, 0
    if file_format is not None and file_format not in FORMATS:
        raise ConfigError(
            f"The format should be one of {', '.join(FORMATS)}, but got {file_format!r}. "
            f"{suggest(file_format, FORMATS)}".rstrip()
        )
    entries, blank = FileStatements(), 0
    file = TextFile(path)
    name = file.name
    if not any(line.strip() for line in file.lines()):
        raise DataError(
            f"{name} should hold statements, but it is empty. Check that it was written to the end."
        )
    file_format = file_format or _recognise(file, str(path))
    if file_format == "lines":
        for line in file.lines():
            entries.append(_line_entry(line.removesuffix("\n")))
            blank = 0 if line.strip() else blank + 1
        return entries, blank
    for entry in _entries(file, file_format, _suffix(str(path)), side):
        entries.append(entry)
    if not entries:
        raise DataError(
            f"{name} should hold statements, but there is none in it. Check that it is the right file."
        )
    return entries, 0


def _entries(file: TextFile, file_format: str, suffix: str, side: Side) -> Iterator[FileStatement]:
    name = file.name
    if file_format == "json":
        yield from _json_entries(_json(file.text(), name), side, name)
    elif file_format == "jsonl":
        for number, line in enumerate(file.lines(), 1):
            if line.strip():
                yield file_statement(_json(line.rstrip("\n"), name, number), side, f"{name}, line {number},")
    elif file_format == "csv":
        yield from _csv_entries(file, "\t" if suffix == ".tsv" else ",", side)
    else:
        yield from map(FileStatement, split_statements(file.text()))


def _suffix(path: str) -> str:
    return Path(path.removesuffix(".gz").removesuffix(".zst")).suffix.lower()


def _recognise(file: TextFile, path: str) -> str:
    def filled() -> Iterator[str]:
        return (line.removesuffix("\n") for line in file.lines() if line.strip())

    suffix = _suffix(path)
    first, *others = islice(filled(), 2)
    begins = first.lstrip()[0]
    if suffix in (".json", ".jsonl", ".ndjson") or begins in "{[":
        in_lines = suffix in (".jsonl", ".ndjson") and begins != "["
        return "jsonl" if in_lines or (begins == "{" and others and others[0][0] == "{") else "json"
    if suffix in (".csv", ".tsv") and not _QUERY.match(first):
        return "csv"
    if all(map(_SPIDER_LINE.fullmatch, filled())):
        return "lines"
    whole = [_is_whole_query(line) for line in filled()] if others else [False]
    if sum(whole) < 0.9 * len(whole):
        return "sql"
    # If every statement ends in `;`, a blank line only separates them; else it is an empty statement.
    blank = any(not line.strip() for line in file.lines())
    return "sql" if blank and all(line.rstrip().endswith(";") for line in filled()) else "lines"


def _is_whole_query(line: str) -> bool:
    text = bare(line).strip().rstrip(";")
    depth, selects = 0, False
    for token in _OUTLINE.findall(text):
        depth += {"(": 1, ")": -1}.get(token, 0)
        selects = selects or (depth == 0 and token not in "()")
    return bool(selects and depth == 0 and _QUERY.match(text) and not _UNFINISHED.search(text))


def _line_entry(line: str) -> FileStatement:
    match = _SPIDER_LINE.fullmatch(line)
    sql, db = (match["sql"], match["db"]) if match else (line, None)
    return FileStatement(sql.strip(), db)


def _json(text: str, name: str, line: int = 0) -> Any:
    try:
        return parse_json(text)
    except json.JSONDecodeError as error:
        where = line or error.lineno
        raise DataError(
            f"{name} should be JSON, but line {where}, column {error.colno} is not: {error.msg}. "
            "Mend that line, or name the file's format."
        ) from None
    except ValueError as error:
        # The JSON is nested too deeply, or has a number of thousands of digits.
        raise DataError(
            f"{name} should be JSON that can be read, but {f'line {line}' if line else 'it'} is not: {error}. "
            "Check that it is the right file."
        ) from None


def _csv_entries(file: TextFile, separator: str, side: Side) -> Iterator[FileStatement]:
    name = file.name
    rows = csv.DictReader(file.lines(), delimiter=separator, strict=True)
    try:
        for index, row in enumerate(rows, 1):
            if None in row or None in row.values():
                count = len(rows.fieldnames or ())
                raise DataError(
                    f"{name}, row {index}, should have {count} cells, as its first line. Mend that row."
                )
            # `cli/output.py` puts a quote before a cell that a spreadsheet would calculate; it is taken off again.
            cells = {key: cell[cell[:2] in _QUOTED :] for key, cell in row.items()}
            yield file_statement(cells, side, f"{name}, row {index},")
    except csv.Error as error:
        raise DataError(
            f"{name} should be CSV, but it is not: {error}. Mend it, or name the file's format."
        ) from None


def _json_entries(value: Any, side: Side, name: str) -> Iterator[FileStatement]:
    if isinstance(value, list):
        for index, item in enumerate(value):
            yield file_statement(item, side, f"{name}, record {index},")
    elif isinstance(value, dict) and value and first_key(value, SQL_KEYS[side]):
        yield file_statement(value, side, f"{name}, record 0,")
    elif isinstance(value, dict):
        # The keys of BIRD's predictions count from 0; they are places, not question ids.
        places = {str(index) for index in range(len(value))}
        numbered = value.keys() == places
        keys = sorted(value, key=int) if numbered else list(value)
        for key in keys:
            entry = file_statement(value[key], side, f"{name}, record {key!r:.40},")
            yield entry if numbered or entry.question_id else _with_id(entry, key)
    else:
        raise DataError(
            f"{name} should hold a list or an object, but got {value!r:.60}. Check that it is the right file."
        )


def _with_id(entry: FileStatement, question_id: str) -> FileStatement:
    return FileStatement(entry.sql, entry.db, question_id, entry.question, entry.others, entry.extra)


def _missing(ours: Sequence[FileStatement], theirs: Sequence[FileStatement]) -> str:
    predicted, gold = ({entry.question_id for entry in entries} for entries in (ours, theirs))
    if None in predicted or None in gold:
        return ""
    parts = []
    for what, ids in (
        ("gold without prediction", gold - predicted),
        ("predictions without gold", predicted - gold),
    ):
        if ids:
            parts.append(f"{len(ids)} {what} (such as {sorted(ids, key=str)[0]})")
    return f"There are {' and '.join(parts)}. " if parts else ""


def _name(path: str | Path | FileStatements) -> str:
    if isinstance(path, FileStatements):
        return f"`{path[0].sql:.80}`"
    return "Standard input" if str(path) == "-" else f"`{path}`"
