"""The messages between server and clients as mappings of JSON values, which `lossless_json.py` writes as JSON.

Whatever is read is checked, because anybody may send anything.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, fields
from typing import Any

from finer_rewards._statement_records import ROW_KEYS, sample_of
from finer_rewards.comparing import Comparison, Mode
from finer_rewards.comparing.partial_results import ResultPair
from finer_rewards.comparing.result import Settled
from finer_rewards.errors import ConfigError, suggest
from finer_rewards.executing.execution_records import execution_from, execution_record
from finer_rewards.schema import Column, ForeignKey, Schema, Table
from finer_rewards.types import Execution, Recall, Sample, Status

#: The environment variable that holds the token of a server, for both sides.
TOKEN = "FINER_REWARDS_TOKEN"


def record(value: Execution | Recall | Schema) -> dict[str, Any]:
    """Return an execution, a recall or a schema as a mapping of JSON values."""
    if isinstance(value, Schema):
        return asdict(value)
    if isinstance(value, Execution):
        return execution_record(value)
    return {
        **{field.name: getattr(value, field.name) for field in fields(value)},
        "status": value.status.name,
    }


def recall_from(found: Mapping[str, Any]) -> Recall:
    """Return the recall that `record` wrote."""
    lists = {name: tuple(found[name]) for name in ("verified", "failed", "traces")}
    return Recall(**{**found, **lists, "status": Status[found["status"]]})


def schema_from(found: Mapping[str, Any]) -> Schema:
    """Return the schema that `record` wrote."""
    return Schema(
        tuple(
            Table(
                table["name"],
                tuple(Column(**column) for column in table["columns"]),
                tuple(table["primary_key"]),
                tuple(map(tuple, table["unique"])),
                tuple(
                    ForeignKey(tuple(key["columns"]), key["to_table"], tuple(key["to_columns"]))
                    for key in table["foreign_keys"]
                ),
                table["view"],
            )
            for table in found["tables"]
        )
    )


_TEXTS = {"db": str, "gold_ran": str, "predicted_ran": str, "question": str}
_MAYBE_TEXTS = ("gold_sql", "predicted_sql")


def pair_record(pair: ResultPair) -> dict[str, Any]:
    """Return a pair as a mapping of JSON values: its statements, and the gold's rows only if it has no statement."""
    return {
        **{name: getattr(pair, name) for name in (*_TEXTS, *_MAYBE_TEXTS)},
        "mode": {field.name: getattr(pair.mode, field.name) for field in fields(Mode)},
        "gold": None if pair.gold_ran else execution_record(pair.gold),
    }


def pair_from(found: Any, where: str) -> ResultPair:
    """Return the pair that `pair_record` wrote; its statements have not been run yet.

    Raises:
        ConfigError: it is no such record.
    """
    known = (*_TEXTS, *_MAYBE_TEXTS, "mode", "gold")
    if not isinstance(found, Mapping) or set(found) != set(known):
        raise ConfigError(f"`{where}` should be an object with {', '.join(known)}, but got {found!r:.80}.")
    for name in (*_TEXTS, *_MAYBE_TEXTS):
        if not isinstance(found[name], str) and (name in _TEXTS or found[name] is not None):
            raise ConfigError(
                f"`{where}` should have text as {name!r}, but got {found[name]!r:.80}. Correct it."
            )
    texts = {name: found[name] for name in (*_TEXTS, *_MAYBE_TEXTS)}
    unseen = Execution(Status.unavailable)
    try:
        gold = unseen if found["gold_ran"] else execution_from(found["gold"])
        return ResultPair(gold=gold, predicted=unseen, mode=Mode(**found["mode"]), **texts)
    except (TypeError, ValueError) as error:
        # Also ConfigError, which is a ValueError.
        raise ConfigError(f"`{where}` cannot be compared: {error}") from None


def settled_record(one: Settled) -> dict[str, Any]:
    """Return the outcome of comparing two results as a mapping of JSON values."""
    comparison = None if one.comparison is None else asdict(one.comparison)
    return {**one._asdict(), "comparison": comparison}


def settled_from(found: Mapping[str, Any]) -> Settled:
    """Return the outcome that `settled_record` wrote."""
    comparison = found["comparison"]
    if comparison is not None:
        rows = {name: tuple(map(tuple, comparison[name])) for name in ("only_gold", "only_predicted")}
        columns = None if comparison["columns"] is None else tuple(comparison["columns"])
        comparison = Comparison(**{**comparison, **rows, "columns": columns})
    return Settled(**{**found, "comparison": comparison})


_SAMPLE_FIELDS = tuple(field.name for field in fields(Sample))


def sample_from(found: Any, where: str) -> Sample:
    """Return the sample that a mapping describes: by the fields of `Sample`, or as a row that `prepare` wrote.

    Raises:
        ConfigError: it is not a mapping, or a field is missing, unknown or of the wrong type.
    """
    if not isinstance(found, Mapping):
        raise ConfigError(f"`{where}` should be an object, but got {found!r:.80}. Send a sample's fields.")
    for name in found:
        if name not in _SAMPLE_FIELDS and name not in ROW_KEYS:
            raise ConfigError(
                f"`{where}` should have the fields {', '.join(_SAMPLE_FIELDS)}, but got {name!r:.80}. "
                f"{suggest(name, _SAMPLE_FIELDS)}Put anything else in `meta`."
            )
    if not found.keys() <= set(_SAMPLE_FIELDS):
        return sample_of(found, f"`{where}`")
    for name in ("completion", "gold", "db"):
        if name not in found:
            raise ConfigError(
                f"`{where}` should have a {name!r}, but it has only {', '.join(found) or 'none'}. Add it."
            )
    try:
        return Sample(**found)
    except ConfigError as error:
        raise ConfigError(f"`{where}` cannot be used. {error}") from None
