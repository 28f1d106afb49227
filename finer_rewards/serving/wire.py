"""What travels between server and clients: JSON that loses nothing, and no more power than JSON has.

JSON has no bytes, no infinity and no text that is not Unicode; each is an object with one tag: `{"$bytes": ...}`
(base64), `{"$float": "inf"}`, `{"$text": ...}` (base64 of UTF-8 with surrogates). Everything else is itself: a
Python integer of any size and a float's shortest digits come back as they were, -0.0 too.
"""

from __future__ import annotations

import json
from base64 import b64decode, b64encode
from collections.abc import Callable, Mapping
from dataclasses import asdict, fields
from math import isfinite, nan
from typing import Any

from finer_rewards.errors import ConfigError, suggest
from finer_rewards.schema import Column, ForeignKey, Schema, Table
from finer_rewards.types import Execution, Recall, Sample, Status

__all__ = ["TOKEN", "dumps", "execution_from", "loads", "recall_from", "record", "sample_from", "schema_from"]

#: The environment variable that holds the token of a server, for both sides.
TOKEN = "FINER_REWARDS_TOKEN"


def dumps(value: Any) -> bytes:
    """Return the JSON of a value made of mappings, sequences, numbers, text, bytes and None.

    Example:
        >>> loads(dumps({"row": [2**60, -0.0, float("inf"), b"\\x00"]}))
        {'row': [1152921504606846976, -0.0, inf, b'\\x00']}
    """
    try:
        return _json(value)
    except ValueError:  # a float that is not finite, or text that is no Unicode: rare, so it is tried last
        return _json(_tagged(value))


def loads(data: bytes) -> Any:
    """Return the value of a JSON text written by `dumps`, or by anybody; raises `ValueError` when it is none."""
    try:
        return json.loads(data, object_hook=_untagged)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def record(value: Execution | Recall | Schema) -> dict[str, Any]:
    """Return an execution, a recall or a schema as a mapping of JSON values."""
    if isinstance(value, Schema):
        return asdict(value)
    found = {field.name: getattr(value, field.name) for field in fields(value)}
    found["status"] = value.status.name
    if isinstance(value, Execution):
        found["tables"] = None if value.tables is None else sorted(value.tables)
    return found


def execution_from(found: Mapping[str, Any]) -> Execution:
    """Return the execution that `record` wrote."""
    tables, order = found["tables"], found["order"]
    return Execution(
        **{
            **found,
            "status": Status[found["status"]],
            "columns": tuple(found["columns"]),
            "rows": tuple(map(tuple, found["rows"])),
            "tables": None if tables is None else frozenset(tables),
            "order": None if order is None else tuple(map(tuple, order)),
        }
    )


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


_SAMPLE_FIELDS = tuple(field.name for field in fields(Sample))


def sample_from(found: Any, where: str) -> Sample:
    """Return the sample that a mapping describes.

    Raises:
        ConfigError: it is no mapping, or a field is missing, unknown or of the wrong type.
    """
    if not isinstance(found, Mapping):
        raise ConfigError(f"`{where}` should be an object, but got {found!r:.80}. Send a sample's fields.")
    for name in found:
        if name not in _SAMPLE_FIELDS:
            raise ConfigError(
                f"`{where}` should have the fields {', '.join(_SAMPLE_FIELDS)}, but got {name!r:.80}. "
                f"{suggest(name, _SAMPLE_FIELDS)}Put anything else in `meta`."
            )
    for name in ("completion", "gold", "db"):
        if name not in found:
            raise ConfigError(
                f"`{where}` should have a {name!r}, but it has only {', '.join(found) or 'none'}. Add it."
            )
    try:
        return Sample(**found)
    except ConfigError as error:
        raise ConfigError(f"`{where}` cannot be used. {error}") from None


def _json(value: Any) -> bytes:
    text = json.dumps(
        value, default=_tagged_bytes, allow_nan=False, ensure_ascii=False, separators=(",", ":")
    )
    return text.encode()


def _tagged_bytes(value: object) -> dict[str, str]:
    if isinstance(value, bytes):
        return {"$bytes": b64encode(value).decode("ascii")}
    raise TypeError(f"no JSON for {type(value).__name__}")


def _tagged(value: Any) -> Any:
    if isinstance(value, float) and not isfinite(value):
        return {"$float": repr(value)}
    if isinstance(value, str):
        if value.isascii():
            return value
        data = value.encode("utf-8", "surrogatepass")
        # Text with surrogates is no UTF-8; and a pair of them would be read back as one character.
        return value if _is_unicode(value) else {"$text": b64encode(data).decode("ascii")}
    if isinstance(value, Mapping):
        return {name: _tagged(item) for name, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_tagged(item) for item in value]
    return value


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


_TAGS: Mapping[str, Callable[[str], Any]] = {
    "$bytes": lambda text: b64decode(text, validate=True),
    "$float": lambda text: nan if text == "nan" else float(text),  # one NaN, as rows of workers have
    "$text": lambda text: b64decode(text, validate=True).decode("utf-8", "surrogatepass"),
}


def _untagged(found: dict[str, Any]) -> Any:
    if len(found) == 1:
        [(tag, content)] = found.items()
        if tag in _TAGS and isinstance(content, str):
            return _TAGS[tag](content)
    return found
