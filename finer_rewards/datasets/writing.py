"""Writes rows as the files that a trainer reads: a folder that appears only when it is complete."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from finer_rewards._util.atomic_files import replacing
from finer_rewards._util.extras import extra
from finer_rewards.datasets.benchmark import Question
from finer_rewards.datasets.preparing import TrainingRow
from finer_rewards.errors import ConfigError

Record = dict[str, Any]

#: For each trainer, the file format that is used unless another is chosen.
TRAINERS: Final[Mapping[str, str]] = {"trl": "jsonl", "verl": "parquet", "openrlhf": "jsonl"}
FORMATS: Final = ("jsonl", "parquet")
#: The name of the file in the folder that lists what was left out and why.
REPORT: Final = "report.json"


def records_for(
    trainer: str, splits: Mapping[str, Sequence[TrainingRow]], source: str
) -> dict[str, list[Record]]:
    """Return the records of each split, as a trainer and its adapter in this package read them.

    * `trl`: `prompt` (messages), `gold_sql`, `db_id`, `question`, `question_id`, `evidence`, `level`.
    * `verl`: `data_source`, `prompt`, `ability`, `reward_model.ground_truth`, `extra_info.db` and further keys.
    * `openrlhf`: `input` (messages), `label` (JSON with `gold`, `db`, `question`), `datasource`, `question_id`.

    A gold is a text; but if any question has several golds, it is a list of texts in all records, since a column has
    one type. For questions without SQL, the right rows are in `answer`, as JSON.

    Args:
        trainer: one of `TRAINERS`.
        splits: rows by the name of their split.
        source: the value of `data_source` (verl) and `datasource` (OpenRLHF).

    Raises:
        ConfigError: there is no such trainer.
    """
    if trainer not in TRAINERS:
        raise ConfigError(f"`trainer` should be one of {', '.join(TRAINERS)}, but got {trainer!r}.")
    questions = [row.question for rows in splits.values() for row in rows]
    shape = _Shape(
        several=any(len(question.gold) > 1 for question in questions),
        gold=any(question.gold for question in questions),
        answer=any(question.answer is not None for question in questions),
    )
    write: Callable[[TrainingRow, _Shape, str, str, int], Record] = {
        "trl": _trl,
        "verl": _verl,
        "openrlhf": _openrlhf,
    }[trainer]
    return {
        split: [write(row, shape, source, split, index) for index, row in enumerate(rows)]
        for split, rows in splits.items()
    }


class _Shape:
    """Which columns the records have. All have the same, since Parquet cannot have a column in some records only."""

    def __init__(self, *, several: bool, gold: bool, answer: bool) -> None:
        self.several, self.has_gold, self.has_answer = several, gold, answer

    def gold(self, question: Question) -> Any:
        return list(question.gold) if self.several else next(iter(question.gold), "")

    def answer(self, question: Question) -> Record:
        rows = None if question.answer is None else json.dumps(question.answer, ensure_ascii=False)
        return {"answer": rows} if self.has_answer else {}


def _trl(row: TrainingRow, shape: _Shape, source: str, split: str, index: int) -> Record:
    question = row.question
    return {
        "question_id": question.question_id,
        "db_id": question.db,
        "question": question.text,
        "evidence": question.evidence,
        "level": question.level,
        **({"gold_sql": shape.gold(question)} if shape.has_gold else {}),
        **shape.answer(question),
        "prompt": list(row.prompt),
    }


def _verl(row: TrainingRow, shape: _Shape, source: str, split: str, index: int) -> Record:
    question = row.question
    return {
        "data_source": source,
        "prompt": list(row.prompt),
        "ability": "text-to-sql",
        "reward_model": {"style": "rule", "ground_truth": shape.gold(question)},
        "extra_info": {
            "split": split,
            "index": index,
            "question_id": question.question_id,
            "db": question.db,
            "question": question.text,
            "evidence": question.evidence,
            "level": question.level,
            **shape.answer(question),
        },
    }


def _openrlhf(row: TrainingRow, shape: _Shape, source: str, split: str, index: int) -> Record:
    question = row.question
    label = {"gold": shape.gold(question), "db": question.db, "question": question.text}
    return {
        "question_id": question.question_id,
        "datasource": source,
        "input": list(row.prompt),
        "label": json.dumps({**label, **shape.answer(question)}, ensure_ascii=False),
    }


def check_output(out: str | os.PathLike[str], file_format: str) -> None:
    """Raise if the folder cannot be written, before hours are spent on its contents.

    Raises:
        ConfigError: it is a file, the folder it lies in is missing, or it holds something that was not made here.
        MissingExtraError: the format is Parquet, but `pyarrow` is not installed.
    """
    folder = Path(out)
    if file_format not in FORMATS:
        raise ConfigError(f"`format` should be one of {', '.join(FORMATS)}, but got {file_format!r}.")
    if file_format == "parquet":
        _pyarrow()
    if folder.exists() and not folder.is_dir():
        raise ConfigError(f"`-o` should be a folder, but {folder} is a file. Pass another path.")
    if folder.is_dir() and any(folder.iterdir()) and not (folder / REPORT).is_file():
        raise ConfigError(
            f"`-o` should be a new folder, or one written by `finer-rewards prepare` before (then it is replaced), "
            f"but {folder} holds other things. Pass another path."
        )
    parent = folder.absolute().parent
    if not parent.is_dir():
        raise ConfigError(f"`-o` should lie in a folder that is there, but {parent} is not. Make it first.")


def write_folder(
    out: str | os.PathLike[str], records: Mapping[str, Sequence[Record]], file_format: str, report: Record
) -> list[Path]:
    """Write `SPLIT.jsonl` or `SPLIT.parquet` for each split, and the report; return the paths.

    Everything is written to another folder first, which takes the place of `out` at the end, so that an interruption
    leaves the previous contents.

    Args:
        out: the folder, which is replaced.
        records: the records of each split.
        file_format: `jsonl` or `parquet`.
        report: the contents of the report.

    Raises:
        ConfigError: see `check_output`.
    """
    check_output(out, file_format)
    folder = Path(out).absolute()
    with replacing(folder) as draft:
        draft.mkdir()
        for split, rows in records.items():
            _write(draft / f"{split}.{file_format}", rows, file_format)
        text = json.dumps(report, indent=2, ensure_ascii=False)
        (draft / REPORT).write_text(f"{text}\n", encoding="utf-8")
    return [folder / f"{split}.{file_format}" for split in records] + [folder / REPORT]


def _write(path: Path, rows: Sequence[Record], file_format: str) -> None:
    if file_format == "jsonl":
        with path.open("w", encoding="utf-8") as file:
            file.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    else:
        pyarrow = _pyarrow()
        pyarrow.parquet.write_table(pyarrow.Table.from_pylist(list(rows)), path)


def _pyarrow() -> Any:
    with extra("prepare", "Writing Parquet", "pyarrow"):
        import pyarrow
        import pyarrow.parquet
    return pyarrow
