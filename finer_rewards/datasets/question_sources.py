"""Reads questions to train on: Spider and BIRD folders, JSONL, WikiTableQuestions, or the Hugging Face hub."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

from finer_rewards._statement_files import read_statements
from finer_rewards._statement_records import FileStatement
from finer_rewards._util.extras import extra
from finer_rewards.datasets.benchmark import Question, question_of
from finer_rewards.errors import ConfigError, DataError

#: How the name of a data set on the hub begins, as in `hub:xlangai/spider`.
HUB: Final = "hub:"

#: For each part, the files of questions and the folders of databases under the names that the benchmarks use.
PARTS: Final[Mapping[str, tuple[tuple[str, ...], ...]]] = {
    "train": (("train_spider.json", "train_others.json"), ("train.json",), ("train.jsonl",)),
    "dev": (("dev.json",), ("mini_dev_sqlite.json",), ("dev.jsonl",)),
    "test": (("test.json",), ("test.jsonl",)),
}
_FOLDERS: Final = ("{part}_databases", "{part}_database", "database", "databases")
_WTQ_COLUMNS: Final = ("id", "utterance", "context", "targetValue")


@dataclass(frozen=True)
class QuestionSource:
    """Questions, and where their databases are.

    Args:
        name: the file, folder or hub id that they were read from.
        kind: `spider`, `bird`, `wtq` or `jsonl`, which decides the hints in a prompt.
        questions: in their order.
        databases: the folder of databases, or one database.
    """

    name: str
    kind: str
    questions: tuple[Question, ...]
    databases: Path


def read_source(data: str, databases: str | None = None, *, part: str = "train") -> QuestionSource:
    """Read questions with gold SQL, or with answers.

    Args:
        data: a folder as Spider or BIRD unpack; a JSON or JSONL file of records with `question`, `db_id` and
            the gold in `query`, `SQL` or the like; a TSV file of WikiTableQuestions; or `hub:OWNER/NAME`, a
            data set of the Hugging Face hub with these columns.
        databases: the folder of databases, if it is not beside the questions; or one database for all.
        part: the part of a folder or of a hub data set to read: `train`, `dev` or `test`.

    Raises:
        DataError: a file is missing, or a record lacks a field; the message says which and where.
        MissingExtraError: a hub id is given, but `datasets` is not installed.
    """
    if part not in PARTS:
        raise ConfigError(f"`part` should be one of {', '.join(PARTS)}, but got {part!r}.")
    if data.startswith(HUB):
        entries, folder = _from_hub(data.removeprefix(HUB), part), None
    else:
        place = Path(data)
        files = _files(place, part) if place.is_dir() else [place]
        folder = files[0].parent
        if files[0].suffix == ".tsv":
            return QuestionSource(
                data, "wtq", tuple(_wtq(files[0])), _databases(data, databases, folder, part)
            )
        entries = [entry for file in files for entry in read_statements(file, side="gold")]
    without = [number for number, entry in enumerate(entries, 1) if not entry.question.strip()]
    if without:
        fields = ", ".join(["the SQL", *entries[without[0] - 1].extra]) or "nothing else"
        raise DataError(
            f"`{data}` should have the question in `question`, but {len(without)} of {len(entries)} records have "
            f"none; record {without[0]} has {fields}. Add the column, or rename the one that holds it."
        )
    if databases is not None and not Path(databases).is_dir():
        # `databases` is a single database, which the records need not name.
        entries = [replace(entry, db=entry.db or Path(databases).stem) for entry in entries]
    questions = tuple(question_of(index, entry, data) for index, entry in enumerate(entries))
    return QuestionSource(data, _kind(data, entries), questions, _databases(data, databases, folder, part))


def _files(folder: Path, part: str) -> list[Path]:
    for names in PARTS[part]:
        found = [folder / name for name in names if (folder / name).is_file()]
        if found:
            return found
    wanted = ", ".join(name for names in PARTS[part] for name in names)
    others = [
        other
        for other, groups in PARTS.items()
        if any((folder / name).is_file() for names in groups for name in names)
    ]
    hint = (
        f"It has the part {others[0]}: pass --part {others[0]}." if others else "Name the file of questions."
    )
    raise DataError(
        f"`{folder}` should have the questions of the part {part} ({wanted}), but has none. {hint}"
    )


def _databases(data: str, databases: str | None, folder: Path | None, part: str) -> Path:
    if databases is not None:
        return Path(databases)
    names = [name.format(part=part) for name in _FOLDERS]
    found = [folder / name for name in names if (folder / name).is_dir()] if folder else []
    if not found:
        raise DataError(
            f"`{data}` should have its databases beside it ({', '.join(names)}), but there are none. "
            "Name their folder with --db."
        )
    return found[0]


def _kind(data: str, entries: Sequence[FileStatement]) -> str:
    """Return which benchmark the records look like: BIRD has evidence, Spider its name or the tokens of the query."""
    first = entries[0].extra
    # It is not enough that the column is there: rows that `prepare` wrote always have it, often empty.
    if any(entry.extra.get("evidence") for entry in entries):
        return "bird"
    if "query_toks" in first or "spider" in data.lower():
        return "spider"
    return "jsonl"


def _from_hub(name: str, part: str) -> list[FileStatement]:
    with extra("prepare", f"`{HUB}{name}`", "datasets"):
        import datasets
    split = {"dev": "validation"}.get(part, part)
    try:
        loaded = datasets.load_dataset(name, split=split)
    except (OSError, ValueError) as error:
        # The hub cannot be reached, or the data set or the split does not exist.
        offline = os.environ.get("HF_HUB_OFFLINE") or os.environ.get("HF_DATASETS_OFFLINE")
        why = (str(error).strip() or type(error).__name__).splitlines()[0].removesuffix(".")
        raise DataError(
            f"`{HUB}{name}` should be a data set of the hub with a split {split!r}, but it cannot be loaded: {why}. "
            + ("HF_HUB_OFFLINE is set: unset it, or " if offline else "Check the name and the network, or ")
            + "download it elsewhere and pass the folder or file."
        ) from None
    with TemporaryDirectory() as folder:
        # The rows are written to a file and read again, so that the checks and the column names are those of files.
        file = Path(folder) / "rows.jsonl"
        with file.open("w", encoding="utf-8") as lines:
            lines.writelines(json.dumps(dict(row), default=str) + "\n" for row in loaded)
        try:
            return read_statements(file, side="gold")
        except DataError as error:
            raise DataError(str(error).replace(f"`{file}`", f"`{HUB}{name}`")) from None


def _wtq(file: Path) -> Iterator[Question]:
    """Yield the questions of a TSV file of WikiTableQuestions; the database is the table, as Squall names it."""
    try:
        lines = file.read_text(encoding="utf-8").split("\n")
    except FileNotFoundError:
        raise DataError(
            f"`{file}` should be a file, but there is none of that name. Check the path."
        ) from None
    head = lines[0].rstrip("\r").split("\t")
    if tuple(head) != _WTQ_COLUMNS:
        raise DataError(
            f"`{file}` should have the columns {', '.join(_WTQ_COLUMNS)}, but has {', '.join(head)[:200]}. "
            "Pass a file of questions of WikiTableQuestions."
        )
    for number, line in enumerate(lines[1:], 2):
        cells = line.rstrip("\r").split("\t")
        if line.strip():
            if len(cells) != len(head):
                raise DataError(
                    f"`{file}`, line {number}, should have {len(head)} columns, but has {len(cells)}. Mend the line."
                )
            yield _wtq_question(number - 2, cells, f"`{file}`, line {number},")


def _wtq_question(place: int, cells: Sequence[str], where: str) -> Question:
    question_id, text, context, target = cells
    parts = context.split("/")
    if len(parts) != 3:
        raise DataError(
            f"{where} should name its table as csv/203-csv/515.csv, but got {context!r}. Mend it."
        )
    db = f"{parts[1].removesuffix('-csv')}_{parts[2].removesuffix('.csv')}"
    answer: tuple[tuple[Any, ...], ...] = tuple((_unescaped(item),) for item in target.split("|"))
    return Question(place, question_id, db, (), text, "", answer=answer)


def _unescaped(text: str) -> str:
    return text.replace("\\n", "\n").replace("\\p", "|").replace("\\\\", "\\")
