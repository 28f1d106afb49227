"""Files of predictions and gold, as people have them -> entries, and the pairing of the two.

* `json`: a list of records or of texts, or BIRD's `{"0": "SQL\\t----- bird -----\\tdb_id"}`.
* `jsonl`: a record or a text a line.
* `lines`: a statement a line, as Spider has it: `SQL<TAB>db_id`, or no id; a blank one is empty SQL.
* `csv`: a record a row under a row of names (`.csv`, `.tsv`).
* `sql`: statements parted by `;`, over as many lines as they like, with comments.

A file is JSON when its name says so or its text begins with `{` or `[`; it is `jsonl` when the name says so,
or when its second line begins with `{` like the first. It is `lines` when each line ends in `<TAB>db_id`, or
when at least nine in ten are whole queries; blank lines between queries that all end in `;` make it `sql`.

Files are read as `TextFile` reads them. Entries are kept in a file where they are many; `jsonl`, `lines` and `csv`
are read line by line, so that they may be larger than memory.
"""

from __future__ import annotations

import csv
import json
import re
import sys
from array import array
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any, Final, Literal, overload

from finer_rewards.chat import Chat, completion_text, read_chat
from finer_rewards.errors import ConfigError, DataError, suggest
from finer_rewards.exact import parse_json
from finer_rewards.spool import Spool
from finer_rewards.sql_text import bare, split_statements
from finer_rewards.text_file import TextFile
from finer_rewards.types import Sample

__all__ = ["FORMATS", "ROW_KEYS", "Entries", "Entry", "Pairs", "read_pairs", "read_statements", "sample_of"]

Side = Literal["predicted", "gold"]

FORMATS: Final = ("csv", "json", "jsonl", "lines", "sql")

#: Where a record keeps what we want, first match first.
_COMPLETION_KEYS = ("completion", "response", "messages")
_PREDICTED_KEYS = ("predicted", "predicted_sql", "prediction", "pred_sql", "pred")
_GOLD_KEYS = ("gold", "gold_sql")
_SQL_KEYS: Final[Mapping[Side, tuple[str, ...]]] = {
    "predicted": (*_COMPLETION_KEYS, *_PREDICTED_KEYS, "sql", "SQL", "query"),
    "gold": (*_GOLD_KEYS, "SQL", "sql", "query"),
}
_DB_KEYS = ("db_id", "db", "database", "db_name")
_ID_KEYS = ("question_id", "instance_id", "qid")
_QUESTION_KEYS = ("question", "utterance")

#: What rows for trainers have besides a completion, as `prepare` writes them.
ROW_KEYS = frozenset(
    (
        *(*_COMPLETION_KEYS, *_PREDICTED_KEYS, *_GOLD_KEYS, *_DB_KEYS, *_ID_KEYS, *_QUESTION_KEYS),
        *("prompt", "evidence", "level", "input", "label", "datasource", "data_source", "ability"),
        *("reward_model", "extra_info", "step", "id"),
    )
)

_QUOTED = ("'=", "'+", "'-", "'@")

_BIRD_MARK = "\t----- bird -----\t"
_SPIDER_LINE = re.compile(r"(?P<sql>.*)\t[ ]*(?P<db>[\w.-]+)\s*", re.DOTALL)
_QUERY = re.compile(r"\s*(?:select|with|values)\b", re.IGNORECASE)
_OUTLINE = re.compile(r"[()]|\b(?:select|values)\b", re.IGNORECASE)
_UNFINISHED = re.compile(
    r"(?:,|\b(?:union|all|intersect|except|from|where|and|or|on|by|join|as|in))\s*\Z", re.IGNORECASE
)


@dataclass(frozen=True)
class Entry:
    """One statement (or completion) of a file.

    Args:
        sql: the text; empty where the file has an empty prediction.
        db: the database it names, if any.
        question_id: its id, if any.
        question: the question, if the file has it.
        others: further gold statements that are as good.
        extra: everything else in its record.
    """

    sql: str
    db: str | None = None
    question_id: str | None = None
    question: str = ""
    others: tuple[str, ...] = ()
    extra: Mapping[str, Any] = field(default_factory=dict, hash=False)


