"""Reads a benchmark (questions with gold SQL and difficulty, and their databases), and pairs predictions with it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from finer_rewards._statement_files import read_statements
from finer_rewards._statement_records import FileStatement
from finer_rewards.datasets.hardness import HARDNESS, hardness
from finer_rewards.errors import DataError
from finer_rewards.types import Row

#: Difficulties in order, easiest first: Spider's, then BIRD's.
LEVELS = (*HARDNESS, "simple", "moderate", "challenging")
#: The prediction for a question that has none.
MISSING = FileStatement("")
_QUESTION_FILES = ("dev.json", "dev_gold.sql", "mini_dev_sqlite.json", "test.json")
_DATABASE_FOLDERS = ("database", "databases", "dev_databases", "test_database", "test_databases")


@dataclass(frozen=True)
class Question:
    """One question.

    Args:
        place: its place in the whole benchmark, from 0, by which predictions without ids are paired.
        question_id: its id, or its place as text.
        db: the database id.
        gold: the gold statements, each of them a right answer.
        text: the question in words.
        level: how hard it is.
        evidence: the hint that comes with it, as in BIRD.
        answer: the right rows, for a question that has these instead of gold SQL.
    """

    place: int
    question_id: str
    db: str
    gold: tuple[str, ...]
    text: str
    level: str
    evidence: str = ""
    answer: tuple[Row, ...] | None = None


@dataclass(frozen=True)
class Benchmark:
    """Questions, and where their databases are.

    Args:
        name: the file that the questions come from.
        questions: in the order of the file.
        databases: the folder of databases.
        bird: whether it is laid out as BIRD, whose evaluator compares sets of rows.
    """

    name: str
    questions: tuple[Question, ...]
    databases: Path
    bird: bool


def read_benchmark(path: str | Path, databases: str | Path | None = None) -> Benchmark:
    """Return a benchmark.

    Args:
        path: a folder as Spider or BIRD unpack (`dev.json` and `database/` or `dev_databases/`), or a file of
            questions with gold SQL.
        databases: the folder of databases, if it is not beside the questions.

    Raises:
        DataError: the questions or the databases are missing, or a question has no gold or no database.
    """
    place = Path(path)
    file = place
    if place.is_dir():
        found = [place / name for name in _QUESTION_FILES if (place / name).is_file()]
        if not found:
            raise DataError(
                f"`{path}` should be a benchmark folder with {', '.join(_QUESTION_FILES[:2])} or the like, but it "
                "has none of them. Name the file of questions, and its databases with --db."
            )
        file = found[0]
    entries = read_statements(file, side="gold")
    if databases is None:
        names = sorted(
            _DATABASE_FOLDERS, key=lambda name: name.startswith("test") != file.name.startswith("test")
        )
        beside = [file.parent / name for name in names]
        folder = next((folder for folder in beside if folder.is_dir()), None)
        if folder is None:
            raise DataError(
                f"`{path}` should have its databases beside it ({', '.join(_DATABASE_FOLDERS)}), but there are "
                "none. Name their folder with --db."
            )
    else:
        folder = Path(databases)
        if not folder.is_dir():
            raise DataError(
                f"`--db` should be the folder of databases, but {databases} is none. Check the path."
            )
    bird = any(
        "SQL" in entry.extra or "evidence" in entry.extra or "difficulty" in entry.extra for entry in entries
    )
    questions = tuple(question_of(index, entry, str(file)) for index, entry in enumerate(entries))
    return Benchmark(str(file), questions, folder, bird)


def pair_predictions(
    questions: Sequence[Question], entries: Sequence[FileStatement], name: str
) -> list[FileStatement]:
    """Return the prediction for each question, paired by question id if both have ids, else by place.

    Predictions for questions that the benchmark lacks are ignored, so that a part of a benchmark can be evaluated
    with a whole prediction file. If the predictions have ids, a question without a prediction gets `MISSING`.

    Args:
        questions: the questions of the benchmark.
        entries: the predictions of one file.
        name: that file, for messages.

    Raises:
        DataError: a question has no prediction, or it is for another database.
    """
    by_id = {entry.question_id: entry for entry in entries}
    times = Counter(entry.question_id for entry in entries)
    if all(times[question.question_id] == 1 for question in questions):
        found = [by_id[question.question_id] for question in questions]
    elif (
        None not in by_id
        and len(by_id) == len(entries)
        and any(one.question_id in by_id for one in questions)
    ):
        found = [by_id.get(question.question_id, MISSING) for question in questions]
    elif len(entries) == len(questions):
        found = list(entries)
    elif all(question.place < len(entries) for question in questions):
        found = [entries[question.place] for question in questions]
    else:
        raise DataError(
            f"`{name}` should hold a prediction for each of the {len(questions)} questions, but it holds "
            f"{len(entries)}. Write one a line in the order of the questions, or give both question ids."
        )
    for question, entry in zip(questions, found, strict=True):
        if entry.db is not None and entry.db != question.db:
            raise DataError(
                f"`{name}` should be in the order of the questions, but its prediction for question "
                f"{question.question_id} is for the database {entry.db!r} instead of {question.db!r}. "
                "Give both question ids, or put them in the same order."
            )
    return found


def question_of(index: int, entry: FileStatement, name: str) -> Question:
    """Return the question of one record.

    Args:
        index: the place of the record, from 0.
        entry: the record, as the reader of files returns it.
        name: the file, for messages.

    Raises:
        DataError: the record names no database.
    """
    if entry.db is None:
        raise DataError(f"{name}, question {index}, should name its database in `db_id`, but it does not.")
    place = entry.extra.get("idx")
    if place is None and entry.question_id is not None and entry.question_id.isdecimal():
        place = int(entry.question_id)
    level = entry.extra.get("difficulty") or entry.extra.get("hardness") or hardness(entry.sql)
    return Question(
        place=place if isinstance(place, int) else index,
        question_id=entry.question_id or str(index if place is None else place),
        db=entry.db,
        gold=(entry.sql, *entry.others),
        text=entry.question,
        level=str(level),
        evidence=str(entry.extra.get("evidence") or ""),
    )
