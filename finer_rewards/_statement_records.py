"""Reads a record of a file as a statement or a sample: knows the usual names of fields, and the rows of trainers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from finer_rewards._chat import Chat, completion_text, read_chat
from finer_rewards._util.lossless_json import parse_json
from finer_rewards.errors import ConfigError, DataError
from finer_rewards.types import Sample

Side = Literal["predicted", "gold"]

# The names that fields have in the files of others; the first that is there counts.
_COMPLETION_KEYS = ("completion", "response", "messages")
_PREDICTED_KEYS = ("predicted", "predicted_sql", "prediction", "pred_sql", "pred")
_GOLD_KEYS = ("gold", "gold_sql")
SQL_KEYS: Final[Mapping[Side, tuple[str, ...]]] = {
    "predicted": (*_COMPLETION_KEYS, *_PREDICTED_KEYS, "sql", "SQL", "query"),
    "gold": (*_GOLD_KEYS, "SQL", "sql", "query"),
}
_DB_KEYS = ("db_id", "db", "database", "db_name")
_ID_KEYS = ("question_id", "instance_id", "qid")
_QUESTION_KEYS = ("question", "utterance")

#: The fields of rows that `prepare` writes for trainers.
ROW_KEYS = frozenset(
    (
        *(*_COMPLETION_KEYS, *_PREDICTED_KEYS, *_GOLD_KEYS, *_DB_KEYS, *_ID_KEYS, *_QUESTION_KEYS),
        *("prompt", "evidence", "level", "input", "label", "datasource", "data_source", "ability"),
        *("reward_model", "extra_info", "step", "id"),
    )
)
_BIRD_MARK = "\t----- bird -----\t"


@dataclass(frozen=True)
class FileStatement:
    """One statement (or completion) of a file.

    Args:
        sql: the text; empty for an empty prediction.
        db: the database that the record names, if any.
        question_id: its id, if any.
        question: the question, if the record has it.
        others: further gold statements, each of them also right.
        extra: all other fields of the record.
    """

    sql: str
    db: str | None = None
    question_id: str | None = None
    question: str = ""
    others: tuple[str, ...] = ()
    extra: Mapping[str, Any] = field(default_factory=dict, hash=False)


def file_statement(value: Any, side: Side, where: str) -> FileStatement:
    if isinstance(value, str):
        text, _, bird_db = value.partition(_BIRD_MARK)
        return FileStatement(text.strip(), bird_db.strip() or None)
    if not isinstance(value, dict):
        raise DataError(
            f"{where} should be a record or a text, but got {value!r:.60}. Write an object with `sql`."
        )
    value = _flat(value)
    present = [name for name in SQL_KEYS[side] if name in value]
    # In Spider's records `sql` is the parsed query; its text is in `query`.
    key = first_key(value, [name for name in present if not _is_parsed(name, value)]) or first_key(
        value, present
    )
    if key is None:
        raise DataError(
            f"{where} should have one of the fields {', '.join(SQL_KEYS[side])}, but it has only "
            f"{', '.join(map(str, value))[:200] or 'none'}. Rename the one that holds the SQL."
        )
    first, *others = _statements(key, value[key], side, where)
    db, question_id, question = (first_key(value, keys) for keys in (_DB_KEYS, _ID_KEYS, _QUESTION_KEYS))
    sql, _, bird_db = first.partition(_BIRD_MARK)
    return FileStatement(
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
        where: the name of the record in messages.

    Raises:
        DataError: the completion, the database, or both gold and answer are missing, or a field has the wrong type.

    Example:
        >>> sample_of({"completion": "SELECT 1", "gold_sql": "SELECT 2", "db_id": "pets"}, "row 1").db
        'pets'
    """
    fields = _flat(record)

    def first(*keys: str) -> Any:
        key = first_key(fields, keys)
        return None if key is None else fields[key]

    completion, db = first(*_COMPLETION_KEYS, *_PREDICTED_KEYS), first(*_DB_KEYS)
    gold, answer = first(*_GOLD_KEYS), fields.get("answer")
    has = ", ".join(f"`{name}`" for name in record)
    if completion is None:
        if "status" not in record:
            raise DataError(f"{where} should have a text `completion`, but it has only {has}. Add it.")
        # A score log without completions, and a completion without SQL: neither is in the record.
        completion = ""
    if not db or (gold is None and answer is None):
        raise DataError(f"{where} should have `gold` and `db`, but it has only {has}. Add them.")
    name, step, meta = first("id", *_ID_KEYS), fields.get("step"), fields.get("meta")
    found = {name: value for name, value in (("id", name), ("step", step)) if value is not None}
    calls, turns = fields.get("calls"), fields.get("turns")
    try:
        chat = read_chat(completion)
        if isinstance(completion, str) and isinstance(calls, list) and isinstance(turns, int):
            # A score log has the calls beside the text of the completion.
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
    """Return a record with the fields that rows for verl and OpenRLHF keep in a nested object."""
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


def first_key(record: Mapping[str, Any], keys: Sequence[str]) -> str | None:
    """Return the first key that has a value in the record; else the first key that is there with null."""
    null = None
    for key in keys:
        if key in record:
            if record[key] is not None:
                return key
            null = null or key
    return null
