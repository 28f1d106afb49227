"""Files of predictions and gold, as people have them -> entries, and the pairing of the two.

* `json`: a list of records or of texts, or BIRD's `{"0": "SQL\\t----- bird -----\\tdb_id"}`.
* `jsonl`: a record or a text a line.
* `lines`: a statement a line, as Spider has it: `SQL<TAB>db_id`, or no id; a blank one is empty SQL.
* `csv`: a record a row under a row of names (`.csv`, `.tsv`).
* `sql`: statements parted by `;`, over as many lines as they like, with comments.

A file is JSON when its name says so or its text begins with `{` or `[`; it is `jsonl` when the name says so,
or when its second line begins with `{` like the first. It is `lines` when each line ends in `<TAB>db_id`, or
when at least nine in ten are whole queries; blank lines between queries that all end in `;` make it `sql`.

Text is UTF-8 (or UTF-16 with its mark); a byte-order mark, Windows line ends and gzip are accepted.
"""

from __future__ import annotations

import csv
import gzip
import io
import json
import re
import sys
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal

from finer_rewards.errors import ConfigError, DataError, suggest
from finer_rewards.exact import parse_json
from finer_rewards.parsing import completion_text
from finer_rewards.sql_text import bare, split_statements

__all__ = ["FORMATS", "Entry", "read_pairs", "read_statements"]

Side = Literal["predicted", "gold"]

FORMATS: Final = ("csv", "json", "jsonl", "lines", "sql")

#: Where a record keeps what we want, first match first.
_COMPLETION_KEYS = ("completion", "response", "messages")
_PREDICTED_KEYS = ("predicted", "predicted_sql", "prediction", "pred_sql", "pred")
_SQL_KEYS: Final[Mapping[Side, tuple[str, ...]]] = {
    "predicted": (*_COMPLETION_KEYS, *_PREDICTED_KEYS, "sql", "SQL", "query"),
    "gold": ("gold", "gold_sql", "SQL", "sql", "query"),
}
_DB_KEYS = ("db_id", "db", "database", "db_name")
_ID_KEYS = ("question_id", "instance_id", "qid")
_QUESTION_KEYS = ("question", "utterance")

_QUOTED = ("'=", "'+", "'-", "'@")
_LARGEST = 4 << 30  # bytes of a file that is unpacked
_PACKED = {b"\x28\xb5\x2f\xfd": "unzstd", b"PK\x03\x04": "unzip", b"BZh": "bunzip2", b"\xfd7zXZ": "unxz"}
_ADDRESS = re.compile(r"[a-zA-Z][a-zA-Z0-9+.-]*://")

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


def read_pairs(
    predicted: str | Path,
    gold: str | Path,
    *,
    predicted_format: str | None = None,
    gold_format: str | None = None,
) -> list[tuple[Entry, Entry]]:
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
    theirs = read_statements(gold, side="gold", file_format=gold_format)
    ours, blank = _read(predicted, "predicted", predicted_format)
    # Blank lines at the end are empty predictions as far as there is gold for them.
    ours = ours[: max(len(theirs), len(ours) - blank)]
    names = (_name(predicted), _name(gold))
    if len(ours) != len(theirs):
        raise DataError(
            f"The two files should hold as many statements, but {names[0]} has {len(ours)} and "
            f"{names[1]} has {len(theirs)}. {_missing(ours, theirs)}"
            f"If a file was read wrongly, name its format ({', '.join(FORMATS)})."
        )
    ids = [[entry.question_id for entry in entries] for entries in (ours, theirs)]
    if None in ids[0] or None in ids[1] or ids[0] == ids[1]:
        return list(zip(ours, theirs, strict=True))
    by_id = {entry.question_id: entry for entry in ours}
    if len(by_id) < len(ours) or by_id.keys() != set(ids[1]):
        raise DataError(
            f"{names[0]} and {names[1]} should hold the same question ids, once each, but they differ. "
            f"{_missing(ours, theirs)}Mend the ids, or leave them out to pair by position."
        )
    return [(by_id[entry.question_id], entry) for entry in theirs]


def _read(path: str | Path, side: Side, file_format: str | None) -> tuple[list[Entry], int]:
    """Return the entries, and how many of the last ones are blank lines."""
    if file_format is not None and file_format not in FORMATS:
        raise ConfigError(
            f"The format should be one of {', '.join(FORMATS)}, but got {file_format!r}. "
            f"{suggest(file_format, FORMATS)}".rstrip()
        )
    name = _name(path)
    text = _text(path, name).replace("\r\n", "\n")
    if not text.strip():
        raise DataError(
            f"{name} should hold statements, but it is empty. Check that it was written to the end."
        )
    file_format = file_format or _recognise(text, str(path))
    blank = 0
    if file_format == "json":
        entries = list(_json_entries(_json(text, name), side, name))
    elif file_format == "jsonl":
        rows = ((number, line) for number, line in enumerate(text.split("\n"), 1) if line.strip())
        entries = [
            _entry(_json(line, name, number), side, f"{name}, line {number},") for number, line in rows
        ]
    elif file_format == "csv":
        entries = list(
            _csv_entries(text, "\t" if str(path).removesuffix(".gz").endswith(".tsv") else ",", side, name)
        )
    elif file_format == "lines":
        lines = text.removesuffix("\n").split("\n")
        entries = [_line_entry(line) for line in lines]
        blank = next(count for count, line in enumerate(reversed(lines)) if line.strip())
    else:
        entries = [Entry(statement) for statement in split_statements(text)]
    if not entries:
        raise DataError(
            f"{name} should hold statements, but there is none in it. Check that it is the right file."
        )
    return entries, blank


