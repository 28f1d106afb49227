"""JSON that loses nothing, for results that are sent to other processes; reading it runs no code, unlike pickle.

JSON has no bytes, no infinity and no text that is not Unicode. Each of these becomes an object with one tag:
`{"$bytes": ...}` (base64), `{"$float": "inf"}` or `{"$text": ...}` (base64 of UTF-8 with surrogates). Everything else
is written as usual: a Python integer of any size and a float, also -0.0, are read back exactly.
"""

from __future__ import annotations

import json
from base64 import b64decode, b64encode
from collections.abc import Callable, Mapping
from math import isfinite, nan
from typing import Any


def dumps(value: Any) -> bytes:
    """Return the JSON of a value made of mappings, sequences, numbers, text, bytes and None.

    Example:
        >>> loads(dumps({"row": [2**60, -0.0, float("inf"), b"\\x00"]}))
        {'row': [1152921504606846976, -0.0, inf, b'\\x00']}
    """
    try:
        return _json(value)
    except ValueError:
        # The value has a float that is not finite, or text that is not Unicode. That is rare, so looking for it first
        # would cost more.
        return _json(tagged(value))


def loads(data: bytes) -> Any:
    """Return the value of a JSON text, written by `dumps` or otherwise; raises `ValueError` if it is not JSON."""
    return parse_json(data, object_hook=untagged)


def parse_json(text: str | bytes, **options: Any) -> Any:
    """Return what `json.loads` does; for text that it cannot read, this raises `ValueError` and nothing else."""
    try:
        return json.loads(text, **options)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def _json(value: Any) -> bytes:
    text = json.dumps(
        value, default=_tagged_bytes, allow_nan=False, ensure_ascii=False, separators=(",", ":")
    )
    return text.encode()


def _tagged_bytes(value: object) -> dict[str, str]:
    if isinstance(value, bytes):
        return {"$bytes": b64encode(value).decode("ascii")}
    raise TypeError(f"no JSON for {type(value).__name__}")


def tagged(value: Any) -> Any:
    """Return a value in which everything that JSON lacks is an object with one tag."""
    if isinstance(value, float) and not isfinite(value):
        return {"$float": repr(value)}
    if isinstance(value, str):
        if value.isascii():
            return value
        data = value.encode("utf-8", "surrogatepass")
        # Lone surrogates are not UTF-8, and two of them in a row would be read back as one character.
        return value if _is_unicode(value) else {"$text": b64encode(data).decode("ascii")}
    if isinstance(value, bytes):
        return _tagged_bytes(value)
    if isinstance(value, Mapping):
        return {name: tagged(item) for name, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [tagged(item) for item in value]
    return value


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


_TAGS: Mapping[str, Callable[[str], Any]] = {
    "$bytes": lambda text: b64decode(text, validate=True),
    # Always the same NaN object, as in rows that come from workers.
    "$float": lambda text: nan if text == "nan" else float(text),
    "$text": lambda text: b64decode(text, validate=True).decode("utf-8", "surrogatepass"),
}


def untagged(found: dict[str, Any]) -> Any:
    """Return the value that an object with one tag stands for, and any other object unchanged; for `json.loads`."""
    if len(found) == 1:
        [(tag, content)] = found.items()
        if tag in _TAGS and isinstance(content, str):
            return _TAGS[tag](content)
    return found