def read_statements(
    path: str | Path, *, side: Side = "predicted", file_format: str | None = None
) -> list[Entry]:
    """Return what a file of statements holds, in its order.

    Args:
        path: the file; `-` is standard input.
        side: which fields of a JSON record to read: predictions or gold.
        file_format: one of `FORMATS`; `None` means it is recognised by the content.

    Returns:
        The entries; blank lines at the end of a file of lines are not counted.

    Raises:
        ConfigError: there is no such format.
        DataError: the file is missing, a folder, empty, not UTF-8, not the JSON it should be, or a record has
            no SQL.

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


class Entries(Spool[Entry]):
    """The entries of a file; of each, its database and what its id hashes to stay in memory."""

    def __init__(self, entries: Iterable[Entry] = ()) -> None:
        self.dbs: list[str | None] = []
        self.ids = array("q")
        self.all_ids = True
        super().__init__(entries)

    def append(self, item: Entry) -> None:
        """Add an entry."""
        super().append(item)
        self.dbs.append(item.db and sys.intern(item.db))
        self.ids.append(hash(item.question_id))
        self.all_ids = self.all_ids and item.question_id is not None

    def cut(self, count: int) -> Entries:
        """Return the first entries, as many as `count`."""
        return self if count == len(self) else Entries(self[:count])


class Pairs(Sequence[tuple[Entry, Entry]]):
    """Predictions with their golds, in the order of the golds.

    Args:
        predicted: the predictions.
        gold: the golds.
        places: where the prediction for each gold stands.
    """

    def __init__(self, predicted: Entries, gold: Entries, places: Sequence[int]) -> None:
        self.predicted, self.gold, self._places = predicted, gold, places

    def dbs(self) -> Iterator[tuple[str | None, str | None]]:
        """Yield the database that each prediction names, and its gold."""
        return (
            (self.predicted.dbs[place], db) for place, db in zip(self._places, self.gold.dbs, strict=True)
        )

    def __len__(self) -> int:
        return len(self.gold)

    @overload
    def __getitem__(self, index: int) -> tuple[Entry, Entry]: ...

    @overload
    def __getitem__(self, index: slice) -> list[tuple[Entry, Entry]]: ...

    def __getitem__(self, index: int | slice) -> tuple[Entry, Entry] | list[tuple[Entry, Entry]]:
        if isinstance(index, slice):
            return [self[place] for place in range(*index.indices(len(self)))]
        return self.predicted[self._places[index]], self.gold[index]


def read_pairs(
    predicted: str | Path,
    gold: str | Path,
    *,
    predicted_format: str | None = None,
    gold_format: str | None = None,
) -> Pairs:
    """Return each prediction with its gold.

    They are paired by question id when every record of both files has one, otherwise by position.

    Args:
        predicted: file of predictions; `-` is standard input.
        gold: file of gold statements.
        predicted_format: one of `FORMATS`; `None` means it is recognised.
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
    # Blank lines at the end are empty predictions as far as there is gold for them.
    ours = ours.cut(max(min(len(theirs), len(ours)), len(ours) - blank))
    names = (_name(predicted), _name(gold))
    if len(ours) != len(theirs):
        raise DataError(
            f"The two files should hold as many statements, but {names[0]} has {len(ours)} and "
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


def _read(path: str | Path, side: Side, file_format: str | None) -> tuple[Entries, int]:
    """Return the entries, and how many of the last ones are blank lines."""
    if file_format is not None and file_format not in FORMATS:
        raise ConfigError(
            f"The format should be one of {', '.join(FORMATS)}, but got {file_format!r}. "
            f"{suggest(file_format, FORMATS)}".rstrip()
        )
    entries, blank = Entries(), 0
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


def _entries(file: TextFile, file_format: str, suffix: str, side: Side) -> Iterator[Entry]:
    name = file.name
    if file_format == "json":
        yield from _json_entries(_json(file.text(), name), side, name)
    elif file_format == "jsonl":
        for number, line in enumerate(file.lines(), 1):
            if line.strip():
                yield _entry(_json(line.rstrip("\n"), name, number), side, f"{name}, line {number},")
    elif file_format == "csv":
        yield from _csv_entries(file, "\t" if suffix == ".tsv" else ",", side)
    else:
        yield from map(Entry, split_statements(file.text()))


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
    # Where every statement is closed by `;`, blank lines are only there for the eye.
    blank = any(not line.strip() for line in file.lines())
    return "sql" if blank and all(line.rstrip().endswith(";") for line in filled()) else "lines"


def _is_whole_query(line: str) -> bool:
    text = bare(line).strip().rstrip(";")
    depth, selects = 0, False
    for token in _OUTLINE.findall(text):
        depth += {"(": 1, ")": -1}.get(token, 0)
        selects = selects or (depth == 0 and token not in "()")
    return bool(selects and depth == 0 and _QUERY.match(text) and not _UNFINISHED.search(text))


def _line_entry(line: str) -> Entry:
    match = _SPIDER_LINE.fullmatch(line)
    sql, db = (match["sql"], match["db"]) if match else (line, None)
    return Entry(sql.strip(), db)


def _json(text: str, name: str, line: int = 0) -> Any:
    try:
        return parse_json(text)
    except json.JSONDecodeError as error:
        where = line or error.lineno
        raise DataError(
            f"{name} should be JSON, but line {where}, column {error.colno} is not: {error.msg}. "
            "Mend that line, or name the file's format."
        ) from None
    except ValueError as error:  # nested too deeply, or a number of thousands of digits
        raise DataError(
            f"{name} should be JSON that can be read, but {f'line {line}' if line else 'it'} is not: {error}. "
            "Check that it is the right file."
        ) from None


def _csv_entries(file: TextFile, separator: str, side: Side) -> Iterator[Entry]:
    name = file.name
    rows = csv.DictReader(file.lines(), delimiter=separator, strict=True)
    try:
        for index, row in enumerate(rows, 1):
            if None in row or None in row.values():
                count = len(rows.fieldnames or ())
                raise DataError(
                    f"{name}, row {index}, should have {count} cells, as its first line. Mend that row."
                )
            # A quote before what a spreadsheet would calculate is ours: see `cli/output.py`.
            cells = {key: cell[cell[:2] in _QUOTED :] for key, cell in row.items()}
            yield _entry(cells, side, f"{name}, row {index},")
    except csv.Error as error:
        raise DataError(
            f"{name} should be CSV, but it is not: {error}. Mend it, or name the file's format."
        ) from None


def _json_entries(value: Any, side: Side, name: str) -> Iterator[Entry]:
    if isinstance(value, list):
        for index, item in enumerate(value):
            yield _entry(item, side, f"{name}, record {index},")
    elif isinstance(value, dict) and value and _first(value, _SQL_KEYS[side]):
        yield _entry(value, side, f"{name}, record 0,")
    elif isinstance(value, dict):
        # BIRD numbers its predictions from 0: places in the file, not question ids.
        places = {str(index) for index in range(len(value))}
        numbered = value.keys() == places
        keys = sorted(value, key=int) if numbered else list(value)
        for key in keys:
            entry = _entry(value[key], side, f"{name}, record {key!r:.40},")
            yield entry if numbered or entry.question_id else _with_id(entry, key)
    else:
        raise DataError(
            f"{name} should hold a list or an object, but got {value!r:.60}. Check that it is the right file."
        )


def _with_id(entry: Entry, question_id: str) -> Entry:
    return Entry(entry.sql, entry.db, question_id, entry.question, entry.others, entry.extra)


def _entry(value: Any, side: Side, where: str) -> Entry:
    if isinstance(value, str):
        text, _, bird_db = value.partition(_BIRD_MARK)
        return Entry(text.strip(), bird_db.strip() or None)
    if not isinstance(value, dict):
        raise DataError(
            f"{where} should be a record or a text, but got {value!r:.60}. Write an object with `sql`."
        )
    value = _flat(value)
    present = [name for name in _SQL_KEYS[side] if name in value]
    # Spider keeps a parsed query under `sql`, beside its text.
    key = _first(value, [name for name in present if not _is_parsed(name, value)]) or _first(value, present)
    if key is None:
        raise DataError(
            f"{where} should have one of the fields {', '.join(_SQL_KEYS[side])}, but it has only "
            f"{', '.join(map(str, value))[:200] or 'none'}. Rename the one that holds the SQL."
        )
    first, *others = _statements(key, value[key], side, where)
    db, question_id, question = (_first(value, keys) for keys in (_DB_KEYS, _ID_KEYS, _QUESTION_KEYS))
    sql, _, bird_db = first.partition(_BIRD_MARK)
    return Entry(
        sql.strip(),
        str(value[db]) if db else bird_db.strip() or None,
        str(value[question_id]) if question_id and value[question_id] is not None else None,
        str(value[question]) if question else "",
        tuple(others),
        {name: item for name, item in value.items() if name not in (key, db, question_id, question)},
    )


def sample_of(record: Mapping[str, Any], where: str) -> Sample:
    """Return the sample of a record with a completion: of a score log, a request, or a row that `prepare` wrote.

    Args:
        record: its fields, under any of the names that files of predictions and golds have.
        where: what to call it in a message.

    Raises:
        DataError: it has no completion, no gold or answer, or no database, or one of another type.

    Example:
        >>> sample_of({"completion": "SELECT 1", "gold_sql": "SELECT 2", "db_id": "pets"}, "row 1").db
        'pets'
    """
    fields = _flat(record)

    def first(*keys: str) -> Any:
        key = _first(fields, keys)
        return None if key is None else fields[key]

    completion, db = first(*_COMPLETION_KEYS, *_PREDICTED_KEYS), first(*_DB_KEYS)
    gold, answer = first(*_GOLD_KEYS), fields.get("answer")
    has = ", ".join(map(str, record))
    if completion is None:
        if "status" not in record:
            raise DataError(f"{where} should have a text `completion`, but it has {has}. Add it.")
        completion = ""  # a completion without SQL, logged without its text
    if not db or (gold is None and answer is None):
        raise DataError(f"{where} should have `gold` and `db`, but it has {has}. Add them.")
    name, step, meta = first("id", *_ID_KEYS), fields.get("step"), fields.get("meta")
    found = {name: value for name, value in (("id", name), ("step", step)) if value is not None}
    calls, turns = fields.get("calls"), fields.get("turns")
    try:
        chat = read_chat(completion)
        if (
            isinstance(completion, str) and isinstance(calls, list) and isinstance(turns, int)
        ):  # of a score log
            chat = Chat(completion, tuple(calls), turns)
        return Sample(
            chat,
            () if gold is None else gold,
            db,
            first(*_QUESTION_KEYS) or "",
            fields.get("dialect"),
            parse_json(answer) if isinstance(answer, str) else answer,
            {**found, **meta} if isinstance(meta, Mapping) else found if meta is None else meta,
        )
    except (ConfigError, ValueError) as error:
        raise DataError(f"{where} cannot be used. {error}") from None


def _flat(record: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return a record with what rows for verl and OpenRLHF keep one level down."""
    truth, label = record.get("reward_model"), record.get("label")
    if isinstance(label, str) and label.startswith("{"):
        try:
            label = parse_json(label)
        except ValueError:
            label = None
    inner = [one for one in (label, record.get("extra_info")) if isinstance(one, dict)]
    if isinstance(truth, dict) and "ground_truth" in truth:
        inner.append({"gold": truth["ground_truth"]})
    return {name: value for one in (*inner, record) for name, value in one.items()} if inner else record


def _statements(key: str, value: Any, side: Side, where: str) -> list[str]:
    if key in _COMPLETION_KEYS and isinstance(value, (list, dict)):
        try:
            return [completion_text(value)]
        except ConfigError as error:
            raise DataError(f"{where} cannot be read. {error}") from None
    if isinstance(value, str):
        return [value]
    if value is None and side == "predicted":
        return [""]
    if side == "gold" and isinstance(value, list) and value and all(isinstance(item, str) for item in value):
        return value
    wanted = "text" if side == "predicted" else "text or a list of texts"
    raise DataError(f"{where} should have {wanted} in `{key}`, but got {value!r:.60}. Mend the record.")


def _is_parsed(name: str, record: Mapping[str, Any]) -> bool:
    return name not in _COMPLETION_KEYS and isinstance(record.get(name), dict)


def _first(record: Mapping[str, Any], keys: Sequence[str]) -> str | None:
    """Return the first key that is there, one with a value before one that is null."""
    null = None
    for key in keys:
        if key in record:
            if record[key] is not None:
                return key
            null = null or key
    return null


def _missing(ours: Sequence[Entry], theirs: Sequence[Entry]) -> str:
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


def _name(path: str | Path) -> str:
    return "Standard input" if str(path) == "-" else f"`{path}`"