def _text(path: str | Path, name: str) -> str:
    if _ADDRESS.match(str(path)):
        raise DataError(
            f"{name} should be a file here, but it is an address: nothing is fetched. Download it first."
        )
    try:
        data = sys.stdin.buffer.read() if str(path) == "-" else Path(path).read_bytes()
    except FileNotFoundError:
        raise DataError(f"{name} should be a file, but there is none of that name. Check the path.") from None
    except IsADirectoryError:
        raise DataError(f"{name} should be a file, but it is a folder. Name a file in it.") from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise DataError(
            f"{name} should be readable, but: {reason}. Check the path and its permissions."
        ) from None
    data = _unpacked(data, name)
    if data.startswith(b"SQLite format 3\0"):
        raise DataError(
            f"{name} should hold statements, but it is a SQLite database. Pass it as the database."
        )
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        encoding, skipped = "UTF-16", 0
    else:
        encoding, skipped = "UTF-8", 3 if data.startswith(b"\xef\xbb\xbf") else 0
    try:
        return data[skipped:].decode(encoding)
    except UnicodeDecodeError as error:
        at = error.start + skipped
        raise DataError(
            f"{name} should be {encoding} text, but byte {at} (0x{data[at]:02x}) is not. Save it as UTF-8."
        ) from None


def _unpacked(data: bytes, name: str) -> bytes:
    """Return the content of a file packed by gzip; of another packer, say how to unpack it."""
    if data.startswith(b"\x1f\x8b"):
        packed = gzip.GzipFile(fileobj=io.BytesIO(data))
        try:
            data = packed.read(_LARGEST + 1)
        except (OSError, EOFError, zlib.error) as error:
            raise DataError(
                f"{name} should be whole, but unpacking it fails: {error}. Pack it again."
            ) from None
        if len(data) > _LARGEST:
            raise DataError(
                f"{name} should hold at most {_LARGEST >> 30} GiB unpacked, but it holds more. Unpack it, and cut it."
            )
    for begins, command in _PACKED.items():
        if data.startswith(begins):
            raise DataError(
                f"{name} should be text or packed by gzip, but it is not. Unpack it: `{command} FILE`."
            )
    return data


def _recognise(text: str, path: str) -> str:
    path = path.removesuffix(".gz")
    begins = text.lstrip()[0]
    if path.endswith((".json", ".jsonl", ".ndjson")) or begins in "{[":
        lines = [line for line in text.split("\n") if line.strip()]
        in_lines = path.endswith((".jsonl", ".ndjson")) and begins != "["
        return "jsonl" if in_lines or (begins == "{" and len(lines) > 1 and lines[1][0] == "{") else "json"
    lines = text.removesuffix("\n").split("\n")
    filled = [line for line in lines if line.strip()]
    if path.endswith((".csv", ".tsv")) and not _QUERY.match(text):
        return "csv"
    if all(_SPIDER_LINE.fullmatch(line) for line in filled):
        return "lines"
    if len(filled) < 2 or sum(map(_is_whole_query, filled)) < 0.9 * len(filled):
        return "sql"
    # Where every statement is closed by `;`, blank lines are only there for the eye.
    return (
        "sql" if len(filled) < len(lines) and all(line.rstrip().endswith(";") for line in filled) else "lines"
    )


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


def _csv_entries(text: str, separator: str, side: Side, name: str) -> Iterator[Entry]:
    try:
        rows = list(csv.DictReader(io.StringIO(text), delimiter=separator, strict=True))
    except csv.Error as error:
        raise DataError(
            f"{name} should be CSV, but it is not: {error}. Mend it, or name the file's format."
        ) from None
    for index, row in enumerate(rows, 1):
        if None in row or None in row.values():
            raise DataError(
                f"{name}, row {index}, should have {len(rows[0])} cells, as its first line. Mend that row."
            )
        # A quote before what a spreadsheet would calculate is ours: see `cli/output.py`.
        yield _entry(
            {key: cell[cell[:2] in _QUOTED :] for key, cell in row.items()}, side, f"{name}, row {index},"
        )


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
    # Spider keeps a parsed query under `sql`, beside its text.
    key = _first(value, [name for name in _SQL_KEYS[side] if not _is_parsed(name, value)])
    key = key or _first(value, _SQL_KEYS[side])
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
        str(value[question_id]) if question_id else None,
        str(value[question]) if question else "",
        tuple(others),
        {name: item for name, item in value.items() if name not in (key, db, question_id, question)},
    )


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
    present = [key for key in keys if key in record]
    return next((key for key in present if record[key] is not None), present[0] if present else None)


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
